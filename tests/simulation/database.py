"""The real database of a simulated town, and transactions that fail at every point they can."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from app.db import CommitUnconfirmed, make_transact, prepare_engine
from app.domain.pii import Vault
from app.domain.policy.operations import load_policy
from app.domain.ports import Channels, Ports, Transact
from tests.conftest import BASELINE_POLICY, empty_tables, migrate_to_head
from tests.simulation.world import DEADLOCK, DISK_FULL, LOST_CONNECTION, Trouble, World

T = TypeVar("T")

_WRITE = re.compile(r"(?:INSERT (?:OR )?(?:IGNORE )?INTO|UPDATE|DELETE FROM) `?(\w+)")

CAP_FEN = {2026: 9_084_960, 2027: 2_880_000}
"""31,545 yuan × 24 % × 12, and for the second year the test's own 10,000 yuan × 24 % × 12."""

MINIMUM_FEN = 12_150  # 2,430.00 × 5 %

EARLY_FAULTS = {"crash before the block": 0.002}
LATE_FAULTS = {
    "crash before COMMIT": 0.004,
    "crash after COMMIT": 0.004,
    "deadlock": 0.003,
    "connection lost": 0.003,
    "COMMIT not confirmed, undone": 0.002,
    "COMMIT not confirmed, done": 0.003,
    "disk full": 0.002,
}

_BEFORE_COMMIT: dict[str, Callable[[World], BaseException]] = {
    "crash before COMMIT": World.crash,
    "deadlock": lambda _: Trouble(DEADLOCK),
    "connection lost": lambda _: Trouble(LOST_CONNECTION),
    "COMMIT not confirmed, undone": lambda _: CommitUnconfirmed(),
    "disk full": lambda _: Trouble(DISK_FULL),
}
_AFTER_COMMIT: dict[str, Callable[[World], BaseException]] = {
    "crash after COMMIT": World.crash,
    "COMMIT not confirmed, done": lambda _: CommitUnconfirmed(),
}


def faulty(world: World, transact: Transact, name: str) -> Transact:
    """Wrap a real transaction helper: hand over before it, and let it fail as the seed decides.

    A deadlock is raised at the end of the block, as COMMIT does on a cluster: everything was done
    and is undone, and the helper must run the whole block again. What a transaction has written to
    makes its COMMIT a point of its own: a notice that credits is another one than its repeat.
    """

    def run(work: Callable[[Session], T], /) -> T:
        step = getattr(work, "__qualname__", "a step").partition(".")[0]
        world.turn(f"{name} in {step}")
        if world.draw(EARLY_FAULTS, at=step) != "none":
            raise world.crash()
        before = frozenset(world.written)
        fault, runs = "none", 0

        def block(session: Session) -> T:
            nonlocal fault, runs
            runs += 1
            world.written.clear()
            result = work(session)
            session.flush()
            if runs == 1:
                written = sorted(world.written)
                fault = world.draw(LATE_FAULTS, at=f"{step} {written}", fated=bool(written))
                if fault in _BEFORE_COMMIT:
                    raise _BEFORE_COMMIT[fault](world)
            return result

        try:
            result = transact(block)
        finally:
            world.written |= before
        if fault in _AFTER_COMMIT:
            raise _AFTER_COMMIT[fault](world)
        return result

    return run


def watch_writes(world: World, engine: Engine) -> Engine:
    """Note in `world.written` which tables are written to."""

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if found := _WRITE.match(statement):
            world.written.add(found[1])

    event.listen(engine, "before_cursor_execute", note)
    return engine


class Template:
    """Gives every town a migrated database with the policy and nothing else in it."""

    def __init__(self, database: str | None, folder: Path) -> None:
        self.server = make_url(database) if database else None
        self.folder = folder
        if self.server is None:
            self.url = make_url(f"sqlite:///{folder / 'template.sqlite'}")
        else:
            name = f"lianjiao_simulation_{os.getpid()}"
            self.url = self.server.set(database=name)
            self._on_server(f"DROP DATABASE IF EXISTS {name}")
            self._on_server(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        engine = prepare_engine(create_engine(self.url))
        migrate_to_head(engine)
        if self.server is None:
            _load_policy(engine)
        engine.dispose()

    def fresh(self) -> URL:
        """Return the address of a fresh database; the one before it is gone."""
        if self.server is None:
            for old in self.folder.glob("town.sqlite*"):
                old.unlink()
            shutil.copy(self.folder / "template.sqlite", self.folder / "town.sqlite")
            return make_url(f"sqlite:///{self.folder / 'town.sqlite'}")
        engine = prepare_engine(create_engine(self.url))
        empty_tables(engine)
        _load_policy(engine)
        engine.dispose()
        return self.url

    def drop(self) -> None:
        if self.server is not None:
            self._on_server(f"DROP DATABASE {self.url.database}")

    def _on_server(self, statement: str) -> None:
        assert self.server is not None
        engine = create_engine(self.server, poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text(statement))


@contextmanager
def template(database: str | None) -> Iterator[Template]:
    """A template in memory (/dev/shm) where there is such a thing, or on a MariaDB server."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="lianjiao-simulation-", dir=memory) as folder:
        made = Template(database, Path(folder))
        try:
            yield made
        finally:
            made.drop()


def _load_policy(engine: Engine) -> None:
    transact = make_transact(engine)
    ports = Ports(
        transact=transact,
        read=transact,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        new_number=str,
        vault=Vault({"k1": bytes(32)}, active="k1", index_key=bytes(32)),
        channels=Channels(),
        logins={},
    )
    load_policy(ports, [*BASELINE_POLICY, *_second_year()])


def _second_year() -> Iterator[dict[str, Any]]:
    for line in BASELINE_POLICY:
        if line["name"] == "deposit.base_limit_fen":
            first, last = date(2027, 1, 1), date(2027, 12, 31)
            yield {**line, "effective_from": first, "until": last, "value": 1_000_000}
