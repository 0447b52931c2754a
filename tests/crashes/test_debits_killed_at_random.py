"""A scheduler in the middle of two thousand debits, killed -9 at random and started again.

LIANJIAO_CRASH_SEED changes the moments.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, create_engine, text

from app.db import prepare_engine
from app.domain.ledger.models import Code
from app.domain.ports import Ports
from app.domain.verification import verify_books
from tests.concurrency.processes import at_once
from tests.conftest import (
    MovableClock,
    empty_tables,
    load_baseline_policy,
    load_calendar,
)
from tests.crashes.debitor import ports_on, run_job
from tests.crashes.house import SEED, until
from tests.crashes.processes import Group, Process
from tests.crashes.till import Till
from tests.debits_due import debits_due
from tests.fund import Fund

DEBITS, NEWCOMERS = 2_000, 200
AMOUNT_FEN = 50_000
MORNING = datetime.fromisoformat("2026-12-10T09:30:00+08:00")
KILLS = 6


@pytest.fixture
def mariadb_engine(mariadb_url: URL) -> Iterator[Engine]:
    engine = prepare_engine(create_engine(mariadb_url))
    empty_tables(engine)
    load_baseline_policy(engine)
    load_calendar(engine)
    yield engine
    engine.dispose()


@dataclass
class Schedulers:
    """Starts one after the other; each on a later clock, so that what was sent is asked about."""

    group: Group
    engine: Engine
    till: Till
    log: Path
    begun: int = 0

    def start(self) -> Process:
        """Start the next one; the lease of the one before is over, as it is 20 seconds later."""
        self.begun += 1
        with self.engine.begin() as connection:
            connection.execute(text("UPDATE scheduler_lease SET expires_at = '2026-01-01'"))
        ahead = MORNING + timedelta(minutes=self.begun) - datetime.now(UTC)
        command = [
            *(sys.executable, "-m", "tests.crashes.debitor", "scheduler"),
            self.engine.url.render_as_string(hide_password=False),
            *(str(self.till.port), str(ahead.total_seconds())),
        ]
        return self.group.start(command, os.environ, self.log)


def test_two_thousand_debits_are_taken_once_whenever_the_scheduler_dies(
    mariadb_engine: Engine, group: Group, till: Till, tmp_path: Path
) -> None:
    engine, chance = mariadb_engine, random.Random(SEED)
    ports = ports_on(engine, till, lambda: MORNING)
    debits_due(ports, DEBITS, newcomers=NEWCOMERS)
    schedulers = Schedulers(group, engine, till, tmp_path / "scheduler.log")
    killed_at: list[int] = []
    while len(killed_at) < KILLS:
        scheduler = schedulers.start()
        before = len(till.books())
        until(lambda seen=before: len(till.books()) > seen, f"it debits; see {schedulers.log}")  # type: ignore[misc]
        time.sleep(chance.uniform(0, 1))
        scheduler.kill()
        if not unfinished(engine):
            break
        killed_at.append(len(till.books()))
    print(f"seed {SEED}: killed after {killed_at} debits")  # noqa: T201
    assert len(killed_at) >= 3  # in the middle of the work
    last = schedulers.start()
    until(lambda: not unfinished(engine), f"all is done; see {schedulers.log}", seconds=240)
    last.kill()
    check_books(ports, till, count=DEBITS, newcomers=NEWCOMERS)


def unfinished(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(
            connection.scalar(
                text(
                    "SELECT COUNT(*) FROM debit_instruction"
                    " WHERE state IN ('scheduled', 'attempting')"
                )
            )
            or 0
        )


def check_books(ports: Ports, till: Till, *, count: int, newcomers: int = 0) -> None:
    """Each was taken once, under one number, and recorded as the channel has it."""
    taken = till.books()
    assert len(taken) == count
    assert len({debit["reference"] for debit in taken}) == count
    fund = Fund.around(ports, MovableClock())
    theirs = {(d["order_no"], d["trade_no"], d["amount_fen"]) for d in taken}
    rows = ports.read(
        lambda session: session.execute(
            text("SELECT order_no, channel_reference, amount_fen, state FROM payment_order")
        ).all()
    )
    assert {tuple(row) for row in rows} == {(*row, "succeeded") for row in theirs}
    entries = fund.entries()
    kinds = [key.partition(":")[0] for key, _ in entries]
    assert kinds.count("deposit") == count
    assert kinds.count("opening-subsidy") == newcomers
    clearing_fen = sum(lines.get(Code.CHANNEL_CLEARING.value, 0) for _, lines in entries)
    assert clearing_fen == count * AMOUNT_FEN
    assert fund.breaks() == []
    assert ports.read(lambda session: list(verify_books(session, chart=tuple(Code)))) == []


def submit(fund: Fund, port: int) -> dict[str, int]:
    """Send what is due, as `flask jobs run submit-debits` does."""
    ports = ports_on(_engine_of(fund), Till(port), lambda: MORNING)
    return run_job("submit-debits", ports)


def _engine_of(fund: Fund) -> Engine:
    return fund.ports.read(lambda session: session.get_bind())  # type: ignore[return-value]


def test_several_runs_at_once_send_each_debit_once(engine: Engine, till: Till) -> None:
    ports = ports_on(engine, till, lambda: MORNING)
    debits_due(ports, 300, newcomers=30)
    results = at_once(engine.url, submit, [till.port] * 2)
    assert all(isinstance(result, dict) for result in results), results
    assert sum(result.get("credited", 0) for result in results) == 300
    assert all(set(result) <= {"credited"} for result in results)
    assert sum(bool(result) for result in results) > 1  # at the same time
    assert set(till.asked().values()) == {1}
    check_books(ports, till, count=300, newcomers=30)
