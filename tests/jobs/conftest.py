"""The fund with simulated channels, on each database; a scheduler that holds the lease."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import select, update

from app.domain.base import table_of
from app.domain.ports import Ports
from app.domain.scheduling.models import JobRun, SchedulerLease
from app.domain.scheduling.operations import Grip, take_lease
from app.jobs import Counts, Every, Job
from app.jobs.running import Term
from tests.conftest import MovableClock
from tests.fund import Fund


@pytest.fixture
def fund(ports: Ports, clock: MovableClock) -> Fund:
    return Fund.around(ports, clock)


@pytest.fixture
def term(fund: Fund) -> Term:
    return Term(fund.ports, take(fund.ports, "machine-1:1"))


def take(ports: Ports, holder: str) -> Grip:
    """Take the lease, whoever has it, and however often that one renews it meanwhile."""
    while True:
        expire(ports)
        grip = take_lease(ports, holder=holder)
        if grip is not None:
            return grip


def expire(ports: Ports) -> None:
    """Let the lease's time be over, as the database's clock would."""
    past = datetime(2026, 1, 1, tzinfo=UTC)
    ports.transact(
        lambda session: session.execute(update(table_of(SchedulerLease)).values(expires_at=past))
    )


def runs(ports: Ports) -> list[JobRun]:
    """Return every recorded run, oldest first."""
    return list(
        ports.read(lambda session: session.scalars(select(JobRun).order_by(JobRun.id)).all())
    )


class Diary:
    """A job that writes down for which days it ran, and fails on those that it is told."""

    def __init__(self, *failing: date, counts: Counts | None = None) -> None:
        self.days: list[date] = []
        self.failing = set(failing)
        self.counts = {"done": 1} if counts is None else counts
        self.meanwhile: Callable[[Ports], None] = lambda _ports: None

    def job(self, when: object = None, *, name: str = "diary") -> Job:
        return Job(name, "测试", when or Every(seconds=10), self._run, self._due)  # type: ignore[arg-type]

    def _run(self, ports: Ports, /, *, on: date) -> Counts:
        self.days.append(on)
        self.meanwhile(ports)
        if on in self.failing:
            raise ValueError("测试用户 320700199001010017")
        return self.counts

    def _due(self, _session: object, /, *, on: date, now: datetime) -> Counts:
        return {"due": 1}
