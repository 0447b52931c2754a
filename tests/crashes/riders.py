"""Riders with phones: they repeat a request that was not answered, under the same key."""

from __future__ import annotations

import itertools
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.crashes.house import PATIENCE_SECONDS, House
from tests.domain.people import eighteen

OPENING_SUBSIDY_FEN = 20_000
"""What every first deposit brings (200.00 yuan without children)."""

_SHAPE = {"code", "message", "request_id", "detail"}
_CHINESE = re.compile(r"[一-鿿]")
_serial = itertools.count()


@dataclass
class Answers:
    """What the API answered, and that every refusal had the one shape."""

    statuses: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, answer: requests.Response) -> None:
        with self._lock:
            self.statuses.append(answer.status_code)
        if answer.status_code >= 400:
            check_refusal(answer)


def check_refusal(answer: requests.Response) -> dict[str, Any]:
    """Check that a refusal has the one shape, a Chinese message and nothing of our insides."""
    body = answer.json()
    assert set(body) == _SHAPE, body
    assert _CHINESE.search(body["message"]), body
    for inside in ("Traceback", "pymysql", "sqlalchemy", "SELECT", "INSERT"):
        assert inside.lower() not in answer.text.lower(), answer.text
    return dict(body)


@dataclass
class Rider:
    """One rider in the mini-program of one platform."""

    house: House
    platform: str
    answers: Answers
    payer: str = ""
    token: str = ""
    paid: list[tuple[str, int]] = field(default_factory=list)
    _web: requests.Session = field(default_factory=requests.Session)

    def enrol(self) -> None:
        """Get a wallet, log in, open an account."""
        gateway = self.house.gateways[self.platform]
        self.payer = gateway.control("payers", balance_fen=100_000_000)["payer"]
        code = gateway.control("login_codes", payer=self.payer)["code"]
        session = self.insist("POST", "session", {"platform": self.platform, "code": code})
        self.token = session["token"]
        number = next(_serial)
        person = {
            "document_kind": "resident_id",
            "document_no": eighteen(
                "320722", f"19{70 + number // 900:02d}0506", f"{number % 900 + 1:03d}"
            ),
            "real_name": "测试用户",
            "phone": "13800000000",
            "employment_form": "new_form",
        }
        self.insist("POST", "enrolment", person)

    def ask(
        self, method: str, path: str, content: object = None, *, key: str = ""
    ) -> requests.Response:
        """Ask once."""
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        answer = self._web.request(
            method, f"{self.house.url}/api/v1/{path}", json=content, headers=headers, timeout=60
        )
        self.answers.note(answer)
        return answer

    def insist(
        self,
        method: str,
        path: str,
        content: object = None,
        *,
        enough: Callable[[dict[str, Any]], bool] = lambda _body: True,
    ) -> dict[str, Any]:
        """Ask until there is an answer that is enough, always under the same key."""
        key = secrets.token_hex(16)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = self.ask(method, path, content, key=key)
            except requests.RequestException:
                answer = None
            if answer is not None and answer.ok and enough(answer.json()):
                return dict(answer.json())
            assert answer is None or answer.ok or answer.status_code >= 500, answer.text
            assert time.monotonic() < deadline, f"no answer to {method} {path}"
            time.sleep(0.1)

    def order(self, amount_fen: int) -> dict[str, Any]:
        """Place an order and return it with what the wallet needs."""
        content = {"channel": self.platform, "amount_fen": amount_fen}
        # Without it the channel's answer was lost on the way; the same request asks it again.
        return self.insist("POST", "deposits", content, enough=lambda order: bool(order["payment"]))

    def pay(self, order: dict[str, Any]) -> str:
        """Confirm in the wallet and return the order's number."""
        self.house.gateways[self.platform].control("pay", payer=self.payer, phone=order["payment"])
        self.paid.append((order["order_no"], order["amount_fen"]))
        return str(order["order_no"])

    def deposit(self, amount_fen: int) -> str:
        return self.pay(self.order(amount_fen))

    def balance_fen(self) -> int:
        return int(self.insist("GET", "account")["balance_fen"])

    def due_fen(self) -> int:
        """Return what the balance must be: what was paid, and the opening subsidy with it."""
        return sum(fen for _, fen in self.paid) + (OPENING_SUBSIDY_FEN if self.paid else 0)


def enrol_riders(house: House, platforms: Sequence[str]) -> list[Rider]:
    """Return riders with accounts, one for each platform named."""
    answers = Answers()
    riders = [Rider(house, platform, answers) for platform in platforms]
    with ThreadPoolExecutor(max_workers=8) as threads:
        list(threads.map(Rider.enrol, riders))
    return riders
