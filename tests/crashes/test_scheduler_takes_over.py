"""Two schedulers as real processes: one is active, and the other follows when it is gone."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from app.db import prepare_engine
from app.jobs.timetable import JOBS
from tests.crashes.house import PLATFORMS, Gateway, House, _environment, until
from tests.crashes.mariadb import APPLICATION_USER, MariaDb, free_port
from tests.crashes.processes import Group

ONE_MINUTE = 60
"""What the take-over is promised within; it takes the lease's 20 seconds and a beat of 5."""


@pytest.fixture(params=["sqlite", "mariadb"])
def house(request: pytest.FixtureRequest, group: Group, tmp_path: Path) -> Iterator[House]:
    """The schedulers' part of the house alone: nothing is due that asks a gateway."""
    if request.param == "sqlite":
        file = tmp_path / "lianjiao.sqlite"
        shutil.copy(request.getfixturevalue("sqlite_template"), file)
        engine = prepare_engine(create_engine(f"sqlite:///{file}"))
        database = engine.url
    else:
        mariadb: MariaDb = request.getfixturevalue("mariadb")
        engine, database = mariadb.admin, mariadb.url(APPLICATION_USER)
        with engine.begin() as connection:
            for table in ("scheduler_lease", "job_run", "job_progress"):
                connection.execute(text(f"DELETE FROM {table}"))
    gateways = {platform: Gateway(platform, free_port()) for platform in PLATFORMS}
    port = free_port()
    environment = _environment(tmp_path, port, gateways, database)
    house = House(group, tmp_path, port, environment, gateways, engine)
    yield house
    for process in house.processes.values():
        process.kill()


def lease(house: House) -> tuple[str | None, int]:
    """Return who holds it, and the term."""
    rows = house.rows("SELECT holder, term FROM scheduler_lease")
    return (rows[0][0], int(rows[0][1])) if rows else (None, 0)


def holder_is(house: House, name: str) -> bool:
    holder, _ = lease(house)
    return holder is not None and holder.endswith(f":{house.processes[name].running.pid}")


def every_job_has_succeeded_in(house: House, term: int) -> bool:
    done = house.rows("SELECT COUNT(*) FROM job_progress WHERE succeeded_at IS NOT NULL")
    return done == [(len(JOBS),)] and lease(house)[1] == term


def test_one_is_active_and_the_other_takes_over_after_kill_9(house: House) -> None:
    house.start_scheduler("first")
    until(lambda: holder_is(house, "first"), "the first one is active")
    house.start_scheduler("second")
    until(lambda: "another scheduler is active" in house.log(), "the second one waits")
    until(lambda: every_job_has_succeeded_in(house, 1), "every job has run")
    days = house.rows("SELECT job, on_date FROM job_run WHERE state = 'succeeded'")
    assert sorted(job for job, _ in days) == [
        *("compare-mandates", "plan-debits", "remove-expired", "resume-agreements", "seal-days"),
    ]
    # Left behind as if killed in the middle of it.
    with house.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO job_run (job, on_date, triggered_by, state, started_at, counts,"
                " holder, term) SELECT job, on_date, triggered_by, 'running', started_at,"
                " counts, holder, term FROM job_run WHERE job = 'seal-days'"
            )
        )
    house.processes["first"].kill()
    until(lambda: holder_is(house, "second"), "the second one is active", seconds=ONE_MINUTE)
    assert lease(house)[1] == 2
    abandoned = "SELECT job, term FROM job_run WHERE state = 'abandoned'"
    until(lambda: house.rows(abandoned) == [("seal-days", 1)], "what was under way is ended")
    # The day was done: the second one does not do it again.
    assert house.rows("SELECT job, on_date FROM job_run WHERE state = 'succeeded'") == days


def test_one_that_is_told_to_stop_is_followed_at_once(house: House) -> None:
    house.start_scheduler("first")
    until(lambda: holder_is(house, "first"), "the first one is active")
    house.processes["first"].running.send_signal(signal.SIGTERM)
    assert house.processes["first"].running.wait(ONE_MINUTE) == 0
    assert lease(house) == (None, 1)
    house.start_scheduler("second")
    until(lambda: holder_is(house, "second"), "the second one is active")
    assert lease(house)[1] == 2


def test_one_that_was_frozen_finds_itself_deposed(house: House) -> None:
    house.start_scheduler("first")
    until(lambda: every_job_has_succeeded_in(house, 1), "every job has run")
    house.processes["first"].running.send_signal(signal.SIGSTOP)
    house.start_scheduler("second")
    until(lambda: holder_is(house, "second"), "the second one is active", seconds=ONE_MINUTE)
    house.processes["first"].running.send_signal(signal.SIGCONT)
    until(lambda: "another scheduler took over" in house.log(), "the first one has noticed")
    assert holder_is(house, "second")
    assert house.rows("SELECT COUNT(*) FROM job_run WHERE state = 'failed'") == [(0,)]
