"""Planning (排期): a day's notice before its debit, each period becomes an instruction, once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any

from sqlalchemy import Row, Select, bindparam, insert, select
from sqlalchemy.orm import Session

from app.domain.agreements.models import Agreement, AgreementState, AgreementTerms
from app.domain.agreements.planning import Suspension
from app.domain.agreements.rules import Due, dues_between, timeline
from app.domain.agreements.timelines import version_of
from app.domain.bank_calendar.queries import read_bank_calendar
from app.domain.bank_calendar.rules import BankCalendar
from app.domain.base import table_of
from app.domain.calendar import business_day
from app.domain.debits.models import DebitInstruction
from app.domain.debits.rules import LOOK_BACK, InstructionState, first_attempt_on, retry_until
from app.domain.debits.telling import tell_planned
from app.domain.periods import Period
from app.domain.policy.queries import Policy
from app.domain.ports import Ports

AGREEMENT = table_of(Agreement)
INSTRUCTION = table_of(DebitInstruction)
TERMS = table_of(AgreementTerms)

PAGE = 500

_LIVE = (AgreementState.ACTIVE, AgreementState.SUSPENDED)
# Built once: to build a statement costs SQLAlchemy several times what it costs to run it.
_INSERT = insert(INSTRUCTION)
_PAGE: Select[Any] = (
    select(
        AGREEMENT.c.id,
        AGREEMENT.c.account_id,
        AGREEMENT.c.suspended_from,
        AGREEMENT.c.suspended_through,
    )
    .where(AGREEMENT.c.id > bindparam("after_id"), AGREEMENT.c.state.in_(_LIVE))
    .order_by(AGREEMENT.c.id)
    .limit(PAGE)
)
_TERMS: Select[Any] = select(
    TERMS.c.agreement_id,
    TERMS.c.version,
    TERMS.c.frequency,
    TERMS.c.amount_fen,
    TERMS.c.debit_day,
    TERMS.c.channel,
    TERMS.c.first_period,
).where(TERMS.c.agreement_id.in_(bindparam("agreements", expanding=True)))
_TAKEN: Select[Any] = select(INSTRUCTION.c.account_id, INSTRUCTION.c.period).where(
    INSTRUCTION.c.account_id.in_(bindparam("accounts", expanding=True)),
    INSTRUCTION.c.due_on >= bindparam("since"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    today: date
    on: date
    notice_days: int
    lead_days: Mapping[str, int]
    """By channel, how long before its debit an announcement must have been sent."""
    bank_day_channels: Sequence[str]
    calendar: BankCalendar


def plan_debits(ports: Ports, *, on: date) -> dict[str, int]:
    """Make an instruction of every period whose notice has come by `on`; a second time none.

    Its amount and channel stand from then on, whatever the agreement becomes. A period that is
    over, or that another instruction covers, gets none.

    Returns: how many were `planned`.
    """
    planned, after_id, rules = 0, 0, None
    while True:
        page = ports.transact(
            partial(_plan_page, ports=ports, on=on, after_id=after_id, rules=rules)
        )
        if page is None:
            return {"planned": planned}
        after_id, count, rules = page
        planned += count


def count_plannable(session: Session, *, on: date, now: datetime) -> int:
    """Return how many instructions `plan_debits` would make."""
    rules = _read_rules(session, on=on, now=now, lead_days={})
    count, after_id = 0, 0
    while page := _read_page(session, after_id=after_id):
        count += len(_due_on_page(session, page, rules=rules, now=now))
        after_id = page[-1].id
    return count


def _plan_page(
    session: Session, *, ports: Ports, on: date, after_id: int, rules: _Rules | None
) -> tuple[int, int, _Rules] | None:
    """Plan the agreements after one; return the last, how many periods, and the rules of today."""
    ports.fence(session)
    page = _read_page(session, after_id=after_id)
    if not page:
        return None
    now = ports.now()
    if rules is None or rules.today != business_day(now):
        lead_days = {
            name: channel.notice_window.latest_days
            for name, channel in ports.channels.announcing.items()
        }
        rules = _read_rules(session, on=on, now=now, lead_days=lead_days)
    rows = _due_on_page(session, page, rules=rules, now=now)
    if rows:
        # Two that plan at once: the second one's key is refused, and it looks again.
        session.execute(_INSERT, rows)
        tell_planned(session, rows, at=now)
    return page[-1].id, len(rows), rules


def _read_rules(
    session: Session, *, on: date, now: datetime, lead_days: Mapping[str, int]
) -> _Rules:
    today = business_day(now)
    figures = Policy.on(session, today).debit
    return _Rules(
        today=today,
        on=min(on, today),
        notice_days=figures.notice_days,
        lead_days=lead_days,
        bank_day_channels=figures.bank_day_channels,
        calendar=read_bank_calendar(session, on=today),
    )


def _read_page(session: Session, *, after_id: int) -> Sequence[Row[Any]]:
    return session.execute(_PAGE, {"after_id": after_id}).all()


def _due_on_page(
    session: Session, page: Sequence[Row[Any]], *, rules: _Rules, now: datetime
) -> list[dict[str, Any]]:
    terms: dict[int, list[Row[Any]]] = defaultdict(list)
    for version in session.execute(_TERMS, {"agreements": [row.id for row in page]}):
        terms[version.agreement_id].append(version)
    found = [
        (agreement, due)
        for agreement in page
        for due in _dues_of(agreement, terms[agreement.id], rules=rules)
    ]
    taken = _taken_months(session, found)
    return [
        row
        for agreement, due in found
        if taken.isdisjoint((agreement.account_id, month) for month in due.period.months)
        and (row := _row(agreement, due, rules=rules, now=now))
    ]


def _dues_of(agreement: Row[Any], terms: Iterable[Row[Any]], *, rules: _Rules) -> list[Due]:
    suspension = None
    if agreement.suspended_from is not None:
        suspension = Suspension(
            first_day=agreement.suspended_from, last_day=agreement.suspended_through
        )
    last = date.fromordinal(rules.on.toordinal() + rules.notice_days)
    return [
        due
        for due in dues_between(
            timeline(map(version_of, terms)), first=rules.on - LOOK_BACK, last=last
        )
        if suspension is None or not suspension.covers(due.due_on)
    ]


def _taken_months(session: Session, found: Sequence[tuple[Row[Any], Due]]) -> set[tuple[int, str]]:
    """Return the months of these accounts that an instruction covers already."""
    if not found:
        return set()
    first = min(due.period.first_day for _, due in found)
    values = {
        "accounts": list({agreement.account_id for agreement, _ in found}),
        # A quarter that has begun before reaches into the month.
        "since": Period.quarter_of(first).first_day,
    }
    rows = session.execute(_TAKEN, values)
    return {(account_id, month) for account_id, key in rows for month in Period.parse(key).months}


def _row(agreement: Row[Any], due: Due, *, rules: _Rules, now: datetime) -> dict[str, Any] | None:
    sent_on = first_attempt_on(
        due,
        planned_on=rules.today,
        notice_days=max(rules.notice_days, rules.lead_days.get(due.channel, 0)),
        on_bank_days=due.channel in rules.bank_day_channels,
        calendar=rules.calendar,
    )
    if sent_on is None:
        return None
    return {
        "account_id": agreement.account_id,
        "agreement_id": agreement.id,
        "terms_version": due.version,
        "period": due.period.key,
        "channel": due.channel,
        "amount_fen": due.amount_fen,
        "due_on": due.due_on,
        "retry_until": retry_until(due),
        "state": InstructionState.SCHEDULED,
        "next_attempt_on": sent_on,
        "created_at": now,
    }
