"""持卡人 Cards with accounts behind them: made and changed by control calls, checked, drawn on."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping

from sandbox.bank.checks import check_card_no, check_document, check_phone, luhn_digit
from sandbox.bank.codes import Refusal
from sandbox.books import Books
from sandbox.control import Refused, read_text, read_whole

_DEBIT_PREFIX = "621798"
_CREDIT_PREFIX = "625955"
_STATES = frozenset({"normal", "frozen", "lost", "closed"})


class Cards:
    """The cards in the books; every method but the last two is a control call."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def issue(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Make a card, with a number of ours or the one given, and return its number."""
        kind = read_text(given, "kind", default="debit")
        if kind not in {"debit", "credit"}:
            raise ValueError("kind 应为 debit 或 credit")
        holder = [read_text(given, name) for name in ("name", "id_kind", "id_no", "phone")]
        limit = (
            read_whole(given, "daily_limit_fen", least=0) if "daily_limit_fen" in given else None
        )
        card_no = read_text(given, "card_no", default="") or _new_number(kind)
        try:
            check_card_no(card_no)
            check_document(holder[1], holder[2])
            check_phone(holder[3])
        except Refusal as refusal:
            raise Refused(refusal.message) from None
        balance_fen = read_whole(given, "balance_fen", default=0, least=0)
        with self._books.transaction() as books:
            if find_card(books, card_no) is not None:
                raise Refused("卡号已存在")
            books.execute(
                "INSERT INTO card VALUES (?, ?, ?, ?, ?, ?, 'normal', ?, ?)",
                (card_no, kind, *holder, balance_fen, limit),
            )
        return {"card_no": card_no}

    def change(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Change the state, the balance, the limit, or what the bank knows of the holder."""
        card_no = read_text(given, "card_no")
        changes: dict[str, object] = {
            name: read_text(given, name) for name in ("state", "name", "phone") if name in given
        }
        changes |= {
            name: read_whole(given, name, least=0)
            for name in ("balance_fen", "daily_limit_fen")
            if name in given
        }
        if not changes or changes.get("state", "normal") not in _STATES:
            raise ValueError("没有可改的内容，或 state 不对")
        with self._books.transaction() as books:
            if find_card(books, card_no) is None:
                raise Refused("没有这张卡")
            for name, value in changes.items():
                books.execute(
                    f"UPDATE card SET {name} = ? WHERE card_no = ?",  # noqa: S608  # nosec B608  # named by us
                    (value, card_no),
                )
        return {}


def find_card(books: sqlite3.Connection, card_no: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = books.execute(
        "SELECT * FROM card WHERE card_no = ?", (card_no,)
    ).fetchone()
    return found


def check_usable(card: sqlite3.Row) -> None:
    """Refuse a card that nothing can be taken from or paid to: 61 closed, 63 frozen or lost."""
    if card["state"] == "closed":
        raise Refusal("61")
    if card["state"] != "normal":
        raise Refusal("63")


def move_card(books: sqlite3.Connection, card_no: str, amount_fen: int) -> None:
    """Change the account behind a card; SQLite refuses to let it fall below nothing."""
    books.execute(
        "UPDATE card SET balance_fen = balance_fen + ? WHERE card_no = ?", (amount_fen, card_no)
    )


def _new_number(kind: str) -> str:
    prefix, length = (_DEBIT_PREFIX, 18) if kind == "debit" else (_CREDIT_PREFIX, 15)
    count = length - len(prefix)
    start = prefix + str(secrets.randbelow(10**count)).zfill(count)
    return start + luhn_digit(start)
