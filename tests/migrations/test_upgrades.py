"""Upgrading a database that people already use: rows, figures and triggers are still there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from app.db import make_read, make_transact, prepare_engine
from app.domain.mandates.models import Mandate, Slot
from app.domain.mandates.payers import CONTEXT, Payer
from app.domain.mandates.rules import MandateState
from app.domain.pii import Vault
from app.domain.ports import Channels, Ports
from app.domain.ports.mandates import Cycle, MandateStanding
from config.agreement_text_files import load_agreement_texts
from tests.builders import an_account
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
BEFORE_MESSAGES = "0004"
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
    """People, deposits, a refund asked for and a sealed journal in the first release's tables."""
    load_baseline_policy(old_engine)
    clock = MovableClock()
    ports = Ports(
        transact=make_transact(old_engine),
        read=make_read(old_engine),
        now=clock.now,
        new_number=Numbers().new,
        vault=Vault({"k1": bytes(range(32))}, active="k1", index_key=b"i" * 32),
        channels=Channels(),
        logins={},
        agreement_texts=load_agreement_texts(),
    )
    return Fund.around(ports, clock)


def test_the_first_release_is_what_the_tests_begin_with(old_engine: Engine) -> None:
    tables = set(inspect(old_engine).get_table_names())
    assert set(APPEND_ONLY) <= tables
    assert not {name for name in tables if name.startswith("agreement")}


def test_everything_of_the_first_release_is_still_there(old_engine: Engine, old_fund: Fund) -> None:
    account_id, other = an_account(old_fund.ports), an_account(old_fund.ports)
    order_no = old_fund.deposit(account_id, 50_000)
    old_fund.deposit(other, 30_000, channel="alipay")
    old_fund.ask_back(order_no, 20_000)
    before = rows_of(old_engine)
    assert len(before["journal_line"]) == 8  # two deposits, two opening subsidies

    migrate_to_head(old_engine)

    after = rows_of(old_engine)
    assert {name: after[name] for name in before} == before
    assert old_fund.money(account_id) == (70_000, 20_000)
    assert old_fund.offences() == []


def test_the_triggers_of_the_first_release_still_guard(old_engine: Engine, old_fund: Fund) -> None:
    old_fund.deposit(an_account(old_fund.ports), 50_000)
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


def test_those_who_enrolled_before_can_sign_now(old_engine: Engine, old_fund: Fund) -> None:
    account_id = an_account(old_fund.ports)
    old_fund.deposit(account_id, 50_000)
    migrate_to_head(old_engine)
    desk = Desk(old_fund, account_id)
    desk.sign(terms())
    assert desk.ahead() == ["2026-12"]
    for table in ("agreement_terms", "agreement_state_change"):
        with pytest.raises(DBAPIError, match="append-only"), old_engine.begin() as connection:
            connection.execute(text(f"DELETE FROM {table}"))


def test_those_who_agreed_before_can_sign_a_mandate_now(old_engine: Engine, old_fund: Fund) -> None:
    """From the revision before: agreements are there, and mandates are not."""
    account_id = an_account(old_fund.ports)
    migrate_to_head(old_engine, revision="0003")
    load_baseline_policy(old_engine)
    Desk(old_fund, account_id).sign(terms())
    before = rows_of(old_engine)
    assert "mandate" not in before
    migrate_to_head(old_engine)
    after = rows_of(old_engine)
    assert {name: after[name] for name in before} == before
    signing = a_signing(old_fund, account_id)
    signing.active("wechat")
    with pytest.raises(DBAPIError, match="append-only"), old_engine.begin() as connection:
        connection.execute(text("DELETE FROM mandate_state_change"))


def test_those_who_signed_a_mandate_before_are_told_of_what_happens_now(
    old_engine: Engine, old_fund: Fund
) -> None:
    """From the revision before: mandates are there, and nobody was told of them."""
    account_id = an_account(old_fund.ports)
    migrate_to_head(old_engine, revision=BEFORE_MESSAGES)
    load_baseline_policy(old_engine)
    Desk(old_fund, account_id).sign(terms())
    mandate_no = signed_before_messages(old_fund, account_id)
    before = rows_of(old_engine)
    assert "outbox_message" not in before
    migrate_to_head(old_engine)
    after = rows_of(old_engine)
    assert {name: after[name] for name in before} == before
    assert after["outbox_message"] == []
    signing = a_signing(old_fund, account_id)
    signing.bank.kept[mandate_no] = Signed(MandateStanding.ACTIVE, None, f"B-{mandate_no}")
    signing.end(mandate_no)
    with old_engine.connect() as connection:
        told = connection.execute(text("SELECT event_key, state FROM outbox_message")).all()
    assert told == [(f"mandate:{mandate_no}:4", "waiting")]


def signed_before_messages(fund: Fund, account_id: int) -> str:
    """Store a mandate in force as the code before messages did: without telling anybody."""
    mandate_no, now = "M" + "0" * 31, fund.ports.now()
    mandate = Mandate(
        mandate_no=mandate_no,
        account_id=account_id,
        channel="bank",
        state=MandateState.ACTIVE,
        slot=Slot.ACTIVE,
        cap_fen=50_000,
        period_cap_fen=50_000,
        cycle=Cycle.MONTH,
        first_due_on=date(2026, 12, 10),
        valid_from=date(2026, 11, 24),
        valid_to=date(2031, 10, 31),
        payer=fund.ports.vault.seal(Payer(payer_ref="payer").write(), context=CONTEXT),
        key_id=fund.ports.vault.active_key_id,
        reference=f"B-{mandate_no}",
        request_key="key-00000001",
        request_digest=bytes(32),
        created_at=now,
        expires_at=now,
        changed_at=now,
        activated_at=now,
        move_count=3,
    )
    fund.ports.transact(lambda session: session.add(mandate))
    return mandate_no


def rows_of(engine: Engine) -> Rows:
    """Return every row of every table of the fund, as the database keeps it."""
    names = set(inspect(engine).get_table_names()) - {"alembic_version"}
    with engine.connect() as connection:
        return {
            name: sorted(map(tuple, connection.execute(text(f"SELECT * FROM {name}"))), key=repr)
            for name in sorted(names)
        }


def triggers_of(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            query = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            return set(connection.scalars(query))
        return {row[0] for row in connection.execute(text("SHOW TRIGGERS"))}
