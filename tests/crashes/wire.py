"""A TCP proxy between the application and MariaDB that can be told to be a bad line.

It understands as much of the protocol as it takes to see each statement go by: a packet is three
bytes of length, a sequence number (0 for a new command) and the payload; the first byte of the
payload says which command it is, 3 for a query.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

_QUERY = 3


class Fate(Enum):
    """What becomes of one statement."""

    PASS = auto()
    CUT = auto()
    """It does not arrive: both sides see the connection end."""
    CUT_AFTER = auto()
    """The server has done it, but its answer is lost: both sides see the connection end."""
    FREEZE = auto()
    """It does not arrive, and nothing else is heard until `thaw`, or until the client hangs up."""
    FREEZE_AFTER = auto()
    """The server has done it; its answer does not arrive until `thaw`."""


Rule = Callable[[int, str], Fate | int | str]
"""Decides on a statement, by its number since the rule was set and its text (empty: no query).

Instead of a fate a number is an error code that the client is answered with, the statement not
arriving; a text is another statement that arrives in its place.
"""


def _pass(_number: int, _statement: str) -> Fate:
    return Fate.PASS


def at_statement(number: int, fate: Fate | int, *, since: str) -> Rule:
    """Return a rule with one victim: the statement of this number, the one with `since` being 1."""
    seen = 0

    def decide(_number: int, statement: str) -> Fate | int | str:
        nonlocal seen
        seen += bool(seen) or since in statement
        return fate if seen == number else Fate.PASS

    return decide


class Wire:
    """The proxy, listening on `port` of the loopback. Use as a context manager.

    Attributes:
        delay_seconds: how long each statement is on its way.
        statements: what was said since the rule was set.
        struck: those of them that did not simply pass.
        frozen: set when a statement met FREEZE or FREEZE_AFTER.
    """

    def __init__(self, server_port: int) -> None:
        self.delay_seconds = 0.0
        self.statements: list[str] = []
        self.struck: list[str] = []
        self.frozen = threading.Event()
        self._server_port = server_port
        self._lock = threading.Lock()
        self._rule: Rule = _pass
        self._thawed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._links: set[_Link] = set()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Wire:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.heal()
        for link in list(self._links):
            link.close()

    def obey(self, rule: Rule) -> None:
        """Decide by `rule` from now on, and count from 1."""
        with self._lock:
            self._rule, self.statements, self.struck = rule, [], []
            self.frozen.clear()
            self._thawed.clear()

    def heal(self) -> None:
        """Be a good line again; what was frozen arrives."""
        self.delay_seconds = 0.0
        with self._lock:
            self._rule = _pass
        self.thaw()

    def thaw(self) -> None:
        """Let what was frozen arrive."""
        self._thawed.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # Closed: the test is over.
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            link = _Link(self, client, server)
            self._links.add(link)
            link.start()

    def decide(self, statement: str) -> Fate | int | str:
        with self._lock:
            self.statements.append(statement)
            fate = self._rule(len(self.statements), statement)
            if fate is not Fate.PASS:
                self.struck.append(statement)
        time.sleep(self.delay_seconds)
        return fate

    def stay_frozen(self, client: socket.socket) -> bool:
        """Wait for `thaw`; return False when the client hangs up before."""
        self.frozen.set()
        while not self._thawed.is_set():
            with suppress(OSError, ValueError):
                readable, _, _ = select.select([client], [], [], 0.02)
                if not readable or client.recv(1, socket.MSG_PEEK):
                    continue
            return False
        return True

    def forget(self, link: _Link) -> None:
        self._links.discard(link)


class _Link:
    """One connection: a thread reads what the client says, another what the server answers."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        self._wire, self._client, self._server = wire, client, server
        self._fate: Fate = Fate.PASS
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for pump in (self._up, self._down):
            threading.Thread(target=self._run, args=(pump,), daemon=True).start()

    def close(self) -> None:
        for side in (self._client, self._server):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()
        self._wire.forget(self)

    def _run(self, pump: Callable[[], None]) -> None:
        with suppress(OSError):
            pump()
        self.close()

    def _up(self) -> None:
        while packet := _read_packet(self._client):
            sequence, payload = packet[3], packet[4:]
            if sequence == 0:
                is_query = payload[:1] == bytes([_QUERY])
                statement = payload[1:].decode("utf-8", "replace") if is_query else ""
                fate = self._wire.decide(statement)
                if isinstance(fate, int):
                    message = struct.pack("<BH", 0xFF, fate) + b"#HY000said by the line"
                    self._client.sendall(_packet(1, message))
                    continue
                if isinstance(fate, str):
                    self._server.sendall(_packet(0, bytes([_QUERY]) + fate.encode()))
                    continue
                if fate is Fate.CUT:
                    return
                if fate is Fate.FREEZE and not self._wire.stay_frozen(self._client):
                    return
                self._fate = fate
            self._server.sendall(packet)

    def _down(self) -> None:
        while answer := self._server.recv(65536):
            if self._fate is Fate.CUT_AFTER:
                return
            if self._fate is Fate.FREEZE_AFTER and not self._wire.stay_frozen(self._client):
                return
            self._fate = Fate.PASS
            self._client.sendall(answer)


def _read_packet(side: socket.socket) -> bytes:
    header = _read(side, 4)
    return header + _read(side, int.from_bytes(header[:3], "little")) if header else b""


def _read(side: socket.socket, count: int) -> bytes:
    whole = b""
    while len(whole) < count:
        part = side.recv(count - len(whole))
        if not part:
            return b""
        whole += part
    return whole


def _packet(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload
