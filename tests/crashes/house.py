"""The product as it runs in production, every part a process of its own, between two gateways."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import URL, Engine, text

from app.domain.ledger.models import Code
from sandbox.credentials import issue_credentials
from tests.crashes.mariadb import PATIENCE_SECONDS, free_port
from tests.crashes.processes import ROOT, Group, Process

BEGINS_AT = datetime.fromisoformat("2026-11-24T10:00:00+08:00")
"""Business time at the start, in any year: the figures of the policy have dates."""

PLATFORMS = ("wechat", "alipay")

SEED = int(os.environ.get("LIANJIAO_CRASH_SEED", "20261124"))
"""Decides what is killed, and when."""


def until(happened: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something is so; fails the test after a very long time."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)


@dataclass
class Gateway:
    """A gateway's control API."""

    platform: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_open(self) -> bool:
        try:
            return requests.get(f"{self.url}/_control/health", timeout=5).ok
        except requests.RequestException:
            return False

    def control(self, call: str, **content: object) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/_control/{call}", json=content, timeout=120).json()
        assert answer["ok"], answer
        return dict(answer)

    def look(self, what: str) -> dict[str, Any]:
        return dict(requests.get(f"{self.url}/_control/{what}", timeout=60).json())

    def lose_notices(self) -> None:
        """Let no notice arrive that is not sent by `deliver`."""
        self.control("troubles", at="notice", kind="drop", times=0)

    def deliver(self, order_no: str, *, copies: int = 1) -> list[tuple[int | None, str]]:
        """Send the notice of an order now; return status (None: no answer) and body."""
        replies = self.control("notices/resend", out_trade_no=order_no, copies=copies)["replies"]
        return [(reply["status"], reply["reply"]) for reply in replies]

    def paid(self) -> list[dict[str, Any]]:
        return [trade for trade in self.look("books")["trades"] if trade["paid_at"]]

    def waiting(self) -> set[str]:
        """Return the numbers of paid orders whose notice nobody has accepted yet."""
        accepted = {
            t["out_trade_no"] for t in self.look("deliveries")["deliveries"] if t["accepted"]
        }
        return {trade["out_trade_no"] for trade in self.paid()} - accepted


def accepts(reply: tuple[int | None, str]) -> bool:
    """Tell whether the channel reads «recorded» out of this reply."""
    status, body = reply
    return status == 200 and ("<![CDATA[SUCCESS]]>" in body or body == "success")


def is_honest_refusal(reply: tuple[int | None, str]) -> bool:
    """Tell whether the channel reads «send it again», in its own words or by the status."""
    status, body = reply
    if status == 200:
        return "<![CDATA[FAIL]]>" in body or body == "fail"
    return status is None or status >= 500


