"""The witness: follows the journal line by line and judges it by the channels' books.

It shares no query and no rule with the product. What it allows is written here a second time: whose
money it is, what day it counts for, what the cap leaves, when the opening subsidy is due.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.account_overview import AccountOverview, account_overview
from app.domain.base import table_of
from app.domain.callbacks.models import ChannelCallback
from app.domain.contributors.models import Account
from app.domain.ledger.models import BusinessDay, JournalEntry, JournalLine
from tests.simulation.channel import Channel, Notice
from tests.simulation.database import CAP_FEN, MINIMUM_FEN
from tests.simulation.world import Violation

if TYPE_CHECKING:
    from tests.simulation.people import Person
    from tests.simulation.town import Town

ACCOUNT, ENTRY = table_of(Account), table_of(JournalEntry)
CALLBACK, DAY = table_of(ChannelCallback), table_of(BusinessDay)
LINE = table_of(JournalLine)

LINES = (
    select(ENTRY, LINE.c.code, LINE.c.account_id, LINE.c.channel, LINE.c.amount_fen)
    .join_from(ENTRY, LINE, LINE.c.entry_id == ENTRY.c.id)
    .order_by(ENTRY.c.id, LINE.c.line_no)
)


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
    sealed: set[date] = field(default_factory=set)
    acknowledged: Counter[tuple[str, str]] = field(default_factory=Counter)
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
            key, day = lines[0].posting_key, lines[0].business_date
            must(day not in self.sealed, f"{key} is posted on {day}, which is sealed")
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
        self.sealed = set(session.scalars(select(DAY.c.day).where(DAY.c.sealed_at.is_not(None))))

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

    def check_stored(self, session: Session, *, channel: Channel, notice: Notice) -> None:
        """What was acknowledged is stored, each time that it was."""
        key = channel.name, notice.number
        self.acknowledged[key] += 1
        stored = select(func.count()).where(
            CALLBACK.c.channel == channel.name, CALLBACK.c.number == (notice.number or None)
        )
        kept = session.scalar(stored) or 0
        must(kept >= self.acknowledged[key], f"a notice of {key} was taken and is not stored")
