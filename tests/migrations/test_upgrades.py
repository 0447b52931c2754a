"""Upgrading a database that people already use: rows, figures and triggers are still there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, insert, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from app.db import make_read, make_transact, prepare_engine
from app.domain.base import Base
from app.domain.mandates.models import Mandate
from app.domain.pii import Vault
from app.domain.ports import Channels, Ports
from app.domain.ports.mandates import MandateStanding
from config.agreement_text_files import load_agreement_texts
from tests.builders import a_mandate, an_account
from tests.conftest import (
    MARIADB,
    MovableClock,
    Numbers,
    load_baseline_policy,
    migrate_to_head,
)
from tests.domain.agreements.conftest import Desk, terms
from tests.domain.mandates.conftest import a_signing
from tests.fund import Fund
from tests.mandate_channel import Signed

FIRST = "0001"
BEFORE_MESSAGES = "0005"
APPEND_ONLY = ("journal_entry", "journal_line", "daily_seal", "policy_value")
Rows = dict[str, list[tuple[Any, ...]]]


@pytest.fixture(params=["sqlite", "mariadb"])
def old_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database as the first release made it, beside the one that other tests use."""
    if request.param == "sqlite":
        engine = prepare_engine(create_engine(f"sqlite:///{tmp_path}/old.sqlite"))
        migrate_to_head(engine, revision=FIRST)
        yield engine
        engine.dispose()
        return
    if not MARIADB:
        pytest.skip("LIANJIAO_TEST_MARIADB is not set: no MariaDB to test on")
    used = make_url(str(request.getfixturevalue("mariadb_url"))).database
    name = f"{used}_old"
    server = create_engine(MARIADB)
    with server.begin() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))
        connection.execute(text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
    engine = prepare_engine(create_engine(make_url(MARIADB).set(database=name)))
    migrate_to_head(engine, revision=FIRST)
    yield engine
    engine.dispose()
    with server.begin() as connection:
        connection.execute(text(f"DROP DATABASE {name}"))
    server.dispose()


@pytest.fixture
def old_fund(old_engine: Engine) -> Fund:
    """The fund over the old database, to be used once that was upgraded."""
    load_baseline_policy(old_engine)
    return a_fund(old_engine)


@pytest.fixture
def people(tmp_path: Path, old_engine: Engine, old_fund: Fund) -> list[int]:
    """Two people with deposits and a refund asked for, in the first release's tables."""
    with as_of_today(tmp_path, old_engine) as fund:
        account_ids = [an_account(fund.ports), an_account(fund.ports)]
        order_no = fund.deposit(account_ids[0], 50_000)
        fund.deposit(account_ids[1], 30_000, channel="alipay")
        fund.ask_back(order_no, 20_000)
    return account_ids


@contextmanager
def as_of_today(tmp_path: Path, old_engine: Engine) -> Iterator[Fund]:
    """A fund over today's tables, whose rows are brought over to the old ones at the end.

    Today's code needs today's tables; what the old ones have no place for stays behind.
    """
    today = prepare_engine(create_engine(f"sqlite:///{tmp_path}/today.sqlite"))
    migrate_to_head(today)
    load_baseline_policy(today)
    yield a_fund(today)
    bring_over(today, old_engine)
    today.dispose()


def a_fund(engine: Engine) -> Fund:
    clock = MovableClock()
    ports = Ports(
        transact=make_transact(engine),
        read=make_read(engine),
        now=clock.now,
        new_number=Numbers().new,
        vault=Vault({"k1": bytes(range(32))}, active="k1", index_key=b"i" * 32),
        channels=Channels(),
        logins={},
        agreement_texts=load_agreement_texts(),
    )
    return Fund.around(ports, clock)


def bring_over(today: Engine, old: Engine) -> None:
    """Copy what people made, policy aside, into the tables and columns that are there."""
    known = inspect(old)
    columns = {
        name: [column["name"] for column in known.get_columns(name)]
        for name in set(known.get_table_names()) - {"policy_value"}
    }
    with today.connect() as source, old.begin() as target:
        for table in Base.metadata.sorted_tables:
            kept = [table.c[name] for name in columns.get(table.name, [])]
            rows = [dict(row) for row in source.execute(select(*kept)).mappings()] if kept else []
            if rows:
                target.execute(insert(table), rows)


def test_the_first_release_is_what_the_tests_begin_with(old_engine: Engine) -> None:
    tables = set(inspect(old_engine).get_table_names())
    assert set(APPEND_ONLY) <= tables
    assert not {name for name in tables if name.startswith("agreement")}


def test_everything_of_the_first_release_is_still_there(
    old_engine: Engine, old_fund: Fund, people: list[int]
) -> None:
    before = rows_of(old_engine)
    assert len(before["journal_line"]) == 8  # two deposits, two opening subsidies

    migrate_to_head(old_engine)

    assert rows_of(old_engine, like=before) == before
    assert old_fund.money(people[0]) == (70_000, 20_000)
    assert old_fund.offences() == []


def test_the_triggers_of_the_first_release_still_guard(
    old_engine: Engine, people: list[int]
) -> None:
    guarding = triggers_of(old_engine)
    migrate_to_head(old_engine)
    assert guarding < triggers_of(old_engine)
    for table, column in (
        ("journal_entry", "memo"),
        ("journal_line", "code"),
        ("policy_value", "unit"),
    ):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):
            with pytest.raises(DBAPIError, match="append-only"), old_engine.begin() as connection:
                connection.execute(text(statement))