@dataclass
class House:
    """What runs; `engine` looks at its books from outside."""

    group: Group
    folder: Path
    port: int
    environment: dict[str, str]
    gateways: dict[str, Gateway]
    engine: Engine
    web_options: tuple[str, ...] = ()
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def web(self) -> Process:
        return self.processes["web"]

    def start_web(self) -> None:
        """Start gunicorn as the image does."""
        command = [
            *(sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{self.port}"),
            *("--worker-tmp-dir", "/dev/shm", *self.web_options),
        ]
        counters = {"PROMETHEUS_MULTIPROC_DIR": str(self.folder)}
        self._start("web", command, self.environment | counters)

    def start_scheduler(self, name: str = "scheduler", *, ahead_seconds: int = 0) -> None:
        """Start a scheduler, on a clock that is ahead of the others' if asked for."""
        offset = int(self.environment["LIANJIAO_CLOCK_OFFSET_SECONDS"]) + ahead_seconds
        environment = self.environment | {"LIANJIAO_CLOCK_OFFSET_SECONDS": str(offset)}
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "scheduler"]
        self._start(name, command, environment)

    def keep_schedulers(self, *names: str, ahead_seconds: int = 0) -> None:
        """Start those of these schedulers that do not run."""
        for name in names:
            if name not in self.processes or not self.processes[name].is_alive():
                self.start_scheduler(name, ahead_seconds=ahead_seconds)

    def start_gateways(self, clock: datetime) -> None:
        for gateway in self.gateways.values():
            command = [
                *(sys.executable, "-m", "sandbox", gateway.platform, "--data", str(self.folder)),
                *("--port", str(gateway.port), "--clock", clock.isoformat()),
            ]
            self._start(gateway.platform, command, self.environment)

    def _start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        log = self.folder / f"{name}.log"
        self.processes[name] = self.group.start(command, environment, log)

    def log(self) -> str:
        """Return what its processes have written."""
        return "".join(path.read_text() for path in self.folder.glob("*.log"))

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def wait_until_ready(self) -> None:
        until(self.is_ready, f"{self.url}/readyz; see {self.folder}")

    def flask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=300
        )

    # What the books say

    def rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def recorded(self, platform: str) -> list[tuple[str, str, int]]:
        """Return every credited payment: our order, the channel's reference, fen; sorted."""
        entries = self.rows(
            "SELECT e.posting_key, l.amount_fen FROM journal_entry e"
            " JOIN journal_line l ON l.entry_id = e.id AND l.code = :clearing"
            " WHERE e.kind = 'deposit' AND l.channel = :platform",
            clearing=Code.CHANNEL_CLEARING.value,
            platform=platform,
        )
        # Read later than the entries, so that none of them lacks its order.
        references = dict(
            self.rows(
                "SELECT order_no, channel_reference FROM payment_order WHERE state = 'succeeded'"
            )
        )
        numbers = [(key.removeprefix("deposit:"), int(fen)) for key, fen in entries]
        return sorted((number, references[number], fen) for number, fen in numbers)

    def clearing_fen(self, platform: str) -> int:
        """Return what a channel owes us by our own books."""
        ((fen,),) = self.rows(
            "SELECT COALESCE(SUM(amount_fen), 0) FROM journal_line"
            " WHERE code = :clearing AND channel = :platform",
            clearing=Code.CHANNEL_CLEARING.value,
            platform=platform,
        )
        return int(fen)

    def open_orders(self) -> list[str]:
        """Return the orders whose end is not known."""
        query = (
            "SELECT order_no FROM payment_order"
            " WHERE state NOT IN ('succeeded', 'closed', 'failed', 'in_suspense')"
        )
        return [order_no for (order_no,) in self.rows(query)]

    def everything_is_recorded(self) -> bool:
        """Whether no paid order and no stored notice waits any more."""
        ((pending,),) = self.rows("SELECT COUNT(*) FROM channel_callback WHERE result = 'pending'")
        paid = [len(gateway.paid()) for gateway in self.gateways.values()]
        return not pending and paid == [len(self.recorded(name)) for name in self.gateways]

    def check_books(self) -> None:
        """Each payment in a gateway's books is recorded exactly once, to the fen; ours hold."""
        for platform, gateway in self.gateways.items():
            paid = gateway.paid()
            theirs = sorted((t["out_trade_no"], t["reference"], t["amount_fen"]) for t in paid)
            assert self.recorded(platform) == theirs
            kept_fen = sum(t["amount_fen"] - t["refunded_fen"] for t in paid)
            assert self.clearing_fen(platform) == kept_fen
        assert self.rows("SELECT kind, number FROM settlement_break") == []
        verdict = self.flask("ledger", "verify")
        assert verdict.returncode == 0, verdict.stderr


@contextmanager
def open_house(
    group: Group,
    folder: Path,
    *,
    database: URL,
    engine: Engine,
    web_options: tuple[str, ...] = (),
    **settings: str,
) -> Iterator[House]:
    """Start gateways and web, and wait until they are ready.

    Args:
        database: how the application reaches its migrated database.
        engine: another way to the same database, for looking at it.
        settings: more settings, by their names without LIANJIAO_ in small letters.
    """
    gateways = {platform: Gateway(platform, free_port()) for platform in PLATFORMS}
    port = free_port()
    environment = _environment(folder, port, gateways, database)
    environment |= {f"LIANJIAO_{name.upper()}": value for name, value in settings.items()}
    house = House(group, folder, port, environment, gateways, engine, web_options)
    house.start_gateways(BEGINS_AT)
    house.start_web()
    for gateway in gateways.values():
        until(gateway.is_open, f"{gateway.url}; see {folder}")
    house.wait_until_ready()
    try:
        yield house
    finally:
        for process in house.processes.values():
            process.kill()


def _environment(
    folder: Path, port: int, gateways: Mapping[str, Gateway], database: URL
) -> dict[str, str]:
    issued = issue_credentials(folder)
    foreign = ("LIANJIAO_", "FLASK_")
    offset_seconds = round((BEGINS_AT - datetime.now(UTC)).total_seconds())
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        **issued.wechat,
        **issued.alipay,
        "NO_PROXY": "127.0.0.1",
        "LIANJIAO_ENVIRONMENT": "test",
        "LIANJIAO_DATABASE_URL": database.render_as_string(hide_password=False),
        "LIANJIAO_PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
        "LIANJIAO_DATA_KEYS": f"k1:{base64.b64encode(bytes(range(32))).decode()}",
        "LIANJIAO_INDEX_KEY": base64.b64encode(b"i" * 32).decode(),
        "LIANJIAO_CLOCK_OFFSET_SECONDS": str(offset_seconds),
        "LIANJIAO_WECHAT_PAY_BASE_URL": f"{gateways['wechat'].url}/",
        "LIANJIAO_WECHAT_API_BASE_URL": f"{gateways['wechat'].url}/",
        "LIANJIAO_ALIPAY_GATEWAY_URL": f"{gateways['alipay'].url}/gateway.do",
    }
