"""委托代扣扣款 Debits under a contract: accepted at once, decided later, told by a notice.

A debit is a trade like any other, with a row of its own beside it; bills and refunds need not know.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from typing import NamedTuple

from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused, read_text
from sandbox.trouble import Trouble
from sandbox.wechat.accounts import beijing, day_of, seconds_now
from sandbox.wechat.checks import Fields, Refusal
from sandbox.wechat.contracts import find_contract, find_plan
from sandbox.wechat.orders import NOT_CONTENT, Orders, find_trade
from sandbox.wechat.signing import MD5

OUTCOME = "debit/outcome"
"""The place `at` which troubles meet each new debit."""

OUTCOME_KINDS = frozenset({"refuse", "slow", "silent", "lost"})

FIRST_SECONDS = 12 * 3600
"""How long after signing a debit is carried out at once and unannounced."""
WAIT_SECONDS = 24 * 3600
DEBIT_HOURS = range(7, 22)
"""In Beijing; only debits and announcements of plans with pre-notice keep to them."""

MESSAGES: Mapping[str, str] = {
    "NOTENOUGH": "余额不足",
    "CONTRACTERROR": "签约协议已解约或到期",
    "CONTRACT_NOT_EXIST": "签约协议不存在",
    "RULE_LIMIT": "业务规则限制，交易金额或次数超出限制",
    "RULELIMIT": "交易存在风险，已被拦截",
    "USER_ACCOUNT_ABNORMAL": "用户账户异常，已被冻结或注销",
    "BANKERROR": "银行系统异常",
    "SYSTEMERROR": "系统超时",
    "INVALID_REQUEST": "参数错误",
    "0": "业务成功",
}

_NOT_DEBIT = NOT_CONTENT | {"timestamp", "clientip"}

Announce = Callable[[sqlite3.Row, sqlite3.Row], None]


class _Timing(NamedTuple):
    due_at: int
    announcement: int | None


class Debits:
    """The debits in the books.

    Args:
        announce: told of each trade that was debited or could not be, with its debit, inside the
            transaction.
    """

    def __init__(self, books: Books, clock: Clock, orders: Orders, announce: Announce) -> None:
        self._books = books
        self._clock = clock
        self._orders = orders
        self._announce = announce

    def apply(self, fields: Fields, take: Callable[[], Trouble | None]) -> None:
        """`pay/pappayapply`: accept a debit.

        Args:
            take: the trouble of a new debit, asked for once it is accepted.
        """
        if fields["trade_type"] != "PAP":
            raise Refusal("INVALID_REQUEST", "trade_type 应为 PAP")
        number, amount_fen = fields["out_trade_no"], int(fields["total_fee"])
        kept = {name: value for name, value in sorted(fields.items()) if name not in _NOT_DEBIT}
        content = json.dumps(kept, ensure_ascii=False)
        now = seconds_now(self._clock)
        with self._books.transaction() as books:
            before = find_trade(books, number)
            if before is not None:
                raise _repeated(before, content)
            contract = self._contract_in_force(books, fields)
            timing = self._timing(books, contract, amount_fen, now)
            self._keep(books, fields, content, contract, now)
            trouble = take()
            due_at: int | None = timing.due_at
            if trouble is not None and trouble.kind == "slow":
                due_at = _later(timing.due_at, trouble)
            books.execute(
                "INSERT INTO debit (out_trade_no, contract_id, announcement, due_at, wanted_code,"
                " hidden_until, is_lost) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    number,
                    contract["contract_id"],
                    timing.announcement,
                    due_at,
                    trouble.text("code", "") if trouble and trouble.kind == "refuse" else "",
                    _hidden_until(timing.due_at, trouble),
                    trouble is not None and trouble.kind == "lost",
                ),
            )
            self.settle()

    def _contract_in_force(self, books: sqlite3.Connection, fields: Fields) -> sqlite3.Row:
        contract = find_contract(books, "contract_id", fields["contract_id"])
        if contract is None:
            raise _refusal("CONTRACT_NOT_EXIST")
        if contract["state"] != "SIGNED":
            raise _refusal("CONTRACTERROR")
        if fields.get("openid") and fields["openid"] != contract["openid"]:
            raise Refusal("INVALID_REQUEST", "openid 与签约用户不一致")
        open_debit = books.execute(
            "SELECT 1 FROM debit WHERE contract_id = ? AND decided_at IS NULL",
            (contract["contract_id"],),
        ).fetchone()
        if open_debit is not None:
            raise Refusal("FREQUENCY_LIMITED", "该协议有扣款正在处理，请勿重复发起")
        return contract

    def _timing(
        self, books: sqlite3.Connection, contract: sqlite3.Row, amount_fen: int, now: int
    ) -> _Timing:
        """Return when a debit is carried out, and under which announcement.

        Raises:
            Refusal: too much, or not announced.
        """
        plan = find_plan(books, contract["plan_id"])
        if plan is None:
            raise LookupError(contract["plan_id"])
        if amount_fen > plan["limit_fen"]:
            raise Refusal("RULE_LIMIT", "扣款金额超出模板限额")
        announcement = books.execute(
            "SELECT * FROM announcement WHERE contract_id = ? ORDER BY id DESC LIMIT 1",
            (contract["contract_id"],),
        ).fetchone()
        is_first = announcement is None and now < contract["signed_at"] + FIRST_SECONDS
        if plan["mode"] == "AT_ONCE" or is_first:
            return _Timing(now, None)
        if plan["mode"] == "AFTER_24_HOURS":
            return _Timing(now + WAIT_SECONDS, None)
        if (
            announcement is None
            or announcement["is_used"]
            or not announcement["first_day"] <= day_of(now) <= announcement["last_day"]
            or beijing(now).hour not in DEBIT_HOURS
        ):
            raise Refusal("INVALID_REQUEST", "需要先下发扣费前通知才能扣费")
        if amount_fen > announcement["amount_fen"]:
            raise Refusal("RULE_LIMIT", "扣款金额高于预扣费通知的金额")
        return _Timing(now, announcement["id"])

    def _keep(
        self,
        books: sqlite3.Connection,
        fields: Fields,
        content: str,
        contract: sqlite3.Row,
        now: int,
    ) -> None:
        books.execute(
            "INSERT INTO trade (out_trade_no, content, openid, amount_fen, body, attach,"
            " device_info, notify_url, sign_type, prepay_id, prepay_at, state, created_at,"
            " expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'ACCEPT', ?, ?)",
            (
                fields["out_trade_no"],
                content,
                contract["openid"],
                int(fields["total_fee"]),
                fields["body"],
                fields.get("attach", ""),
                fields.get("device_info", ""),
                fields["notify_url"],
                fields.get("sign_type") or MD5,
                f"pap{secrets.token_hex(16)}",
                now,
                now,
                now,
            ),
        )

    def find(self, out_trade_no: str) -> sqlite3.Row | None:
        """Return the debit of a trade, None if it was paid by hand.

        Raises:
            Refusal: the platform does not find the order yet.
        """
        with self._books.transaction() as books:
            debit = find_debit(books, out_trade_no)
        if debit is not None and debit["is_lost"] and self.is_hidden(debit):
            raise Refusal("ORDERNOTEXIST", "此交易订单号不存在")
        return debit

    def is_hidden(self, debit: sqlite3.Row) -> bool:
        return seconds_now(self._clock) < int(debit["hidden_until"])

    def settle(self) -> None:
        """Carry out what is due, each at its own moment, and tell of what is decided."""
        now = seconds_now(self._clock)
        with self._books.transaction() as books:
            for debit in books.execute(
                "SELECT * FROM debit WHERE decided_at IS NULL AND due_at <= ?"
                " ORDER BY due_at, rowid",
                (now,),
            ).fetchall():
                self._decide(books, debit, debit["due_at"])
            for debit in books.execute(
                "SELECT * FROM debit WHERE decided_at IS NOT NULL AND NOT is_told"
                " AND hidden_until <= ? ORDER BY decided_at, rowid",
                (now,),
            ).fetchall():
                books.execute(
                    "UPDATE debit SET is_told = 1 WHERE out_trade_no = ?", (debit["out_trade_no"],)
                )
                self._announce(_get_trade(books, debit["out_trade_no"]), debit)

    def _decide(self, books: sqlite3.Connection, debit: sqlite3.Row, at: int) -> None:
        number = debit["out_trade_no"]
        trade = _get_trade(books, number)
        code = debit["wanted_code"] or _failure(books, debit, trade, at)
        books.execute(
            "UPDATE debit SET decided_at = ?, code = ?, message = ? WHERE out_trade_no = ?",
            (at, code, MESSAGES.get(code, code), number),
        )
        if code:
            books.execute("UPDATE trade SET state = 'PAYERROR' WHERE out_trade_no = ?", (number,))
            return
        self._orders.book(books, trade, at)
        books.execute("UPDATE announcement SET is_used = 1 WHERE id = ?", (debit["announcement"],))

    def finish(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: decide now what is open, bring to light what is hidden.

        Raises:
            Refused: there is no such debit, or nothing to do.
        """
        number, code = read_text(given, "out_trade_no"), read_text(given, "code", default="")
        now = seconds_now(self._clock)
        with self._books.transaction() as books:
            debit = find_debit(books, number)
            if debit is None or debit["is_told"]:
                raise Refused("没有这笔未了结的扣款")
            if debit["decided_at"] is None:
                wanted = code or debit["wanted_code"]
                books.execute(
                    "UPDATE debit SET wanted_code = ?, due_at = ? WHERE out_trade_no = ?",
                    (wanted, now, number),
                )
            elif code:
                raise Refused("这笔扣款已有结果，不能改变")
            books.execute("UPDATE debit SET hidden_until = 0 WHERE out_trade_no = ?", (number,))
            self.settle()
        return {}


