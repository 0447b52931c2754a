"""批量代扣 Batch files: picked up with their marker, accepted whole or not at all, answered."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from threading import Lock

from sandbox.bank import outcomes
from sandbox.bank.accounts import Merchant, Rules, day_of, move_account, seconds_now
from sandbox.bank.codes import MESSAGES, OK, PROCESSING
from sandbox.bank.debits import AnnounceEntry, Debits, add_debit, find_debit
from sandbox.bank.layouts import (
    ACKNOWLEDGEMENT,
    DEBITS,
    RESULTS,
    Record,
    Unreadable,
    parse,
)
from sandbox.bank.outgoing import ACK_KINDS, MARKER, RESULT_KINDS, SIGNATURE, Outgoing
from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused
from sandbox.control import read_text as read_given
from sandbox.keys import is_signed
from sandbox.trouble import Trouble, Troubles

LINE = "file/line"
ACK = "file/ack"
RESULT = "file/result"
PLACES: Mapping[str, frozenset[str]] = {
    LINE: frozenset({"refuse"}),
    ACK: ACK_KINDS,
    RESULT: RESULT_KINDS,
}

_NAME = re.compile(r"DK_([0-9]+)_([0-9]{8})_([0-9]{4})\.txt")
_LONGEST_NAME = 200


class _Wrong(Exception):
    """A file is rejected: code, text, line."""

    def __init__(self, code: str, message: str, line: int = 0) -> None:
        super().__init__(code, message, line)
        self.code = code
        self.message = message
        self.line = line


class Batches:
    """The batch files in the books and in the merchant's inbox."""

    def __init__(
        self,
        books: Books,
        clock: Clock,
        merchant: Merchant,
        rules: Rules,
        troubles: Troubles,
        debits: Debits,
        root: Path,
        announce_entry: AnnounceEntry,
    ) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant
        self._rules = rules
        self._troubles = troubles
        self._debits = debits
        self._inbox = root / "inbox"
        self._settling = Lock()
        self._announce_entry = announce_entry
        for folder in (self._inbox, root / "outbox"):
            folder.mkdir(parents=True, exist_ok=True)
        self._outgoing = Outgoing(merchant, root / "outbox")

    def settle(self) -> None:
        """Take in what has its marker, end what is due, publish what is due."""
        with self._settling:
            for marker in sorted(self._inbox.glob(f"*{MARKER}")):
                self._take_in(marker)
        now = seconds_now(self._clock)
        with self._books.transaction() as books:
            due = books.execute(
                "SELECT * FROM batch WHERE state = 'ACCEPTED' AND result_at <= ?"
                " ORDER BY result_at, rowid",
                (now,),
            ).fetchall()
            for batch in due:
                self._end(books, batch["name"], batch["result_at"])
            self._outgoing.publish_due(books, now)

    def _take_in(self, marker: Path) -> None:
        """Read one file into the books, then clear it away: it is never lost in between."""
        name = marker.name.removesuffix(MARKER)
        file, signature_file = self._inbox / name, self._inbox / f"{name}{SIGNATURE}"
        # One byte more than allowed is enough to know that it is too much.
        content = _read(file, self._rules.most_file_bytes + 1)
        signature = _read(signature_file, 4096)
        with self._books.transaction() as books:
            self._accept(books, name, content, signature)
        for path in (marker, signature_file, file):
            if path.is_file():
                path.unlink()

    def _accept(
        self, books: sqlite3.Connection, name: str, content: bytes, signature: bytes
    ) -> None:
        """Answer one file; what cannot be acknowledged under its own name gets an `.err`."""
        now = seconds_now(self._clock)
        match = _NAME.fullmatch(name)
        if match is None or match[1] != self._merchant.merchant_id:
            is_long = len(os.fsencode(name)) > _LONGEST_NAME
            self._outgoing.write(f"{'long-name' if is_long else name}.err", "文件名不符".encode())
            return
        before = books.execute("SELECT * FROM batch WHERE name = ?", (name,)).fetchone()
        if before is not None:
            if bytes(before["content"]) == content:
                self._outgoing.repeat(books, name, now)
            else:
                self._outgoing.write(f"{name}.err", "文件名已用于另一份文件".encode())
            return
        try:
            details = self._check(books, match, content, signature)
        except _Wrong as wrong:
            self._answer(books, name, content, wrong, [], now)
            return
        self._answer(books, name, content, None, details, now)
        for place, detail in enumerate(details, start=1):
            self._add_line(books, name, place, detail, now)

    def _check(
        self, books: sqlite3.Connection, name: re.Match[str], content: bytes, signature: bytes
    ) -> Sequence[Record]:
        """Return the lines of a file that is right in every respect."""
        if not content:
            raise _Wrong("14", "缺少数据文件或文件为空")
        if len(content) > self._rules.most_file_bytes:
            raise _Wrong("14", "文件过大")
        if not is_signed(content, signature.decode("latin-1").strip(), self._merchant.key):
            raise _Wrong("11", MESSAGES["11"])
        try:
            header, details = parse(DEBITS, content)
            datetime.strptime(header["date"], "%Y%m%d")  # noqa: DTZ007  a day, not an instant
        except Unreadable as unreadable:
            raise _Wrong("14", unreadable.message, unreadable.line) from None
        except ValueError:
            raise _Wrong("14", "日期不存在", 1) from None
        if (header["corp"], header["date"], header["sequence"]) != name.groups():
            raise _Wrong("14", "文件头与文件名不符", 1)
        if not 1 <= len(details) <= self._rules.most_lines:
            raise _Wrong("14", f"笔数应为 1 至 {self._rules.most_lines}", 1)
        seen: set[str] = set()
        for line, detail in enumerate(details, start=2):
            number = detail["order_no"]
            if number in seen or find_debit(books, number) is not None:
                raise _Wrong("12", "订单号重复", line)
            seen.add(number)
        return details

    def _answer(
        self,
        books: sqlite3.Connection,
        name: str,
        content: bytes,
        wrong: _Wrong | None,
        details: Sequence[Record],
        now: int,
    ) -> None:
        """Write the file into the books, and its acknowledgement into the outbox."""
        code, message, line = (wrong.code, wrong.message, wrong.line) if wrong else (OK, "成功", 0)
        books.execute(
            "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                name,
                content,
                "REJECTED" if wrong else "ACCEPTED",
                code,
                message,
                line,
                now,
                None if wrong else now + self._rules.batch_seconds,
            ),
        )
        acknowledgement = {
            "file": name,
            "verdict": "REJECTED" if wrong else "ACCEPTED",
            "code": code,
            "text": message,
            "wrong_line": str(line),
            "accepted_fen": str(sum(int(detail["amount_fen"]) for detail in details)),
        }
        trouble = self._troubles.take(ACK)
        self._outgoing.send(books, name, ACKNOWLEDGEMENT, [acknowledgement], now, trouble)

    def _add_line(
        self, books: sqlite3.Connection, name: str, place: int, detail: Record, now: int
    ) -> None:
        holder = books.execute(
            "SELECT card.* FROM mandate JOIN card USING (card_no) WHERE channel_agreement_no = ?",
            (detail["agreement_no"],),
        ).fetchone()
        wanted_code = ""
        if holder is not None and (holder["card_no"], holder["name"]) != (
            detail["account"],
            detail["name"],
        ):
            wanted_code = "66"
        match self._troubles.take(LINE):
            case Trouble() as trouble:
                wanted_code = trouble.text("code", "01")
        add_debit(
            books,
            order_no=detail["order_no"],
            content=f"{name}:{place}",
            channel_agreement_no=detail["agreement_no"],
            amount_fen=int(detail["amount_fen"]),
            purpose=detail["purpose"],
            notify_url="",
            batch=name,
            line=place,
            state="PROCESSING",
            code=PROCESSING,
            message=MESSAGES[PROCESSING],
            wanted_code=wanted_code,
            accepted_at=now,
            is_told=1,  # by the result file
        )

    def _end(self, books: sqlite3.Connection, name: str, at: int) -> None:
        """Decide every line at that moment, book the sum, and write the result file."""
        lines = books.execute("SELECT * FROM debit WHERE batch = ? ORDER BY line", (name,))
        for row in lines.fetchall():
            outcomes.decide(books, self._debits, row, self._rules, at)
        rows = books.execute(
            "SELECT * FROM debit WHERE batch = ? ORDER BY line", (name,)
        ).fetchall()
        books.execute("UPDATE batch SET state = 'RESULTED' WHERE name = ?", (name,))
        paid_fen = sum(row["amount_fen"] for row in rows if row["state"] == "SUCCEEDED")
        if paid_fen:
            entry = move_account(
                books, at, "BATCH", paid_fen, reference=name, summary="批量代扣入账"
            )
            self._announce_entry(books, entry)
        details = [
            {
                "order_no": row["order_no"],
                "code": row["code"],
                "text": row["message"],
                "actual_fen": str(row["amount_fen"] if row["state"] == "SUCCEEDED" else 0),
                "bank_ref": row["bank_ref"] or "",
                "bank_date": row["settle_date"] or day_of(at),
            }
            for row in rows
        ]
        self._outgoing.send(books, name, RESULTS, details, at, self._troubles.take(RESULT))

    def finish(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: the results of a file come now."""
        name = read_given(given, "name")
        with self._books.transaction() as books:
            batch = books.execute("SELECT * FROM batch WHERE name = ?", (name,)).fetchone()
            if batch is None or batch["state"] != "ACCEPTED":
                raise Refused("没有这份待处理的文件")
            now = seconds_now(self._clock)
            self._end(books, name, now)
            self._outgoing.publish_due(books, now)
        return {}

    def release(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: what troubles kept back of a file's answers goes out now."""
        with self._books.transaction() as books:
            now = seconds_now(self._clock)
            released = self._outgoing.release(books, read_given(given, "name"), now)
            self._outgoing.publish_due(books, now)
        return {"released": released}


def _read(path: Path, most: int) -> bytes:
    """Return the start of a plain file, nothing of anything else."""
    if path.is_symlink() or not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(most)
