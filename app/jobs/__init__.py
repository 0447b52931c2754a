"""The clock in: one file a job, each `run(ports)`, safe to run twice or side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.domain.ports import Ports


@dataclass(frozen=True, slots=True)
class Job:
    """A job of the timetable. `every_seconds` is how often the scheduler wakes it."""

    name: str
    title: str
    every_seconds: int
    run: Callable[[Ports], dict[str, int]]
