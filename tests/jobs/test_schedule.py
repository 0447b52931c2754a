"""The scheduler process: active, waiting, stopped, deposed; each job at once and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from app.domain.ports import Ports
from app.domain.scheduling.models import RunState
from app.domain.scheduling.operations import renew_lease, take_lease
from app.domain.scheduling.queries import find_lease
from app.jobs import Counts, Every, Job, schedule
from app.jobs.running import Term
from tests.conftest import MovableClock
from tests.jobs.conftest import Diary, expire, runs, take

PATIENCE_SECONDS = 60


@contextmanager
def serving(
    ports: Ports, monkeypatch: pytest.MonkeyPatch, *jobs: Job, holder: str = "a"
) -> Iterator[threading.Event]:
    """Keep a timetable of these jobs in a thread."""
    monkeypatch.setattr(schedule, "JOBS", jobs)
    monkeypatch.setattr(schedule, "BEAT", schedule.BEAT / 100)
    stop = threading.Event()
    thread = threading.Thread(
        target=schedule.serve, args=(ports,), kwargs={"holder": holder, "stop": stop}
    )
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def holder_of(ports: Ports) -> str | None:
    lease = ports.read(find_lease)
    return lease.holder if lease else None


class Probe:
    """A job that counts its runs, and fails if it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self._runs = threading.Semaphore(0)

    def job(self, *, every_seconds: int) -> Job:
        when = Every(seconds=every_seconds)
        return Job(f"probe-{id(self)}"[:40], "试", when, self._run, lambda _s, *, on, now: {})

    def has_run(self) -> bool:
        """Wait for the next run."""
        return self._runs.acquire(timeout=PATIENCE_SECONDS)

    def _run(self, _ports: Ports, *, on: object) -> Counts:
        self._runs.release()
        if self._error is not None:
            raise self._error
        return {}


def test_a_job_of_every_hour_runs_when_the_scheduler_starts(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler that is started again every few minutes would otherwise never come to it."""
    hourly = Probe()
    with serving(ports, monkeypatch, hourly.job(every_seconds=3600)):
        assert hourly.has_run()


def test_a_job_that_fails_stops_neither_itself_nor_the_others(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, whole = Probe(ValueError()), Probe()
    with serving(ports, monkeypatch, broken.job(every_seconds=1), whole.job(every_seconds=1)):
        assert all(broken.has_run() and whole.has_run() for _ in range(3))


def test_while_another_is_active_nothing_runs_until_it_gives_the_lease_back(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Probe()
    active = take_lease(ports, holder="other")
    assert active is not None
    with serving(ports, monkeypatch, probe.job(every_seconds=3600)):
        # It has asked in vain, more than once, before the other one renews.
        for _ in range(3):
            time.sleep(schedule.BEAT.total_seconds())
            renew_lease(ports, active)
        assert holder_of(ports) == "other"
        assert runs(ports) == []
        expire(ports)
        assert probe.has_run()
        assert holder_of(ports) == "a"


def test_told_to_stop_it_gives_the_lease_back_at_once(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Probe()
    with serving(ports, monkeypatch, probe.job(every_seconds=3600)):
        assert probe.has_run()
    lease = ports.read(find_lease)
    assert lease is not None
    assert (lease.holder, lease.term) == (None, 1)
    assert take_lease(ports, holder="next") is not None


def test_told_to_stop_it_waits_for_the_piece_under_way(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    slow = Diary(counts={"sent": 1})

    def work(_ports: Ports) -> None:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)

    slow.meanwhile = work
    with serving(ports, monkeypatch, slow.job(Every(seconds=3600))) as stop:
        assert begun.wait(PATIENCE_SECONDS)
        stop.set()
        # Still the holder: nobody else may begin before this one has ended.
        assert holder_of(ports) == "a"
        go_on.set()
    assert [run.state for run in runs(ports)] == [RunState.SUCCEEDED]
    assert holder_of(ports) is None


def test_one_that_is_deposed_waits_its_turn_again(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Probe()
    with serving(ports, monkeypatch, probe.job(every_seconds=3600)):
        assert probe.has_run()
        other = take(ports, "other")
        assert other.term == 2
        expire(ports)
        # It finds out, and takes the lease anew.
        assert probe.has_run()
        until(lambda: holder_of(ports) == "a")
        lease = ports.read(find_lease)
        assert lease is not None
        assert lease.term == 3


def test_it_outlives_a_database_that_is_away(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    probe, failed = Probe(), threading.Event()

    def away(*_: object, **__: object) -> None:
        failed.set()
        monkeypatch.setattr(schedule, "renew_lease", renew_lease)
        raise RuntimeError("the database is away")

    with serving(ports, monkeypatch, probe.job(every_seconds=1)):
        assert probe.has_run()
        monkeypatch.setattr(schedule, "renew_lease", away)
        assert failed.wait(PATIENCE_SECONDS)
        assert probe.has_run()
        assert probe.has_run()
        assert holder_of(ports) == "a"


def test_misfires_are_run_coalesced_and_never_overlap(ports: Ports, clock: MovableClock) -> None:
    alarm_clock = schedule._alarm_clock(Term(ports, take(ports, "a")))
    alarm_clock.start(paused=True)
    try:
        found = {
            job.id: (job.coalesce, job.misfire_grace_time, job.max_instances)
            for job in alarm_clock.get_jobs()
        }
        assert found == {job.name: (True, None, 1) for job in schedule.JOBS}
    finally:
        alarm_clock.shutdown()
