"""The scheduler process: every job runs when it starts, and again by the timetable."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from apscheduler.schedulers.blocking import BlockingScheduler

from app.domain.ports import Ports
from app.jobs import Job, schedule

PATIENCE_SECONDS = 60


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, *jobs: Job) -> Iterator[None]:
    """Keep a timetable of these jobs in a thread."""
    made: list[BlockingScheduler] = []

    class Remembered(BlockingScheduler):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)

    monkeypatch.setattr(schedule, "BlockingScheduler", Remembered)
    monkeypatch.setattr(schedule, "JOBS", jobs)
    thread = threading.Thread(target=schedule.serve, args=(cast(Ports, None),))
    thread.start()
    try:
        yield
    finally:
        made[0].shutdown()
        thread.join(PATIENCE_SECONDS)


class Probe:
    """A job that counts its runs, and fails if it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self._runs = threading.Semaphore(0)

    def job(self, *, every_seconds: int) -> Job:
        return Job(f"probe-{id(self)}", "试", every_seconds, self._run)

    def has_run(self) -> bool:
        """Wait for the next run."""
        return self._runs.acquire(timeout=PATIENCE_SECONDS)

    def _run(self, _ports: Ports) -> dict[str, int]:
        self._runs.release()
        if self._error is not None:
            raise self._error
        return {}


def test_a_job_of_every_hour_runs_when_the_scheduler_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A scheduler that is started again every few minutes would otherwise never come to it."""
    hourly = Probe()
    with serving(monkeypatch, hourly.job(every_seconds=3600)):
        assert hourly.has_run()


def test_a_job_that_fails_stops_neither_itself_nor_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken, whole = Probe(ValueError()), Probe()
    with serving(monkeypatch, broken.job(every_seconds=1), whole.job(every_seconds=1)):
        assert all(broken.has_run() and whole.has_run() for _ in range(3))
