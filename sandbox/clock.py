"""虚拟时钟 The gateway's clock: real time plus an offset that the control API moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")


class Clock:
    """Runs as fast as real time, from `start` or from now. Safe to share between threads."""

    def __init__(self, start: datetime | None = None) -> None:
        self._lock = Lock()
        self._offset = timedelta()
        self._watchers: list[Callable[[], None]] = []
        if start is not None:
            self.set(start)

    def now(self) -> datetime:
        """Return the virtual instant, in UTC."""
        with self._lock:
            return datetime.now(UTC) + self._offset

    def set(self, instant: datetime) -> None:
        """Go to an instant, forwards or back.

        Raises:
            ValueError: the instant has no UTC offset.
        """
        if instant.utcoffset() is None:
            raise ValueError("时间必须带时区")
        with self._lock:
            self._offset = instant - datetime.now(UTC)
        self._tell()

    def advance(self, seconds: float) -> None:
        """Go forwards by so many seconds, or back by negative ones."""
        with self._lock:
            self._offset += timedelta(seconds=seconds)
        self._tell()

    def when_moved(self, watcher: Callable[[], None]) -> None:
        """Have `watcher` called after every jump; whoever sleeps until an instant needs it."""
        self._watchers.append(watcher)

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()
