"""The witness: follows the journal line by line and judges it by the channels' books.

It shares no query and no rule with the product. What it allows is written here a second time: whose
money it is, what day it counts for, what the cap leaves, when the opening subsidy is due.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.account_overview import AccountOverview, account_overview
from app.domain.base import table_of
from app.domain.breaks.models import Break
from app.domain.contributors.models import Account
from app.domain.ledger.models import JournalEntry, JournalLine
from app.domain.payment_orders.models import PaymentOrder
from app.domain.refunds.models import Refund
from tests.simulation.channel import Returned, Trade
from tests.simulation.database import CAP_FEN
from tests.simulation.world import Violation

if TYPE_CHECKING:
    from tests.simulation.people import Person
    from tests.simulation.town import Town

MINIMUM_FEN = 12_150  # 2,430.00 × 5 %

ACCOUNT, BREAK, ENTRY = table_of(Account), table_of(Break), table_of(JournalEntry)
LINE, ORDER, REFUND = table_of(JournalLine), table_of(PaymentOrder), table_of(Refund)

LINES = (
    select(ENTRY, LINE.c.code, LINE.c.account_id, LINE.c.channel, LINE.c.amount_fen)
    .join_from(ENTRY, LINE, LINE.c.entry_id == ENTRY.c.id)
    .order_by(ENTRY.c.id, LINE.c.line_no)
)
REFUNDS = select(REFUND, ORDER.c.order_no).join(ORDER, ORDER.c.id == REFUND.c.order_id)


def must(holds: object, what: str) -> None:
    if not holds:
        raise Violation(what)


def _day(instant: datetime) -> date:
    """The day in Shanghai, eight hours ahead all year."""
    return (instant + timedelta(hours=8)).date()


@dataclass
class Credit:
    """A deposit as the journal has it, and what was given back of it."""

    account_id: int
    amount_fen: int
    day: date
    refunded_fen: int = 0
    cap_fen: int = 0

    @property
    def net_fen(self) -> int:
        return self.amount_fen - self.refunded_fen


@dataclass
class Books:
    """What the journal must amount to, kept beside it."""

    town: Town
    last_id: int = 0
    keys: set[str] = field(default_factory=set)
    clearing_fen: Counter[str] = field(default_factory=Counter)
    balance_fen: Counter[int] = field(default_factory=Counter)
    credits: dict[str, Credit] = field(default_factory=dict)
    credits_of: dict[int, list[Credit]] = field(default_factory=dict)
    refunded: set[str] = field(default_factory=set)
    suspense: set[str] = field(default_factory=set)
    grants_fen: dict[int, int] = field(default_factory=dict)
    """Opening subsidies that stand, by account."""
    restricted: set[int] = field(default_factory=set)
    """Accounts that the counter has frozen or closed at some time."""

    # -- after every step ----------------------------------------------------------------------

    def follow(self, session: Session) -> None:
        """Judge every entry that is new in the journal."""
        rows = session.execute(LINES.where(ENTRY.c.id > self.last_id)).all()
        entries: dict[int, list[Any]] = {}
        for row in rows:
            entries.setdefault(row.id, []).append(row)
        touched: set[int] = set()
        for lines in entries.values():
            self._judge(lines)
            touched |= {line.account_id for line in lines if line.account_id is not None}
        for account_id in sorted(touched):
            balance_fen, held_fen = session.execute(
                select(ACCOUNT.c.balance_fen, ACCOUNT.c.held_fen).where(ACCOUNT.c.id == account_id)
            ).one()
            expected = self.balance_fen[account_id]
            must(balance_fen == expected, f"#{account_id} has {balance_fen}, lines say {expected}")
            must(0 <= held_fen <= balance_fen, f"#{account_id} holds {held_fen} of {balance_fen}")
            standing = any(credit.net_fen for credit in self.credits_of.get(account_id, ()))
            must(
                standing == (account_id in self.grants_fen), f"#{account_id}: subsidy and deposits"
            )

    def _judge(self, lines: list[Any]) -> None:
        entry = lines[0]
        self.last_id = entry.id
        must(entry.posting_key not in self.keys, f"{entry.posting_key} is posted twice")
        self.keys.add(entry.posting_key)
        must(sum(line.amount_fen for line in lines) == 0, f"{entry.posting_key} is unbalanced")
        for line in lines:
            if line.account_id is not None:
                self.balance_fen[line.account_id] -= line.amount_fen
            if line.channel is not None and line.code == "11901":
                self.clearing_fen[line.channel] += line.amount_fen
        kind, _, rest = entry.posting_key.partition(":")
        person_line = next((line for line in lines if line.account_id is not None), entry)
        amount_fen, account_id = -person_line.amount_fen, person_line.account_id
        match kind, entry.kind:
            case "deposit", "deposit":
                self._judge_deposit(rest, account_id, amount_fen, entry)
            case "refund", "deposit_refund":
                self._judge_refund(rest, account_id, -amount_fen)
            case "suspense", "suspense_receipt":
                self._judge_suspense(rest, abs(entry.amount_fen))
            case "opening-subsidy", "opening_subsidy":
                may_be = self.town.person_of[account_id].subsidies_fen
                must(amount_fen in may_be, f"{entry.posting_key} of {amount_fen}, not {may_be}")
                must(account_id not in self.grants_fen, f"a second subsidy for #{account_id}")
                self.grants_fen[account_id] = amount_fen
            case "opening-subsidy", "opening_subsidy_reversal":
                granted = self.grants_fen.pop(account_id, None)
                must(granted == -amount_fen, f"{entry.posting_key} takes {amount_fen} back")
            case _:
                raise Violation(f"{entry.posting_key} is of an unknown kind {entry.kind}")

    def _judge_deposit(self, order_no: str, account_id: int, amount_fen: int, entry: Any) -> None:
        trade = self.town.trade_of(order_no)
        paid = trade is not None and trade.state == "paid" and trade.paid_fen == amount_fen
        must(paid, f"{order_no} was credited with {amount_fen}, the channel has {trade}")
        assert trade is not None
        owner = self.town.person_of[account_id]
        must(trade.payer_ref.endswith(f"-{owner.number}"), f"{order_no} went to {owner.name}")
        day = _day(entry.posted_at)
        must(entry.business_date == day, f"{order_no} is dated {entry.business_date}")
        self.credits[order_no] = credit = Credit(account_id, amount_fen, day)
        self.credits_of.setdefault(account_id, []).append(credit)
        # Ordered in the last minutes of a year, it was measured by the cap of that year.
        credit.cap_fen = max(CAP_FEN[day.year], CAP_FEN[_day(trade.ordered_at).year])
        cap_fen = max(c.cap_fen for c in self.credits_of[account_id] if c.day.year == day.year)
        used_fen = self.used_fen(account_id, day.year)
        must(used_fen <= cap_fen, f"#{account_id} has {used_fen} in {day.year}")

    def _judge_refund(self, refund_no: str, account_id: int, amount_fen: int) -> None:
        refund = self.town.refund_of(refund_no)
        given = refund is not None and refund.state in {"done", "back"}
        must(given, f"{refund_no} was posted, the channel has {refund}")
        assert refund is not None
        credit = self.credits[refund.order_no]
        must(refund.amount_fen == amount_fen, f"{refund_no} was posted with {amount_fen}")
        must(credit.account_id == account_id, f"{refund_no} was taken from #{account_id}")
        credit.refunded_fen += amount_fen
        self.refunded.add(refund_no)

    def _judge_suspense(self, what: str, amount_fen: int) -> None:
        channel, _, reference = what.partition(":")
        if reference:
            _, stray_fen = self.town.channels[channel].strays.get(reference, ("", 0))
            must(stray_fen == amount_fen, f"no stray money {what} of {amount_fen}")
        else:
            trade = self.town.trade_of(what)
            paid = trade is not None and trade.paid_fen == amount_fen
            must(paid, f"{what} is in suspense with {amount_fen}, the channel has {trade}")
            assert trade is not None
            account_id = self.town.payer_of(trade).account_id
            barred = account_id in self.restricted
            must(trade.rogue or barred, f"{what} was paid in time and is in suspense")
        self.suspense.add(reference or what)

    # -- what people are told ------------------------------------------------------------------

    def used_fen(self, account_id: int, year: int) -> int:
        """What is credited in a year less refunds: all that counts when nothing is open."""
        return sum(c.net_fen for c in self.credits_of.get(account_id, ()) if c.day.year == year)

    def check_cap_refusal(self, person: Person, amount_fen: int) -> None:
        asked_fen = sum(person.attempts_fen.values()) + len(person.attempts_fen)
        cap_fen = min(CAP_FEN.values())
        must(asked_fen > cap_fen, f"{person.name} never asked for more than the cap")

    def check_status_refusal(self, person: Person) -> None:
        must(person.account_id in self.restricted, f"{person.name} was never frozen or closed")

    def check_overview(self, person: Person, seen: AccountOverview) -> None:
        """The home screen shows the balance, the months and the subsidy that the witness has."""
        account_id, credits = person.account_id, self.credits_of.get(person.account_id, [])
        months: Counter[str] = Counter()
        for credit in credits:
            months[f"{credit.day:%Y-%m}"] += credit.net_fen
        expected = (
            self.balance_fen[account_id],
            self.grants_fen.get(account_id, 0),
            self.used_fen(account_id, seen.year),
            sorted(month for month, net_fen in months.items() if net_fen >= MINIMUM_FEN),
        )
        shown = (
            seen.balance_fen,
            seen.opening_subsidy_fen,
            seen.deposited_this_year_fen,
            seen.months,
        )
        must(shown == expected, f"{person.name} sees {shown}, not {expected}")

    def check_final(self, session: Session, person: Person, *, now: datetime) -> None:
        """The same in the end, when the room under the cap is what the credits leave."""
        seen = account_overview(session, account_id=person.account_id, now=now)
        self.check_overview(person, seen)
        odd_fen = sum(trade.amount_fen for trade in self.town.odd_trades_of(person))
        room_fen = CAP_FEN[seen.year] - self.used_fen(person.account_id, seen.year) - odd_fen
        must(seen.room_fen == max(0, room_fen), f"{person.name} has room {seen.room_fen}")

    # -- at the end ----------------------------------------------------------------------------

    def compare(self, session: Session) -> None:
        """Compare with the channels order by order: equal, or an open break says why not."""
        comparison = Comparison(self, session)
        comparison.compare_orders()
        comparison.compare_refunds()
        comparison.compare_totals()
        comparison.check_breaks()


class Comparison:
    """The books of the channels against ours, when nothing is under way any more."""

    def __init__(self, books: Books, session: Session) -> None:
        self.books, self.town = books, books.town
        self.orders = {row.order_no: row for row in session.execute(select(ORDER))}
        self.refunds = {row.refund_no: row for row in session.execute(REFUNDS)}
        self.breaks = list(session.execute(select(BREAK).order_by(BREAK.c.id)))
        self.broken = {(row.kind, row.number) for row in self.breaks}
        self.explained_fen: Counter[str] = Counter()
        """What our clearing has more than the channel, with a break that says why."""

    def compare_orders(self) -> None:
        for channel in self.town.channels.values():
            for number in channel.trades:
                must(number in self.orders, f"{number} is not in our books")
        for number, order in self.orders.items():
            trade = self.town.channels[order.channel].trades.get(number)
            told = f"{number} is {order.state}, the channel has {trade}"
            if trade is None or trade.state != "paid":
                refused = number in self.town.channels[order.channel].refused
                refused = refused or (trade is not None and trade.state == "closed")
                must(order.state == "closed" or (order.state == "failed" and refused), told)
            elif trade.paid_fen != order.amount_fen:
                must(("amount_mismatch", number) in self.broken, told)
                must(order.state not in {"succeeded", "in_suspense"}, told)
                self.explained_fen[order.channel] -= trade.paid_fen
            elif order.state == "in_suspense":
                kinds = {"late_payment", "account_closed"}
                must(any((kind, number) in self.broken for kind in kinds), told)
                must(number in self.books.suspense, told)
            else:
                must(order.state == "succeeded", told)
                credit = self.books.credits[number]
                must(order.credited_on == credit.day, told)
                must(order.contribution_month == f"{credit.day:%Y-%m}", told)
                must(order.refunded_fen == credit.refunded_fen, told)

    def compare_refunds(self) -> None:
        for channel in self.town.channels.values():
            for number in channel.refunds:
                must(number in self.refunds, f"{number} is not in our books")
        for number, ours in self.refunds.items():
            self._compare_refund(number, ours, self.town.refund_of(number))

    def _compare_refund(self, number: str, ours: Any, theirs: Returned | None) -> None:
        told = f"{number} is {ours.state}, the channel has {theirs}"
        given = theirs is not None and theirs.state == "done"
        channel = self.orders[ours.order_no].channel
        match ours.state:
            case "succeeded":
                must(number in self.books.refunded, told)
                if not given:
                    must(theirs is not None and theirs.state == "back", told)
                    must(("refund_failed", number) in self.broken, told)
                    self.explained_fen[channel] -= ours.amount_fen
            case "failed":
                must(("refund_failed", number) in self.broken, told)
                if given:
                    must(("late_refund", number) in self.broken, told)
                    self.explained_fen[channel] += ours.amount_fen
            case "requested" | "rejected":
                must(theirs is None, told)
            case _:
                raise Violation(told)

    def compare_totals(self) -> None:
        for name, channel in self.town.channels.items():
            theirs = _total(channel.trades.values()) + sum(
                fen for _, fen in channel.strays.values()
            )
            ours, explained = self.books.clearing_fen[name], self.explained_fen[name]
            must(ours == theirs + explained, f"{name}: {ours}, not {theirs} and {explained}")

    def check_breaks(self) -> None:
        """Every break has its cause out there, and every such cause its break."""
        for row in self.breaks:
            must(self._has_cause(row), f"a break without a cause: {tuple(row)}")
        found = {(row.number, row.found_fen) for row in self.breaks}
        for channel in self.town.channels.values():
            for number, order_no in channel.overdrawn:
                late = {n for n, r in self.refunds.items() if r.order_no == order_no}
                late = {n for n in late if ("late_refund", n) in self.broken}
                must(late, f"{number} asks for more than is left of {order_no}")
            for told in sorted(channel.misquotes_taken):
                must(told in found, f"no break for the wrong amount of {told}")
            for reference in channel.strays:
                must(reference in self.books.suspense, f"stray {reference} is not in suspense")

    def _has_cause(self, row: Any) -> bool:
        channel, number = self.town.channels[row.channel], row.number
        trade, refund = channel.trades.get(number), channel.refunds.get(number)
        refused = number in channel.refused
        match row.kind:
            case "amount_mismatch":
                return (number, row.found_fen) in channel.misquotes
            case "unknown_order":
                return (number, row.found_fen) in channel.strays.values()
            case "late_payment":
                return trade is not None and trade.rogue
            case "account_closed":
                assert trade is not None
                return self.town.payer_of(trade).account_id in self.books.restricted
            case "refund_failed":
                return refused or (refund is not None and refund.state in {"failed", "back"})
            case "late_refund":
                # Its end came to us before the news that it had been done.
                return refused or (refund is not None and refund.state == "back")
            case "undecided":
                begun = self.orders[number].created_at if number in self.orders else None
                begun = begun or self.refunds[number].requested_at
                return bool(row.opened_at - begun >= timedelta(days=1))
            case _:
                return False


def _total(trades: Iterable[Trade]) -> int:
    return sum(
        trade.paid_fen - sum(r.amount_fen for r in trade.refunds if r.state == "done")
        for trade in trades
        if trade.state == "paid"
    )
