"""网关账簿 A gateway's own books: one SQLite file that nothing of the product can write to."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock


class Books:
    """One connection, used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = RLock()
        self._depth = 0

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what the block wrote, or nothing of it if the block raises.

        A transaction inside another of the same thread joins it, so that a notice can be queued
        in the same breath as the payment it tells of. Other threads wait: no network inside.
        """
        with self._lock:
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield self._connection
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._connection.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._connection.execute("COMMIT")

    def create(self, schema_sql: str) -> None:
        """Run `CREATE … IF NOT EXISTS` statements."""
        with self._lock:
            self._connection.executescript(schema_sql)

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def open_books(path: Path, schema_sql: str) -> Books:
    """Open the file at `path`, made if missing, with the tables of `schema_sql`.

    Rows are `sqlite3.Row`. What is committed outlives the process being killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    books = Books(connection)
    books.create(schema_sql)
    return books
