"""Imports every table, for migrations and tests."""

import app.domain.agreements.models
import app.domain.bank_calendar.models
import app.domain.breaks.models
import app.domain.callbacks.models
import app.domain.contributors.models
import app.domain.debit_batches.models
import app.domain.debits.models
import app.domain.ledger.models
import app.domain.mandates.models
import app.domain.outbox.models
import app.domain.payment_orders.models
import app.domain.policy.models
import app.domain.refunds.models
import app.domain.scheduling.models
import app.domain.sessions.models
import app.domain.staff.models
import app.domain.subsidies.models  # noqa: F401
