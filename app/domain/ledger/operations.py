"""Posting, holding and sealing. Nothing else writes the journal or a balance.

Statements are SQLAlchemy Core on purpose: a posting is four round trips, and no shared row is
updated by it, so two deposits never wait for each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import BigInteger, bindparam, delete, func, insert, select, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.calendar import business_day
from app.domain.contributors.models import Account
from app.domain.errors import Conflict, RuleViolation
from app.domain.ledger.models import (
    BusinessDay,
    DailySeal,
    EntryKind,
    Hold,
    JournalEntry,
    JournalLine,
)
from app.domain.ledger.queries import lines_of_day
from app.domain.ledger.rules import GENESIS, Line, check_lines, total_day
from app.domain.ports import Ports

ACCOUNT = table_of(Account)
BUSINESS_DAY = table_of(BusinessDay)
HOLD = table_of(Hold)
JOURNAL_ENTRY = table_of(JournalEntry)
JOURNAL_LINE = table_of(JournalLine)

# Built once: to build a statement costs SQLAlchemy several times what it costs to run it.
_INSERT_ENTRIES = insert(JOURNAL_ENTRY).returning(JOURNAL_ENTRY.c.posting_key, JOURNAL_ENTRY.c.id)
_INSERT_LINES = insert(JOURNAL_LINE)
# The new balances come from the lines themselves, so that many accounts are one statement.
_CREDIT = (
    update(ACCOUNT)
    .where(ACCOUNT.c.id.in_(bindparam("account_ids", expanding=True)))
    .values(
        balance_fen=ACCOUNT.c.balance_fen
        - select(func.sum(JOURNAL_LINE.c.amount_fen))
        .where(
            JOURNAL_LINE.c.account_id == ACCOUNT.c.id,
            JOURNAL_LINE.c.entry_id.in_(bindparam("entry_ids", expanding=True)),
        )
        .scalar_subquery()
    )
)
_CHANGE_FEN = bindparam("change_fen", type_=BigInteger)
_MOVE = (
    update(ACCOUNT)
    .where(
        ACCOUNT.c.id == bindparam("of_account"),
        ACCOUNT.c.balance_fen - ACCOUNT.c.held_fen + _CHANGE_FEN >= 0,
    )
    .values(balance_fen=ACCOUNT.c.balance_fen + _CHANGE_FEN)
)


class BalanceTooLow(RuleViolation):
    """The available balance does not cover the amount."""

    code = "balance_too_low"
    default_message = "账户可用余额不足"


class DayNotOver(Conflict):
    """Only a day that is over can be sealed."""

    code = "day_not_over"
    default_message = "当日尚未结束，不能封账"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One balanced entry to be written.

    Attributes:
        posting_key: what causes it; the same cause can post only once.
        value_date: from when the money counts for interest (起息日); None is the business day.
    """

    posting_key: str
    kind: EntryKind
    memo: str
    lines: Sequence[Line]
    value_date: date | None = None


def post(
    session: Session,
    *,
    posting_key: str,
    kind: EntryKind,
    memo: str,
    lines: Sequence[Line],
    now: datetime,
) -> int:
    """Write one entry that counts from the business day of `now`; raises as `post_all` does.

    Returns: the entry's id.
    """
    posting = Posting(posting_key=posting_key, kind=kind, memo=memo, lines=lines)
    (entry_id,) = post_all(session, [posting], now=now)
    return entry_id


def post_all(session: Session, postings: Sequence[Posting], *, now: datetime) -> list[int]:
    """Write balanced entries dated the business day of `now` and move the balances they name.

    The caller's transaction holds the state changes that cause them. A second posting of the same
    cause fails with the database's IntegrityError. How many entries there are changes little at
    the number of round trips.

    Returns: the entries' ids.
    Raises:
        Unbalanced: the lines of one are not a balanced entry.
        BalanceTooLow: a contributor's available balance would be negative after all of them.
    """
    for posting in postings:
        check_lines(posting.lines)
    day = business_day(now)
    _open_day(session, day)
    inserted = session.execute(
        _INSERT_ENTRIES,
        [
            {
                "posting_key": posting.posting_key,
                "kind": posting.kind,
                "business_date": day,
                "value_date": posting.value_date or day,
                "posted_at": now,
                "memo": posting.memo,
            }
            for posting in postings
        ],
    )
    ids = {key: entry_id for key, entry_id in inserted}
    entry_ids = [ids[posting.posting_key] for posting in postings]
    session.execute(
        _INSERT_LINES,
        [
            {
                "entry_id": entry_id,
                "line_no": number,
                "code": line.code,
                "account_id": line.account_id,
                "channel": line.channel,
                "amount_fen": line.amount_fen,
            }
            for entry_id, posting in zip(entry_ids, postings, strict=True)
            for number, line in enumerate(posting.lines, start=1)
        ],
    )
    change_fen: dict[int, int] = defaultdict(int)
    for posting in postings:
        for line in posting.lines:
            if line.account_id is not None:
                change_fen[line.account_id] -= line.amount_fen
    _move_balances(session, entry_ids, change_fen)
    return entry_ids


