"""业务系统 The product: web and scheduler, which start anew whenever the clock jumps."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime

from demo.phone import Door, Gateway
from demo.processes import Processes

FLASK = ("-m", "flask", "--app", "wsgi")
OFFSET = "LIANJIAO_CLOCK_OFFSET_SECONDS"

_PATIENCE_SECONDS = 120


class System:
    """The product on one business clock with its gateways.

    Args:
        environment: what processes are started with; the clock's offset is kept in it.
        doorstep: the socket that the web listens on, held by the demo: nobody else moves in there
            while the web is not running, and whoever calls meanwhile is answered when it is.
        begins_at: what the clock shows now.
    """

    def __init__(
        self,
        processes: Processes,
        environment: dict[str, str],
        doorstep: socket.socket,
        gateways: Sequence[Gateway],
        *,
        begins_at: datetime,
    ) -> None:
        self._processes = processes
        self._environment = environment
        self._doorstep = doorstep
        self._gateways = gateways
        self._gateways_offset_seconds = 0
        self.api = Door(f"http://127.0.0.1:{doorstep.getsockname()[1]}")
        self._set_clock(begins_at)

    def start(self) -> None:
        """Put the gateways' clocks right, start the product, and wait until it answers.

        Raises:
            DemoFailed: a process has ended, or does not answer.
        """
        for gateway in self._gateways:
            self._wait_for(gateway, "/_control/health")
        offset_seconds = int(self._environment[OFFSET])
        for gateway in self._gateways:
            advance_seconds = offset_seconds - self._gateways_offset_seconds
            gateway.control("clock", advance_seconds=advance_seconds)
        self._gateways_offset_seconds = offset_seconds
        # Two processes of several threads: copies of one notice race each other, as in production.
        door = self._doorstep.fileno()
        bind = ("--bind", f"fd://{door}")
        self._processes.start("web", "-m", "gunicorn", *bind, inheriting=(door,))
        self._processes.start("scheduler", *FLASK, "scheduler")
        self._wait_for(self.api, "/readyz")

    def jump(self, to: datetime) -> None:
        """Move the clock of everybody; the scheduler then does at once what has come due.

        Raises:
            DemoFailed: a process did not end, or did not come back.
        """
        self._processes.end("scheduler", "web")
        self._set_clock(to)
        self.start()

    def _set_clock(self, shown: datetime) -> None:
        offset_seconds = round((shown - datetime.now(UTC)).total_seconds())
        self._environment[OFFSET] = str(offset_seconds)

    def _wait_for(self, door: Door, path: str) -> None:
        self._processes.wait_until(
            lambda: door.is_open(path), seconds=_PATIENCE_SECONDS, what=f"{door.url} 就绪"
        )
        # Somebody else's may have answered in its place.
        self._processes.check()
