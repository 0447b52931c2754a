"""账簿一览 What the control call `books` shows: the bank's own word about everything."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

from sandbox.bank.accounts import account_balance, spaced
from sandbox.bank.mandates import Mandates

View = Callable[[sqlite3.Row], Mapping[str, object]]


def books_view(books: sqlite3.Connection, mandates: Mandates) -> dict[str, object]:
    """Return mandates, debits, refunds, payouts, files, cards, and the special account."""
    return {
        "mandates": _all(books, "mandate", mandates.view),
        "debits": _all(books, "debit", _debit),
        "refunds": _all(books, "refund", _refund),
        "payouts": _all(books, "payout", _payout),
        "batches": _all(books, "batch", _batch),
        "files": _all(books, "outgoing", _file),
        "cards": _all(books, "card", dict),
        "entries": _all(books, "entry", _entry),
        "balance_fen": account_balance(books),
    }


def _all(books: sqlite3.Connection, table: str, view: View) -> list[Mapping[str, object]]:
    rows = books.execute(f"SELECT * FROM {table} ORDER BY rowid")  # noqa: S608  # nosec B608  # named by us
    return [view(row) for row in rows.fetchall()]


def _debit(row: sqlite3.Row) -> Mapping[str, object]:
    return {
        "order_no": row["order_no"],
        "channel_agreement_no": row["channel_agreement_no"],
        "amount_fen": row["amount_fen"],
        "state": row["state"],
        "code": row["code"],
        "bank_ref": row["bank_ref"],
        "batch": row["batch"],
        "line": row["line"],
        "settle_date": row["settle_date"],
        "decided_at": _moment(row["decided_at"]),
    }


def _refund(row: sqlite3.Row) -> Mapping[str, object]:
    names = ("refund_no", "order_no", "amount_fen", "bank_ref", "settle_date")
    return {name: row[name] for name in names}


def _payout(row: sqlite3.Row) -> Mapping[str, object]:
    names = ("payout_no", "card_no", "name", "amount_fen", "state", "code", "bank_ref")
    moments = {name: _moment(row[name]) for name in ("decided_at", "returned_at")}
    return {**{name: row[name] for name in names}, **moments}


def _batch(row: sqlite3.Row) -> Mapping[str, object]:
    return {name: row[name] for name in ("name", "state", "code", "message", "line")}


def _file(row: sqlite3.Row) -> Mapping[str, object]:
    moments = {name: _moment(row[name]) for name in ("due_at", "published_at")}
    return {"name": row["name"], "batch": row["batch"], **moments}


def _entry(row: sqlite3.Row) -> Mapping[str, object]:
    names = ("serial", "kind", "reference", "amount_fen", "balance_fen", "summary")
    return {name: row[name] for name in names} | {"is_reversal": bool(row["is_reversal"])}


def _moment(seconds: int | None) -> str | None:
    return None if seconds is None else spaced(seconds)
