"""Gateways on free ports of the loopback, and a merchant's address that takes their notices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import requests
from flask import Flask
from werkzeug.serving import make_server

from sandbox.clock import Clock
from sandbox.credentials import Credentials, read_credentials

START = datetime.fromisoformat("2026-11-24T10:00:00+08:00")


@dataclass
class RunningGateway:
    """A gateway as its clients see it: an address, a control API, the merchant's credentials."""

    url: str
    clock: Clock
    credentials: Credentials

    def control(self, path: str, **content: object) -> dict:
        """POST to the control API; fails the test if the gateway refuses."""
        answer = self.try_control(path, **content)
        assert answer["ok"], answer["error"]
        return answer

    def try_control(self, path: str, **content: object) -> dict:
        return requests.post(f"{self.url}_control/{path}", json=content, timeout=30).json()

    def look(self, path: str) -> dict:
        """GET from the control API."""
        return requests.get(f"{self.url}_control/{path}", timeout=30).json()

    def until(self, found: Callable[[list[dict]], bool]) -> list[dict]:
        """Wait until the log of deliveries is as expected, and return it."""
        deadline = time.monotonic() + 10
        while True:
            log = self.look("deliveries")["deliveries"]
            if found(log):
                return log
            assert time.monotonic() < deadline, log
            time.sleep(0.02)


@dataclass
class Inbox:
    """The merchant's callback address: keeps what came, answers what it is told to."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    content_types: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    reply: str = ""
    status: int = 200


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve an app from a thread; gives its address with a slash at the end."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def copy_credentials(issued: Path, data_dir: Path) -> None:
    """Give a gateway credentials made before, because making keys takes longer than most tests."""
    for path in issued.iterdir():
        copy = data_dir / path.name
        copy.write_bytes(path.read_bytes().replace(bytes(issued), bytes(data_dir)))
        copy.chmod(path.stat().st_mode)


@contextmanager
def running(create: Callable[[Path, Clock], Flask], data_dir: Path) -> Iterator[RunningGateway]:
    """Run a gateway whose clock starts at `START`."""
    clock = Clock(START)
    app = create(data_dir, clock)
    try:
        with serving(app) as url:
            yield RunningGateway(url, clock, read_credentials(data_dir))
    finally:
        app.extensions["gateway"].close()
