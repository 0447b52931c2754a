"""At the end: the books of the channels against ours, when nothing is under way any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.breaks.models import Break
from app.domain.contributors.models import Account
from app.domain.payment_orders.models import PaymentOrder
from app.domain.refunds.models import Refund
from tests.simulation.books import Books, must
from tests.simulation.channel import Returned, Trade
from tests.simulation.world import Violation

ACCOUNT, BREAK = table_of(Account), table_of(Break)
ORDER, REFUND = table_of(PaymentOrder), table_of(Refund)
REFUNDS = select(REFUND, ORDER.c.order_no).join(ORDER, ORDER.c.id == REFUND.c.order_id)


def compare(session: Session, *, books: Books) -> None:
    """Compare with the channels order by order: equal, or an open break says why not."""
    comparison = Comparison(books, session)
    comparison.compare_orders()
    comparison.compare_refunds()
    comparison.compare_totals()
    comparison.compare_accounts()
    comparison.check_breaks()


class Comparison:
    """The books of the channels against ours, when nothing is under way any more."""

    def __init__(self, books: Books, session: Session) -> None:
        self.books, self.town = books, books.town
        self.orders = {row.order_no: row for row in session.execute(select(ORDER))}
        self.refunds = {row.refund_no: row for row in session.execute(REFUNDS)}
        self.accounts = list(session.execute(select(ACCOUNT)))
        self.breaks = list(session.execute(select(BREAK).order_by(BREAK.c.id)))
        self.broken = {(row.kind, row.number) for row in self.breaks}
        self.explained_fen: Counter[str] = Counter()
        """What our clearing has more than the channel, with a break that says why."""
        self.accounts_explained_fen: Counter[int] = Counter()
        """The same by account: refunds that the channel has of another mind about."""

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
                    self._explain(channel, ours, -ours.amount_fen)
            case "failed":
                must(("refund_failed", number) in self.broken, told)
                if given:
                    must(("late_refund", number) in self.broken, told)
                    self._explain(channel, ours, ours.amount_fen)
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

    def compare_accounts(self) -> None:
        """Each has what the channels took and kept for it, and its subsidy; held is what is asked.

        Counted from the channels' side alone, but for what a break explains.
        """
        expected: Counter[int] = Counter(self.books.grants_fen)
        for number, order in self.orders.items():
            trade = self.town.channels[order.channel].trades.get(number)
            if trade is not None and not trade.is_odd and order.state == "succeeded":
                expected[order.account_id] += _total([trade])
        held: Counter[int] = Counter()
        for refund in self.refunds.values():
            if refund.state == "requested":
                held[refund.account_id] += refund.amount_fen
        for account in self.accounts:
            fen = expected[account.id] + self.accounts_explained_fen[account.id]
            must(account.balance_fen == fen, f"#{account.id}: {account.balance_fen}, not {fen}")
            told = f"#{account.id} holds {account.held_fen}, not {held[account.id]}"
            must(account.held_fen == held[account.id], told)

    def _explain(self, channel: str, refund: Any, fen: int) -> None:
        self.explained_fen[channel] += fen
        self.accounts_explained_fen[refund.account_id] += fen

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