def find_debit(books: sqlite3.Connection, out_trade_no: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = books.execute(
        "SELECT * FROM debit WHERE out_trade_no = ?", (out_trade_no,)
    ).fetchone()
    return found


def _get_trade(books: sqlite3.Connection, out_trade_no: str) -> sqlite3.Row:
    trade = find_trade(books, out_trade_no)
    if trade is None:
        raise LookupError(out_trade_no)
    return trade


def _failure(books: sqlite3.Connection, debit: sqlite3.Row, trade: sqlite3.Row, at: int) -> str:
    """Return the err_code of a debit that the rules do not let through, or nothing."""
    contract = find_contract(books, "contract_id", debit["contract_id"])
    if contract is None or (contract["ended_at"] is not None and contract["ended_at"] <= at):
        return "CONTRACTERROR"
    wallet = books.execute(
        "SELECT balance_fen FROM payer WHERE openid = ?", (trade["openid"],)
    ).fetchone()
    return "NOTENOUGH" if wallet["balance_fen"] < trade["amount_fen"] else ""


def _repeated(before: sqlite3.Row, content: str) -> Refusal:
    """Return what a second application under a number is told."""
    if before["content"] != content:
        return Refusal("OUT_TRADE_NO_USED", "商户订单号重复")
    if before["paid_at"] is not None:
        return Refusal("ORDERPAID", "该订单已支付")
    if before["state"] == "ACCEPT":
        return Refusal("ORDER_ACCEPTED", "扣款请求已受理，请勿重复发起")
    return Refusal("ORDER_CLOSED", "该订单已关闭，请更换商户订单号")


def _refusal(code: str) -> Refusal:
    return Refusal(code, MESSAGES[code])


def _later(due_at: int, trouble: Trouble) -> int | None:
    """Return `due_at` put off by the seconds of a trouble; None if it has none."""
    seconds = trouble.number("seconds", 0)
    return due_at + int(seconds) if seconds else None


def _hidden_until(due_at: int, trouble: Trouble | None) -> int:
    if trouble is None or trouble.kind not in {"silent", "lost"}:
        return 0
    return due_at + int(trouble.number("seconds", 10**9))
