"""The account at a glance: what the contributor's home screen shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.calendar import business_day
from app.domain.contributors.models import Account
from app.domain.debits.queries import NextDebit, find_announced_debit
from app.domain.deposits.queries import counted_months, credited_in_year_fen, used_this_year_fen
from app.domain.policy.queries import Policy
from app.domain.policy.rules import NoPolicyValue
from app.domain.subsidies.models import SubsidyGrant, SubsidyKind


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOverview:
    """Figures in fen; `months` are the contribution months that count, oldest first."""

    account_no: str
    status: str
    balance_fen: int
    available_fen: int
    held_fen: int
    year: int
    deposited_this_year_fen: int
    yearly_cap_fen: int | None
    """None while the year's cap is not published: nothing can be paid in, all else stands."""
    room_fen: int | None
    monthly_minimum_fen: int
    months_counted: int
    months: list[str]
    months_to_loan_gate: int
    opening_subsidy_fen: int
    next_debit: NextDebit | None
    """What is announced or to be tried again; later periods of an agreement are not looked up."""


def account_overview(session: Session, *, account_id: int, now: datetime) -> AccountOverview:
    """Return one account's overview on the business day of `now`."""
    today = business_day(now)
    policy = Policy.on(session, today)
    try:
        cap_fen: int | None = policy.deposit.yearly_cap_fen
    except NoPolicyValue:
        cap_fen = None
    account = session.get_one(Account, account_id)
    months = counted_months(session, account_id=account_id)
    used_fen = used_this_year_fen(session, account_id=account_id, today=today)
    subsidy_fen = session.scalar(
        select(func.coalesce(func.sum(SubsidyGrant.paid_fen), 0)).where(
            SubsidyGrant.account_id == account_id,
            SubsidyGrant.kind == SubsidyKind.OPENING,
            SubsidyGrant.reversed_on.is_(None),
        )
    )
    return AccountOverview(
        account_no=account.account_no,
        status=account.status.value,
        balance_fen=account.balance_fen,
        available_fen=account.balance_fen - account.held_fen,
        held_fen=account.held_fen,
        year=today.year,
        deposited_this_year_fen=credited_in_year_fen(
            session, account_id=account_id, year=today.year
        ),
        yearly_cap_fen=cap_fen,
        room_fen=None if cap_fen is None else max(0, cap_fen - used_fen),
        monthly_minimum_fen=policy.deposit.monthly_minimum_fen,
        months_counted=len(months),
        months=months,
        months_to_loan_gate=max(0, policy.loan.gate_months - len(months)),
        opening_subsidy_fen=int(subsidy_fen or 0),
        next_debit=find_announced_debit(session, account_id=account_id),
    )
