"""Reading the books: days, trial balances, a contributor's statement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import String, case, func, select, type_coerce
from sqlalchemy.orm import Session

from app.domain.ledger.models import BusinessDay, Code, DailySeal, JournalEntry, JournalLine
from app.domain.ledger.rules import PostedLine


def count_unsealed_days(session: Session, *, through: date) -> int:
    """Return how many business days up to and including `through` are not sealed."""
    unsealed = select(func.count()).where(
        BusinessDay.sealed_at.is_(None), BusinessDay.day <= through
    )
    return session.scalar(unsealed) or 0


def lines_of_day(session: Session, day: date) -> Iterator[PostedLine]:
    """Stream the lines of a business day in (entry, line) order."""
    rows = session.execute(
        select(
            JournalEntry.id,
            JournalEntry.posting_key,
            # As text: a kind that does not exist must break the seal, and not fail to be read.
            type_coerce(JournalEntry.kind, String),
            JournalEntry.value_date,
            JournalEntry.posted_at,
            JournalEntry.memo,
            JournalLine.line_no,
            JournalLine.code,
            JournalLine.account_id,
            JournalLine.channel,
            JournalLine.amount_fen,
        )
        .join(JournalLine, JournalLine.entry_id == JournalEntry.id)
        .where(JournalEntry.business_date == day)
        .order_by(JournalEntry.id, JournalLine.line_no)
        .execution_options(yield_per=5_000)
    )
    for row in rows:
        yield PostedLine(*row)


@dataclass(frozen=True, slots=True)
class TrialBalanceRow:
    """One ledger account over a period; balances are debit positive, in fen."""

    code: str
    opening_fen: int
    debit_fen: int
    credit_fen: int

    @property
    def closing_fen(self) -> int:
        """The balance at the end of the period, debit positive."""
        return self.opening_fen + self.debit_fen - self.credit_fen


def trial_balance(session: Session, *, first: date, last: date) -> list[TrialBalanceRow]:
    """Return the trial balance (试算平衡表) of the days `first` to `last`, both included.

    Openings start from the newest seal before `first`, so the cost follows the period.
    """
    seal = session.scalars(
        select(DailySeal).where(DailySeal.day < first).order_by(DailySeal.day.desc()).limit(1)
    ).one_or_none()
    opening = {code: row[2] for code, row in seal.trial_balance.items()} if seal else {}
    since = JournalEntry.business_date > (seal.day if seal else date.min)
    before = JournalEntry.business_date < first
    amount = JournalLine.amount_fen
    rows = session.execute(
        select(
            JournalLine.code,
            func.sum(case((before, amount), else_=0)),
            func.sum(case((~before & (amount > 0), amount), else_=0)),
            func.sum(case((~before & (amount < 0), -amount), else_=0)),
        )
        .join(JournalEntry, JournalEntry.id == JournalLine.entry_id)
        .where(since, JournalEntry.business_date <= last)
        .group_by(JournalLine.code)
    )
    moved = {code: (int(early), int(debit), int(credit)) for code, early, debit, credit in rows}
    return [
        TrialBalanceRow(code, opening.get(code, 0) + early, debit, credit)
        for code in sorted({*opening, *moved})
        for early, debit, credit in [moved.get(code, (0, 0, 0))]
    ]


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One movement of a contributor's account; `amount_fen` positive is money in."""

    entry_id: int
    business_date: date
    posted_at: datetime
    kind: str
    memo: str
    amount_fen: int
    balance_fen: int


def statement(
    session: Session,
    *,
    account_id: int,
    first: date | None = None,
    last: date | None = None,
    before_entry: int | None = None,
    limit: int = 50,
) -> list[StatementLine]:
    """Return an account's movements, newest first, each with the balance right after it.

    Args:
        before_entry: continue below this entry id (the last one of the page before).
    """
    own = (JournalLine.account_id == account_id) & (JournalLine.code == Code.CONTRIBUTORS)
    running = (
        select(
            JournalLine.entry_id,
            (-JournalLine.amount_fen).label("amount_fen"),
            func.sum(-JournalLine.amount_fen)
            .over(order_by=(JournalLine.entry_id, JournalLine.line_no))
            .label("balance_fen"),
            JournalLine.line_no,
        )
        .where(own)
        .subquery()
    )
    query = (
        select(
            JournalEntry.id,
            JournalEntry.business_date,
            JournalEntry.posted_at,
            JournalEntry.kind,
            JournalEntry.memo,
            running.c.amount_fen,
            running.c.balance_fen,
        )
        .join(running, running.c.entry_id == JournalEntry.id)
        .order_by(JournalEntry.id.desc(), running.c.line_no.desc())
        .limit(limit)
    )
    if first is not None:
        query = query.where(JournalEntry.business_date >= first)
    if last is not None:
        query = query.where(JournalEntry.business_date <= last)
    if before_entry is not None:
        query = query.where(JournalEntry.id < before_entry)
    return [
        StatementLine(row[0], row[1], row[2], str(row[3].value), row[4], int(row[5]), int(row[6]))
        for row in session.execute(query)
    ]
