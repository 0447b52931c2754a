"""代扣 Debits under an agreement: accepted, decided, asked for, given back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping

from sandbox.bank import outcomes
from sandbox.bank.accounts import (
    Rules,
    account_balance,
    beijing,
    day_of,
    move_account,
    new_reference,
    seconds_now,
    settle_date,
    spaced,
)
from sandbox.bank.cards import check_usable, find_card, move_card
from sandbox.bank.checks import (
    Content,
    read_fen,
    read_notify_url,
    read_order_no,
    read_text,
)
from sandbox.bank.codes import OK, Refusal
from sandbox.bank.notices import Announce, debit_fields
from sandbox.bank.outcomes import Meet
from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused
from sandbox.control import read_text as read_given

OUTCOME = "debit/outcome"

AnnounceEntry = Callable[[sqlite3.Connection, sqlite3.Row], None]


class Debits:
    """The debits in the books, of both kinds.

    Args:
        announce: told of each result in real time, inside the transaction.
        announce_entry: told of each movement of the special account.
    """

    table = "debit"
    number = "order_no"

    def __init__(
        self,
        books: Books,
        clock: Clock,
        rules: Rules,
        announce: Announce,
        announce_entry: AnnounceEntry,
    ) -> None:
        self._books = books
        self._clock = clock
        self._rules = rules
        self._announce = announce
        self._announce_entry = announce_entry

    def debit(self, content: Content, meet: Meet) -> dict[str, object]:
        """`debit`: one debit in real time, new or the same as before.

        Args:
            meet: asked for the trouble that a new debit meets.
        """
        number = read_order_no(content)
        agreement = read_text(content, "channel_agreement_no", 40)
        amount_fen = read_fen(content, "amount_fen")
        purpose, url = read_text(content, "purpose", 60), read_notify_url(content)
        now = seconds_now(self._clock)
        with self._books.transaction() as books:
            before = find_debit(books, number)
            if before is not None and before["content"] != _as_text(content):
                raise Refusal("12", "重复交易：订单号已用于另一笔交易")
            if before is None:
                add_debit(
                    books,
                    order_no=number,
                    content=_as_text(content),
                    channel_agreement_no=agreement,
                    amount_fen=amount_fen,
                    purpose=purpose,
                    notify_url=url,
                    **outcomes.plan(meet(), now),
                )
                outcomes.decide_due(books, self, self._rules, now)
        # Whatever is said of it, it is done: a refusal must not roll it back.
        with self._books.transaction() as books:
            return self._tell_of(books, number, now)

    def query(self, content: Content) -> dict[str, object]:
        """`debit/query`: `code` is about the question, `orig_code` about the debit."""
        number = read_order_no(content)
        with self._books.transaction() as books:
            if find_debit(books, number) is None:
                raise Refusal("34")
            fields = self._tell_of(books, number, seconds_now(self._clock))
            refunded_fen = sum(row["amount_fen"] for row in refunds_of(books, number))
        return {**fields, "code": OK, "refunded_fen": refunded_fen}

    def _tell_of(self, books: sqlite3.Connection, number: str, now: int) -> dict[str, object]:
        debit = get_debit(books, number)
        return outcomes.said_of(debit, debit_fields(debit), now)

    def carry_out(self, books: sqlite3.Connection, row: sqlite3.Row, now: int) -> None:
        """Take the money, if the agreement and the card allow it."""
        mandate = self._check_mandate(books, row, now)
        card = find_card(books, mandate["card_no"])
        if card is None:
            raise Refusal("61")
        check_usable(card)
        taken_today = books.execute(
            "SELECT COALESCE(SUM(amount_fen), 0) AS fen FROM debit WHERE card_no = ?"
            " AND state = 'SUCCEEDED' AND decided_at >= ?",
            (card["card_no"], _midnight(now)),
        ).fetchone()
        limit = card["daily_limit_fen"]
        if limit is not None and taken_today["fen"] + row["amount_fen"] > limit:
            raise Refusal("33")
        if card["balance_fen"] < row["amount_fen"]:
            raise Refusal("64")
        move_card(books, card["card_no"], -row["amount_fen"])
        books.execute(
            "UPDATE debit SET card_no = ?, period = ? WHERE order_no = ?",
            (card["card_no"], _period(mandate["cycle"], now), row["order_no"]),
        )
        # Of a file, only what was decided after its results is booked by itself.
        if row["decide_at"] is not None:
            entry = move_account(
                books,
                now,
                "DEBIT",
                row["amount_fen"],
                reference=row["order_no"],
                party=card,
                summary=row["purpose"],
            )
            self._announce_entry(books, entry)

    def _check_mandate(self, books: sqlite3.Connection, row: sqlite3.Row, now: int) -> sqlite3.Row:
        """Return the agreement of a debit, if it is in force and covers the amount."""
        agreement = row["channel_agreement_no"]
        mandate: sqlite3.Row | None = books.execute(
            "SELECT * FROM mandate WHERE channel_agreement_no = ?", (agreement,)
        ).fetchone()
        if mandate is None:
            raise Refusal("40")
        if mandate["state"] == "CANCELLED":
            raise Refusal("89")
        if mandate["state"] == "SUSPENDED":
            raise Refusal("77")
        today = day_of(now)
        if today > mandate["valid_to"]:
            raise Refusal("80")
        if today < mandate["valid_from"]:
            raise Refusal("40", "协议尚未生效")
        if row["amount_fen"] > mandate["cap_fen"]:
            raise Refusal("33")
        taken = books.execute(
            "SELECT COALESCE(SUM(amount_fen), 0) AS fen FROM debit"
            " WHERE channel_agreement_no = ? AND state = 'SUCCEEDED' AND period = ?",
            (agreement, _period(mandate["cycle"], now)),
        ).fetchone()
        if taken["fen"] + row["amount_fen"] > mandate["period_cap_fen"]:
            raise Refusal("81")
        return mandate

    def tell(self, books: sqlite3.Connection, row: sqlite3.Row) -> None:
        """Queue the notice of a result; a line of a file has no address for one."""
        if not row["notify_url"]:
            return
        self._announce(books, "debit.result", row["order_no"], row["notify_url"], debit_fields(row))

    def correct(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: the bank takes a refusal back and decides anew, with another notice.

        Raises:
            Refused: there is no such debit, or none that was refused.
        """
        number = read_given(given, "order_no")
        now = seconds_now(self._clock)
        with self._books.transaction() as books:
            debit = find_debit(books, number)
            if debit is None or debit["state"] != "FAILED":
                raise Refused(f"没有这一笔被拒绝的代扣：{number}")
            books.execute(
                "UPDATE debit SET state = 'PROCESSING', wanted_code = '', decide_at = ?,"
                " hidden_until = 0, is_told = 0 WHERE order_no = ?",
                (now, number),
            )
            outcomes.decide_due(books, self, self._rules, now)
        return {}

    def refund(self, content: Content) -> dict[str, object]:
        """`refund`: give back all or a part of a debit; a number done before changes nothing."""
        number, order_no = read_order_no(content, "refund_no"), read_order_no(content)
        amount_fen = read_fen(content, "amount_fen")
        reason = read_text(content, "reason", 100, required=False)
        now = seconds_now(self._clock)
        with self._books.transaction() as books:
            before = _find_refund(books, number)
            if before is not None:
                if (before["order_no"], before["amount_fen"]) != (order_no, amount_fen):
                    raise Refusal("12", "重复交易：退款号已用于另一笔退款")
                return _refund_fields(before)
            debit = find_debit(books, order_no)
            if debit is None or debit["state"] != "SUCCEEDED" or now < debit["hidden_until"]:
                raise Refusal("35")
            rest_fen = debit["amount_fen"] - sum(
                row["amount_fen"] for row in refunds_of(books, order_no)
            )
            if rest_fen == 0:
                raise Refusal("45")
            if amount_fen > rest_fen:
                raise Refusal("33", "退款金额超过可退金额")
            if account_balance(books) < amount_fen:
                raise Refusal("64", "专户余额不足")
            card = find_card(books, debit["card_no"])
            books.execute(
                "INSERT INTO refund VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    number,
                    order_no,
                    amount_fen,
                    reason,
                    new_reference(books, now),
                    now,
                    settle_date(now, self._rules),
                ),
            )
            move_card(books, debit["card_no"], amount_fen)
            entry = move_account(
                books, now, "REFUND", -amount_fen, reference=number, party=card, summary=reason
            )
            self._announce_entry(books, entry)
            [done] = [row for row in refunds_of(books, order_no) if row["refund_no"] == number]
        return _refund_fields(done)

    def query_refund(self, content: Content) -> dict[str, object]:
        """`refund/query`."""
        with self._books.transaction() as books:
            refund = _find_refund(books, read_order_no(content, "refund_no"))
        if refund is None:
            raise Refusal("34")
        return _refund_fields(refund)


