"""Recomputing the books from their lines, and naming what does not agree (账务核验).

Nothing is repaired here: an offence is for people.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.contributors.models import Account
from app.domain.ledger.models import (
    BusinessDay,
    Code,
    DailySeal,
    Hold,
    JournalEntry,
    JournalLine,
)
from app.domain.ledger.queries import lines_of_day
from app.domain.ledger.rules import GENESIS, total_day

ACCOUNT = table_of(Account)
DAY = table_of(BusinessDay)
ENTRY = table_of(JournalEntry)
HOLD = table_of(Hold)
LINE = table_of(JournalLine)


@dataclass(frozen=True, slots=True)
class Offence:
    """One contradiction: what kind, where, and the figures."""

    kind: str
    where: str
    expected: str
    found: str


def verify_ledger(session: Session, *, chart: Collection[str]) -> Iterator[Offence]:
    """Yield every contradiction in the journal, the balances, the holds and the seals.

    Args:
        chart: the codes of the chart of accounts; a line outside it is an offence.
    """
    yield from _entries_balance(session)
    yield from _lines_are_well_formed(session, chart)
    yield from _balances_equal_lines(session)
    yield from _holds_equal_held(session)
    yield from _seals_hold(session)


def _entries_balance(session: Session) -> Iterator[Offence]:
    sums = (
        select(
            ENTRY.c.id,
            ENTRY.c.posting_key,
            func.coalesce(func.sum(LINE.c.amount_fen), 0).label("total"),
            func.count(LINE.c.line_no).label("lines"),
        )
        .join_from(ENTRY, LINE, LINE.c.entry_id == ENTRY.c.id, isouter=True)
        .group_by(ENTRY.c.id, ENTRY.c.posting_key)
        .having(
            or_(func.coalesce(func.sum(LINE.c.amount_fen), 0) != 0, func.count(LINE.c.line_no) < 2)
        )
        .order_by(ENTRY.c.id)
    )
    for row in session.execute(sums):
        yield Offence(
            "entry_unbalanced", f"{row.posting_key} (#{row.id})", "0", f"{row.total}/{row.lines}"
        )
    orphans = (
        select(LINE.c.entry_id)
        .join_from(LINE, ENTRY, LINE.c.entry_id == ENTRY.c.id, isouter=True)
        .where(ENTRY.c.id.is_(None))
        .distinct()
    )
    for row in session.execute(orphans):
        yield Offence("line_without_entry", f"#{row.entry_id}", "entry", "none")


def _lines_are_well_formed(session: Session, chart: Collection[str]) -> Iterator[Offence]:
    odd = select(LINE).where(
        or_(
            LINE.c.code.not_in(list(chart)),
            (LINE.c.code == Code.CONTRIBUTORS) & LINE.c.account_id.is_(None),
            (LINE.c.code != Code.CONTRIBUTORS) & LINE.c.account_id.is_not(None),
        )
    )
    for row in session.execute(odd):
        yield Offence(
            "line_misplaced", f"#{row.entry_id}/{row.line_no}", "code and account", row.code
        )


def _balances_equal_lines(session: Session) -> Iterator[Offence]:
    lines = (
        select(LINE.c.account_id, (-func.sum(LINE.c.amount_fen)).label("total"))
        .where(LINE.c.account_id.is_not(None))
        .group_by(LINE.c.account_id)
        .subquery()
    )
    total = func.coalesce(lines.c.total, 0)
    wrong = (
        select(ACCOUNT.c.account_no, ACCOUNT.c.balance_fen, total)
        .join_from(ACCOUNT, lines, lines.c.account_id == ACCOUNT.c.id, isouter=True)
        .where(or_(ACCOUNT.c.balance_fen != total, ACCOUNT.c.balance_fen < 0))
        .order_by(ACCOUNT.c.id)
    )
    for account_no, balance, found in session.execute(wrong):
        yield Offence("balance_differs_from_lines", account_no, str(found), str(balance))
    unknown = (
        select(lines.c.account_id, lines.c.total)
        .join_from(lines, ACCOUNT, ACCOUNT.c.id == lines.c.account_id, isouter=True)
        .where(ACCOUNT.c.id.is_(None))
    )
    for account_id, found in session.execute(unknown):
        yield Offence("lines_of_unknown_account", f"#{account_id}", "account", str(found))


def _holds_equal_held(session: Session) -> Iterator[Offence]:
    holds = (
        select(HOLD.c.account_id, func.sum(HOLD.c.amount_fen).label("total"))
        .group_by(HOLD.c.account_id)
        .subquery()
    )
    total = func.coalesce(holds.c.total, 0)
    wrong = (
        select(ACCOUNT.c.account_no, ACCOUNT.c.held_fen, ACCOUNT.c.balance_fen, total)
        .join_from(ACCOUNT, holds, holds.c.account_id == ACCOUNT.c.id, isouter=True)
        .where(or_(ACCOUNT.c.held_fen != total, ACCOUNT.c.held_fen > ACCOUNT.c.balance_fen))
        .order_by(ACCOUNT.c.id)
    )
    for account_no, held, balance, found in session.execute(wrong):
        yield Offence("held_differs_from_holds", account_no, f"{found}<={balance}", str(held))


def _seals_hold(session: Session) -> Iterator[Offence]:
    seals = session.scalars(select(DailySeal).order_by(DailySeal.day)).all()
    previous: DailySeal | None = None
    for seal in seals:
        where = seal.day.isoformat()
        previous_hash = previous.hash if previous else GENESIS
        previous_day = previous.day if previous else None
        if (seal.previous_day, seal.previous_hash) != (previous_day, previous_hash):
            yield Offence("seal_chain_broken", where, str(previous_day), str(seal.previous_day))
        totals = total_day(
            lines_of_day(session, seal.day),
            day=seal.day,
            previous_hash=previous_hash,
            opening_fen={c: row[2] for c, row in previous.trial_balance.items()}
            if previous
            else {},
        )
        recomputed = (totals.entry_count, totals.line_count, totals.debit_fen, totals.by_code)
        stored = (seal.entry_count, seal.line_count, seal.debit_fen, seal.trial_balance)
        if recomputed != stored:
            yield Offence("seal_totals_differ", where, str(recomputed[:3]), str(stored[:3]))
        if totals.hash != seal.hash:
            yield Offence("seal_hash_differs", where, totals.hash.hex(), seal.hash.hex())
        previous = seal
    sealed_days = {seal.day for seal in seals}
    for day, sealed_at in session.execute(select(DAY.c.day, DAY.c.sealed_at).order_by(DAY.c.day)):
        if (sealed_at is not None) != (day in sealed_days):
            yield Offence("day_and_seal_differ", day.isoformat(), "both", str(sealed_at))
        elif previous is not None and day < previous.day and sealed_at is None:
            yield Offence("gap_in_seals", day.isoformat(), "sealed", "open")
