"""代付 Payouts from the special account to a card, and their coming back (退汇)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from sandbox.bank import outcomes
from sandbox.bank.accounts import (
    Merchant,
    Rules,
    account_balance,
    move_account,
    new_reference,
    seconds_now,
)
from sandbox.bank.cards import check_usable, find_card, move_card
from sandbox.bank.checks import (
    Content,
    check_card_no,
    read_fen,
    read_notify_url,
    read_order_no,
    read_text,
)
from sandbox.bank.codes import OK, Refusal
from sandbox.bank.debits import AnnounceEntry
from sandbox.bank.notices import Announce, payout_fields
from sandbox.bank.outcomes import Meet
from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused
from sandbox.control import read_text as read_given

OUTCOME = "payout/outcome"


class Payouts:
    """The payouts in the books.

    Args:
        announce: told of each result and each return, inside the transaction.
        announce_entry: told of each movement of the special account.
    """

    table = "payout"
    number = "payout_no"

    def __init__(
        self,
        books: Books,
        clock: Clock,
        merchant: Merchant,
        rules: Rules,
        announce: Announce,
        announce_entry: AnnounceEntry,
    ) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant
        self._rules = rules
        self._announce = announce
        self._announce_entry = announce_entry

    def pay(self, content: Content, meet: Meet) -> dict[str, object]:
        """`payout`: one payout, new or the same as before.

        Args:
            meet: asked for the trouble that a new payout meets.
        """
        number = read_order_no(content, "payout_no")
        card_no, name = read_text(content, "card_no", 32), read_text(content, "name", 64)
        amount_fen = read_fen(content, "amount_fen")
        purpose, url = read_text(content, "purpose", 60), read_notify_url(content)
        check_card_no(card_no)
        text = json.dumps(content, ensure_ascii=False, sort_keys=True)
        now = seconds_now(self._clock)
        with self._books.transaction() as books:
            before = _find(books, number)
            if before is not None and before["content"] != text:
                raise Refusal("12", "重复交易：付款号已用于另一笔付款")
            if before is None:
                columns = {
                    "payout_no": number,
                    "content": text,
                    "card_no": card_no,
                    "name": name,
                    "amount_fen": amount_fen,
                    "purpose": purpose,
                    "notify_url": url,
                    **outcomes.plan(meet(), now),
                }
                books.execute(
                    f"INSERT INTO payout ({', '.join(columns)})"  # noqa: S608  # nosec B608  # named by us
                    f" VALUES ({', '.join('?' * len(columns))})",
                    tuple(columns.values()),
                )
                outcomes.decide_due(books, self, self._rules, now)
        # Whatever is said of it, it is done: a refusal must not roll it back.
        with self._books.transaction() as books:
            return self._tell_of(books, number, now)

    def query(self, content: Content) -> dict[str, object]:
        """`payout/query`: `code` is about the question, `orig_code` about the payout."""
        number = read_order_no(content, "payout_no")
        with self._books.transaction() as books:
            if _find(books, number) is None:
                raise Refusal("34")
            fields = self._tell_of(books, number, seconds_now(self._clock))
        return {**fields, "code": OK}

    def balance(self, _content: Content) -> dict[str, object]:
        """`balance`: of the special account, now."""
        with self._books.transaction() as books:
            balance_fen = account_balance(books)
        return {"account_no": self._merchant.account_no, "balance_fen": balance_fen}

    def _tell_of(self, books: sqlite3.Connection, number: str, now: int) -> dict[str, object]:
        payout = _get(books, number)
        return outcomes.said_of(payout, payout_fields(payout), now)

    def carry_out(self, books: sqlite3.Connection, row: sqlite3.Row, now: int) -> None:
        """Pay, if the card is the named person's and the account has the money."""
        card = find_card(books, row["card_no"])
        if card is None:
            raise Refusal("61")
        if card["name"] != row["name"]:
            raise Refusal("66")
        check_usable(card)
        if account_balance(books) < row["amount_fen"]:
            raise Refusal("64", "专户余额不足")
        move_card(books, row["card_no"], row["amount_fen"])
        entry = move_account(
            books,
            now,
            "PAYOUT",
            -row["amount_fen"],
            reference=row["payout_no"],
            party=row,
            summary=row["purpose"],
        )
        self._announce_entry(books, entry)

    def tell(self, books: sqlite3.Connection, row: sqlite3.Row) -> None:
        number, url = row["payout_no"], row["notify_url"]
        self._announce(books, "payout.result", number, url, payout_fields(row))

    def give_back(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: a payout that succeeded comes back (退汇)."""
        number = read_given(given, "payout_no")
        reason = read_given(given, "reason", default="收款账户异常，退汇")
        now = seconds_now(self._clock)
        with self._books.transaction() as books:
            row = _find(books, number)
            if row is None or row["state"] != "SUCCEEDED":
                raise Refused("没有这笔成功的付款")
            card = find_card(books, row["card_no"])
            if card is None or card["balance_fen"] < row["amount_fen"]:
                raise Refused("钱已不在卡上，不能退汇")
            move_card(books, row["card_no"], -row["amount_fen"])
            books.execute(
                "UPDATE payout SET state = 'RETURNED', returned_at = ?, return_ref = ?,"
                " return_reason = ? WHERE payout_no = ?",
                (now, new_reference(books, now), reason, number),
            )
            entry = move_account(
                books,
                now,
                "RETURN",
                row["amount_fen"],
                reference=number,
                party=row,
                is_reversal=True,
                summary=reason,
            )
            self._announce_entry(books, entry)
            back = _get(books, number)
            self._announce(books, "payout.returned", number, row["notify_url"], payout_fields(back))
        return {}


def _find(books: sqlite3.Connection, payout_no: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = books.execute(
        "SELECT * FROM payout WHERE payout_no = ?", (payout_no,)
    ).fetchone()
    return found


def _get(books: sqlite3.Connection, payout_no: str) -> sqlite3.Row:
    payout = _find(books, payout_no)
    if payout is None:
        raise LookupError(payout_no)
    return payout
