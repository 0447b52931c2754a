"""What must be true at the end of a year, of the channels' books, the agreements, and ours."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, select

from app.domain.agreements.models import Agreement
from app.domain.base import table_of
from app.domain.breaks.models import Break, BreakKind
from app.domain.calendar import SHANGHAI, business_day
from app.domain.contributors.models import Account
from app.domain.debits.models import DebitInstruction
from app.domain.debits.rules import EndReason, InstructionState, is_sending_time
from app.domain.deposits.queries import counted_months
from app.domain.ledger.models import Code, JournalLine
from app.domain.payment_orders.models import OPEN_STATES, OrderState, PaymentOrder
from app.domain.periods import Period
from app.domain.refunds.models import Refund
from tests.year.life import Year

SUBSIDY_FEN = 20_000
ENDED = {
    InstructionState.SUCCEEDED,
    InstructionState.SKIPPED,
    InstructionState.MISSED,
    InstructionState.CANCELLED,
}


class Books:
    """All rows of ours, read once."""

    def __init__(self, year: Year) -> None:
        def rows(model: type[Any]) -> list[Row[Any]]:
            table = table_of(model)
            query = select(table).order_by(*table.primary_key)
            return year.fund.ports.read(lambda session: list(session.execute(query)))

        self.orders, self.instructions = rows(PaymentOrder), rows(DebitInstruction)
        self.accounts, self.breaks, self.refunds = rows(Account), rows(Break), rows(Refund)
        self.lines, self.agreements = rows(JournalLine), rows(Agreement)
        self.debits = [order for order in self.orders if order.mandate_id is not None]
        self.by_hand = [order for order in self.orders if order.mandate_id is None]
        self.attempts: dict[int, list[Row[Any]]] = defaultdict(list)
        for debit in self.debits:
            self.attempts[debit.instruction_id].append(debit)


def compare(year: Year) -> Iterator[str]:
    """Yield every difference, in words."""
    books = Books(year)
    yield from _channels(year, books)
    yield from _people(year, books)
    yield from _ends(year, books)
    yield from _attempts(year, books)
    yield from _twice(year, books)
    yield from _balances(year, books)
    yield from _months(year, books)


def _channels(year: Year, books: Books) -> Iterator[str]:
    for name, channel in year.channels.items():
        ours = {
            (order.order_no, order.channel_reference, order.amount_fen)
            for order in books.debits
            if order.channel == name and order.state is OrderState.SUCCEEDED
        }
        theirs = {
            (number, f"X{number}", debit.request.amount_fen)
            for number, debit in channel.paid().items()
        }
        yield from (f"{name}: taken, not recorded: {one}" for one in sorted(theirs - ours))
        yield from (f"{name}: recorded, not taken: {one}" for one in sorted(ours - theirs))
        kept_fen = sum(
            trade.amount_fen - trade.refunded_fen
            for trade in channel.trades.values()
            if trade.state == "paid"
        )
        clearing_fen = sum(
            line.amount_fen
            for line in books.lines
            if line.code == Code.CHANNEL_CLEARING and line.channel == name
        )
        if kept_fen != clearing_fen:
            yield f"{name}: it has {kept_fen}, by our books {clearing_fen}"


def _people(year: Year, books: Books) -> Iterator[str]:
    """What was owed has an instruction as it was agreed on, and nothing else has one."""
    found = {(row.account_id, row.period): row for row in books.instructions}
    for person in year.people:
        for key, owed in person.owed.items():
            row = found.pop((person.account_id, key), None)
            if row is None:
                yield f"account {person.account_id} owes {key} and has no instruction"
                continue
            is_owed = (owed.amount_fen, owed.channel, owed.due_on)
            if is_owed != (row.amount_fen, row.channel.value, row.due_on):
                yield f"account {person.account_id} owes {owed} for {key}, not {row}"
    yield from (f"nobody owes {row}" for row in found.values())


def _ends(year: Year, books: Books) -> Iterator[str]:
    """Each period has ended, and its end has its cause."""
    undecided = {row.number for row in books.breaks if row.kind is BreakKind.UNDECIDED}
    ended_on = {
        row.id: business_day(row.ended_at) if row.ended_at else None for row in books.agreements
    }
    for row in books.instructions:
        attempts = books.attempts[row.id]
        if row.state not in ENDED:
            stuck = [order for order in attempts if order.state in OPEN_STATES]
            waits = row.next_attempt_on is not None and row.next_attempt_on > year.today
            late = row.due_on >= year.begun_to_settle
            if waits or late or _are_nowhere(year, stuck, undecided):
                continue
            yield f"has no end: {row}"
        if row.end_reason is EndReason.AGREEMENT_ENDED and ended_on[row.agreement_id] is None:
            yield f"cancelled, and the agreement is not ended: {row}"
        if row.end_reason is EndReason.PAID_BY_HAND and not _by_hand_fen(books, row):
            yield f"nobody paid by hand: {row}"


def _are_nowhere(year: Year, stuck: list[Row[Any]], undecided: set[str]) -> bool:
    """Never arrived, and the mandate is gone: shown to staff, and asked about for ever."""
    return bool(stuck) and all(
        order.order_no not in year.channels[order.channel].debits and order.order_no in undecided
        for order in stuck
    )


def _by_hand_fen(books: Books, instruction: Row[Any], before: Any = None) -> int:
    """Return what was paid by hand for a period's months, or to make it up."""
    period = Period.parse(instruction.period)
    counted = {period.key, *period.months}
    return sum(
        order.amount_fen
        for order in books.by_hand
        if order.account_id == instruction.account_id
        and order.state is OrderState.SUCCEEDED
        and (order.contribution_month in counted or order.instruction_id == instruction.id)
        and (before is None or order.ended_at < before)
    )


