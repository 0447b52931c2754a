"""What the product holds and says, before an attack and after it."""

from __future__ import annotations

import _strptime  # noqa: F401  `datetime` would open it at its first use, in the midst of a test
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine

from app.domain.base import Base

Rows = dict[str, Counter[tuple[Any, ...]]]

OUTSIDE = ("open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system")
"""Events of the interpreter by which something outside the process is touched."""


def rows_of(engine: Engine) -> Rows:
    """Return every row of every table."""
    with engine.connect() as connection:
        return {
            table.name: Counter(
                tuple(repr(value) for value in row)
                for row in connection.exec_driver_sql(f"SELECT * FROM {table.name}")
            )
            for table in Base.metadata.sorted_tables
        }


@dataclass
class Witness:
    """Remembers every row of the database and the end of the log, and says what is new."""

    engine: Engine
    log_lines: Callable[[], list[str]]
    secrets: list[str] = field(default_factory=list)
    """What no log line may hold, whatever happens."""
    _before: Rows = field(default_factory=dict)
    _lines: int = 0

    def look(self) -> None:
        """Begin here."""
        self._before = rows_of(self.engine)
        self._lines = len(self.log_lines())

    def changes(self) -> dict[str, tuple[int, int]]:
        """Return table -> rows that have come, rows that have gone; a changed row is both."""
        after = rows_of(self.engine)
        found = {
            name: ((rows - self._before[name]).total(), (self._before[name] - rows).total())
            for name, rows in after.items()
        }
        return {name: counts for name, counts in found.items() if counts != (0, 0)}

    def log(self) -> list[dict[str, Any]]:
        """Return the events since the look, without their times, and fail on a secret in them."""
        lines = self.log_lines()[self._lines :]
        for secret in self.secrets:
            assert secret not in "\n".join(lines), f"{secret} stands in the log"
        told = [json.loads(line) for line in lines]
        return [
            {name: value for name, value in event.items() if name not in _ALWAYS} for event in told
        ]

    def requests(self) -> list[tuple[Any, ...]]:
        """Return route, status and refusal of every request since the look."""
        return [
            (event["route"], event["status"], event.get("refused"))
            for event in self.log()
            if event["event"] == "request"
        ]

    def events(self) -> list[dict[str, Any]]:
        """Return what was logged since the look beside the line of each request."""
        return [event for event in self.log() if event["event"] != "request"]


_ALWAYS = {"timestamp", "request_id", "duration_ms", "logger"}

_watching: list[list[str]] = []


def _see(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event in OUTSIDE:
        _watching[-1].append(f"{event} {arguments[0]!r}")


sys.addaudithook(_see)


@contextmanager
def nothing_outside() -> Iterator[None]:
    """Fail if a file is opened, a connection made, a name looked up or a process started."""
    touched: list[str] = []
    _watching.append(touched)
    try:
        yield
    finally:
        _watching.remove(touched)
    assert touched == [], touched