def place_hold(
    session: Session, *, hold_key: str, account_id: int, amount_fen: int, now: datetime
) -> None:
    """Promise `amount_fen` of an account to something under way.

    Raises:
        BalanceTooLow: less than that is available.
    """
    moved = rows_changed(
        session,
        update(ACCOUNT)
        .where(ACCOUNT.c.id == account_id, ACCOUNT.c.balance_fen - ACCOUNT.c.held_fen >= amount_fen)
        .values(held_fen=ACCOUNT.c.held_fen + amount_fen),
    )
    if moved != 1:
        raise BalanceTooLow(amount_fen=amount_fen)
    session.execute(
        insert(HOLD).values(
            hold_key=hold_key, account_id=account_id, amount_fen=amount_fen, placed_at=now
        )
    )


def release_hold(session: Session, *, hold_key: str) -> None:
    """End a hold; the amount is available again (or is posted out in the same transaction).

    Raises:
        Conflict: there is no such hold any more.
    """
    hold = session.execute(
        select(Hold.account_id, Hold.amount_fen).where(Hold.hold_key == hold_key)
    ).one_or_none()
    ended = rows_changed(session, delete(HOLD).where(HOLD.c.hold_key == hold_key))
    if hold is None or ended != 1:
        raise Conflict("该笔资金已解除冻结")
    session.execute(
        update(ACCOUNT)
        .where(ACCOUNT.c.id == hold.account_id)
        .values(held_fen=ACCOUNT.c.held_fen - hold.amount_fen)
    )


def seal_days(ports: Ports, *, through: date) -> list[date]:
    """Seal every open day up to and including `through`, oldest first, each in its own transaction.

    Returns: the days sealed now.
    Raises:
        DayNotOver: `through` is today or later.
    """
    if through >= business_day(ports.now()):
        raise DayNotOver(day=through.isoformat())
    open_days = ports.read(
        lambda session: session.scalars(
            select(BusinessDay.day)
            .where(BusinessDay.sealed_at.is_(None), BusinessDay.day <= through)
            .order_by(BusinessDay.day)
        ).all()
    )
    sealed = []
    for day in open_days:
        if ports.transact(lambda session, day=day: _seal_day(session, day, now=ports.now())):  # type: ignore[misc]
            sealed.append(day)
    return sealed


def _seal_day(session: Session, day: date, *, now: datetime) -> bool:
    # This update waits for every posting of the day that is still under way, and every later
    # posting of the day finds it sealed: the seal sees exactly the day's entries.
    closed = rows_changed(
        session,
        update(BUSINESS_DAY)
        .where(BUSINESS_DAY.c.day == day, BUSINESS_DAY.c.sealed_at.is_(None))
        .values(sealed_at=now),
    )
    if closed != 1:
        return False
    previous = session.scalars(
        select(DailySeal).order_by(DailySeal.day.desc()).limit(1)
    ).one_or_none()
    previous_hash = previous.hash if previous else GENESIS
    totals = total_day(
        lines_of_day(session, day),
        day=day,
        previous_hash=previous_hash,
        opening_fen={code: row[2] for code, row in previous.trial_balance.items()}
        if previous
        else {},
    )
    session.add(
        DailySeal(
            day=day,
            previous_day=previous.day if previous else None,
            entry_count=totals.entry_count,
            line_count=totals.line_count,
            debit_fen=totals.debit_fen,
            trial_balance=totals.by_code,
            previous_hash=previous_hash,
            hash=totals.hash,
            sealed_at=now,
        )
    )
    return True


def _move_balances(
    session: Session, entry_ids: Sequence[int], change_fen: Mapping[int, int]
) -> None:
    if all(fen > 0 for fen in change_fen.values()):
        values = {"entry_ids": entry_ids, "account_ids": list(change_fen)}
        if change_fen and rows_changed(session, _CREDIT, values) != len(change_fen):
            raise BalanceTooLow
        return
    # In the order of the accounts, so that two blocks wait for each other in one direction.
    for account_id, fen in sorted(change_fen.items()):
        if rows_changed(session, _MOVE, {"of_account": account_id, "change_fen": fen}) != 1:
            raise BalanceTooLow(amount_fen=abs(fen))


def _open_day(session: Session, day: date) -> None:
    # The day's row must be there before its first entry. Each connection asks once a day, and
    # remembers only a row that another transaction wrote: our own may still be rolled back.
    known = session.connection().info
    if day in (known.get("open_day"), session.info.get("opened_day")):
        return
    if session.scalar(select(BUSINESS_DAY.c.day).where(BUSINESS_DAY.c.day == day)):
        known["open_day"] = day
        return
    session.execute(
        insert(BUSINESS_DAY)
        .prefix_with("OR IGNORE", dialect="sqlite")
        .prefix_with("IGNORE", dialect="mysql")
        .prefix_with("IGNORE", dialect="mariadb")
        .values(day=day)
    )
    session.info["opened_day"] = day