def test_those_who_enrolled_before_can_sign_now(
    old_engine: Engine, old_fund: Fund, people: list[int]
) -> None:
    migrate_to_head(old_engine)
    desk = Desk(old_fund, people[0])
    desk.sign(terms())
    assert desk.ahead() == ["2026-12"]
    for table in ("agreement_terms", "agreement_state_change"):
        with pytest.raises(DBAPIError, match="append-only"), old_engine.begin() as connection:
            connection.execute(text(f"DELETE FROM {table}"))


def test_those_who_agreed_before_can_sign_a_mandate_now(
    tmp_path: Path, old_engine: Engine, old_fund: Fund
) -> None:
    """From a revision at which agreements are there, and mandates are not."""
    migrate_to_head(old_engine, revision="0003")
    load_baseline_policy(old_engine)
    with as_of_today(tmp_path, old_engine) as today:
        account_id = an_account(today.ports)
        Desk(today, account_id).sign(terms())
    before = rows_of(old_engine)
    assert "mandate" not in before
    migrate_to_head(old_engine)
    assert rows_of(old_engine, like=before) == before
    signing = a_signing(old_fund, account_id)
    signing.active("wechat")
    with pytest.raises(DBAPIError, match="append-only"), old_engine.begin() as connection:
        connection.execute(text("DELETE FROM mandate_state_change"))


def test_those_who_signed_a_mandate_before_are_told_of_what_happens_now(
    tmp_path: Path, old_engine: Engine, old_fund: Fund
) -> None:
    """From the revision before: mandates are there, and nobody was told of them."""
    migrate_to_head(old_engine, revision=BEFORE_MESSAGES)
    load_baseline_policy(old_engine)
    with as_of_today(tmp_path, old_engine) as today:
        account_id = an_account(today.ports)
        Desk(today, account_id).sign(terms())
        a_mandate(today.ports, account_id, channel="bank")
    before = rows_of(old_engine)
    assert "outbox_message" not in before
    migrate_to_head(old_engine)
    assert rows_of(old_engine, like=before) == before
    assert rows_of(old_engine)["outbox_message"] == []
    signing = a_signing(old_fund, account_id)
    (mandate,) = old_fund.ports.read(lambda session: session.scalars(select(Mandate)).all())
    signing.bank.kept[mandate.mandate_no] = Signed(
        MandateStanding.ACTIVE, None, str(mandate.reference)
    )
    signing.end(mandate.mandate_no)
    with old_engine.connect() as connection:
        told = connection.execute(text("SELECT event_key, state FROM outbox_message")).all()
    assert told == [(f"mandate:{mandate.mandate_no}:2", "waiting")]


def rows_of(engine: Engine, *, like: Rows | None = None) -> Rows:
    """Return every row of the fund's tables, as the database keeps it.

    Args:
        like: only of its tables, and only its columns.
    """
    known = inspect(engine)
    columns = {
        name: [column for column, _ in like[name][0]]
        if like and like[name]
        else [column["name"] for column in known.get_columns(name)]
        for name in set(like or known.get_table_names()) - {"alembic_version"}
    }
    found: Rows = {}
    with engine.connect() as connection:
        for name, kept in columns.items():
            rows = connection.execute(text(f"SELECT {', '.join(kept)} FROM {name}"))
            found[name] = sorted((tuple(zip(kept, row, strict=True)) for row in rows), key=repr)
    return found


def triggers_of(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            query = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            return set(connection.scalars(query))
        return {row[0] for row in connection.execute(text("SHOW TRIGGERS"))}
