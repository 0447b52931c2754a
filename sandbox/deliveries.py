"""通知投递 The notice queue: durable, on the virtual clock, repeated by the retry table.

A notice is posted byte for byte the same at every try; a gateway that signs in headers makes those
anew for each. It may come again after it was accepted (`resend`), and troubles at `notice` may
lose, put off, multiply or keep a try.
"""

from __future__ import annotations

import logging
import random
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event, Thread

import requests

from sandbox.books import Books
from sandbox.clock import SHANGHAI, Clock
from sandbox.trouble import NOTICE, Trouble, Troubles

_logger = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS notice (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    out_trade_no TEXT NOT NULL,
    url TEXT NOT NULL,
    body BLOB NOT NULL,
    content_type TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'held', 'accepted', 'given_up')),
    tries INTEGER NOT NULL DEFAULT 0,      -- by the retry table; copies and resends not counted
    due_at REAL NOT NULL,                  -- virtual, seconds since 1970
    put_off INTEGER NOT NULL DEFAULT 0     -- 1: this try has had its trouble
);
CREATE INDEX IF NOT EXISTS notice_due ON notice (state, due_at);
CREATE TABLE IF NOT EXISTS notice_try (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    notice_id INTEGER NOT NULL REFERENCES notice (id),
    at REAL NOT NULL,
    status INTEGER,                        -- NULL: no answer
    reply TEXT NOT NULL,
    accepted INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS notice_try_notice ON notice_try (notice_id);
"""

_TIMEOUT_SECONDS = 5
_LONGEST_SLEEP_SECONDS = 0.5
_REPLY_LENGTH = 500

Reply = tuple[int | None, str]
"""HTTP status and body; None and the name of the error if there was no answer."""


@dataclass(frozen=True)
class Parcel:
    """What is posted: the bytes, where to, and the headers that go with them."""

    url: str
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


def _no_headers(_url: str, _body: bytes) -> Mapping[str, str]:
    return {}


class Deliveries:
    """Sends the notices of one gateway, one after the other, from a thread of its own.

    Args:
        retry_seconds: the waits between tries; after the last the notice is given up.
        accepts: whether an answer (status, body) means that the merchant has stored the notice.
        sign: the headers that sign a body on its way to a URL, asked for at every try.
    """

    def __init__(
        self,
        books: Books,
        clock: Clock,
        troubles: Troubles,
        retry_seconds: Sequence[int],
        accepts: Callable[[int, bytes], bool],
        sign: Callable[[str, bytes], Mapping[str, str]] = _no_headers,
    ) -> None:
        self._books = books
        self._clock = clock
        self._troubles = troubles
        self._retry_seconds = tuple(retry_seconds)
        self._accepts = accepts
        self._sign = sign
        self._wake = Event()
        self._stopping = False
        books.create(_SCHEMA)
        clock.when_moved(self._wake.set)
        self._thread = Thread(target=self._run, name="deliveries", daemon=True)
        self._thread.start()

    def send(self, topic: str, out_trade_no: str, url: str, body: bytes, content_type: str) -> None:
        """Queue a notice to be sent now; inside a transaction it is queued if that commits."""
        with self._books.transaction() as books:
            books.execute(
                "INSERT INTO notice (topic, out_trade_no, url, body, content_type, state, due_at)"
                " VALUES (?, ?, ?, ?, ?, 'waiting', ?)",
                (topic, out_trade_no, url, body, content_type, self._now()),
            )
        self._wake.set()

    def release(self, order: str) -> int:
        """Send what `hold` kept back, in the given order, and return how many there were.

        They have been sent when this returns.

        Raises:
            ValueError: `order` is not fifo, lifo or shuffle.
        """
        if order not in {"fifo", "lifo", "shuffle"}:
            raise ValueError("order 应为 fifo、lifo 或 shuffle")
        with self._books.transaction() as books:
            held = books.execute("SELECT * FROM notice WHERE state = 'held' ORDER BY id").fetchall()
        if order == "lifo":
            held.reverse()
        elif order == "shuffle":
            random.shuffle(held)
        for notice in held:
            self._try(notice, copies=1)
        return len(held)

    def resend(self, out_trade_no: str, copies: int = 1) -> list[Reply]:
        """Post the last notice of a trade again, all copies at once, and return the answers.

        Raises:
            LookupError: there has been no notice of this trade.
        """
        with self._books.transaction() as books:
            notice = books.execute(
                "SELECT * FROM notice WHERE out_trade_no = ? ORDER BY id DESC LIMIT 1",
                (out_trade_no,),
            ).fetchone()
        if notice is None:
            raise LookupError(f"该订单没有通知：{out_trade_no}")
        replies = self._post_copies(notice, copies)
        with self._books.transaction() as books:
            for reply in replies:
                self._record(books, notice["id"], reply)
        return replies

    def post_now(self, parcel: Parcel) -> Reply:
        """Post once, unqueued and unrecorded."""
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.post(
                    parcel.url,
                    data=parcel.body,
                    headers={"Content-Type": parcel.content_type, **parcel.headers},
                    timeout=_TIMEOUT_SECONDS,
                    allow_redirects=False,
                )
        except requests.RequestException as error:
            return None, type(error).__name__
        return answer.status_code, answer.content.decode("utf-8", errors="replace")

    def log(self) -> list[dict[str, object]]:
        """Return every try of every notice, in the order they were made."""
        with self._books.transaction() as books:
            rows = books.execute(
                "SELECT notice_try.*, topic, out_trade_no, url,"
                " row_number() OVER (PARTITION BY notice_id ORDER BY notice_try.id) AS attempt"
                " FROM notice_try JOIN notice ON notice.id = notice_id ORDER BY notice_try.id"
            ).fetchall()
        return [
            {
                "id": row["notice_id"],
                "topic": row["topic"],
                "out_trade_no": row["out_trade_no"],
                "url": row["url"],
                "attempt": row["attempt"],
                "at": datetime.fromtimestamp(row["at"], UTC).astimezone(SHANGHAI).isoformat(),
                "status": row["status"],
                "reply": row["reply"],
                "accepted": bool(row["accepted"]),
            }
            for row in rows
        ]

    def stop(self) -> None:
        """End the thread; what is still due is sent by the next one on the same books."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            notice, due_at = self._next()
            if notice is not None:
                self._meet_trouble(notice)
                continue
            self._wake.wait(min(max(due_at - self._now(), 0.0), _LONGEST_SLEEP_SECONDS))

    def _next(self) -> tuple[sqlite3.Row | None, float]:
        """Return the notice that is due, if any, and when the first is."""
        with self._books.transaction() as books:
            first = books.execute(
                "SELECT * FROM notice WHERE state = 'waiting' ORDER BY due_at, id LIMIT 1"
            ).fetchone()
        if first is None:
            return None, float("inf")
        return (first if first["due_at"] <= self._now() else None), first["due_at"]

    def _meet_trouble(self, notice: sqlite3.Row) -> None:
        trouble = None if notice["put_off"] else self._troubles.take(NOTICE)
        match trouble:
            case Trouble(kind="drop"):
                self._end_try(notice, [(None, "dropped")])
            case Trouble(kind="hold"):
                with self._books.transaction() as books:
                    books.execute("UPDATE notice SET state = 'held' WHERE id = ?", (notice["id"],))
            case Trouble(kind="delay"):
                due_at = self._now() + trouble.number("seconds", 60)
                with self._books.transaction() as books:
                    books.execute(
                        "UPDATE notice SET due_at = ?, put_off = 1 WHERE id = ?",
                        (due_at, notice["id"]),
                    )
            case Trouble(kind="duplicate"):
                self._try(notice, copies=int(trouble.number("copies", 2)))
            case _:
                self._try(notice, copies=1)

    def _try(self, notice: sqlite3.Row, *, copies: int) -> None:
        self._end_try(notice, self._post_copies(notice, copies))

    def _post_copies(self, notice: sqlite3.Row, copies: int) -> list[Reply]:
        """Post all copies at the same time, so that they race each other at the merchant's."""
        url, body = notice["url"], bytes(notice["body"])
        parcel = Parcel(url, body, notice["content_type"], self._sign(url, body))
        if copies == 1:
            return [self.post_now(parcel)]
        with ThreadPoolExecutor(max_workers=min(copies, 16)) as threads:
            posts = [threads.submit(self.post_now, parcel) for _ in range(copies)]
        return [post.result() for post in posts]

    def _end_try(self, notice: sqlite3.Row, replies: Sequence[Reply]) -> None:
        """Record a try, and set the next one if nobody accepted the notice."""
        tries = notice["tries"] + 1
        with self._books.transaction() as books:
            accepted = [self._record(books, notice["id"], reply) for reply in replies]
            if any(accepted):
                state, due_at = "accepted", self._now()
            elif tries <= len(self._retry_seconds):
                state, due_at = "waiting", self._now() + self._retry_seconds[tries - 1]
            else:
                state, due_at = "given_up", self._now()
                _logger.warning("notice %s of %s given up", notice["id"], notice["out_trade_no"])
            books.execute(
                "UPDATE notice SET state = ?, due_at = ?, tries = ?, put_off = 0 WHERE id = ?",
                (state, due_at, tries, notice["id"]),
            )
        self._wake.set()

    def _record(self, books: sqlite3.Connection, notice_id: int, reply: Reply) -> bool:
        status, text = reply
        accepted = status is not None and self._accepts(status, text.encode())
        books.execute(
            "INSERT INTO notice_try (notice_id, at, status, reply, accepted)"
            " VALUES (?, ?, ?, ?, ?)",
            (notice_id, self._now(), status, text[:_REPLY_LENGTH], accepted),
        )
        return accepted
