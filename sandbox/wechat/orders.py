"""订单 Orders: placed, asked for, paid by the wallet, closed."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Mapping

from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused
from sandbox.wechat.accounts import (
    Merchant,
    Rules,
    compact,
    move_merchant,
    move_payer,
    new_number,
    seconds_now,
)
from sandbox.wechat.checks import Fields, Refusal, Unacceptable, read_compact
from sandbox.wechat.signing import MD5, is_signed

PREPAY_SECONDS = 2 * 3600
ORDER_SECONDS = 7 * 86400

PAYABLE = frozenset({"NOTPAY", "USERPAYING", "PAYERROR"})

TRADE_STATES: Mapping[str, str] = {
    "SUCCESS": "支付成功",
    "REFUND": "订单发生过退款，退款详情请查询退款单",
    "NOTPAY": "订单未支付",
    "CLOSED": "订单已关闭",
    "REVOKED": "已撤销",
    "USERPAYING": "用户支付中，需要输入密码",
    "PAYERROR": "支付失败(其他原因，如银行返回失败)",
    "PAY_FAIL": "支付失败(其他原因，如银行返回失败)",
    "ACCEPT": "已接收，等待扣款",
}

# A repeat may come from another address at another time; everything else is the order.
NOT_CONTENT = frozenset({"nonce_str", "sign", "sign_type", "time_start", "spbill_create_ip"})

Announce = Callable[[sqlite3.Row], None]


class Orders:
    """The orders in the books.

    Args:
        announce: told of each payment, inside the transaction that books it.
    """

    def __init__(
        self, books: Books, clock: Clock, merchant: Merchant, rules: Rules, announce: Announce
    ) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant
        self._rules = rules
        self._announce = announce

    def place(self, fields: Fields) -> str:
        """Return the prepay_id of a new order, or of the same one placed before."""
        if fields["trade_type"] != "JSAPI":
            raise Refusal("NOAUTH", "商户无此接口权限")
        if not fields.get("openid"):
            raise Unacceptable("JSAPI支付必须传openid")
        content = {name: value for name, value in sorted(fields.items()) if name not in NOT_CONTENT}
        with self._books.transaction() as books:
            openid = fields["openid"]
            if not books.execute("SELECT 1 FROM payer WHERE openid = ?", (openid,)).fetchone():
                raise Unacceptable("appid and openid not match")
            trade = find_trade(books, fields["out_trade_no"])
            if trade is None:
                return self._open(books, fields, json.dumps(content, ensure_ascii=False))
            return self._place_again(books, trade, json.dumps(content, ensure_ascii=False))

    def _open(self, books: sqlite3.Connection, fields: Fields, content: str) -> str:
        now = seconds_now(self._clock)
        expires_at = now + ORDER_SECONDS
        if fields.get("time_expire"):
            expires_at = read_compact(fields["time_expire"])
            if expires_at < now + 60:
                raise Unacceptable("time_expire时间过短，至少1分钟")
        prepay_id = _new_prepay_id(now)
        books.execute(
            "INSERT INTO trade (out_trade_no, content, openid, amount_fen, body, attach,"
            " device_info, notify_url, sign_type, prepay_id, prepay_at, state, created_at,"
            " expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'NOTPAY', ?, ?)",
            (
                fields["out_trade_no"],
                content,
                fields["openid"],
                int(fields["total_fee"]),
                fields["body"],
                fields.get("attach", ""),
                fields.get("device_info", ""),
                fields["notify_url"],
                fields.get("sign_type") or MD5,
                prepay_id,
                now,
                now,
                expires_at,
            ),
        )
        return prepay_id

    def _place_again(self, books: sqlite3.Connection, trade: sqlite3.Row, content: str) -> str:
        if trade["paid_at"] is not None:
            raise Refusal("ORDERPAID", "该订单已支付")
        if trade["state"] in {"CLOSED", "REVOKED"}:
            raise Refusal("ORDERCLOSED", "该订单已关闭")
        if trade["content"] != content:
            raise Refusal("OUT_TRADE_NO_USED", "商户订单号重复")
        now = seconds_now(self._clock)
        if now < trade["prepay_at"] + PREPAY_SECONDS:
            return str(trade["prepay_id"])
        prepay_id = _new_prepay_id(now)
        books.execute(
            "UPDATE trade SET prepay_id = ?, prepay_at = ? WHERE out_trade_no = ?",
            (prepay_id, now, trade["out_trade_no"]),
        )
        return prepay_id

    def get(self, fields: Fields) -> sqlite3.Row:
        """Return the order that is asked for; the transaction_id goes first."""
        column = "transaction_id" if fields.get("transaction_id") else "out_trade_no"
        with self._books.transaction() as books:
            trade = find_trade(books, fields[column], column)
        if trade is None:
            raise Refusal("ORDERNOTEXIST", "此交易订单号不存在")
        return trade

    def trade_state(self, trade: sqlite3.Row) -> str:
        """Return the state as a query tells it: REFUND once any money goes back."""
        with self._books.transaction() as books:
            refund = books.execute(
                "SELECT 1 FROM refund WHERE out_trade_no = ? AND state != 'REFUNDCLOSE'",
                (trade["out_trade_no"],),
            ).fetchone()
        return "REFUND" if refund else str(trade["state"])

    def close(self, fields: Fields) -> None:
        """Close an order for good. Nobody can pay it afterwards."""
        with self._books.transaction() as books:
            trade = find_trade(books, fields["out_trade_no"])
            if trade is None:
                raise Refusal("ORDERNOTEXIST", "订单系统不存在此订单")
            if trade["paid_at"] is not None:
                raise Refusal("ORDERPAID", "订单已支付，不能发起关单")
            if trade["state"] in {"CLOSED", "REVOKED"}:
                raise Refusal("ORDERCLOSED", "订单已关闭，无法重复关闭")
            wait_until = trade["created_at"] + self._rules.close_wait_seconds
            if trade["state"] not in PAYABLE or seconds_now(self._clock) < wait_until:
                raise Refusal("TRADE_STATE_ERROR", "订单状态错误，暂不能关单")
            books.execute(
                "UPDATE trade SET state = 'CLOSED' WHERE out_trade_no = ?",
                (trade["out_trade_no"],),
            )

    def pay(self, payer: str, phone: Mapping[str, object]) -> sqlite3.Row:
        """Pay as the wallet does with what wx.requestPayment was given, and return the order.

        Raises:
            Refused: the wallet shows an error instead.
        """
        names = ("timeStamp", "nonceStr", "package", "signType", "paySign")
        given = {name: phone.get(name) for name in names}
        for name, value in given.items():
            if not isinstance(value, str) or not value:
                raise Refused(f"调用支付JSAPI缺少参数：{name}")
        texts = {name: str(value) for name, value in given.items()}
        if not texts["timeStamp"].isdigit() or len(texts["nonceStr"]) > 32:
            raise Refused("支付参数格式错误：timeStamp 或 nonceStr")
        marker, _, prepay_id = texts["package"].partition("=")
        if marker != "prepay_id":
            raise Refused("支付参数格式错误：package")
        with self._books.transaction() as books:
            trade = find_trade(books, prepay_id, "prepay_id")
            if trade is None:
                raise Refused("支付参数无效：没有这个 prepay_id")
            sign_type = str(trade["sign_type"])
            signed = {"appId": self._merchant.app_id, **texts}
            if texts["signType"] != sign_type or not is_signed(
                signed, texts["paySign"], self._merchant.api_key, sign_type
            ):
                raise Refused("支付验证签名失败")
            self._check_payable(books, trade, payer)
            paid = self.book(books, trade, seconds_now(self._clock))
            self._announce(paid)
            return paid

    def _check_payable(self, books: sqlite3.Connection, trade: sqlite3.Row, payer: str) -> None:
        now = seconds_now(self._clock)
        if trade["paid_at"] is not None:
            raise Refused("该订单已支付")
        if trade["state"] not in PAYABLE:
            raise Refused("该订单已关闭")
        if now >= trade["prepay_at"] + PREPAY_SECONDS or now >= trade["expires_at"]:
            raise Refused("该订单已过期")
        if trade["openid"] != payer:
            raise Refused("当前用户与下单用户不一致")
        wallet = books.execute(
            "SELECT balance_fen FROM payer WHERE openid = ?", (payer,)
        ).fetchone()
        if wallet["balance_fen"] < trade["amount_fen"]:
            raise Refused("余额不足")

    def book(self, books: sqlite3.Connection, trade: sqlite3.Row, now: int) -> sqlite3.Row:
        """Take the money at the moment `now` and return the order, paid."""
        number, amount_fen = trade["out_trade_no"], trade["amount_fen"]
        transaction_id = new_number("42000", now, 28)
        fee_fen = self._rules.fee_fen(amount_fen)
        move_payer(books, trade["openid"], -amount_fen)
        for name, change_fen in (("交易", amount_fen), ("扣除交易手续费", -fee_fen)):
            move_merchant(
                books, now, name, change_fen, reference=transaction_id, voucher=transaction_id
            )
        books.execute(
            "UPDATE trade SET state = 'SUCCESS', paid_at = ?, transaction_id = ?, fee_fen = ?"
            " WHERE out_trade_no = ?",
            (now, transaction_id, fee_fen, number),
        )
        paid: sqlite3.Row = books.execute(
            "SELECT * FROM trade WHERE out_trade_no = ?", (number,)
        ).fetchone()
        return paid

    def set_state(self, out_trade_no: str, state: str) -> None:
        """Put an unpaid order into another state that means unpaid.

        Raises:
            Refused: it is paid, or the state means that money has moved.
        """
        if state not in TRADE_STATES or state in {"SUCCESS", "REFUND", "PAY_FAIL"}:
            raise Refused(f"不能设为 {state}")
        with self._books.transaction() as books:
            changed = books.execute(
                "UPDATE trade SET state = ? WHERE out_trade_no = ? AND paid_at IS NULL",
                (state, out_trade_no),
            )
        if changed.rowcount == 0:
            raise Refused("没有这个未支付的订单")


def _new_prepay_id(now: int) -> str:
    return f"wx{compact(now)}{secrets.token_hex(10)}"


def find_trade(
    books: sqlite3.Connection, value: str, column: str = "out_trade_no"
) -> sqlite3.Row | None:
    found: sqlite3.Row | None = books.execute(
        f"SELECT * FROM trade WHERE {column} = ?",  # noqa: S608  # nosec B608  # a column named by us
        (value,),
    ).fetchone()
    return found
