"""Web, schedulers and database killed with -9 again and again under a load of payments.

A supervisor starts again what has died, and nobody does anything else. LIANJIAO_CRASH_SECONDS makes
it longer, LIANJIAO_CRASH_SEED changes the moments.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crashes.house import PLATFORMS, SEED, House, open_house, until
from tests.crashes.mariadb import APPLICATION_USER, MariaDb
from tests.crashes.processes import Group
from tests.crashes.riders import Rider, enrol_riders

SECONDS = int(os.environ.get("LIANJIAO_CRASH_SECONDS", "60"))
SCHEDULERS = ("scheduler-1", "scheduler-2")
VICTIMS = (("worker",), ("web",), ("database",), ("scheduler",), ("web", "database"))


@pytest.fixture
def house(group: Group, mariadb: MariaDb, tmp_path: Path) -> Iterator[House]:
    with open_house(
        group, tmp_path, database=mariadb.url(APPLICATION_USER), engine=mariadb.admin
    ) as house:
        house.keep_schedulers(*SCHEDULERS)
        yield house


class Supervisor:
    """Kills at random moments, and starts again what is not alive, as systemd would."""

    def __init__(self, house: House, mariadb: MariaDb) -> None:
        self._house, self._mariadb = house, mariadb
        self._chance = random.Random(SEED)
        self.kills: list[str] = []

    def run_for(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            time.sleep(self._chance.uniform(0.2, 3))
            for victim in self._chance.choice(VICTIMS):
                self.kills.append(victim)
                self._kill(victim)
            time.sleep(self._chance.uniform(0, 1))
            self.start_the_dead()
            if self._chance.random() < 0.8:
                # Mostly there is work to interrupt, now and then only the starting.
                self._house.wait_until_ready()

    def start_the_dead(self) -> None:
        if not self._mariadb.is_alive():
            self._mariadb.start()
        if not self._house.web.is_alive():
            self._house.start_web()
        self._house.keep_schedulers(*SCHEDULERS)

    def _kill(self, victim: str) -> None:
        match victim:
            case "worker":
                self._house.web.kill_children(1)
            case "web":
                self._house.web.kill()
            case "scheduler":
                self._house.processes[self._chance.choice(SCHEDULERS)].kill()
            case "database":
                self._mariadb.kill()


def pay_until(stopped: threading.Event, rider: Rider, seed: int) -> None:
    chance = random.Random(seed)
    while not stopped.is_set():
        rider.deposit(chance.randrange(12_150, 13_000))
        time.sleep(chance.uniform(0, 0.1))


def test_every_payment_is_recorded_once_whatever_is_killed(house: House, mariadb: MariaDb) -> None:
    riders = enrol_riders(house, PLATFORMS * 6)
    supervisor = Supervisor(house, mariadb)
    stopped = threading.Event()
    with ThreadPoolExecutor(max_workers=len(riders)) as threads:
        paying = [
            threads.submit(pay_until, stopped, rider, SEED + number)
            for number, rider in enumerate(riders)
        ]
        try:
            supervisor.run_for(SECONDS)
            supervisor.start_the_dead()
        finally:
            stopped.set()
        for payer in paying:
            payer.result()

    def all_is_recorded() -> bool:
        supervisor.start_the_dead()
        if not house.is_ready():
            return False
        for gateway in house.gateways.values():
            if gateway.waiting():
                gateway.control("clock", advance_seconds=15)  # The channel's next try is due.
        return house.everything_is_recorded() and not house.open_orders()

    until(all_is_recorded, f"every payment is recorded (seed {SEED})", seconds=300)
    house.check_books()
    assert [rider.balance_fen() for rider in riders] == [rider.due_fen() for rider in riders]
    kills = {victim: supervisor.kills.count(victim) for victim in supervisor.kills}
    payments = sum(len(rider.paid) for rider in riders)
    print(f"seed {SEED}: {payments} payments, killed {kills}")  # noqa: T201
    assert payments > 50
    assert len(kills) >= 3
