"""How things stand (运行状况): what waits, how long, and what is not settled. Fen; ages in seconds.

Read when a monitoring system asks, so every query goes by an index or stays within a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from app.domain.bank_calendar.queries import list_years
from app.domain.bank_calendar.rules import covered_through
from app.domain.base import table_of
from app.domain.breaks.models import Break
from app.domain.calendar import business_day
from app.domain.callbacks.models import CallbackResult, ChannelCallback
from app.domain.ledger.models import Code
from app.domain.ledger.queries import count_unsealed_days, trial_balance
from app.domain.mandates.models import Mandate
from app.domain.mandates.rules import UNDECIDED
from app.domain.outbox.models import OutboxMessage
from app.domain.outbox.rules import MessageState
from app.domain.payment_orders.models import OPEN_STATES, PaymentOrder
from app.domain.refunds.models import IN_FLIGHT, Refund, RefundState
from app.domain.scheduling.queries import find_lease, list_progress

BREAK = table_of(Break)
CALLBACK = table_of(ChannelCallback)
ORDER = table_of(PaymentOrder)
MANDATE = table_of(Mandate)
MESSAGE = table_of(OutboxMessage)
REFUND = table_of(Refund)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Things of one kind that are not settled: how many, and how old the oldest is."""

    kind: str
    count: int
    oldest_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReading:
    """How long ago a job last succeeded by the timetable, and how often it has failed since."""

    job: str
    success_age_seconds: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What a monitoring system is told; `unsealed_days` are over and not sealed yet."""

    orders: Sequence[Waiting]
    """What people are to pay by hand."""
    debits: Sequence[Waiting]
    """Debits that were sent; a channel may take days."""
    refunds: Sequence[Waiting]
    mandates: Sequence[Waiting]
    """Those whose standing is not settled; the age is that of the state."""
    breaks: Sequence[Waiting]
    pending_callbacks: Sequence[Waiting]
    messages: Sequence[Waiting]
    """Those not yet brought to a phone, by topic."""
    jobs: Sequence[JobReading]
    lease_age_seconds: int | None
    """Since the active scheduler last said that it lives; None: none ever did."""
    suspense_fen: int
    clearing_fen: int
    unsealed_days: int
    calendar_days: int
    """How many days ahead holidays are known; 0: not even today's year."""


def take_readings(session: Session, *, now: datetime) -> Readings:
    """Return how things stand at `now`."""
    today = business_day(now)
    lease = find_lease(session)
    covered = covered_through(list_years(session), today=today)
    balances = {r.code: r.closing_fen for r in trial_balance(session, first=today, last=today)}
    return Readings(
        orders=_open_orders(session, ORDER.c.mandate_id.is_(None), now=now),
        debits=_open_orders(session, ORDER.c.mandate_id.is_not(None), now=now),
        refunds=_waiting(
            session,
            REFUND.c.state,
            REFUND.c.requested_at,
            REFUND.c.state.in_((RefundState.REQUESTED, *IN_FLIGHT)),
            now=now,
        ),
        mandates=_waiting(
            session,
            MANDATE.c.state,
            MANDATE.c.changed_at,
            MANDATE.c.state.in_(sorted(UNDECIDED)),
            now=now,
        ),
        breaks=_waiting(
            session, BREAK.c.kind, BREAK.c.opened_at, BREAK.c.closed_at.is_(None), now=now
        ),
        pending_callbacks=_waiting(
            session,
            CALLBACK.c.channel,
            CALLBACK.c.received_at,
            CALLBACK.c.result == CallbackResult.PENDING,
            now=now,
        ),
        messages=_waiting(
            session,
            MESSAGE.c.topic,
            MESSAGE.c.created_at,
            MESSAGE.c.state == MessageState.WAITING,
            now=now,
        ),
        jobs=[
            JobReading(
                job=row.job,
                success_age_seconds=_seconds(now - (row.succeeded_at or row.known_since)),
                failures=row.failures,
            )
            for row in list_progress(session).values()
        ],
        lease_age_seconds=lease.age_seconds if lease else None,
        suspense_fen=-balances.get(Code.SUSPENSE_RECEIPTS, 0),
        clearing_fen=balances.get(Code.CHANNEL_CLEARING, 0),
        unsealed_days=count_unsealed_days(session, through=today - timedelta(days=1)),
        calendar_days=(covered - today).days + 1 if covered else 0,
    )


def _open_orders(session: Session, which: ColumnElement[bool], *, now: datetime) -> list[Waiting]:
    is_open = and_(ORDER.c.state.in_(OPEN_STATES), which)
    return _waiting(session, ORDER.c.state, ORDER.c.created_at, is_open, now=now)


def _waiting(
    session: Session,
    kind: ColumnElement[Any],
    since: ColumnElement[datetime],
    condition: ColumnElement[bool],
    *,
    now: datetime,
) -> list[Waiting]:
    counts: Sequence[Any] = session.execute(
        select(kind, func.count(), func.min(since)).where(condition).group_by(kind).order_by(kind)
    ).all()
    return [
        Waiting(
            kind=str(row[0]),
            count=row[1],
            oldest_seconds=_seconds(now - row[2]),
        )
        for row in counts
    ]


def _seconds(age: timedelta) -> int:
    return max(0, int(age.total_seconds()))
