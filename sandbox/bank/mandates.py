"""代收协议 Agreements: four elements and an SMS code, then in force until someone ends them."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping

from sandbox.bank.accounts import (
    Rules,
    beijing,
    day_of,
    next_number,
    seconds_now,
    spaced,
)
from sandbox.bank.cards import check_usable, find_card
from sandbox.bank.checks import (
    CYCLES,
    Content,
    check_card_no,
    check_document,
    check_phone,
    read_day,
    read_fen,
    read_notify_url,
    read_order_no,
    read_text,
)
from sandbox.bank.codes import Refusal, malformed
from sandbox.bank.notices import Announce
from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused
from sandbox.control import read_text as read_given

_ENDED = frozenset({"CANCELLED", "FAILED"})


class Mandates:
    """The agreements in the books.

    Args:
        announce: told of each agreement that the bank or the user changed, inside the transaction.
    """

    def __init__(self, books: Books, clock: Clock, rules: Rules, announce: Announce) -> None:
        self._books = books
        self._clock = clock
        self._rules = rules
        self._announce = announce

    def start(self, content: Content) -> dict[str, object]:
        """`sign/start`: check the four elements and send a code to the phone."""
        number = read_order_no(content, "agreement_no")
        terms = _read_terms(content)
        elements = {name: read_text(content, name, 64) for name in ("name", "id_kind", "id_no")}
        card_no, phone = read_text(content, "card_no", 32), read_text(content, "phone", 20)
        check_card_no(card_no)
        check_document(elements["id_kind"], elements["id_no"])
        check_phone(phone)
        with self._books.transaction() as books:
            before = find_mandate(books, number)
            if before is not None:
                return self._repeat(before, content)
            now = seconds_now(self._clock)
            self._count_check(books, elements["id_no"], now)
        # The check is counted even when it fails, so it has a transaction of its own.
        with self._books.transaction() as books:
            card = find_card(books, card_no)
            wanted = {**elements, "phone": phone}
            # One text for whatever is wrong, so that nobody can find out which cards there are.
            if card is None or any(card[name] != value for name, value in wanted.items()):
                raise Refusal("66")
            if card["kind"] == "credit":
                raise Refusal("68")
            check_usable(card)
            serial = f"S{day_of(now)}{next_number(books, 'sms'):08d}"
            columns = {
                "agreement_no": number,
                "content": _as_text(content),
                "card_no": card_no,
                **terms,
                "state": "SMS_SENT",
                "sms_serial": serial,
                "sms_code": f"{secrets.randbelow(10**6):06d}",
                "sms_at": now,
            }
            books.execute(
                f"INSERT INTO mandate ({', '.join(columns)})"  # noqa: S608  # nosec B608  # named by us
                f" VALUES ({', '.join('?' * len(columns))})",
                tuple(columns.values()),
            )
        return {"agreement_no": number, "sms_serial": serial, "phone": _masked(phone)}

    def _repeat(self, before: sqlite3.Row, content: Content) -> dict[str, object]:
        if before["content"] != _as_text(content):
            raise Refusal("12", "重复交易：协议号已用于另一次签约")
        if before["state"] != "SMS_SENT":
            raise Refusal("12", "重复交易：该协议号的签约已有结果，请查询")
        phone = str(content["phone"])
        serial = before["sms_serial"]
        number = before["agreement_no"]
        return {"agreement_no": number, "sms_serial": serial, "phone": _masked(phone)}

    def _count_check(self, books: sqlite3.Connection, id_no: str, now: int) -> None:
        since = int(beijing(now).replace(hour=0, minute=0, second=0).timestamp())
        row = books.execute(
            "SELECT COUNT(*) AS checks FROM card_check WHERE id_no = ? AND at >= ?", (id_no, since)
        ).fetchone()
        if row["checks"] >= self._rules.most_card_checks:
            raise Refusal("37")
        books.execute("INSERT INTO card_check VALUES (?, ?)", (id_no, now))

    def confirm(self, content: Content) -> dict[str, object]:
        """`sign/confirm`: the code from the phone puts the agreement in force."""
        number = read_order_no(content, "agreement_no")
        serial, code = read_text(content, "sms_serial", 32), read_text(content, "sms_code", 6)
        now = seconds_now(self._clock)
        with self._books.transaction() as books:
            mandate = self._get(books, number)
            if mandate["state"] != "SMS_SENT":
                if mandate["state"] == "ACTIVE" and mandate["sms_code"] == code:
                    return self.view(mandate)
                raise Refusal("35", "协议不在待确认状态")
            is_right = (
                mandate["sms_serial"] == serial
                and mandate["sms_code"] == code
                and now < mandate["sms_at"] + self._rules.sms_seconds
            )
            if is_right:
                books.execute(
                    "UPDATE mandate SET state = 'ACTIVE', signed_at = ?, channel_agreement_no = ?"
                    " WHERE agreement_no = ?",
                    (now, f"62{day_of(now)}{next_number(books, 'agreement'):010d}", number),
                )
                return self.view(self._get(books, number))
            wrong = mandate["wrong_codes"] + 1
            is_over = wrong >= self._rules.most_wrong_codes
            books.execute(
                "UPDATE mandate SET wrong_codes = ?, state = ?, reason = ? WHERE agreement_no = ?",
                (
                    wrong,
                    "FAILED" if is_over else "SMS_SENT",
                    "验证码错误次数过多" if is_over else "",
                    number,
                ),
            )
        raise Refusal("71", "短信验证码错误次数过多，请重新签约" if is_over else "")

    def query(self, content: Content) -> dict[str, object]:
        """`sign/query`."""
        with self._books.transaction() as books:
            return self.view(self._get(books, read_order_no(content, "agreement_no")))

    def cancel(self, content: Content) -> dict[str, object]:
        """`sign/cancel`: the merchant ends the agreement; once more is not an error."""
        number = read_order_no(content, "agreement_no")
        reason = read_text(content, "reason", 100, required=False)
        with self._books.transaction() as books:
            if self._get(books, number)["state"] not in _ENDED:
                self._end(books, number, "merchant", reason)
            return self.view(self._get(books, number))

    def view(self, mandate: sqlite3.Row) -> dict[str, object]:
        """Return an agreement as queries and notices tell of it; expiry comes with the day."""
        state = str(mandate["state"])
        today = day_of(seconds_now(self._clock))
        if state in {"ACTIVE", "SUSPENDED"} and mandate["valid_to"] < today:
            state = "EXPIRED"
        return {
            "agreement_no": mandate["agreement_no"],
            "channel_agreement_no": mandate["channel_agreement_no"],
            "state": state,
            "card_tail": mandate["card_no"][-4:],
            "cap_fen": mandate["cap_fen"],
            "period_cap_fen": mandate["period_cap_fen"],
            "cycle": mandate["cycle"],
            "debit_day": mandate["debit_day"],
            "valid_from": mandate["valid_from"],
            "valid_to": mandate["valid_to"],
            "signed_at": mandate["signed_at"] and spaced(mandate["signed_at"]),
            "ended_at": mandate["ended_at"] and spaced(mandate["ended_at"]),
            "ended_by": mandate["ended_by"],
            "reason": mandate["reason"],
        }

    def change(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: the user or the bank suspends, resumes or ends an agreement."""
        number, state = read_given(given, "agreement_no"), read_given(given, "state")
        by = read_given(given, "by", default="bank")
        if state not in {"ACTIVE", "SUSPENDED", "CANCELLED"} or by not in {"user", "bank"}:
            raise ValueError("state 应为 ACTIVE、SUSPENDED 或 CANCELLED，by 应为 user 或 bank")
        with self._books.transaction() as books:
            mandate = find_mandate(books, number)
            if mandate is None or mandate["state"] not in {"ACTIVE", "SUSPENDED"}:
                raise Refused("没有这份生效的协议")
            reason = read_given(given, "reason", default="")
            if state == "CANCELLED":
                self._end(books, number, by, reason)
            else:
                books.execute(
                    "UPDATE mandate SET state = ?, reason = ? WHERE agreement_no = ?",
                    (state, reason, number),
                )
            view = self.view(self._get(books, number))
            self._announce(
                books, "mandate.changed", number, mandate["notify_url"], {**view, "by": by}
            )
        return {}

    def texts(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: the codes that a phone was sent, the last one at the end."""
        with self._books.transaction() as books:
            rows = books.execute(
                "SELECT mandate.* FROM mandate JOIN card USING (card_no) WHERE phone = ?"
                " ORDER BY mandate.rowid",
                (read_given(given, "phone"),),
            ).fetchall()
        return {
            "messages": [
                {
                    "agreement_no": row["agreement_no"],
                    "code": row["sms_code"],
                    "at": spaced(row["sms_at"]),
                }
                for row in rows
            ]
        }

    def _end(self, books: sqlite3.Connection, number: str, by: str, reason: str) -> None:
        books.execute(
            "UPDATE mandate SET state = 'CANCELLED', ended_at = ?, ended_by = ?, reason = ?"
            " WHERE agreement_no = ?",
            (seconds_now(self._clock), by, reason, number),
        )

    def _get(self, books: sqlite3.Connection, number: str) -> sqlite3.Row:
        mandate = find_mandate(books, number)
        if mandate is None:
            raise Refusal("34", "查无此协议")
        return mandate


def find_mandate(books: sqlite3.Connection, agreement_no: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = books.execute(
        "SELECT * FROM mandate WHERE agreement_no = ?", (agreement_no,)
    ).fetchone()
    return found


def _read_terms(content: Content) -> dict[str, object]:
    """Return what is agreed: caps, cycle, day, term, purpose, and where to tell of changes."""
    cap_fen, period_cap_fen = read_fen(content, "cap_fen"), read_fen(content, "period_cap_fen")
    if period_cap_fen < cap_fen:
        raise malformed("period_cap_fen 不能小于 cap_fen")
    cycle = read_text(content, "cycle", 10)
    if cycle not in CYCLES:
        raise malformed("cycle 应为 MONTH 或 QUARTER")
    debit_day = content.get("debit_day")
    if not isinstance(debit_day, int) or isinstance(debit_day, bool) or not 1 <= debit_day <= 28:
        raise malformed("debit_day 应为 1 至 28")
    valid_from, valid_to = read_day(content, "valid_from"), read_day(content, "valid_to")
    if valid_to < valid_from:
        raise malformed("valid_to 早于 valid_from")
    return {
        "cap_fen": cap_fen,
        "period_cap_fen": period_cap_fen,
        "cycle": cycle,
        "debit_day": debit_day,
        "valid_from": valid_from,
        "valid_to": valid_to,
        "purpose": read_text(content, "purpose", 60),
        "notify_url": read_notify_url(content),
    }


def _as_text(content: Content) -> str:
    return json.dumps(content, ensure_ascii=False, sort_keys=True)


def _masked(phone: str) -> str:
    return f"{phone[:3]}****{phone[-4:]}"
