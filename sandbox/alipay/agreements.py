"""代扣协议 Agreements: signed by the person in the wallet, in force until someone ends them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Set
from datetime import date, timedelta
from urllib.parse import unquote

from sandbox.alipay.accounts import Merchant, Rules, beijing, next_number, seconds_now, spaced, yuan
from sandbox.alipay.checks import Content, Refusal, invalid, read_fen, read_notify_url, read_text
from sandbox.alipay.door import Call, Door, read_message
from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused
from sandbox.control import read_text as read_given

PAGE_SIGN = "alipay.user.agreement.page.sign"
CYCLE, GENERAL = "CYCLE_PAY_AUTH_P", "GENERAL_WITHHOLDING_P"

_LAST_DAY_OF_MONTH, _FEWEST_DAYS = 28, 7
_FOREVER_SECONDS = 90 * 366 * 86400
_EXTERNAL_NO = re.compile(r"[0-9A-Za-z]{1,32}")
_VALIDITY = re.compile(r"([1-9][0-9]{0,3})([md])")

Announce = Callable[[sqlite3.Connection, sqlite3.Row, str], None]
"""Told of an agreement signed or ended, and where to; an empty address means nowhere."""


class Agreements:
    """The agreements in the books; the address for what a person ends is kept in memory."""

    def __init__(
        self,
        books: Books,
        clock: Clock,
        merchant: Merchant,
        rules: Rules,
        door: Door,
        announce: Announce,
    ) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant
        self._rules = rules
        self._door = door
        self._announce = announce
        self.application_url = ""

    def sign(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: a person opens what my.paySignCenter was given, and signs or goes back.

        Raises:
            Refused: the page shows an error instead.
        """
        payer, accepts = read_given(given, "payer"), given.get("accept", True)
        if not isinstance(accepts, bool):
            raise ValueError("accept 应为布尔值")
        link = unquote(read_given(given, "signStr"))
        try:
            call = self._door.let_in(read_message("GET", link.encode(), b"", ""))
            if call.method != PAGE_SIGN:
                raise invalid(f"method 应为 {PAGE_SIGN}")
            if call.fields.get("return_url"):
                raise invalid("小程序签约不能传 return_url")
            if not accepts:
                return {"resultStatus": "6001"}
            with self._books.transaction() as books:
                agreement_no = self._keep(books, call, payer)
        except Refusal as refusal:
            raise Refused(refusal.message) from None
        return {"resultStatus": "7000", "agreement_no": agreement_no}

    def _keep(self, books: sqlite3.Connection, call: Call, payer: str) -> str:
        content, now = call.content, seconds_now(self._clock)
        product = read_text(content, "personal_product_code", 64, required=True)
        if product not in {CYCLE, GENERAL}:
            raise invalid("personal_product_code 未签约")
        number = read_text(content, "external_agreement_no", 32, required=True)
        if not _EXTERNAL_NO.fullmatch(number):
            raise invalid("external_agreement_no 只能含字母和数字")
        if not books.execute("SELECT 1 FROM payer WHERE open_id = ?", (payer,)).fetchone():
            raise Refused("没有这个用户")
        if find_agreement(books, "external_agreement_no", number) is not None:
            raise Refused("该商家协议号已签约，请勿重复签约")
        scene = read_text(content, "sign_scene", 64, required=True)
        if scene == "DEFAULT|DEFAULT":
            raise invalid("传了 external_agreement_no 时 sign_scene 不能为 DEFAULT|DEFAULT")
        access = content.get("access_params")
        if not isinstance(access, dict) or not access.get("channel"):
            raise invalid("缺少 access_params.channel")
        rule = self._read_rule(content) if product == CYCLE else _NO_RULE
        agreement_no = f"{beijing(now):%Y%m%d}{next_number(books, 'agreement'):012d}"
        books.execute(
            "INSERT INTO agreement VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'NORMAL', ?, ?,"
            " NULL)",
            (
                agreement_no,
                number,
                payer,
                product,
                scene,
                read_notify_url(call.fields),
                call.charset,
                *rule,
                now,
                now + _read_validity(content),
            ),
        )
        signed = find_agreement(books, "agreement_no", agreement_no)
        if signed is None:
            raise LookupError(agreement_no)
        self._announce(books, signed, signed["notify_url"] or self.application_url)
        return agreement_no

    def _read_rule(self, content: Content) -> tuple[str, int, str, int, int | None, int | None]:
        """Return the rule of 周期扣款 as the columns from period_type to total_payments."""
        rule = content.get("period_rule_params")
        if not isinstance(rule, dict):
            raise invalid("缺少 period_rule_params")
        kind, period = rule.get("period_type"), str(rule.get("period", ""))
        if kind not in {"DAY", "MONTH"} or not period.isdigit() or int(period) < 1:
            raise invalid("period_type 应为 DAY 或 MONTH，period 应为正整数")
        first = _read_day(read_text(rule, "execute_time", 10, required=True))
        if first is None or (kind == "MONTH" and first.day > _LAST_DAY_OF_MONTH):
            raise invalid("execute_time 应为 yyyy-MM-dd，按月时为 1 至 28 日")
        if kind == "DAY" and int(period) < _FEWEST_DAYS:
            raise invalid(f"period 不能小于 {_FEWEST_DAYS} 天")
        single_fen = read_fen(rule, "single_amount")
        if single_fen > self._rules.cycle_limit_fen:
            raise invalid("single_amount 超过产品限额")
        total_fen = read_fen(rule, "total_amount") if "total_amount" in rule else None
        payments = rule.get("total_payments")
        most = None if payments is None else int(str(payments))
        return kind, int(period), first.isoformat(), single_fen, total_fen, most

    def query(self, call: Call) -> dict[str, object]:
        """`alipay.user.agreement.query`."""
        with self._books.transaction() as books:
            found = {"NORMAL", "STOP"} if self._rules.shows_expired else {"NORMAL"}
            agreement = self._read(books, call.content, found)
        answer: dict[str, object] = {
            "agreement_no": agreement["agreement_no"],
            "external_agreement_no": agreement["external_agreement_no"],
            "alipay_open_id": agreement["open_id"],
            "personal_product_code": agreement["product"],
            "sign_scene": agreement["sign_scene"],
            "status": agreement["state"],
            "sign_time": spaced(agreement["signed_at"]),
            "valid_time": spaced(agreement["signed_at"]),
            "invalid_time": spaced(agreement["expires_at"]),
        }
        if agreement["product"] == CYCLE:
            answer["next_deduct_time"] = agreement["next_due"]
            answer["single_quota"] = yuan(agreement["single_fen"])
        return answer

    def unsign(self, call: Call) -> dict[str, object]:
        """`alipay.user.agreement.unsign`: the merchant ends it."""
        with self._books.transaction() as books:
            agreement = self._read(books, call.content)
            self._end(books, agreement, read_notify_url(call.fields) or self.application_url)
        return {}

    def modify(self, call: Call) -> dict[str, object]:
        """`alipay.user.agreement.executionplan.modify`: the next debit is put off."""
        number = read_text(call.content, "agreement_no", 64, required=True)
        day = _read_day(read_text(call.content, "deduct_time", 10, required=True))
        with self._books.transaction() as books:
            agreement = self._read(books, {"agreement_no": number})
            if (
                agreement["product"] != CYCLE
                or day is None
                or day.isoformat() <= agreement["next_due"]
                or (agreement["period_type"] == "MONTH" and day.day > _LAST_DAY_OF_MONTH)
            ):
                raise Refusal("ILLEGAL_EXECUTION_TIME", "扣款时间不合法")
            books.execute(
                "UPDATE agreement SET next_due = ? WHERE agreement_no = ?",
                (day.isoformat(), number),
            )
        return {"agreement_no": number, "deduct_time": day.isoformat()}

    def _read(
        self, books: sqlite3.Connection, content: Content, states: Set[str] = frozenset({"NORMAL"})
    ) -> sqlite3.Row:
        """Return the agreement that is asked for, if it stands in one of these states."""
        number = read_text(content, "agreement_no", 64)
        if number:
            found = find_agreement(books, "agreement_no", number)
        else:
            names = ("external_agreement_no", "personal_product_code", "sign_scene")
            number, product, scene = (read_text(content, name, 64, required=True) for name in names)
            found = find_agreement(books, "external_agreement_no", number)
            if found is not None and (found["product"], found["sign_scene"]) != (product, scene):
                found = None
        if found is None or found["state"] not in states:
            raise Refusal("USER_AGREEMENT_NOT_EXIST", "用户协议不存在")
        return found

    def _end(self, books: sqlite3.Connection, agreement: sqlite3.Row, url: str) -> None:
        number = agreement["agreement_no"]
        books.execute(
            "UPDATE agreement SET state = 'UNSIGN', ended_at = ? WHERE agreement_no = ?",
            (seconds_now(self._clock), number),
        )
        ended = find_agreement(books, "agreement_no", number)
        if ended is not None:
            self._announce(books, ended, url)

    def settle(self) -> None:
        """Let agreements run out; nobody is told."""
        with self._books.transaction() as books:
            books.execute(
                "UPDATE agreement SET state = 'STOP', ended_at = expires_at"
                " WHERE state = 'NORMAL' AND expires_at <= ?",
                (seconds_now(self._clock),),
            )

    def change(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: the person ends an agreement, or it runs out now (`by` is `expiry`)."""
        number, by = read_given(given, "agreement_no"), read_given(given, "by")
        if by not in {"user", "expiry"}:
            raise ValueError("by 应为 user 或 expiry")
        with self._books.transaction() as books:
            agreement = find_agreement(books, "agreement_no", number)
            if agreement is None or agreement["state"] != "NORMAL":
                raise Refused("没有这份生效的协议")
            if by == "user":
                self._end(books, agreement, self.application_url)
                return {}
            books.execute(
                "UPDATE agreement SET expires_at = ? WHERE agreement_no = ?",
                (seconds_now(self._clock), number),
            )
            self.settle()
        return {}

    def set_application_url(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: the address of the application (应用网关) that the back office knows."""
        self.application_url = read_given(given, "url")
        return {}


_NO_RULE = ("", 0, "", 0, None, None)


def find_agreement(books: sqlite3.Connection, column: str, number: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = books.execute(
        f"SELECT * FROM agreement WHERE {column} = ?",  # noqa: S608  # nosec B608  # a column named by us
        (number,),
    ).fetchone()
    return found


def next_due(agreement: sqlite3.Row) -> str:
    """Return the due day one period after the present one."""
    due = date.fromisoformat(agreement["next_due"])
    if agreement["period_type"] == "DAY":
        return (due + timedelta(days=agreement["period"])).isoformat()
    months = due.year * 12 + due.month - 1 + agreement["period"]
    return due.replace(year=months // 12, month=months % 12 + 1).isoformat()


def _read_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == len("2026-11-24") else None
    except ValueError:
        return None


def _read_validity(content: Content) -> int:
    """Return how many seconds an agreement is in force; for ever unless it says otherwise."""
    text = read_text(content, "sign_validity_period", 8)
    if not text:
        return _FOREVER_SECONDS
    match = _VALIDITY.fullmatch(text)
    if match is None:
        raise invalid("sign_validity_period 应如 24m 或 90d")
    return int(match[1]) * (30 if match[2] == "m" else 1) * 86400
