"""Which terms of an agreement apply when, and what they will debit, out of the versions. Fen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.domain.agreements.models import Agreement, AgreementState, AgreementTerms
from app.domain.agreements.planning import PlannedPeriod, Suspension, plan_periods
from app.domain.agreements.rules import Span, Terms, Version, dues_between, timeline
from app.domain.calendar import business_day
from app.domain.deposits.queries import used_this_year_fen
from app.domain.periods import Period
from app.domain.policy.queries import Policy
from app.domain.policy.rules import NoPolicyValue


def find_live(session: Session, account_id: int) -> Agreement | None:
    """Return an account's agreement that has not ended."""
    query = select(Agreement).where(Agreement.live_account_id == account_id)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def read_spans(session: Session, agreement_id: int) -> list[Span]:
    """Return when each version of an agreement applies."""
    return timeline(version_of(row) for row in read_terms(session, agreement_id))


def last_taken_day(session: Session, account_id: int) -> date | None:
    """Return the last day that announced periods of ended agreements cover."""
    taken: list[date] = []
    ended = select(Agreement).where(
        Agreement.account_id == account_id, Agreement.state == AgreementState.ENDED
    )
    for agreement in session.scalars(ended):
        if agreement.ended_at is None:
            continue
        ended_on = business_day(agreement.ended_at)
        notice = timedelta(days=Policy.on(session, ended_on).debit.notice_days)
        spans, left_out = read_spans(session, agreement.id), suspension_of(agreement)
        taken += [
            due.period.last_day
            for due in dues_between(spans, first=date.min, last=ended_on + notice)
            if left_out is None or not left_out.covers(due.due_on)
        ]
    return max(taken, default=None)


def plan_ahead(
    session: Session,
    *,
    account_id: int,
    spans: Sequence[Span],
    suspension: Suspension | None,
    on: date,
    through_year: int,
) -> list[PlannedPeriod]:
    """Return the periods due from `on` to the end of a year, and the first of the year after.

    That one shows what a new year's minimum and cap will do. A debit of the past that is still
    being tried takes no room here: whether it fits is looked at again when it is sent.
    """
    notice_days = Policy.on(session, on).debit.notice_days
    dues = dues_between(spans, first=on, last=date(through_year + 1, 1, 31))
    return plan_periods(
        [due for due in dues if suspension is None or not suspension.covers(due.due_on)],
        on=on,
        notice_days=notice_days,
        minimum_fen_of=lambda month: monthly_minimum_of(session, month),
        cap_fen_of=lambda year: yearly_cap_of(session, year),
        used_fen={on.year: used_this_year_fen(session, account_id=account_id, today=on)},
    )


def monthly_minimum_of(session: Session, month: str) -> int:
    """Return the least that a month takes, by the policy of its first day."""
    return Policy.on(session, Period.parse(month).first_day).deposit.monthly_minimum_fen


def yearly_cap_of(session: Session, year: int) -> int | None:
    """Return the cap of a calendar year; None while it is not published."""
    try:
        return Policy.on(session, date(year, 1, 1)).deposit.yearly_cap_fen
    except NoPolicyValue:
        return None


def suspension_of(agreement: Agreement) -> Suspension | None:
    """Return the days whose debits an agreement leaves out."""
    if agreement.suspended_from is None or agreement.suspended_through is None:
        return None
    return Suspension(first_day=agreement.suspended_from, last_day=agreement.suspended_through)


def read_terms(session: Session, agreement_id: int) -> Sequence[AgreementTerms]:
    """Return the versions of an agreement, oldest first."""
    return session.scalars(
        select(AgreementTerms)
        .where(AgreementTerms.agreement_id == agreement_id)
        .order_by(AgreementTerms.version)
    ).all()


def version_of(row: AgreementTerms | Row[Any]) -> Version:
    """Return a stored version as the rules know it."""
    return Version(
        number=row.version,
        terms=Terms(
            frequency=row.frequency,
            amount_fen=row.amount_fen,
            debit_day=row.debit_day,
            channel=row.channel,
        ),
        first_period=Period.parse(row.first_period),
    )
