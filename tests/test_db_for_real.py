"""The transaction helper against real deadlocks, lock timeouts and busy files."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, create_engine, event, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.db import CommitUnconfirmed, make_read, make_transact, prepare_engine
from app.domain.ledger.models import BusinessDay
from app.domain.pii import Vault
from app.domain.ports import Channels, Ports
from tests.builders import an_account
from tests.conftest import MovableClock, Numbers, empty_tables
from tests.test_db import add_orders, count_orders, stored


@pytest.fixture
def mariadb(mariadb_url: URL) -> Iterator[Engine]:
    """MariaDB, with a lock timeout of one second."""
    engine = prepare_engine(create_engine(mariadb_url))

    def be_impatient(connection, _record) -> None:  # type: ignore[no-untyped-def]
        with connection.cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout = 1")

    event.listen(engine, "connect", be_impatient)
    empty_tables(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def two_accounts(mariadb: Engine, ports_on: Callable[[Engine], Ports]) -> tuple[int, int]:
    ports = ports_on(mariadb)
    return an_account(ports), an_account(ports)


@pytest.fixture
def ports_on(vault: Vault) -> Callable[[Engine], Ports]:
    def build(engine: Engine) -> Ports:
        return Ports(
            transact=make_transact(engine),
            read=make_read(engine),
            now=MovableClock().now,
            new_number=Numbers().new,
            vault=vault,
            channels=Channels(),
            logins={},
        )

    return build


# -- for real on MariaDB ---------------------------------------------------------------------------


def test_both_sides_of_a_deadlock_come_through(
    mariadb: Engine, two_accounts: tuple[int, int]
) -> None:
    transact, read = make_transact(mariadb), make_read(mariadb)
    both_hold_one = threading.Barrier(2)
    runs: list[str] = []

    def cross(name: str, first: int, second: int) -> None:
        met = []

        def work(session: Session) -> None:
            runs.append(name)
            add_orders(session, first, 1)
            if not met:
                met.append(1)
                both_hold_one.wait(10)
            add_orders(session, second, 1)

        transact(work)

    one, other = two_accounts
    threads = [
        threading.Thread(target=cross, args=("there", one, other)),
        threading.Thread(target=cross, args=("back", other, one)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(set(runs)) == ["back", "there"]
    assert len(runs) >= 3  # at least one of them was rolled back by the server
    assert [read(lambda s, a=a: count_orders(s, a)) for a in two_accounts] == [2, 2]


def test_a_lock_timeout_runs_the_whole_block_again(
    mariadb: Engine, two_accounts: tuple[int, int]
) -> None:
    transact, read = make_transact(mariadb), make_read(mariadb)
    mine, theirs = two_accounts
    runs = []
    holder = mariadb.connect()
    holder.execute(text(f"UPDATE account SET order_count = 10 WHERE id = {theirs}"))

    def work(session: Session) -> None:
        runs.append(1)
        if len(runs) == 2:
            holder.commit()
        add_orders(session, mine, 1)
        add_orders(session, theirs, 1)

    transact(work)
    holder.close()
    assert len(runs) == 2
    # Only the statement was undone by the server; the block must not count twice.
    assert read(lambda s: count_orders(s, mine)) == 1
    assert read(lambda s: count_orders(s, theirs)) == 11


def test_a_real_duplicate_key_of_another_connection_is_found_by_the_second_run(
    mariadb: Engine,
) -> None:
    transact = make_transact(mariadb)
    other = mariadb.connect()
    runs = []

    def work(session: Session) -> str:
        runs.append(1)
        if len(runs) == 1:
            assert session.scalar(select(BusinessDay.day)) is None
            other.execute(text("INSERT INTO business_day (day) VALUES ('2026-11-24')"))
            other.commit()
        elif session.scalar(select(BusinessDay.day)) == date(2026, 11, 24):
            return "found"
        session.add(BusinessDay(day=date(2026, 11, 24)))
        session.flush()
        return "inserted"

    assert transact(work) == "found"
    other.close()


def test_a_writing_block_sees_what_others_commit_meanwhile(
    mariadb: Engine, two_accounts: tuple[int, int]
) -> None:
    transact = make_transact(mariadb)
    account_id, _ = two_accounts

    def work(session: Session) -> tuple[int, int]:
        before = count_orders(session, account_id)
        with mariadb.begin() as other:
            other.execute(text(f"UPDATE account SET order_count = 5 WHERE id = {account_id}"))
        return before, count_orders(session, account_id)

    assert transact(work) == (0, 5)


def test_connections_to_mariadb_are_strict_patient_and_in_utc(mariadb_url: URL) -> None:
    engine = prepare_engine(create_engine(mariadb_url))
    with engine.connect() as connection:
        row = connection.execute(
            text("SELECT @@tx_isolation, @@time_zone, @@sql_mode, @@innodb_lock_wait_timeout")
        ).one()
    engine.dispose()
    assert row[0] == "READ-COMMITTED"
    assert row[1] == "+00:00"
    assert set(row[2].split(",")) == {"STRICT_ALL_TABLES", "NO_ENGINE_SUBSTITUTION"}
    assert row[3] == 10


# -- for real on SQLite ----------------------------------------------------------------------------


@pytest.fixture
def sqlite_engine(tmp_path: Path, sqlite_template: Path) -> Iterator[Engine]:
    path = tmp_path / "lianjiao.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    engine = prepare_engine(create_engine(f"sqlite:///{path}"))
    yield engine
    engine.dispose()


def test_a_busy_sqlite_file_is_tried_again(
    sqlite_engine: Engine, ports_on: Callable[[Engine], Ports], tmp_path: Path
) -> None:
    ports = ports_on(sqlite_engine)
    account_id = an_account(ports)

    def be_impatient(connection, _record) -> None:  # type: ignore[no-untyped-def]
        connection.execute("PRAGMA busy_timeout = 1")

    sqlite_engine.dispose()
    event.listen(sqlite_engine, "connect", be_impatient)
    holder = sqlite3.connect(tmp_path / "lianjiao.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    runs = []

    def work(session: Session) -> None:
        runs.append(1)
        if len(runs) == 2:
            holder.execute("COMMIT")
        add_orders(session, account_id, 1)

    ports.transact(work)
    holder.close()
    assert len(runs) == 2
    assert stored(ports, account_id) == 1


def test_connections_to_sqlite_are_durable_and_check_foreign_keys(sqlite_engine: Engine) -> None:
    with sqlite_engine.connect() as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL: a commit is on the disk
        "foreign_keys": 1,
        "busy_timeout": 10_000,
    }


# -- connections that are lost ---------------------------------------------------------------------


def test_a_block_whose_connection_is_lost_before_commit_runs_again_on_a_new_one(
    mariadb: Engine, two_accounts: tuple[int, int]
) -> None:
    transact, read = make_transact(mariadb), make_read(mariadb)
    account_id, _ = two_accounts
    connections = []

    def work(session: Session) -> None:
        add_orders(session, account_id, 1)
        connections.append(session.scalar(text("SELECT CONNECTION_ID()")))
        if len(connections) == 1:
            kill(mariadb, connections[0])
        session.execute(text("SELECT 1"))

    transact(work)
    assert len(set(connections)) == 2
    assert read(lambda s: count_orders(s, account_id)) == 1


def test_a_block_whose_connection_is_lost_at_commit_is_unconfirmed_and_not_repeated(
    mariadb: Engine, two_accounts: tuple[int, int]
) -> None:
    transact, read = make_transact(mariadb), make_read(mariadb)
    account_id, _ = two_accounts
    runs = []

    def work(session: Session) -> None:
        runs.append(1)
        add_orders(session, account_id, 1)
        kill(mariadb, session.scalar(text("SELECT CONNECTION_ID()")))

    with pytest.raises(CommitUnconfirmed):
        transact(work)
    assert len(runs) == 1
    assert read(lambda s: count_orders(s, account_id)) == 0


def test_a_block_that_only_reads_runs_again_wherever_its_connection_is_lost(
    mariadb: Engine, two_accounts: tuple[int, int]
) -> None:
    account_id, _ = two_accounts
    runs = []

    def work(session: Session) -> int:
        runs.append(1)
        count = count_orders(session, account_id)
        if len(runs) == 1:
            kill(mariadb, session.scalar(text("SELECT CONNECTION_ID()")))
        return count

    assert make_read(mariadb)(work) == 0
    assert len(runs) == 2


def test_no_further_run_begins_when_nobody_waits_any_more(
    mariadb: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.PATIENCE_SECONDS", 0)
    runs = []

    def work(session: Session) -> None:
        runs.append(1)
        kill(mariadb, session.scalar(text("SELECT CONNECTION_ID()")))
        session.execute(text("SELECT 1"))

    with pytest.raises(OperationalError):
        make_transact(mariadb)(work)
    assert len(runs) == 1


def kill(engine: Engine, connection_id: int | None) -> None:
    """End another connection, and wait until it has ended."""
    alive = text("SELECT COUNT(*) FROM information_schema.processlist WHERE id = :id")
    with engine.connect() as connection:
        connection.execute(text(f"KILL {connection_id}"))
        while connection.scalar(alive, {"id": connection_id}):
            threading.Event().wait(0.01)
