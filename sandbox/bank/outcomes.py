"""结果 How a debit or a payout comes to its end: at once, later, refused, or done in silence.

Both are decided when they are due and told of when they are not hidden any more, so both tables
have the same columns for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Protocol

from sandbox.bank.accounts import Rules, new_reference, settle_date
from sandbox.bank.codes import MESSAGES, MONEY_MOVED, OK, PROCESSING, STILL_OPEN, Refusal
from sandbox.control import Refused, read_text
from sandbox.trouble import Trouble

OUTCOME_KINDS = frozenset({"refuse", "slow", "silent", "lost"})
"""Troubles of the outcome: refused with a code, decided later, done but unsaid or not found."""

Meet = Callable[[], Trouble | None]

_NEVER = 2**40
"""An instant that only a control call brings about."""


class Business(Protocol):
    """What debits and payouts differ in."""

    table: str
    number: str
    """The column of the merchant's number."""

    def carry_out(self, books: sqlite3.Connection, row: sqlite3.Row, now: int) -> None:
        """Move the money; raises Refusal if the rules forbid it."""

    def tell(self, books: sqlite3.Connection, row: sqlite3.Row) -> None:
        """Queue the notice of a result."""


def plan(trouble: Trouble | None, now: int) -> dict[str, object]:
    """Return the columns of a new row that say when and how it will end."""
    plain: dict[str, object] = {
        "state": "PROCESSING",
        "code": PROCESSING,
        "message": MESSAGES[PROCESSING],
        "decide_at": now,
        "accepted_at": now,
    }
    match trouble:
        case Trouble(kind="refuse"):
            code = trouble.text("code", "01")
            if code in STILL_OPEN:
                return {**plain, "code": code, "message": MESSAGES[code], "decide_at": None}
            return {**plain, "wanted_code": code}
        case Trouble(kind="slow"):
            seconds = trouble.number("seconds", -1)
            return {**plain, "decide_at": None if seconds < 0 else now + int(seconds)}
        case Trouble(kind="silent" | "lost"):
            return {
                **plain,
                "hidden_until": now + int(trouble.number("seconds", _NEVER)),
                "hidden_code": "34" if trouble.kind == "lost" else PROCESSING,
            }
    return plain


def decide_due(books: sqlite3.Connection, business: Business, rules: Rules, now: int) -> None:
    """Decide what is due, each at its own moment, and tell of what is decided and not hidden."""
    table, number = business.table, business.number
    due = books.execute(
        f"SELECT * FROM {table} WHERE is_told = 0 AND state = 'PROCESSING'"  # noqa: S608  # nosec B608  # named by us
        " AND decide_at <= ? ORDER BY decide_at, rowid",
        (now,),
    ).fetchall()
    for row in due:
        decide(books, business, row, rules, row["decide_at"])
    open_rows = books.execute(
        f"SELECT * FROM {table} WHERE is_told = 0 AND state <> 'PROCESSING'"  # noqa: S608  # nosec B608  # named by us
        " AND hidden_until <= ? ORDER BY rowid",
        (now,),
    ).fetchall()
    for row in open_rows:
        books.execute(f"UPDATE {table} SET is_told = 1 WHERE {number} = ?", (row[number],))  # noqa: S608  # nosec B608  # named by us
        business.tell(books, row)


def decide(
    books: sqlite3.Connection, business: Business, row: sqlite3.Row, rules: Rules, at: int
) -> None:
    """End one row that is in process: by the rules, or with the code that was wanted.

    A wanted code that says "not yet" leaves it to `finish`.
    """
    wanted = row["wanted_code"]
    if wanted in STILL_OPEN:
        books.execute(
            f"UPDATE {business.table} SET code = ?, message = ?, is_told = 0"  # noqa: S608  # nosec B608  # named by us
            f" WHERE {business.number} = ?",
            (wanted, MESSAGES[wanted], row[business.number]),
        )
        return
    code, message = wanted or OK, ""
    try:
        if wanted and wanted not in MONEY_MOVED:
            raise Refusal(wanted)
        business.carry_out(books, row, at)
        state = "SUCCEEDED"
    except Refusal as refusal:
        state, code, message = "FAILED", refusal.code, refusal.message
    books.execute(
        f"UPDATE {business.table} SET state = ?, code = ?, message = ?, decided_at = ?,"  # noqa: S608  # nosec B608  # named by us
        f" bank_ref = ?, settle_date = ? WHERE {business.number} = ?",
        (
            state,
            code,
            message or MESSAGES.get(code, "交易失败"),
            at,
            new_reference(books, at),
            settle_date(at, rules) if state == "SUCCEEDED" else "",
            row[business.number],
        ),
    )


def finish(
    books: sqlite3.Connection,
    business: Business,
    given: Mapping[str, object],
    rules: Rules,
    now: int,
) -> None:
    """Control call: end what waits for the bank's staff, and bring what is hidden to light.

    Raises:
        Refused: there is no such row, or nothing to do.
    """
    number = read_text(given, business.number)
    code = read_text(given, "code", default=OK)
    row = books.execute(
        f"SELECT * FROM {business.table} WHERE {business.number} = ?",  # noqa: S608  # nosec B608  # named by us
        (number,),
    ).fetchone()
    if row is None:
        raise Refused(f"没有这一笔：{number}")
    if row["is_told"]:
        raise Refused("这一笔已有结果并已告知商户")
    kept = "" if row["wanted_code"] in STILL_OPEN else row["wanted_code"]
    wanted = code if code != OK else kept
    books.execute(
        f"UPDATE {business.table} SET wanted_code = ?, decide_at = ?, hidden_until = 0"  # noqa: S608  # nosec B608  # named by us
        f" WHERE {business.number} = ?",
        (wanted, now, number),
    )
    decide_due(books, business, rules, now)


def said_of(row: sqlite3.Row, fields: Mapping[str, object], now: int) -> dict[str, object]:
    """Return what the merchant is told of a row: its fields, or less while it is hidden.

    Raises:
        Refusal: 34, the bank does not find it yet.
    """
    told = dict(fields)
    if now < row["hidden_until"]:
        if row["hidden_code"] == "34":
            raise Refusal("34")
        told |= {"state": "PROCESSING", "orig_code": PROCESSING}
        told |= {"orig_message": MESSAGES[PROCESSING], "bank_ref": None, "decided_at": None}
        told |= {"settle_date": "", **({"actual_fen": 0} if "actual_fen" in told else {})}
    return {"code": told["orig_code"], "message": told["orig_message"], **told}
