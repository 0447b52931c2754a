"""预扣费通知 Announcements of debits: a plan with pre-notice lets nothing be taken without one."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import timedelta

from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.wechat.accounts import Merchant, beijing, day_of, seconds_now
from sandbox.wechat.contracts import find_contract, find_plan
from sandbox.wechat.debits import DEBIT_HOURS

WAITING_DAYS = 2
"""The day of the announcement and the next one: nothing can be taken yet."""
MOST_DAYS = 7
"""How many days a debit can be taken on after that, if the merchant does not say fewer."""


class Rejection(Exception):
    """A call of API v3 is refused: an HTTP status, a code and a message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status = status
        self.code = code
        self.message = message


class Announcements:
    """The announcements in the books."""

    def __init__(self, books: Books, clock: Clock, merchant: Merchant) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant

    def announce(self, contract_id: str, content: Mapping[str, object]) -> None:
        """Tell the person of a debit to come.

        Raises:
            Rejection: badly formed, or not to be announced now.
        """
        if content.get("mchid") != self._merchant.merchant_id:
            raise _wrong("商户号mchid与签名的商户号不一致")
        if content.get("appid") != self._merchant.app_id:
            raise _wrong("appid和mchid不匹配")
        days, amount_fen = _read_days(content), _read_amount(content)
        now = seconds_now(self._clock)
        first_day = beijing(now).date() + timedelta(days=WAITING_DAYS)
        last_day = first_day + timedelta(days=days - 1)
        with self._books.transaction() as books:
            self._check(books, contract_id, amount_fen, now)
            books.execute(
                "INSERT INTO announcement (contract_id, amount_fen, announced_at, first_day,"
                " last_day) VALUES (?, ?, ?, ?, ?)",
                (contract_id, amount_fen, now, f"{first_day:%Y%m%d}", f"{last_day:%Y%m%d}"),
            )

    def _check(
        self, books: sqlite3.Connection, contract_id: str, amount_fen: int, now: int
    ) -> None:
        contract = find_contract(books, "contract_id", contract_id)
        if contract is None:
            raise Rejection(404, "NOT_FOUND", "签约协议不存在")
        if contract["state"] != "SIGNED":
            raise _not_now("签约协议已解约或到期")
        plan = find_plan(books, contract["plan_id"])
        if plan is None or plan["mode"] != "PRE_NOTICE":
            raise _not_now("当前签约的模板不是周期扣费类型，不能下发扣费前通知")
        if amount_fen > plan["limit_fen"]:
            raise _not_now("预计扣费金额超出模板限额")
        if beijing(now).hour not in DEBIT_HOURS:
            raise _not_now("不在可通知时间段内")
        standing = books.execute(
            "SELECT 1 FROM announcement WHERE contract_id = ? AND NOT is_used AND last_day >= ?",
            (contract_id, day_of(now)),
        ).fetchone()
        if standing is not None:
            raise _not_now("当前扣费周期内已下发过扣费前通知")


def _read_days(content: Mapping[str, object]) -> int:
    duration = content.get("deduct_duration", {"count": MOST_DAYS, "unit": "DAY"})
    if not isinstance(duration, dict) or duration.get("unit") != "DAY":
        raise _wrong("deduct_duration 应有 count 和 unit，unit 为 DAY")
    days = duration.get("count")
    if type(days) is not int or not 1 <= days <= MOST_DAYS:
        raise _wrong(f"deduct_duration.count 应为 1 到 {MOST_DAYS}")
    return days


def _read_amount(content: Mapping[str, object]) -> int:
    estimated = content.get("estimated_amount")
    if not isinstance(estimated, dict) or estimated.get("currency", "CNY") != "CNY":
        raise _wrong("缺少 estimated_amount，或币种不是 CNY")
    amount_fen = estimated.get("amount")
    if type(amount_fen) is not int or amount_fen < 1:
        raise _wrong("estimated_amount.amount 应为正整数，单位为分")
    return amount_fen


def _wrong(message: str) -> Rejection:
    return Rejection(400, "PARAM_ERROR", message)


def _not_now(message: str) -> Rejection:
    return Rejection(400, "INVALID_REQUEST", message)
