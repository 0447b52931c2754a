"""The outside world: clients that send one request after the other, as light as Python allows.

One process holds all connections of a load; requests are bytes made beforehand, and answers are
hardly looked at. Its CPU time is returned, because it is taken from the same cores.
"""

from __future__ import annotations

import multiprocessing
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pymysql

from benchmarks.servers import BenchmarkFailed
from benchmarks.town import Notice

POLL_SECONDS = 0.0005


@dataclass
class Sent:
    """What became of one stretch of load; latencies in seconds."""

    taken: int = 0
    accepted: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)


class Client:
    """One connection, kept alive."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self._answer = b""

    def send(self, request: bytes) -> None:
        """Send, and wait for nothing."""
        self._answer = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Return the answer, or None while there is more to come."""
        piece = self.socket.recv(65536)
        if not piece:
            raise BenchmarkFailed("the server hung up")
        self._answer += piece
        head, blank, body = self._answer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return self._answer if blank and len(body) >= int(length) else None


def send(
    port: int, requests: Iterator[bytes], *, accepted_by: bytes, clients: int, seconds: float
) -> Sent:
    """Send requests from so many clients at once, each waiting for its answer.

    Args:
        accepted_by: what an answer must contain to count.
    """
    sent, selector = Sent(), selectors.DefaultSelector()
    begun, cpu_begun = time.perf_counter(), time.process_time()

    def send_next(client: Client) -> None:
        request = next(requests, None) if time.perf_counter() < begun + seconds else None
        if request is None:
            selector.unregister(client.socket)
            client.socket.close()
            return
        sent.taken += 1
        client.send(request)

    for client in [Client(port) for _ in range(clients)]:
        selector.register(client.socket, selectors.EVENT_READ, client)
        send_next(client)
    while selector.get_map():
        for key, _ in selector.select():
            answer = key.data.receive()
            if answer is not None:
                sent.latencies.append(time.perf_counter() - key.data.sent_at)
                sent.accepted += accepted_by in answer
                send_next(key.data)
    sent.seconds = time.perf_counter() - begun
    sent.cpu_seconds = time.process_time() - cpu_begun
    return sent


def watch_balances(
    port: int, notices: list[Notice], *, database: Mapping[str, Any], seconds: float
) -> Sent:
    """Send notices one by one, each time reading the balance until it has moved.

    Nobody else may pay into these accounts meanwhile.
    """
    sent, client, begun = Sent(), Client(port), time.perf_counter()
    with pymysql.connect(**database, autocommit=True) as connection:
        cursor = connection.cursor()

        def balance_fen(account_id: int) -> int:
            cursor.execute("SELECT balance_fen FROM account WHERE id = %s", (account_id,))
            return int(cursor.fetchone()[0])  # type: ignore[index]

        for notice in notices:
            if time.perf_counter() > begun + seconds:
                break
            expected = balance_fen(notice.account_id) + notice.amount_fen
            sent.taken += 1
            client.send(notice.request)
            while balance_fen(notice.account_id) != expected:
                time.sleep(POLL_SECONDS)
            sent.latencies.append(time.perf_counter() - client.sent_at)
            while client.receive() is None:
                pass
            sent.accepted += 1
    sent.seconds = time.perf_counter() - begun
    return sent


def at_once(tasks: Sequence[Callable[[], Sent]]) -> list[Sent]:
    """Run each task in a process of its own, all from the same moment."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(tasks))

    def run(task: Callable[[], Sent], answer: Any) -> None:
        barrier.wait()
        answer.send(task())

    running = []
    for task in tasks:
        ours, theirs = context.Pipe(duplex=False)
        running.append((context.Process(target=run, args=(task, theirs), daemon=True), ours))
        running[-1][0].start()
        theirs.close()
    try:
        return [answer.recv() for _, answer in running]
    except EOFError:
        raise BenchmarkFailed("a load process died") from None
    finally:
        for process, _ in running:
            process.join()
