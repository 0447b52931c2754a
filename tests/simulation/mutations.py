"""A bug put into the product on purpose: a simulation that does not find it is worth nothing."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.domain.callbacks import operations as callbacks
from app.domain.inquiries import operations as inquiries
from app.domain.ledger import operations as ledger
from app.domain.ledger.models import Code, EntryKind
from app.domain.ledger.rules import Line
from app.domain.settlement import Effect, payments


def a_repeated_success_credits_again(patch: pytest.MonkeyPatch) -> None:
    real = payments.apply_payment

    def apply(session: Session, *, channel: str, outcome: Any, now: Any) -> Effect:
        effect = real(session, channel=channel, outcome=outcome, now=now)
        if effect is Effect.DUPLICATE:
            again = f"deposit:{outcome.number}:{now:%H%M%S%f}"
            account_id = (
                session.execute(
                    payments._ORDER_AND_ACCOUNT.where(payments.ORDER.c.order_no == outcome.number)
                )
                .one()
                .account_id
            )
            lines = [
                Line(Code.CHANNEL_CLEARING, outcome.amount_fen, channel=channel),
                Line(Code.CONTRIBUTORS, -outcome.amount_fen, account_id=account_id),
            ]
            kind = EntryKind.DEPOSIT
            ledger.post(session, posting_key=again, kind=kind, memo="", lines=lines, now=now)
        return effect

    patch.setattr(callbacks, "apply_payment", apply)
    patch.setattr(inquiries, "apply_payment", apply)
