"""The embedded SQLite under eight clients, two workers, a scheduler: nobody notices the others."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine
from sqlalchemy.pool import NullPool

from tests.crashes.house import PLATFORMS, House, open_house, until
from tests.crashes.processes import Group
from tests.crashes.riders import Rider, enrol_riders

DEPOSITS = 12


@pytest.fixture
def house(group: Group, sqlite_template: Path, tmp_path: Path) -> Iterator[House]:
    file = tmp_path / "lianjiao.sqlite"
    shutil.copy(sqlite_template, file)
    url = URL.create("sqlite", database=str(file))
    with open_house(
        group, tmp_path, database=url, engine=create_engine(url, poolclass=NullPool)
    ) as house:
        house.start_scheduler()
        yield house


def save_up(rider: Rider) -> None:
    """Pay in again and again, looking at the account meanwhile."""
    for number in range(DEPOSITS):
        rider.deposit(12_150 + number)
        for path in ("account", "account/entries", "deposits"):
            rider.ask("GET", path)


def test_eight_clients_at_once_lose_nothing_and_see_no_error(house: House, tmp_path: Path) -> None:
    for gateway in house.gateways.values():
        gateway.control("troubles", at="notice", kind="duplicate", copies=3, times=0)
    riders = enrol_riders(house, PLATFORMS * 4)
    with ThreadPoolExecutor(max_workers=len(riders)) as threads:
        list(threads.map(save_up, riders))
    until(lambda: not any(g.waiting() for g in house.gateways.values()), "the notices come through")
    assert house.everything_is_recorded()

    statuses = riders[0].answers.statuses
    assert set(statuses) == {200, 201}
    assert len(statuses) == 8 * (2 + 4 * DEPOSITS)  # nothing had to be repeated
    for gateway in house.gateways.values():
        tries = gateway.look("deliveries")["deliveries"]
        assert {(t["status"], t["accepted"], t["attempt"] <= 3) for t in tries} == {
            (200, True, True)
        }
        assert len(tries) == 3 * 4 * DEPOSITS
    for trouble in ("locked", "Traceback", "Error"):
        assert trouble not in house.log()
    house.check_books()
    # 12 × 121.50 and 0 + 1 + … + 11 fen, and the opening subsidy of 200.00.
    assert {rider.balance_fen() for rider in riders} == {145_866 + 20_000}
    with sqlite3.connect(tmp_path / "lianjiao.sqlite") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()
