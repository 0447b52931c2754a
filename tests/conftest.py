"""What every test may use: a migrated database on SQLite and on MariaDB, a clock, ports.

Tests that ask for `ports` (or anything built on it) run once on SQLite and once on MariaDB.
`make test` starts a private MariaDB and says where in LIANJIAO_TEST_MARIADB; without it those
runs are skipped, loudly.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.engine import make_url

import app.domain.tables  # noqa: F401  every table
from app.db import make_read, make_transact, prepare_engine
from app.domain.bank_calendar.operations import import_notice
from app.domain.bank_calendar.rules import DayKind, NoticeDay
from app.domain.base import Base
from app.domain.pii import Vault
from app.domain.policy.operations import load_policy
from app.domain.ports import Channels, Ports
from app.domain.ports.logins import LoginPlatform
from config.agreement_text_files import load_agreement_texts
from config.holiday_files import load_notices
from config.policy_files import load_policy_files

ROOT = Path(__file__).resolve().parent.parent
MARIADB = os.environ.get("LIANJIAO_TEST_MARIADB", "")
BASELINE_POLICY = load_policy_files()
NOTICES = load_notices()


@dataclass
class MovableClock:
    """A clock that stands still until a test moves it. Starts 2026-11-24 10:00 in Shanghai."""

    instant: datetime = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant

    def advance(self, **by: float) -> None:
        self.instant += timedelta(**by)


@dataclass
class Numbers:
    """Numbers that a test can foretell: D000…001."""

    counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new(self, prefix: str) -> str:
        return f"{prefix}{next(self.counter):0{32 - len(prefix)}d}"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file with policy and calendar alone, to be copied for every test."""
    path = tmp_path_factory.mktemp("db") / "template.sqlite"
    engine = prepare_engine(create_engine(f"sqlite:///{path}"))
    migrate_to_head(engine)
    load_baseline_policy(engine)
    load_calendar(engine)
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[URL]:
    """A migrated database of this test process on the private server."""
    if not MARIADB:
        pytest.skip("LIANJIAO_TEST_MARIADB is not set: no MariaDB to test on")
    name = f"lianjiao_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{os.getpid()}"
    server = create_engine(MARIADB)
    with server.begin() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))
        connection.execute(text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
    url = make_url(MARIADB).set(database=name)
    engine = prepare_engine(create_engine(url))
    migrate_to_head(engine)
    engine.dispose()
    yield url
    with server.begin() as connection:
        connection.execute(text(f"DROP DATABASE {name}"))
    server.dispose()


@pytest.fixture(params=["sqlite", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine on a migrated database with policy and calendar: once SQLite, once MariaDB."""
    if request.param == "sqlite":
        path = tmp_path / "lianjiao.sqlite"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        engine = prepare_engine(create_engine(f"sqlite:///{path}"))
    else:
        engine = prepare_engine(create_engine(request.getfixturevalue("mariadb_url")))
        empty_tables(engine)
        load_baseline_policy(engine)
        load_calendar(engine)
    yield engine
    engine.dispose()


def migrate_to_head(engine: Engine, *, revision: str = "head") -> None:
    """Run the migrations of the product."""
    config = Config(ROOT / "migrations" / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.attributes["engine"] = engine
    command.upgrade(config, revision)


def load_baseline_policy(engine: Engine) -> None:
    """Load the policy of the product, as `flask policy load` does."""
    load_policy(_ports_on(engine), BASELINE_POLICY)


def load_calendar(engine: Engine) -> None:
    """Import the product's notices on holidays, as `flask calendar import` does."""
    for notice in NOTICES:
        days = [
            NoticeDay(day=day["day"], kind=DayKind(day["kind"]), title=day["title"])
            for day in notice["days"]
        ]
        import_notice(_ports_on(engine), year=notice["year"], source=notice["source"], days=days)


def _ports_on(engine: Engine) -> Ports:
    return Ports(
        transact=make_transact(engine),
        read=make_read(engine),
        now=MovableClock().now,
        new_number=Numbers().new,
        vault=Vault({"k1": bytes(32)}, active="k1", index_key=bytes(32)),
        channels=Channels(),
        logins={},
    )


def empty_tables(engine: Engine) -> None:
    """Empty every table; the journal too, which only TRUNCATE can do past its triggers."""
    with engine.begin() as connection:
        connection.execute(text("SET FOREIGN_KEY_CHECKS = 0"))
        for table in Base.metadata.sorted_tables:
            if connection.scalar(text(f"SELECT EXISTS(SELECT 1 FROM {table.name})")):
                connection.execute(text(f"TRUNCATE TABLE {table.name}"))
        connection.execute(text("SET FOREIGN_KEY_CHECKS = 1"))


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def vault() -> Vault:
    return Vault({"k1": bytes(range(32))}, active="k1", index_key=b"i" * 32)


@pytest.fixture
def logins() -> Mapping[str, LoginPlatform]:
    return {}


@pytest.fixture
def ports(
    engine: Engine, clock: MovableClock, vault: Vault, logins: Mapping[str, LoginPlatform]
) -> Ports:
    return Ports(
        transact=make_transact(engine),
        read=make_read(engine),
        now=clock.now,
        new_number=Numbers().new,
        vault=vault,
        channels=Channels(),
        logins=logins,
        agreement_texts=load_agreement_texts(),
    )


@pytest.fixture
def repository_root() -> Path:
    return ROOT


@pytest.fixture
def unguarded(engine: Engine, ports: Ports) -> Iterator[Ports]:
    """The database as its administrator sees it: every trigger dropped, afterwards put back."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
            triggers = {name: sql for name, sql in connection.execute(text(query))}
        else:
            names = [row[0] for row in connection.execute(text("SHOW TRIGGERS"))]
            triggers = {
                name: connection.execute(text(f"SHOW CREATE TRIGGER {name}")).one()[2]
                for name in names
            }
        for name in triggers:
            connection.execute(text(f"DROP TRIGGER {name}"))
    yield ports
    with engine.begin() as connection:
        for sql in triggers.values():
            connection.exec_driver_sql(sql)
