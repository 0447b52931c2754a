"""The clock in: one file a job, `run(ports, *, on)` and `due(session, *, on, now)`.

`run` is safe to run twice or side by side. `due` counts what it would take up, and only reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Protocol, TypeVar

from sqlalchemy.orm import Session

from app.domain.ports import Ports

T = TypeVar("T")
Counts = dict[str, int]


class Runs(Protocol):
    """Does what is due."""

    def __call__(self, ports: Ports, /, *, on: date) -> Counts: ...


class CountsDue(Protocol):
    """Says what is due, by the same words where it can know them."""

    def __call__(self, session: Session, /, *, on: date, now: datetime) -> Counts: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """A job that follows the clock: it is woken every few seconds, and a pause is one run.

    What is due is found in the database at that moment, so nothing is to be made up for.
    """

    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Daily:
    """A job of a business day, from `at` (Shanghai) on: after a pause each missed day is a run."""

    at: time


@dataclass(frozen=True, slots=True)
class Job:
    """A job of the timetable."""

    name: str
    title: str
    when: Every | Daily
    run: Runs
    due: CountsDue


def fence_each_transaction(ports: Ports) -> Ports:
    """Return ports for an operation whose every transaction is a piece of work of its own.

    An operation with a channel's call between two transactions must not use it: the answer of a
    call already made has to be recorded, whoever holds the lease by then.
    """

    def transact(work: Callable[[Session], T], /) -> T:
        def fenced(session: Session) -> T:
            ports.fence(session)
            return work(session)

        return ports.transact(fenced)

    return replace(ports, transact=transact)