def add_debit(books: sqlite3.Connection, **columns: object) -> None:
    """Write a new debit; `columns` are those of the table."""
    books.execute(
        f"INSERT INTO debit ({', '.join(columns)})"  # noqa: S608  # nosec B608  # named by us
        f" VALUES ({', '.join('?' * len(columns))})",
        tuple(columns.values()),
    )


def find_debit(books: sqlite3.Connection, order_no: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = books.execute(
        "SELECT * FROM debit WHERE order_no = ?", (order_no,)
    ).fetchone()
    return found


def get_debit(books: sqlite3.Connection, order_no: str) -> sqlite3.Row:
    debit = find_debit(books, order_no)
    if debit is None:
        raise LookupError(order_no)
    return debit


def refunds_of(books: sqlite3.Connection, order_no: str) -> list[sqlite3.Row]:
    return books.execute("SELECT * FROM refund WHERE order_no = ?", (order_no,)).fetchall()


def _find_refund(books: sqlite3.Connection, refund_no: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = books.execute(
        "SELECT * FROM refund WHERE refund_no = ?", (refund_no,)
    ).fetchone()
    return found


def _refund_fields(refund: sqlite3.Row) -> dict[str, object]:
    return {
        "refund_no": refund["refund_no"],
        "order_no": refund["order_no"],
        "amount_fen": refund["amount_fen"],
        "bank_ref": refund["bank_ref"],
        "settle_date": refund["settle_date"],
        "refunded_at": spaced(refund["refunded_at"]),
    }


def _period(cycle: str, now: int) -> str:
    """Return the month or quarter of this moment, as `2026-12` or `2026Q4`."""
    moment = beijing(now)
    if cycle == "QUARTER":
        return f"{moment.year}Q{(moment.month + 2) // 3}"
    return f"{moment:%Y-%m}"


def _midnight(now: int) -> int:
    return int(beijing(now).replace(hour=0, minute=0, second=0, microsecond=0).timestamp())


def _as_text(content: Content) -> str:
    return json.dumps(content, ensure_ascii=False, sort_keys=True)
