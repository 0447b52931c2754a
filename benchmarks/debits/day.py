"""The loads: the product's day of debits, the bare one, and a small one, slice about slice.

What is compared stands next to each other in time, because others use the machine too.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymysql

from benchmarks.debits.town import settle_people
from benchmarks.debits.workers import Done, Worker, at_once, product_worker, raw_worker, url_of
from benchmarks.servers import BenchmarkFailed, cpu_seconds, private_mariadb, run
from benchmarks.town import make_environment
from sandbox.credentials import Credentials

EVERYTHING = 10**9
_LEFT_OVER = """
    SELECT (SELECT COUNT(*) FROM debit_instruction WHERE state = 'succeeded'),
           (SELECT COUNT(*) FROM payment_order WHERE mandate_id IS NOT NULL),
           (SELECT COUNT(*) FROM journal_entry WHERE posting_key LIKE 'deposit:A%')
"""


class DebitDays:
    """The server with its three databases, and what was measured by name, a figure a slice."""

    def __init__(self, stack: ExitStack, folder: Path, issued: Credentials, *, debits: int) -> None:
        self.debits = debits
        self.slices: dict[str, list[Done]] = defaultdict(list)
        port, self._db_pid = stack.enter_context(private_mariadb(folder))
        server = {"host": "127.0.0.1", "port": port, "user": "root"}
        self._databases = {name: {**server, "database": name} for name in ("ours", "bare", "small")}
        for name, database in self._databases.items():
            with pymysql.connect(**server) as connection:
                connection.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            os.environ.update(make_environment(url_of(database), issued))
            run("-m", "flask", "--app", "wsgi", "db", "upgrade")
            run("-m", "flask", "--app", "wsgi", "policy", "load")

    def one_process(self, slices: int) -> None:
        """Have one worker of each kind; beside every second slice a small day as long as that."""
        share = self.debits // slices
        for name in ("ours", "bare"):
            settle_people(self._databases[name], self.debits)
        with ExitStack() as stack:
            ours = [stack.enter_context(product_worker(self._databases["ours"]))]
            bare = [stack.enter_context(raw_worker(self._databases["bare"]))]
            small = [stack.enter_context(product_worker(self._databases["small"]))]
            self._measure("plan", ours, "plan")
            self._measure("bare_plan", bare, "plan")
            for number in range(slices):
                turns: list[tuple[Any, ...]] = [
                    ("submit", ours, "submit", share),
                    ("bare_submit", bare, "submit", share),
                ]
                if number % 2:
                    settle_people(self._databases["small"], share)
                    day = [("small_plan", small, "plan"), ("small_submit", small, "submit", share)]
                    # Whoever comes first meets what the settling has left the server to do.
                    turns = [*day, *turns[::-1]] if number % 4 == 1 else [*turns, *day]
                for turn in turns:
                    self._measure(*turn)
                if number % 2:
                    self._verify("small", small[0], share)
            self._measure("submit", ours, "submit", EVERYTHING)
            self._measure("bare_submit", bare, "submit", EVERYTHING)
        self._verify_all()

    def two_processes(self, slices: int) -> None:
        """Have two workers of each kind send; planning is one's work."""
        share = self.debits // slices // 2
        for name in ("ours", "bare"):
            settle_people(self._databases[name], self.debits)
        with ExitStack() as stack:
            ours = [stack.enter_context(product_worker(self._databases["ours"])) for _ in "12"]
            bare = [stack.enter_context(raw_worker(self._databases["bare"])) for _ in "12"]
            self._measure("plan_2", ours[:1], "plan")
            self._measure("bare_plan_2", bare[:1], "plan")
            for _ in range(slices):
                self._measure("submit_2", ours, "submit", share)
                self._measure("bare_submit_2", bare, "submit", share)
            self._measure("submit_2", ours, "submit", EVERYTHING)
            self._measure("bare_submit_2", bare, "submit", EVERYTHING)
        self._verify_all()

    def _measure(self, name: str, workers: Sequence[Worker], *call: object) -> None:
        before = cpu_seconds(self._db_pid)
        done = at_once(workers, *call)
        used = cpu_seconds(self._db_pid) - before
        self.slices[name].append(replace(done, database_cpu_seconds=used))

    def _verify_all(self) -> None:
        for name in ("ours", "bare"):
            with product_worker(self._databases[name]) as worker:
                self._verify(name, worker, self.debits)

    def _verify(self, name: str, worker: Worker, debits: int) -> None:
        """Make sure that every debit was taken exactly once, and that the books are right."""
        with pymysql.connect(**self._databases[name]) as connection:
            cursor = connection.cursor()
            cursor.execute(_LEFT_OVER)
            counted = cursor.fetchone()
        worker.send("find_offences")
        offences = worker.receive()
        if counted != (debits,) * 3 or offences:
            raise BenchmarkFailed("\n".join([f"{name}: {counted}, not {debits}", *offences[:20]]))
