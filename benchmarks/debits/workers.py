"""Worker processes that do a debit day, the product's or the bare one, slice by slice.

Each is started afresh, so that its memory is its own, and keeps what it has between slices, as a
scheduler does between its runs.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.domain.calendar import business_day
from app.domain.debit_runs.submitting import GROUP, submit_debits
from app.domain.debits.planning import PAGE, plan_debits
from app.domain.ports import Ports
from app.domain.ports.debits import DebitRequest
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.verification import verify_books
from app.factory import create_app
from benchmarks.debits.raw import RawDay
from benchmarks.debits.town import PLANS_AT, SENDS_AT
from benchmarks.servers import BenchmarkFailed
from config.chart import load_chart
from config.settings import Settings


@dataclass(frozen=True)
class Done:
    """What became of one slice; `peak_mb` is the most memory that the process has ever held."""

    count: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    database_cpu_seconds: float = 0.0


class SliceOver(BaseException):
    """Raised where a job is stopped; no `Exception`, for the same reason."""


class InstantChannel:
    """A channel that takes every debit, at once."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.count = 0
        self._now = now

    def submit_debit(self, request: DebitRequest) -> Outcome:
        """Take the money."""
        # Several threads may count at once: only the end of a slice depends on it.
        self.count += 1
        return Outcome(
            kind=OutcomeKind.SUCCEEDED,
            reason=Reason.OK,
            number=request.order_no,
            amount_fen=request.amount_fen,
            reference=f"X{request.order_no[-27:]}",
            occurred_at=self._now(),
            raw_code="SUCCESS",
        )

    def query_debit(self, order_no: str) -> Outcome:
        """Nobody asks: every answer was told."""
        raise NotImplementedError


class ProductDay:
    """The product's own debit day, on the ports of a process of its own."""

    def __init__(self, database: Mapping[str, Any]) -> None:
        os.environ["LIANJIAO_DATABASE_URL"] = url_of(database)
        self._begun, self._begins = datetime.now(UTC), PLANS_AT  # noqa: TID251
        self._channel = InstantChannel(self._now)
        ports: Ports = create_app(Settings(log_level="WARNING")).extensions["lianjiao"]
        channels = replace(ports.channels, debiting={"wechat": self._channel}, batching={})
        self._ports = replace(ports, now=self._now, channels=channels)

    def plan(self) -> int:
        """Make the instructions; return how many."""
        self._begins = PLANS_AT
        return plan_debits(self._ports, on=business_day(self._now()))["planned"]

    def submit(self, limit: int) -> int:
        """Debit so many, or all that are due; return how many."""
        self._begins, before = SENDS_AT, self._channel.count

        def fence(_session: Session) -> None:
            if self._channel.count - before >= limit:
                raise SliceOver

        with suppress(SliceOver):
            submit_debits(replace(self._ports, fence=fence))
        return self._channel.count - before

    def find_offences(self) -> list[str]:
        """Return what is wrong with the books."""
        chart = load_chart()
        return self._ports.read(
            lambda session: [str(o) for o in verify_books(session, chart=chart)]
        )

    def _now(self) -> datetime:
        return (self._begins + (datetime.now(UTC) - self._begun)).astimezone(UTC)  # noqa: TID251


class Worker:
    """One process with a debit day; its methods are called by name."""

    def __init__(self, build: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, build, arguments, named), daemon=True
        )
        self.process.start()
        theirs.close()
        self.receive()

    def send(self, method: str, *arguments: Any) -> None:
        """Ask, and wait for nothing."""
        self._pipe.send((method, arguments))

    def receive(self) -> Any:
        """Return what the last call gave, a `Done` where it counted something."""
        try:
            return self._pipe.recv()
        except EOFError:
            raise BenchmarkFailed("a worker died") from None

    def stop(self) -> None:
        """End the process."""
        self._pipe.close()
        self.process.join()


def at_once(workers: Sequence[Worker], *call: Any) -> Done:
    """Have all of them do their share of the same work; the slowest one's time counts."""
    for worker in workers:
        worker.send(*call)
    done: list[Done] = [worker.receive() for worker in workers]
    return Done(
        count=sum(each.count for each in done),
        seconds=max(each.seconds for each in done),
        cpu_seconds=sum(each.cpu_seconds for each in done),
        peak_mb=max(each.peak_mb for each in done),
    )


@contextmanager
def product_worker(database: Mapping[str, Any]) -> Iterator[Worker]:
    """Run a process of the product on a database."""
    worker = Worker(ProductDay, database)
    yield worker
    worker.stop()


@contextmanager
def raw_worker(database: Mapping[str, Any]) -> Iterator[Worker]:
    """Run a process of the bare statements, in groups of the product's size."""
    worker = Worker(RawDay, database, group=GROUP, page=PAGE)
    yield worker
    worker.stop()


def url_of(database: Mapping[str, Any]) -> str:
    """Return a database's address as the settings want it."""
    return "mysql+pymysql://{user}@{host}:{port}/{database}".format(**database)


def peak_mb() -> float:
    """Return the most memory that this program has held since it was started."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _serve(
    pipe: Any, build: Callable[..., Any], arguments: Sequence[Any], named: Mapping[str, Any]
) -> None:
    served = build(*arguments, **named)
    pipe.send("ready")
    while True:
        try:
            method, values = pipe.recv()
        except EOFError:
            return
        begun, cpu_begun = time.perf_counter(), time.process_time()
        result = getattr(served, method)(*values)
        if isinstance(result, int):
            seconds = time.perf_counter() - begun
            result = Done(result, seconds, time.process_time() - cpu_begun, peak_mb())
        pipe.send(result)
