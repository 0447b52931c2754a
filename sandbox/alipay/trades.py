"""交易 Trades: created, asked for, paid by the wallet, closed."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta

from sandbox.alipay.accounts import (
    Merchant,
    Rules,
    beijing,
    move_payer,
    move_seller,
    new_trade_no,
    read_spaced,
    seconds_now,
    spaced,
    yuan,
)
from sandbox.alipay.checks import (
    Content,
    Refusal,
    invalid,
    read_fen,
    read_notify_url,
    read_out_trade_no,
    read_text,
)
from sandbox.alipay.door import Call
from sandbox.books import Books
from sandbox.clock import SHANGHAI, Clock
from sandbox.control import Refused

PRODUCT = "JSAPI_PAY"

_LONGEST_SECONDS = 15 * 86400
_TIMEOUT = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86400}
_NOT_IN_SUBJECT = frozenset("/=&")

# When a repeat is to expire is computed anew by many merchants; everything else is the trade.
_NOT_CONTENT = frozenset({"timeout_express", "time_expire"})

Announce = Callable[[sqlite3.Connection, sqlite3.Row, sqlite3.Row | None], None]


class Trades:
    """The trades in the books.

    Args:
        announce: told of each trade that is paid, and of each closed unpaid if the rules say so,
            inside the transaction that books it.
    """

    def __init__(
        self, books: Books, clock: Clock, merchant: Merchant, rules: Rules, announce: Announce
    ) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant
        self._rules = rules
        self._announce = announce

    def create(self, call: Call) -> dict[str, object]:
        """`alipay.trade.create`: a new trade, or the same one created before."""
        content = call.content
        number = read_out_trade_no(content)
        amount_fen = read_fen(content, "total_amount")
        subject = read_text(content, "subject", 256, required=True)
        if _NOT_IN_SUBJECT & set(subject):
            raise invalid("subject 含特殊字符")
        self._check_product(content)
        open_id = self._read_buyer(content)
        same = {name: value for name, value in content.items() if name not in _NOT_CONTENT}
        with self._books.transaction() as books:
            self.close_expired()
            trade = find_trade(books, "out_trade_no", number)
            if trade is not None:
                check_repeat(trade, open_id, same)
                return _numbers(trade)
            known = books.execute(
                "SELECT 1 FROM payer WHERE open_id = ? AND app_id = ?",
                (open_id, self._merchant.app_id),
            ).fetchone()
            if known is None:
                raise Refusal("ACQ.BUYER_NOT_EXIST", "买家不存在")
            now = seconds_now(self._clock)
            trade_no = new_trade_no(books, now)
            books.execute(
                "INSERT INTO trade (trade_no, out_trade_no, content, open_id, amount_fen, subject,"
                " body, passback_params, notify_url, charset, state, created_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'WAIT_BUYER_PAY', ?, ?)",
                (
                    trade_no,
                    number,
                    as_text(same),
                    open_id,
                    amount_fen,
                    subject,
                    read_text(content, "body", 128),
                    read_text(content, "passback_params", 512),
                    read_notify_url(call.fields),
                    call.charset,
                    now,
                    _expires_at(content, now),
                ),
            )
            return {"out_trade_no": number, "trade_no": trade_no}

    def _check_product(self, content: Content) -> None:
        if read_text(content, "product_code", 64) != PRODUCT:
            raise Refusal("ACQ.ACCESS_FORBIDDEN", f"无权限使用接口：只签约了 {PRODUCT}")
        if read_text(content, "op_app_id", 32, required=True) != self._merchant.app_id:
            raise invalid("op_app_id 不是本商户的小程序")
        if read_text(content, "seller_id", 28) not in {"", self._merchant.seller_id}:
            raise invalid("seller_id 不是本商户")

    def _read_buyer(self, content: Content) -> str:
        if read_text(content, "buyer_id", 28) == self._merchant.seller_id:
            raise Refusal("ACQ.BUYER_SELLER_EQUAL", "买卖家不能相同")
        open_id = read_text(content, "buyer_open_id", 128)
        if not open_id:
            if content.get("buyer_id"):
                raise Refusal("ACQ.BUYER_NOT_EXIST", "买家不存在")
            raise invalid("缺少 buyer_open_id")
        return open_id

    def query(self, call: Call) -> dict[str, object]:
        """`alipay.trade.query`."""
        with self._books.transaction() as books:
            self.close_expired()
            trade = read_trade(books, call.content)
            payer = books.execute(
                "SELECT * FROM payer WHERE open_id = ?", (trade["open_id"],)
            ).fetchone()
        amount = yuan(trade["amount_fen"])
        paid = amount if trade["paid_at"] is not None else "0.00"
        answer = {
            **_numbers(trade),
            "buyer_logon_id": payer["logon_id"],
            "buyer_open_id": trade["open_id"],
            "trade_status": self.status(trade),
            "total_amount": amount,
            "receipt_amount": paid,
            "buyer_pay_amount": paid,
            "invoice_amount": paid,
            "point_amount": "0.00",
            "subject": trade["subject"],
            "body": trade["body"],
        }
        if trade["paid_at"] is not None:
            answer["send_pay_date"] = spaced(trade["paid_at"])
            answer["fund_bill_list"] = [{"amount": amount, "fund_channel": "ALIPAYACCOUNT"}]
        return answer

    def status(self, trade: sqlite3.Row) -> str:
        """Return `trade_status`; TRADE_FINISHED is not stored but comes with time."""
        state = str(trade["state"])
        if state != "TRADE_SUCCESS":
            return state
        refundable_until = trade["paid_at"] + self._rules.refund_days * 86400
        return "TRADE_FINISHED" if seconds_now(self._clock) >= refundable_until else state

    def close(self, call: Call) -> dict[str, object]:
        """`alipay.trade.close`: nobody can pay the trade afterwards."""
        with self._books.transaction() as books:
            self.close_expired()
            trade = read_trade(books, call.content)
            if trade["state"] != "WAIT_BUYER_PAY":
                raise Refusal("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
            self.close_unpaid(books, trade, seconds_now(self._clock))
        return _numbers(trade)

    def close_unpaid(self, books: sqlite3.Connection, trade: sqlite3.Row, at: int) -> None:
        """Close one, and tell the merchant of it if the rules say so."""
        books.execute(
            "UPDATE trade SET state = 'TRADE_CLOSED', closed_at = ? WHERE trade_no = ?",
            (at, trade["trade_no"]),
        )
        if self._rules.announces_closing:
            self._announce(books, get_trade(books, trade["trade_no"]), None)

    def close_expired(self) -> None:
        """Close every trade whose time to pay is over; it was over at its own moment."""
        with self._books.transaction() as books:
            expired = books.execute(
                "SELECT * FROM trade WHERE state = 'WAIT_BUYER_PAY' AND expires_at <= ?"
                " ORDER BY expires_at",
                (seconds_now(self._clock),),
            ).fetchall()
            for trade in expired:
                self.close_unpaid(books, trade, trade["expires_at"])

    def pay(self, payer: str, phone: Mapping[str, object]) -> sqlite3.Row:
        """Pay as the wallet does with what my.tradePay was given, and return the trade.

        Raises:
            Refused: the wallet shows an error instead.
        """
        trade_no = phone.get("tradeNO")
        if not isinstance(trade_no, str) or not trade_no:
            raise Refused("my.tradePay 缺少参数：tradeNO")
        with self._books.transaction() as books:
            self.close_expired()
            trade = find_trade(books, "trade_no", trade_no)
            if trade is None:
                raise Refused("交易不存在")
            if trade["paid_at"] is not None:
                raise Refused("交易已支付")
            if trade["state"] != "WAIT_BUYER_PAY":
                raise Refused("交易已关闭")
            if trade["open_id"] != payer:
                raise Refused("当前用户与交易的买家不一致")
            wallet = books.execute(
                "SELECT balance_fen FROM payer WHERE open_id = ?", (payer,)
            ).fetchone()
            if wallet["balance_fen"] < trade["amount_fen"]:
                raise Refused("余额不足")
            return self.book(books, trade, seconds_now(self._clock))

    def book(self, books: sqlite3.Connection, trade: sqlite3.Row, at: int) -> sqlite3.Row:
        """Move the money of a trade that its payer can pay, and return it paid."""
        amount_fen, trade_no = trade["amount_fen"], trade["trade_no"]
        fee_fen = self._rules.fee_fen(amount_fen)
        move_payer(books, trade["open_id"], -amount_fen)
        move_seller(books, self._merchant, amount_fen - fee_fen)
        books.execute(
            "UPDATE trade SET state = 'TRADE_SUCCESS', paid_at = ?, fee_fen = ? WHERE trade_no = ?",
            (at, fee_fen, trade_no),
        )
        paid = get_trade(books, trade_no)
        self._announce(books, paid, None)
        return paid


def find_trade(books: sqlite3.Connection, column: str, number: str) -> sqlite3.Row | None:
    """Return the trade with this `trade_no` or `out_trade_no`, if any."""
    found: sqlite3.Row | None = books.execute(
        f"SELECT * FROM trade WHERE {column} = ?",  # noqa: S608  # nosec B608  # a column named by us
        (number,),
    ).fetchone()
    return found


def get_trade(books: sqlite3.Connection, trade_no: str) -> sqlite3.Row:
    trade = find_trade(books, "trade_no", trade_no)
    if trade is None:
        raise LookupError(trade_no)
    return trade


def read_trade(books: sqlite3.Connection, content: Content) -> sqlite3.Row:
    """Return the trade that is asked for; `trade_no` goes first.

    Raises:
        Refusal: there is none, or none was asked for.
    """
    trade_no = read_text(content, "trade_no", 64)
    number = trade_no or read_text(content, "out_trade_no", 64)
    if not number:
        raise invalid("trade_no 和 out_trade_no 不能同时为空")
    trade = find_trade(books, "trade_no" if trade_no else "out_trade_no", number)
    if trade is None:
        raise Refusal("ACQ.TRADE_NOT_EXIST", "交易不存在")
    return trade


def _numbers(trade: sqlite3.Row) -> dict[str, object]:
    return {"out_trade_no": trade["out_trade_no"], "trade_no": trade["trade_no"]}


def as_text(content: Content) -> str:
    return json.dumps(content, ensure_ascii=False, sort_keys=True)


def check_repeat(trade: sqlite3.Row, open_id: str, content: Content) -> None:
    if trade["state"] == "TRADE_SUCCESS":
        raise Refusal("ACQ.TRADE_HAS_SUCCESS", "交易已被支付")
    if trade["state"] == "TRADE_CLOSED":
        raise Refusal("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
    if trade["open_id"] != open_id:
        raise Refusal("ACQ.TRADE_BUYER_NOT_MATCH", "交易买家不匹配")
    if trade["content"] != as_text(content):
        raise Refusal("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")


def _expires_at(content: Content, now: int) -> int:
    """Return when the time to pay is over; `time_expire` wins over `timeout_express`."""
    moment = read_text(content, "time_expire", 32)
    if moment:
        try:
            expires_at = read_spaced(moment)
        except ValueError:
            raise invalid("time_expire 应为 yyyy-MM-dd HH:mm:ss") from None
        if not now < expires_at <= now + _LONGEST_SECONDS:
            raise invalid("time_expire 应在 15 天之内")
        return expires_at
    timeout = read_text(content, "timeout_express", 6)
    if not timeout:
        return now + _LONGEST_SECONDS
    if timeout == "1c":
        tomorrow = beijing(now).date() + timedelta(days=1)
        return int(datetime.combine(tomorrow, time(), SHANGHAI).timestamp())
    match = _TIMEOUT.fullmatch(timeout)
    if match is None:
        raise invalid("timeout_express 应为 1m 到 15d")
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]]
    if seconds > _LONGEST_SECONDS:
        raise invalid("timeout_express 应为 1m 到 15d")
    return now + seconds