def _attempts(year: Year, books: Books) -> Iterator[str]:
    """Each attempt was announced, in the daytime, alone, for good reason, and had its own day."""
    ended_at = {row.id: row.ended_at for row in books.agreements}
    for row in books.instructions:
        before = None
        for order in books.attempts[row.id]:
            at = order.created_at
            if business_day(at) <= business_day(row.created_at):
                yield f"not announced: {order.order_no}"
            if business_day(at) < row.due_on:
                yield f"before its day: {order.order_no}"
            if not is_sending_time(at):
                yield f"at night, {at.astimezone(SHANGHAI)}: {order.order_no}"
            if business_day(at) > Period.parse(row.period).last_day:
                yield f"after its period: {order.order_no}"
            if _by_hand_fen(books, row, before=at) >= row.amount_fen:
                yield f"paid by hand before: {order.order_no}"
            if (end := ended_at[row.agreement_id]) is not None and end < at:
                yield f"after the agreement's end: {order.order_no}"
            if before is not None and not _had_failed(year, before, at):
                yield f"{order.order_no} although {before.order_no} was not known to have failed"
            before = order


def _had_failed(year: Year, order: Row[Any], at: Any) -> bool:
    debit = year.channels[order.channel].debits.get(order.order_no)
    return debit is not None and (debit.state == "refused" or debit.was_refused)


def _twice(year: Year, books: Books) -> Iterator[str]:
    """Twice for one month only by the channel's own late truth; then a refund was proposed."""
    covered: dict[tuple[int, str], list[Row[Any]]] = defaultdict(list)
    instructions = {row.id: row for row in books.instructions}
    for order in books.debits:
        if order.state is OrderState.SUCCEEDED:
            for month in Period.parse(instructions[order.instruction_id].period).months:
                covered[order.account_id, month].append(order)
    twice = {row.number for row in books.breaks if row.kind is BreakKind.DEBITED_TWICE}
    proposed = {row.order_id for row in books.refunds if row.maker == "system"}
    for (account_id, month), orders in covered.items():
        if len(orders) == 1:
            continue
        second = [order for order in orders if order.order_no in twice]
        late = [
            order
            for order in orders
            if year.channels[order.channel].debits[order.order_no].was_refused
        ]
        if len(second) != len(orders) - 1 or len(late) < len(orders) - 1:
            yield f"account {account_id} was debited {len(orders)} times for {month}"
        if missing := [order.order_no for order in second if order.id not in proposed]:
            yield f"no refund proposed of {missing}"


def _balances(year: Year, books: Books) -> Iterator[str]:
    """Each account has what the channels kept for it, and its subsidy."""
    kept: Counter[int] = Counter()
    paid_in: set[int] = set()
    for order in books.orders:
        trade = year.channels[order.channel].trades.get(order.order_no)
        if trade is not None and trade.state == "paid" and order.state is OrderState.SUCCEEDED:
            kept[order.account_id] += trade.amount_fen - trade.refunded_fen
            paid_in.add(order.account_id)
    for account in books.accounts:
        due_fen = kept[account.id] + (SUBSIDY_FEN if account.id in paid_in else 0)
        if account.balance_fen != due_fen:
            yield f"account {account.id} has {account.balance_fen}, not {due_fen}"


def _months(year: Year, books: Books) -> Iterator[str]:
    """A quarter that was paid counts for three months."""
    paid: dict[int, set[str]] = defaultdict(set)
    for order in books.orders:
        if order.state is OrderState.SUCCEEDED and order.amount_fen > order.refunded_fen:
            paid[order.account_id].update(Period.parse(order.contribution_month).months)
    for person in year.people:
        counted = year.fund.ports.read(
            lambda session, one=person: counted_months(session, account_id=one.account_id)
        )
        if set(counted) != paid[person.account_id]:
            differ = sorted(set(counted) ^ paid[person.account_id])
            yield f"account {person.account_id}: these months do not count as paid: {differ}"
