"""往外的文件 Files on their way to the outbox, through whatever trouble meets them there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sandbox.bank.accounts import Merchant
from sandbox.bank.layouts import ENCODING, Layout, Record, render
from sandbox.bank.notices import forgers_key
from sandbox.control import Refused
from sandbox.keys import sign
from sandbox.trouble import Trouble

_TRANSPORT_KINDS = frozenset(
    {"drop", "delay", "duplicate", "truncate", "alter", "bad_sign", "unsigned", "other_batch"}
)
ACK_KINDS = _TRANSPORT_KINDS
RESULT_KINDS = _TRANSPORT_KINDS | {"partial", "foreign", "short_paid", "repeat_line"}

SIGNATURE = ".sig"
MARKER = ".ok"


class Outgoing:
    """The bank's files: written, signed, queued, put into the outbox when they are due."""

    def __init__(self, merchant: Merchant, outbox: Path) -> None:
        self._merchant = merchant
        self._outbox = outbox

    def send(
        self,
        books: sqlite3.Connection,
        batch: str,
        layout: Layout,
        details: Sequence[Record],
        now: int,
        trouble: Trouble | None,
    ) -> None:
        """Queue the answer to a batch file (`DK_….txt`), inside the caller's transaction."""
        corp, date, sequence = batch.removesuffix(".txt").split("_")[1:]
        header = {"corp": corp, "date": date, "sequence": sequence}
        name = f"{layout.kind}_{corp}_{date}_{sequence}.txt"
        if trouble is None:
            self._queue(books, batch, name, *self._signed(render(layout, header, details)), now)
            return
        if trouble.kind == "other_batch":
            header["sequence"] = f"{(int(sequence) + 1) % 10_000:04d}"
        sent, left_out = _spoil_details(trouble, list(details))
        parcel = self._spoil(trouble, render(layout, header, sent))
        due_at: int | None = now
        if trouble.kind == "delay":
            due_at = now + int(trouble.number("seconds", 3600))
        elif trouble.kind == "drop":
            due_at = None
        self._queue(books, batch, name, *parcel, due_at)
        if trouble.kind == "duplicate":
            self._queue(books, batch, _second(name), *parcel, due_at)
        if left_out:
            rest = self._signed(render(layout, header, left_out))
            self._queue(books, batch, _second(name), *rest, None)

    def _signed(self, content: bytes) -> tuple[bytes, str]:
        return content, sign(content, self._merchant.bank_key)

    def _spoil(self, trouble: Trouble, content: bytes) -> tuple[bytes, str | None]:
        """Return the bytes and the signature that go out."""
        match trouble.kind:
            case "unsigned":
                return content, None
            case "bad_sign":
                return content, sign(content, forgers_key())
            case "truncate" | "alter":
                spoilt = _spoil_bytes(trouble.kind, content)
                is_resigned = trouble.flag("resigned", default=False)
                return spoilt, self._signed(spoilt if is_resigned else content)[1]
        return self._signed(content)

    def _queue(
        self,
        books: sqlite3.Connection,
        batch: str,
        name: str,
        content: bytes,
        signature: str | None,
        due_at: int | None,
    ) -> None:
        books.execute(
            "INSERT INTO outgoing (batch, name, content, signature, due_at) VALUES (?, ?, ?, ?, ?)",
            (batch, name, content, signature, due_at),
        )

    def release(self, books: sqlite3.Connection, batch: str, now: int) -> int:
        """Let go what `drop`, `delay` and `partial` kept back of one batch; return how many.

        Raises:
            Refused: nothing was kept back.
        """
        kept = books.execute(
            "UPDATE outgoing SET due_at = ? WHERE batch = ? AND published_at IS NULL", (now, batch)
        )
        if kept.rowcount == 0:
            raise Refused("没有留下未发的文件")
        return kept.rowcount

    def repeat(self, books: sqlite3.Connection, batch: str, now: int) -> None:
        """Put the acknowledgement of a batch into the outbox again, if it is not there."""
        books.execute(
            "UPDATE outgoing SET due_at = ?, published_at = NULL"
            " WHERE batch = ? AND name LIKE 'DKA_%'",
            (now, batch),
        )

    def publish_due(self, books: sqlite3.Connection, now: int) -> None:
        """Write what is due: the file, its signature, the marker last."""
        due = books.execute(
            "SELECT * FROM outgoing WHERE published_at IS NULL AND due_at <= ? ORDER BY id", (now,)
        ).fetchall()
        for row in due:
            self.write(row["name"], bytes(row["content"]))
            if row["signature"] is not None:
                self.write(row["name"] + SIGNATURE, row["signature"].encode())
            self.write(row["name"] + MARKER, b"")
            books.execute("UPDATE outgoing SET published_at = ? WHERE id = ?", (now, row["id"]))

    def write(self, name: str, content: bytes) -> None:
        """Write one file into the outbox so that nobody sees half of it."""
        draft = self._outbox / f".{name}.tmp"
        draft.write_bytes(content)
        os.replace(draft, self._outbox / name)


def _second(name: str) -> str:
    return f"{name.removesuffix('.txt')}_2.txt"


def _spoil_details(trouble: Trouble, details: list[Record]) -> tuple[list[Record], list[Record]]:
    """Return the lines that go out, and those that are left for later."""
    match trouble.kind:
        case "partial":
            count = min(int(trouble.number("lines", 1)), len(details))
            return details[: len(details) - count], details[len(details) - count :]
        case "foreign":
            return [*details, {**details[0], "order_no": "FOREIGN00000001"}], []
        case "repeat_line":
            return [*details, details[0]], []
        case "short_paid":
            paid = next((detail for detail in details if detail["actual_fen"] != "0"), None)
            if paid is not None:
                at = details.index(paid)
                details[at] = {**paid, "actual_fen": str(int(paid["actual_fen"]) - 1)}
    return details, []


def _spoil_bytes(kind: str, content: bytes) -> bytes:
    """Cut a file in the middle of a line, or change a digit in its first detail."""
    if kind == "truncate":
        return content[: len(content) // 2]
    text = content.decode(ENCODING)
    at = text.index("\r\nD|00000001|") + len("\r\nD|00000001|")
    place = next(place for place in range(at, len(text)) if text[place].isdigit())
    other = "1" if text[place] == "0" else "0"
    return f"{text[:place]}{other}{text[place + 1 :]}".encode(ENCODING)
