"""退款 Refunds, in parts or in full, done at once or later; and cancelling a trade."""

from __future__ import annotations

import sqlite3

from sandbox.alipay.accounts import (
    Merchant,
    Rules,
    move_payer,
    move_seller,
    refunded_fen,
    seconds_now,
    seller_balance,
    spaced,
    yuan,
)
from sandbox.alipay.checks import Refusal, read_fen, read_text
from sandbox.alipay.door import Call
from sandbox.alipay.trades import Announce, Trades, get_trade, read_trade
from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused


class Refunds:
    """The refunds in the books.

    Args:
        announce: told of each refund that is done, with its trade, inside the transaction.
    """

    def __init__(
        self,
        books: Books,
        clock: Clock,
        merchant: Merchant,
        rules: Rules,
        trades: Trades,
        announce: Announce,
    ) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant
        self._rules = rules
        self._trades = trades
        self._announce = announce

    def refund(self, call: Call, *, pending: bool = False) -> dict[str, object]:
        """`alipay.trade.refund`: done at once, unless `pending`.

        The same number with the same amount again changes nothing. One that failed may be tried
        again under its number.
        """
        amount_fen = read_fen(call.content, "refund_amount")
        number = read_text(call.content, "out_request_no", 64)
        reason = read_text(call.content, "refund_reason", 256)
        with self._books.transaction() as books:
            trade = read_trade(books, call.content)
            if not number and amount_fen != trade["amount_fen"]:
                raise Refusal("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "部分退款应传 out_request_no")
            number = number or trade["out_trade_no"]
            before = _find(books, trade["trade_no"], number)
            is_new = before is None or before["state"] == "REFUND_FAIL"
            if before is not None and before["amount_fen"] != amount_fen:
                raise Refusal("ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求")
            if is_new:
                self._check_refundable(books, trade, amount_fen)
                self._accept(books, trade, number, amount_fen, reason)
                if not pending:
                    self._finish(books, trade, number)
            payer = books.execute(
                "SELECT * FROM payer WHERE open_id = ?", (trade["open_id"],)
            ).fetchone()
            answer: dict[str, object] = {
                "trade_no": trade["trade_no"],
                "out_trade_no": trade["out_trade_no"],
                "buyer_logon_id": payer["logon_id"],
                "buyer_open_id": trade["open_id"],
                "fund_change": "Y" if is_new and not pending else "N",
                "refund_fee": yuan(refunded_fen(books, trade["trade_no"])),
            }
            if is_new and not pending:
                answer["gmt_refund_pay"] = spaced(seconds_now(self._clock))
                answer["refund_detail_item_list"] = [
                    {"amount": yuan(amount_fen), "fund_channel": "ALIPAYACCOUNT"}
                ]
            return answer

    def _check_refundable(
        self, books: sqlite3.Connection, trade: sqlite3.Row, amount_fen: int
    ) -> None:
        status = self._trades.status(trade)
        if status == "TRADE_FINISHED":
            raise Refusal("ACQ.TRADE_HAS_FINISHED", "交易已完结")
        if status != "TRADE_SUCCESS":
            raise Refusal("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
        if amount_fen > _rest_fen(books, trade):
            raise Refusal("ACQ.REASON_TRADE_REFUND_FEE_ERR", "退款金额无效")

    def _accept(
        self,
        books: sqlite3.Connection,
        trade: sqlite3.Row,
        number: str,
        amount_fen: int,
        reason: str,
    ) -> None:
        """Take the money from the seller; what gives back the last part gives back the last fee."""
        rest_fen = _rest_fen(books, trade)
        fee_back_fen = self._rules.fee_fen(rest_fen) - self._rules.fee_fen(rest_fen - amount_fen)
        if seller_balance(books) < amount_fen - fee_back_fen:
            raise Refusal("ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足")
        move_seller(books, self._merchant, fee_back_fen - amount_fen)
        books.execute(
            "INSERT OR REPLACE INTO refund VALUES (?, ?, ?, ?, ?, 'REFUND_PROCESSING', ?, NULL)",
            (
                trade["trade_no"],
                number,
                amount_fen,
                fee_back_fen,
                reason,
                seconds_now(self._clock),
            ),
        )

    def _finish(self, books: sqlite3.Connection, trade: sqlite3.Row, number: str) -> None:
        """Give the money to the payer. The trade is closed when all of it has gone back."""
        now = seconds_now(self._clock)
        books.execute(
            "UPDATE refund SET state = 'REFUND_SUCCESS', finished_at = ?"
            " WHERE trade_no = ? AND out_request_no = ?",
            (now, trade["trade_no"], number),
        )
        refund = _find(books, trade["trade_no"], number)
        if refund is None:
            raise LookupError(number)
        move_payer(books, trade["open_id"], refund["amount_fen"])
        if refunded_fen(books, trade["trade_no"]) == trade["amount_fen"]:
            books.execute(
                "UPDATE trade SET state = 'TRADE_CLOSED', closed_at = ? WHERE trade_no = ?",
                (now, trade["trade_no"]),
            )
        self._announce(books, get_trade(books, trade["trade_no"]), refund)

    def finish(self, out_request_no: str, *, success: bool) -> None:
        """End a refund in process.

        Raises:
            Refused: there is none.
        """
        with self._books.transaction() as books:
            refund = books.execute(
                "SELECT * FROM refund WHERE out_request_no = ? AND state = 'REFUND_PROCESSING'",
                (out_request_no,),
            ).fetchone()
            if refund is None:
                raise Refused("没有这笔处理中的退款")
            if success:
                self._finish(books, get_trade(books, refund["trade_no"]), out_request_no)
                return
            move_seller(books, self._merchant, refund["amount_fen"] - refund["fee_back_fen"])
            books.execute(
                "UPDATE refund SET state = 'REFUND_FAIL', finished_at = ?"
                " WHERE trade_no = ? AND out_request_no = ?",
                (seconds_now(self._clock), refund["trade_no"], out_request_no),
            )

    def query(self, call: Call) -> dict[str, object]:
        """`alipay.trade.fastpay.refund.query`.

        Only a refund that is done has a `refund_status`; of one that is unknown nothing is said
        but Success.
        """
        number = read_text(call.content, "out_request_no", 64, required=True)
        with self._books.transaction() as books:
            trade = read_trade(books, call.content)
            refund = _find(books, trade["trade_no"], number)
        if refund is None:
            return {}
        answer: dict[str, object] = {
            "trade_no": trade["trade_no"],
            "out_trade_no": trade["out_trade_no"],
            "out_request_no": number,
            "refund_reason": refund["reason"],
            "total_amount": yuan(trade["amount_fen"]),
            "refund_amount": yuan(refund["amount_fen"]),
        }
        if refund["state"] == "REFUND_SUCCESS":
            answer["refund_status"] = "REFUND_SUCCESS"
            answer["gmt_refund_pay"] = spaced(refund["finished_at"])
        return answer

    def cancel(self, call: Call) -> dict[str, object]:
        """`alipay.trade.cancel`: closes what is unpaid, gives back what is paid.

        An unknown trade is no error: the answer then has no `action`.
        """
        with self._books.transaction() as books:
            self._trades.close_expired()
            try:
                trade = read_trade(books, call.content)
            except Refusal as refusal:
                if refusal.sub_code != "ACQ.TRADE_NOT_EXIST":
                    raise
                number = read_text(call.content, "out_trade_no", 64)
                return {"out_trade_no": number, "retry_flag": "N"}
            answer: dict[str, object] = {
                "trade_no": trade["trade_no"],
                "out_trade_no": trade["out_trade_no"],
                "retry_flag": "N",
                "action": "close" if trade["paid_at"] is None else "refund",
            }
            if trade["state"] == "WAIT_BUYER_PAY":
                self._trades.close_unpaid(books, trade, seconds_now(self._clock))
            elif trade["state"] == "TRADE_SUCCESS":
                self._undo(books, trade)
            return answer

    def _undo(self, books: sqlite3.Connection, trade: sqlite3.Row) -> None:
        """Give back the rest of a trade, under its own number."""
        if self._trades.status(trade) == "TRADE_FINISHED":
            raise Refusal("ACQ.TRADE_HAS_FINISHED", "交易已完结")
        if seconds_now(self._clock) > trade["paid_at"] + self._rules.cancel_hours * 3600:
            raise Refusal("ACQ.TRADE_CANCEL_TIME_OUT", "超过撤销时间范围")
        rest_fen = _rest_fen(books, trade)
        if rest_fen:
            self._accept(books, trade, trade["trade_no"], rest_fen, "撤销")
            self._finish(books, trade, trade["trade_no"])


def _find(books: sqlite3.Connection, trade_no: str, number: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = books.execute(
        "SELECT * FROM refund WHERE trade_no = ? AND out_request_no = ?", (trade_no, number)
    ).fetchone()
    return found


def _rest_fen(books: sqlite3.Connection, trade: sqlite3.Row) -> int:
    """Return what can still be refunded: neither gone back nor on its way."""
    row = books.execute(
        "SELECT COALESCE(SUM(amount_fen), 0) AS fen FROM refund"
        " WHERE trade_no = ? AND state != 'REFUND_FAIL'",
        (trade["trade_no"],),
    ).fetchone()
    return int(trade["amount_fen"]) - int(row["fen"])
