"""The transaction helper: all or nothing, run again when the database asks, and no oftener."""

from __future__ import annotations

import sqlite3
import threading

import pymysql
import pytest
from sqlalchemy import Engine, event, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app.db import asks_for_retry
from app.domain.contributors.models import Account
from app.domain.ports import Ports
from tests.builders import an_account

RETRYABLE = (1213, 1205, 1020, 1047)


def mysql_error(code: int) -> OperationalError:
    return OperationalError("statement", {}, pymysql.err.OperationalError(code, "said so"))


def count_orders(session: Session, account_id: int) -> int:
    return session.scalars(select(Account.order_count).where(Account.id == account_id)).one()


def add_orders(session: Session, account_id: int, count: int) -> None:
    session.execute(
        update(Account)
        .where(Account.id == account_id)
        .values(order_count=Account.order_count + count)
    )


def stored(ports: Ports, account_id: int) -> int:
    return ports.read(lambda session: count_orders(session, account_id))


# -- all or nothing --------------------------------------------------------------------------------


def test_a_block_is_committed_and_its_value_returned(ports: Ports) -> None:
    account_id = an_account(ports)

    def work(session: Session) -> str:
        add_orders(session, account_id, 3)
        return "done"

    assert ports.transact(work) == "done"
    assert stored(ports, account_id) == 3


@pytest.mark.parametrize("trouble", [ValueError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_nothing_and_is_not_repeated(
    ports: Ports, trouble: type[BaseException]
) -> None:
    account_id = an_account(ports)
    runs = []

    def work(session: Session) -> None:
        runs.append(1)
        add_orders(session, account_id, 3)
        raise trouble

    with pytest.raises(trouble):
        ports.transact(work)
    assert stored(ports, account_id) == 0
    assert len(runs) == 1


# -- lost races for a unique key -------------------------------------------------------------------


def test_the_loser_of_a_race_for_a_key_runs_again_and_finds_the_winner(ports: Ports) -> None:
    first, second = an_account(ports), an_account(ports)
    runs: list[str] = []

    def work(session: Session) -> str:
        runs.append("run")
        add_orders(session, first, 1)
        if len(runs) == 1:
            same = select(Account.account_no).where(Account.id == second).scalar_subquery()
            session.execute(update(Account).where(Account.id == first).values(account_no=same))
        return "found it"

    assert ports.transact(work) == "found it"
    assert runs == ["run", "run"]
    assert stored(ports, first) == 1  # the first run left nothing


def test_a_constraint_that_is_broken_again_is_raised_after_the_second_run(ports: Ports) -> None:
    account_id = an_account(ports)
    runs = []

    def work(session: Session) -> None:
        runs.append(1)
        session.execute(update(Account).where(Account.id == account_id).values(balance_fen=-1))

    with pytest.raises(DBAPIError):
        ports.transact(work)
    assert len(runs) == (2 if _is_integrity_error_here(ports) else 1)
    assert stored(ports, account_id) == 0


def _is_integrity_error_here(ports: Ports) -> bool:
    """PyMySQL files a broken CHECK (4025) under OperationalError, SQLite under IntegrityError."""
    return ports.read(lambda session: session.get_bind().dialect.name) == "sqlite"


# -- errors that ask for another run ---------------------------------------------------------------


@pytest.mark.parametrize("code", RETRYABLE)
def test_these_errors_of_mariadb_ask_for_another_run(code: int) -> None:
    assert asks_for_retry(mysql_error(code))


@pytest.mark.parametrize(
    "error",
    [
        mysql_error(1062),
        mysql_error(2006),
        mysql_error(1064),
        OperationalError("statement", {}, Exception()),
        IntegrityError("statement", {}, sqlite3.IntegrityError("UNIQUE")),
        ValueError(1213),
        RuntimeError(),
    ],
)
def test_other_errors_do_not(error: BaseException) -> None:
    assert not asks_for_retry(error)


@pytest.mark.parametrize(
    ("code", "asks"),
    [
        (sqlite3.SQLITE_BUSY, True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, True),
        (sqlite3.SQLITE_LOCKED, True),
        (sqlite3.SQLITE_FULL, False),
        (sqlite3.SQLITE_READONLY, False),
        (sqlite3.SQLITE_CONSTRAINT, False),
    ],
)
def test_a_busy_sqlite_asks_for_another_run(code: int, asks: bool) -> None:
    inner = sqlite3.OperationalError("said so")
    inner.sqlite_errorcode = code
    assert asks_for_retry(OperationalError("statement", {}, inner)) is asks


def test_the_whole_block_runs_again(ports: Ports) -> None:
    account_id = an_account(ports)
    runs = []

    def work(session: Session) -> None:
        runs.append(1)
        add_orders(session, account_id, 1)
        if len(runs) < 4:
            raise mysql_error(1213)

    ports.transact(work)
    assert len(runs) == 4
    assert stored(ports, account_id) == 1


def test_it_gives_up_after_eight_runs(ports: Ports) -> None:
    runs = []

    def work(session: Session) -> None:
        runs.append(1)
        raise mysql_error(1205)

    with pytest.raises(OperationalError, match="said so"):
        ports.transact(work)
    assert len(runs) == 8


def test_the_block_runs_again_when_commit_itself_is_refused(engine: Engine, ports: Ports) -> None:
    account_id = an_account(ports)
    refused: list[int] = []
    runs = []

    def refuse_once(connection) -> None:  # type: ignore[no-untyped-def]
        if not refused:
            refused.append(1)
            raise mysql_error(1213)

    def work(session: Session) -> None:
        runs.append(1)
        add_orders(session, account_id, 1)

    event.listen(engine, "commit", refuse_once)
    ports.transact(work)
    event.remove(engine, "commit", refuse_once)
    assert len(runs) == 2
    assert stored(ports, account_id) == 1


# -- reading ---------------------------------------------------------------------------------------


def test_a_reading_block_sees_one_moment_and_keeps_nobody_waiting(ports: Ports) -> None:
    account_id = an_account(ports)

    def work(session: Session) -> tuple[int, int]:
        before = count_orders(session, account_id)
        writer = threading.Thread(
            target=ports.transact, args=(lambda other: add_orders(other, account_id, 7),)
        )
        writer.start()
        writer.join(10)
        assert not writer.is_alive()
        return before, count_orders(session, account_id)

    assert ports.read(work) == (0, 0)
    assert stored(ports, account_id) == 7


def test_what_a_block_returns_can_be_used_after_it(ports: Ports) -> None:
    account_id = an_account(ports)
    account = ports.transact(lambda session: session.get_one(Account, account_id))
    assert account.order_count == 0
