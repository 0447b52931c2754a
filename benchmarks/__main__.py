"""`python -m benchmarks`: every kind of load in turn, several rounds, on one private MariaDB.

Asserts nothing about time. Ends with an error if a payment was lost, doubled or misbooked.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pymysql
from rich.console import Console

from app.domain.callbacks.operations import EVIDENCE
from app.factory import create_app
from benchmarks import bare
from benchmarks.load import Sent, at_once, send, watch_balances
from benchmarks.report import write_report
from benchmarks.servers import (
    ROOT,
    BenchmarkFailed,
    Hordak,
    cpu_seconds,
    private_mariadb,
    run,
    web_workers,
)
from benchmarks.town import Town, http, make_environment
from config.settings import Settings
from sandbox.credentials import issue_credentials

PEOPLE, WATCHED = 5_000, 50
MOST_PER_SECOND = {1: 1_000, 8: 2_500, 32: 2_500}
"""Notices made ready for one second of load, by clients; those not sent serve the next."""
ACCEPTED_BY = {"wechat": b"SUCCESS", "alipay": b"success"}


class Bench:
    """One run: the servers, the town, and what was measured by name, a figure a round."""

    def __init__(self, stack: ExitStack, folder: Path, *, seconds: float) -> None:
        self.seconds = seconds
        self.figures: dict[str, list[float]] = defaultdict(list)
        self.latencies: dict[str, list[float]] = defaultdict(list)
        self.credited = 0
        db_port, self.db_pid = stack.enter_context(private_mariadb(folder))
        with pymysql.connect(host="127.0.0.1", port=db_port, user="root") as server:
            server.cursor().execute("CREATE DATABASE lianjiao CHARACTER SET utf8mb4")
        self.database = {
            **{"host": "127.0.0.1", "port": db_port},
            **{"user": "root", "database": "lianjiao"},
        }
        issued = issue_credentials(folder / "sandbox")
        settings = make_environment(f"mysql+pymysql://root@127.0.0.1:{db_port}/lianjiao", issued)
        os.environ.update(settings)
        run("-m", "flask", "--app", "wsgi", "db", "upgrade")
        run("-m", "flask", "--app", "wsgi", "policy", "load")
        ports = create_app(Settings(log_level="ERROR")).extensions["lianjiao"]
        self.town = Town(ports, issued, folder / "sandbox", people=PEOPLE, watched=WATCHED)
        self.hordak = stack.enter_context(Hordak(db_port))
        self.web_port, self.web_pid = stack.enter_context(web_workers(folder))

    def warm_up(self) -> None:
        """Let every thread open its connection and see its statements once."""
        self.notices("wechat", 32)
        self.figures.clear()
        self.latencies.clear()

    def round(self) -> None:
        """Put every load on the servers once."""
        for clients in (1, 8, 32):
            self.notices("wechat", clients)
            if clients < 32:
                self.bare(clients)
            self.notices("alipay", clients)
        self.figures["hordak_1"].append(self.hordak.post(self.seconds))
        self.visible_balances()
        nothing = http("GET", "/healthz")
        self._measure("no_operation", self._sender(itertools.repeat(nothing), b"200 OK", 8))
        tokens = self.town.tokens(200)
        for name, path in (("balance", "account"), ("statement", "account/entries")):
            asked = [
                http("GET", f"/api/v1/{path}", b"", f"Authorization: Bearer {token}")
                for token in tokens
            ]
            self._measure(name, self._sender(itertools.cycle(asked), b"200 OK", 8))
        for channel in ACCEPTED_BY:
            self.verification(channel)

    def notices(self, channel: str, clients: int) -> None:
        """Signed notices over HTTP, each of an order of its own."""
        ready = self.town.notices(channel, int(MOST_PER_SECOND[clients] * self.seconds))
        requests = iter([notice.request for notice in ready])
        (sent,) = self._measure(
            f"{channel}_{clients}", self._sender(requests, ACCEPTED_BY[channel], clients)
        )
        self.town.put_back(ready[sent.taken :])
        self.credited += sent.accepted

    def bare(self, clients: int) -> None:
        """The same deposits by the driver alone."""
        ready = self.town.notices("wechat", int(MOST_PER_SECOND[clients] * self.seconds))
        shares = [ready[n::clients] for n in range(clients)]
        task = partial(bare.record, self.database, day=self.town.day, seconds=self.seconds)
        done = self._measure(f"bare_{clients}", *(partial(task, share) for share in shares))
        for sent, share in zip(done, shares, strict=True):
            self.town.put_back(share[sent.taken :])
            self.credited += sent.accepted

    def visible_balances(self) -> None:
        """From sending a notice to reading the new balance, while seven others send notices too."""
        accounts = itertools.cycle(self.town.watched)
        watched = self.town.fresh_notices("wechat", int(200 * self.seconds), accounts)
        ready = self.town.notices("wechat", int(MOST_PER_SECOND[8] * self.seconds))
        requests = iter([notice.request for notice in ready])
        others, watcher = at_once(
            [
                self._sender(requests, ACCEPTED_BY["wechat"], 7),
                partial(
                    watch_balances,
                    *(self.web_port, watched),
                    database=self.database,
                    seconds=self.seconds,
                ),
            ]
        )
        self.town.put_back(ready[others.taken :])
        self.credited += others.accepted + watcher.accepted
        self.latencies["visible"] += watcher.latencies

    def verification(self, channel: str, count: int = 1_000) -> None:
        """What reading, verifying and sealing a notice costs, without HTTP and database."""
        adapter = self.town.ports.channels.calling_back[channel]
        ready = self.town.notices(channel, count)
        begun = time.process_time()
        for notice in ready[:count]:
            adapter.read_callback(notice.raw)
            self.town.ports.vault.seal(notice.body, context=EVIDENCE)
        self.figures[f"{channel}_verification_cpu"].append((time.process_time() - begun) / count)
        self.town.put_back(ready)

    def _sender(
        self, requests: Iterator[bytes], accepted_by: bytes, clients: int
    ) -> Callable[[], Sent]:
        return partial(
            send,
            *(self.web_port, requests),
            accepted_by=accepted_by,
            clients=clients,
            seconds=self.seconds,
        )

    def _measure(self, name: str, *tasks: Callable[[], Sent]) -> list[Sent]:
        web_cpu, db_cpu = cpu_seconds(self.web_pid), cpu_seconds(self.db_pid)
        done = at_once(tasks)
        used = {
            "web": cpu_seconds(self.web_pid) - web_cpu,
            "database": cpu_seconds(self.db_pid) - db_cpu,
            "client": sum(sent.cpu_seconds for sent in done),
        }
        count = sum(sent.accepted for sent in done)
        if count != sum(sent.taken for sent in done):
            raise BenchmarkFailed(f"{name}: only {count} were accepted")
        self.figures[name].append(count / max(sent.seconds for sent in done))
        for who, seconds in used.items():
            self.figures[f"{name}_{who}_cpu"].append(seconds / count)
        self.latencies[name] += [latency for sent in done for latency in sent.latencies]
        return done


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="压测")
    parser.add_argument("--seconds", type=float, default=6, help="每项每轮的时长（秒）")
    parser.add_argument("--rounds", type=int, default=3, help="轮数，取中位数")
    options = parser.parse_args()
    console = Console()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lianjiao-bench-")))
        console.print("准备数据库、账户、订单和已签名的通知……")
        bench = Bench(stack, folder, seconds=options.seconds)
        bench.warm_up()
        for number in range(options.rounds):
            console.print(f"第 {number + 1} 轮，共 {options.rounds} 轮……")
            bench.round()
        losses = bench.town.find_losses(bench.credited)
    write_report(bench.figures, bench.latencies, console, ROOT / "benchmarks" / "out")
    if losses:
        raise BenchmarkFailed("\n".join(losses[:20]))
    console.print(f"账务核验通过：{bench.credited} 笔缴存，每笔恰好入账一次。")


if __name__ == "__main__":
    main()
