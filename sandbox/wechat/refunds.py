"""退款 Refunds: accepted, in process, done or closed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused
from sandbox.wechat.accounts import (
    Rules,
    merchant_balance,
    move_merchant,
    move_payer,
    new_number,
    seconds_now,
)
from sandbox.wechat.checks import Fields, Refusal

MOST_REFUNDS = 50
REFUNDABLE_SECONDS = 365 * 86400

_FIND = (
    "SELECT refund.* FROM refund JOIN trade USING (out_trade_no) WHERE {} = ? ORDER BY refund.rowid"
)
# In the order in which the protocol prefers them.
_FINDERS = {
    "refund_id": _FIND.format("refund_id"),
    "out_refund_no": _FIND.format("out_refund_no"),
    "transaction_id": _FIND.format("transaction_id"),
    "out_trade_no": _FIND.format("out_trade_no"),
}

Announce = Callable[[sqlite3.Row, sqlite3.Row], None]


class Refunds:
    """The refunds in the books.

    Args:
        announce: told of each refund that ends, with its order, inside the transaction.
    """

    def __init__(self, books: Books, clock: Clock, rules: Rules, announce: Announce) -> None:
        self._books = books
        self._clock = clock
        self._rules = rules
        self._announce = announce

    def accept(self, trade: sqlite3.Row, fields: Fields, *, pending: bool) -> sqlite3.Row:
        """Return the refund, new or the same as before; it is done at once unless `pending`.

        The merchant's account pays at once, the wallet gets the money when it is done.
        """
        number, amount_fen = fields["out_refund_no"], int(fields["refund_fee"])
        with self._books.transaction() as books:
            before = _find(books, number)
            if before is not None:
                _check_same(before, trade, fields)
                return before
            already_fen = self._check_new(books, trade, fields)
            now = seconds_now(self._clock)
            refund_id = new_number("50300", now, 29)
            rest_fen = trade["amount_fen"] - already_fen
            # What all refunds of an order give back adds up to its fee, whatever the parts.
            fee_back_fen = self._rules.fee_fen(rest_fen) - self._rules.fee_fen(
                rest_fen - amount_fen
            )
            if merchant_balance(books) < amount_fen - fee_back_fen:
                raise Refusal("NOTENOUGH", "商户余额不足，请充值后重试")
            books.execute(
                "INSERT INTO refund (out_refund_no, refund_id, out_trade_no, amount_fen,"
                " fee_back_fen, reason, notify_url, state, accepted_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'PROCESSING', ?)",
                (
                    number,
                    refund_id,
                    trade["out_trade_no"],
                    amount_fen,
                    fee_back_fen,
                    fields.get("refund_desc", ""),
                    fields.get("notify_url", ""),
                    now,
                ),
            )
            move_merchant(
                books,
                now,
                "退款",
                fee_back_fen - amount_fen,
                reference=refund_id,
                voucher=number,
                remark=fields.get("refund_desc", ""),
            )
            if not pending:
                self._end(books, number, "SUCCESS")
            return _get(books, number)

    def _check_new(self, books: sqlite3.Connection, trade: sqlite3.Row, fields: Fields) -> int:
        """Return how much of the order has gone back already."""
        if trade["paid_at"] is None:
            raise Refusal("INVALID_REQUEST", "订单未支付，不能退款")
        if trade["amount_fen"] != int(fields["total_fee"]):
            raise Refusal("REFUND_FEE_MISMATCH", "订单金额或退款金额与之前请求不一致，请核实后再试")
        if seconds_now(self._clock) > trade["paid_at"] + REFUNDABLE_SECONDS:
            raise Refusal("TRADE_OVERDUE", "订单已经超过可退款的最大期限")
        count, already_fen = books.execute(
            "SELECT COUNT(*), COALESCE(SUM(amount_fen), 0) FROM refund"
            " WHERE out_trade_no = ? AND state != 'REFUNDCLOSE'",
            (trade["out_trade_no"],),
        ).fetchone()
        if count >= MOST_REFUNDS:
            raise Refusal("INVALID_REQUEST", "部分退款次数超过限制")
        if already_fen + int(fields["refund_fee"]) > trade["amount_fen"]:
            raise Refusal("INVALID_REQUEST", "累计退款金额大于支付金额")
        return int(already_fen)

    def finish(self, out_refund_no: str, state: str) -> None:
        """End a refund in process.

        Raises:
            Refused: there is none.
        """
        with self._books.transaction() as books:
            refund = _find(books, out_refund_no)
            if refund is None or refund["state"] != "PROCESSING":
                raise Refused("没有这笔处理中的退款")
            self._end(books, out_refund_no, state)

    def _end(self, books: sqlite3.Connection, number: str, state: str) -> None:
        now = seconds_now(self._clock)
        books.execute(
            "UPDATE refund SET state = ?, finished_at = ? WHERE out_refund_no = ?",
            (state, now, number),
        )
        refund = _get(books, number)
        trade = books.execute(
            "SELECT * FROM trade WHERE out_trade_no = ?", (refund["out_trade_no"],)
        ).fetchone()
        if state == "SUCCESS":
            move_payer(books, trade["openid"], refund["amount_fen"])
        else:
            back_fen = refund["amount_fen"] - refund["fee_back_fen"]
            move_merchant(
                books, now, "退款退回", back_fen, reference=refund["refund_id"], voucher=number
            )
        self._announce(refund, trade)

    def find(self, fields: Fields) -> Sequence[sqlite3.Row]:
        """Return the refunds asked for, oldest first: one by its number, or all of an order."""
        name = next(name for name in _FINDERS if fields.get(name))
        with self._books.transaction() as books:
            found = books.execute(_FINDERS[name], (fields[name],)).fetchall()
        if not found:
            raise Refusal("REFUNDNOTEXIST", "退款订单查询失败")
        return found


def _check_same(before: sqlite3.Row, trade: sqlite3.Row, fields: Fields) -> None:
    if (
        before["out_trade_no"] != trade["out_trade_no"]
        or before["amount_fen"] != int(fields["refund_fee"])
        or trade["amount_fen"] != int(fields["total_fee"])
    ):
        raise Refusal("REFUND_FEE_MISMATCH", "订单金额或退款金额与之前请求不一致，请核实后再试")


def _find(books: sqlite3.Connection, number: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = books.execute(
        "SELECT * FROM refund WHERE out_refund_no = ?", (number,)
    ).fetchone()
    return found


def _get(books: sqlite3.Connection, number: str) -> sqlite3.Row:
    found = _find(books, number)
    if found is None:
        raise LookupError(number)
    return found
