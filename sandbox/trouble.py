"""故障开关 Switches for trouble, and the playing of those that any HTTP service can have.

What a trouble does to signatures, codes and refunds is each gateway's own business.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock

from flask import Response, request

NOTICE = "notice"
"""The place `at` which troubles meet notices on their way out."""

NOTICE_KINDS = frozenset({"drop", "delay", "duplicate", "hold"})
TRANSPORT_KINDS = frozenset(
    {"timeout_before", "timeout_after", "http_500", "html", "empty", "truncated", "redirect"}
)
ANSWER_KINDS = frozenset({"bad_sign", "unsigned", "error", "error_after", "refund_pending"})

_SILENCE_SECONDS = 15.0
_HTML = "<html><head><title>502 Bad Gateway</title></head><body>系统繁忙</body></html>"

_OPTIONS: Mapping[str, type | tuple[type, ...]] = {
    "seconds": (int, float),
    "copies": int,
    "code": str,
    "message": str,
    "location": str,
    "done": bool,
    "lines": int,
    "resigned": bool,
}


@dataclass(frozen=True)
class Trouble:
    """One trouble, taken: where, which, and how it was asked for."""

    at: str
    kind: str
    options: Mapping[str, object] = field(default_factory=dict)

    def number(self, name: str, default: float) -> float:
        value = self.options.get(name, default)
        return value if isinstance(value, (int, float)) else default

    def text(self, name: str, default: str) -> str:
        return str(self.options.get(name, default))

    def flag(self, name: str, *, default: bool) -> bool:
        return bool(self.options.get(name, default))


@dataclass
class _Switch:
    trouble: Trouble
    times: int


class Troubles:
    """The switches that are on, consumed in the order they were set.

    Args:
        calls: the protocol calls of the gateway; a switch anywhere else is refused, because it
            would silently never go off. Empty: any place will do.
        places: further places of this gateway, and the kinds of trouble that can meet them.
    """

    def __init__(
        self, calls: Collection[str] = (), places: Mapping[str, Collection[str]] | None = None
    ) -> None:
        self._calls = frozenset(calls)
        self._places = {NOTICE: NOTICE_KINDS, **(places or {})}
        self._lock = Lock()
        self._switches: list[_Switch] = []

    def add(self, at: str, kind: str, times: int = 1, **options: object) -> None:
        """Set a switch that goes off `times` times; 0 means until it is cleared.

        Raises:
            ValueError: no such kind of trouble at this place, or options that mean nothing.
        """
        kinds = self._places.get(at, TRANSPORT_KINDS | ANSWER_KINDS)
        if at not in self._places and self._calls and at not in self._calls:
            raise ValueError(f"没有这个接口：{at}")
        if kind not in kinds:
            raise ValueError(f"{at} 没有这种故障：{kind}")
        if times < 0:
            raise ValueError("times 不能为负")
        for name, value in options.items():
            if name not in _OPTIONS or not isinstance(value, _OPTIONS[name]):
                raise ValueError(f"故障选项不对：{name}")
        if kind in {"error", "error_after", "refuse"} and "code" not in options:
            raise ValueError(f"{kind} 需要 code")
        with self._lock:
            self._switches.append(_Switch(Trouble(at, kind, dict(options)), times))

    def take(self, at: str) -> Trouble | None:
        """Return the trouble due at this place, used up by one, or None."""
        with self._lock:
            for switch in self._switches:
                if switch.trouble.at != at:
                    continue
                if switch.times == 1:
                    self._switches.remove(switch)
                elif switch.times > 1:
                    switch.times -= 1
                return switch.trouble
        return None

    def list(self) -> list[dict[str, object]]:
        with self._lock:
            return [
                {
                    "at": switch.trouble.at,
                    "kind": switch.trouble.kind,
                    "times": switch.times,
                    **switch.trouble.options,
                }
                for switch in self._switches
            ]

    def clear(self) -> None:
        with self._lock:
            self._switches.clear()


def play_transport_trouble(trouble: Trouble | None, answer: Callable[[], Response]) -> Response:
    """Return what the client sees of `answer` through this trouble, inside a Flask view.

    `answer` does the work and builds the answer. By default it is not called for
    `timeout_before`, `http_500`, `html` and `redirect`, and is called for `timeout_after`,
    `empty` and `truncated`; the option `done` says otherwise. Other kinds of trouble, and none,
    leave the answer as it is.
    """
    if trouble is None or trouble.kind not in TRANSPORT_KINDS:
        return answer()
    done_by_default = trouble.kind in {"timeout_after", "empty", "truncated"}
    done = trouble.kind == "truncated" or trouble.flag("done", default=done_by_default)
    whole = answer() if done else Response()
    match trouble.kind:
        case "timeout_before" | "timeout_after":
            return _stay_silent(trouble.number("seconds", _SILENCE_SECONDS))
        case "http_500":
            return Response("Internal Server Error", status=500, content_type="text/plain")
        case "html":
            return Response(_HTML, content_type="text/html; charset=utf-8")
        case "redirect":
            location = trouble.text("location", "https://redirected.invalid/")
            return Response(status=302, headers={"Location": location})
        case "empty":
            return Response(b"", content_type=whole.content_type)
    # Half the body under an honest Content-Length: nothing but the content shows that it is cut.
    body = whole.get_data()
    return Response(body[: len(body) // 2], content_type=whole.content_type)


def _stay_silent(seconds: float) -> Response:
    """Keep the client waiting, then hang up without a word."""
    time.sleep(seconds)
    connection = request.environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket):
        with suppress(OSError):  # The client may have been the first to hang up.
            connection.shutdown(socket.SHUT_RDWR)
    return Response(status=504)
