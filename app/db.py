"""The database handle and the one transaction helper.

`transact` runs a block in one transaction and runs the *whole block again* when the database asks
for it: deadlock, lock timeout, a refused certification of a cluster node (also when COMMIT itself
raises it), a busy SQLite file; when the connection was lost before COMMIT was sent, which rolls
back; and once more when it lost a race for a unique key. The block must therefore do nothing to
the outside world.

A connection lost *at* COMMIT is another thing: the block may have happened. Running it again
would be wrong for blocks that do not recognize their own work, so `CommitUnconfirmed` is raised and
whoever asked repeats under the same number or key: the channel its notice, the client its request,
a job its round.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from app.domain.base import Base
from app.domain.ports import Transact

S = TypeVar("S")
T = TypeVar("T")

db = SQLAlchemy(model_class=Base)
migrate = Migrate()

# Deadlock, lock timeout, record changed since last read, node not ready (MariaDB Galera).
RETRYABLE_MYSQL_CODES = frozenset({1213, 1205, 1020, 1047})
RETRYABLE_SQLITE_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
SQLITE_BUSY_TIMEOUT_MS = 10_000
PATIENCE_SECONDS = 15
"""After so long no further run begins: nobody waits for the answer any more."""


class CommitUnconfirmed(Exception):
    """The connection was lost at COMMIT: the block has happened or has not, looking will tell."""


def asks_for_retry(error: BaseException) -> bool:
    """Tell whether the database rolled the transaction back and wants it run again."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", 0) or 0
        return (code & 0xFF) in RETRYABLE_SQLITE_CODES
    return bool(error.orig.args) and error.orig.args[0] in RETRYABLE_MYSQL_CODES


def _may_run_again(error: BaseException) -> bool:
    return asks_for_retry(error) or _is_lost_connection(error)


def _is_lost_connection(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


def make_transact(engine: Engine) -> Transact:
    """Build the helper for transactions that write."""
    sessions = sessionmaker(engine, expire_on_commit=False)

    def once(work: Callable[[Session], T], /) -> T:
        committing = False
        try:
            with sessions() as session, session.begin():
                result = work(session)
                session.flush()
                committing = True
        except DBAPIError as error:
            if committing and _is_lost_connection(error):
                raise CommitUnconfirmed from error
            raise
        return result

    return _retrying(once)


def make_read(engine: Engine) -> Transact:
    """Build the helper for blocks that only read: one consistent snapshot, never a write lock."""
    sessions = sessionmaker(engine.execution_options(read_only=True), expire_on_commit=False)
    snapshot = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    def once(work: Callable[[Session], T], /) -> T:
        with sessions() as session, session.begin():
            if engine.dialect.name != "sqlite":
                session.execute(snapshot)
            return work(session)

    return _retrying(once)


def _retrying(once: Transact) -> Transact:
    retrying = Retrying(
        retry=retry_if_exception(_may_run_again),
        wait=wait_random_exponential(multiplier=0.01, max=0.5),
        stop=stop_after_attempt(8) | stop_after_delay(PATIENCE_SECONDS),
        reraise=True,
    )

    def transact(work: Callable[[Session], T], /) -> T:
        try:
            return cast(T, retrying(once, work))
        except IntegrityError:
            # The loser of a race for a unique key: a second run finds what the winner wrote.
            # Anything else that breaks a constraint breaks it again.
            return cast(T, retrying(once, work))

    return transact


class GroupCommit:
    """The `Together` of a process (app/domain/ports): one thread commits for all who wait.

    Whoever finds nobody at work takes everything that waits. Nobody waits for company to come, so
    a lone item loses no time, and there is no thread that could die.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[_Turn] = []
        self._at_work = False

    def __call__(self, item: S, work: Callable[[Sequence[S]], Sequence[T | None]], /) -> T | None:
        """Return what `work` made of `item`, here or in another thread."""
        own = _Turn(item)
        with self._changed:
            self._waiting.append(own)
            self._changed.wait_for(lambda: own.over or not self._at_work)
            if own.over:
                return cast("T | None", own.result)
            self._at_work = True
            turns, self._waiting = self._waiting, []
        try:
            results = work([turn.item for turn in turns])
            for turn, result in zip(turns, results, strict=True):
                turn.result = result
        finally:
            with self._changed:
                self._at_work = False
                for turn in turns:
                    turn.over = True
                self._changed.notify_all()
        return cast("T | None", own.result)


class _Turn:
    """One thread's item, and what came of it."""

    __slots__ = ("item", "over", "result")

    def __init__(self, item: Any) -> None:
        self.item = item
        self.result: Any = None
        self.over = False


def prepare_engine(engine: Engine) -> Engine:
    """Make a new engine's connections fit for money: SQLite durable and patient, UTC on MariaDB."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    else:
        event.listen(engine, "connect", _prepare_mariadb)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not open transactions by itself: see _begin_immediate.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA foreign_keys=ON")
    # Or REPLACE would take a row of the journal away past the trigger that refuses DELETE.
    cursor.execute("PRAGMA recursive_triggers=ON")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    if connection.get_execution_options().get("read_only"):
        connection.exec_driver_sql("BEGIN")
        return
    # Taking the write lock first means that a transaction waits at its start or not at all;
    # upgrading a read lock half-way would fail at once with «database is locked».
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare_mariadb(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(
        "SET time_zone = '+00:00', innodb_lock_wait_timeout = 10, "
        "sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
    )
    # A block that waited for a row must then read what the other one wrote. The variable of this
    # has two names (MariaDB, MySQL 8); the statement has one.
    cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    cursor.close()
