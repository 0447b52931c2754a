"""A channel with its books in a process of its own, which outlives whoever debits there.

`python -m tests.crashes.till <port>` serves it; `Till` is how the product reaches it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from app.domain.ports.debits import DebitRequest
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason

ANSWERS_AFTER_SECONDS = 0.01


@dataclass
class Till:
    """The port, over HTTP. `step` is told of each message before it leaves and after its answer."""

    port: int
    step: Callable[[str], None] = lambda _name: None

    def submit_debit(self, request: DebitRequest) -> Outcome:
        content = {
            "order_no": request.order_no,
            "amount_fen": request.amount_fen,
            "reference": request.mandate_reference,
        }
        return self._ask("submit", content)

    def query_debit(self, order_no: str) -> Outcome:
        return self._ask("query", {"order_no": order_no})

    def books(self) -> list[dict[str, Any]]:
        """Return every debit that was taken, in order."""
        return list(requests.get(f"{self._url}/books", timeout=30).json())

    def asked(self) -> Counter[str]:
        """Return how often each debit was handed in."""
        return Counter(requests.get(f"{self._url}/asked", timeout=30).json())

    def is_open(self) -> bool:
        try:
            return requests.get(f"{self._url}/books", timeout=5).ok
        except requests.RequestException:
            return False

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _ask(self, call: str, content: dict[str, object]) -> Outcome:
        number = str(content["order_no"])
        self.step(f"before {call}")
        try:
            answer = requests.post(f"{self._url}/{call}", json=content, timeout=30).json()
        except requests.RequestException:
            return Outcome(kind=OutcomeKind.UNKNOWN, reason=Reason.NO_ANSWER, number=number)
        self.step(f"after {call}")
        if answer is None:
            return Outcome(kind=OutcomeKind.FAILED, reason=Reason.NOT_FOUND, number=number)
        return Outcome(
            kind=OutcomeKind.SUCCEEDED,
            reason=Reason.OK,
            number=number,
            amount_fen=answer["amount_fen"],
            reference=answer["trade_no"],
            occurred_at=datetime.now(UTC),
        )


class Books:
    """Takes money once a number."""

    def __init__(self) -> None:
        self.debits: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def submit(self, content: dict[str, Any]) -> dict[str, Any]:
        time.sleep(ANSWERS_AFTER_SECONDS)
        with self._lock:
            number = content["order_no"]
            self.asked[number] += 1
            taken = {**content, "trade_no": f"T{len(self.debits) + 1:08d}"}
            return self.debits.setdefault(number, taken)


def serve(port: int) -> None:
    """Serve until killed."""
    books = Books()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.path == "/asked"
            self._answer(dict(books.asked) if asked else list(books.debits.values()))

        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/submit":
                self._answer(books.submit(content))
            else:
                self._answer(books.debits.get(content["order_no"]))

        def _answer(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
