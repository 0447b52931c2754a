"""A tiny real HTTP server for answers that no decent gateway would give."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Wire:
    """Gives the queued answers in order, the last one again and again; keeps every request."""

    url: str = ""
    answers: deque[Answer] = field(default_factory=deque)
    seen: list[Seen] = field(default_factory=list)

    def will(self, *answers: Answer) -> None:
        self.answers = deque(answers)


def plain(
    body: bytes | str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """Answer with this body and no more."""
    content = body.encode() if isinstance(body, str) else body

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def silent(seconds: float) -> Answer:
    """Take the request and say nothing for a while."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)

    return answer


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Take the request and close the connection."""


def dripping(body: bytes, *, pause: float) -> Answer:
    """Send the body byte by byte, never long enough apart for a socket's timeout."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for number in range(len(body)):
            try:
                handler.wfile.write(body[number : number + 1])
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(pause)

    return answer


def endless(block: bytes, sent: list[int], *, blocks: int) -> Answer:
    """Send `blocks` blocks as fast as they are taken; `sent` grows by the bytes of each."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(blocks):
            try:
                handler.wfile.write(block)
            except OSError:
                return
            sent.append(len(block))

    return answer


def cut_short(body: bytes) -> Answer:
    """Promise more than is sent."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body) + 100))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@contextmanager
def open_wire() -> Iterator[Wire]:
    """Serve on a free port of the loopback."""
    wire = Wire()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            wire.seen.append(Seen(self.command, self.path, dict(self.headers), body))
            answer = wire.answers[0] if len(wire.answers) == 1 else wire.answers.popleft()
            answer(self)

        do_GET = do_POST  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    wire.url = f"http://127.0.0.1:{server.server_port}/"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
