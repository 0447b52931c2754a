"""The notice queue: a small gateway's worth of books, a real receiver, the virtual clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.books import Books, open_books
from sandbox.clock import Clock
from sandbox.deliveries import Deliveries
from sandbox.trouble import Troubles
from tests.sandbox.gateways import START, Inbox

RETRY_SECONDS = (15, 30)


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def troubles() -> Troubles:
    return Troubles()


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    books = open_books(tmp_path / "books.sqlite", "")
    yield books
    books.close()


@pytest.fixture
def deliveries(books: Books, clock: Clock, troubles: Troubles) -> Iterator[Deliveries]:
    deliveries = Deliveries(books, clock, troubles, RETRY_SECONDS, accept_success)
    yield deliveries
    deliveries.stop()


def accept_success(status: int, body: bytes) -> bool:
    return status == 200 and body == b"success"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def settle() -> None:
    """Long enough for a notice that should not come."""
    time.sleep(0.3)


def send(deliveries: Deliveries, inbox: Inbox, number: str = "D1") -> None:
    deliveries.send("payment", number, inbox.url, f"no={number}".encode(), "text/plain")


def outcomes(deliveries: Deliveries) -> list[tuple[object, object]]:
    return [(entry["attempt"], entry["accepted"]) for entry in deliveries.log()]


def test_an_accepted_notice_is_sent_once(deliveries: Deliveries, clock: Clock, inbox: Inbox):
    inbox.reply = "success"
    send(deliveries, inbox)
    until(lambda: len(deliveries.log()) == 1)
    clock.advance(86400)
    settle()
    [entry] = deliveries.log()
    assert inbox.bodies == [b"no=D1"]
    assert inbox.content_types == ["text/plain"]
    assert entry["out_trade_no"] == "D1"
    assert entry["url"] == inbox.url
    assert (entry["status"], entry["reply"], entry["accepted"]) == (200, "success", True)
    assert str(entry["at"]).startswith("2026-11-24T10:00:0")


@pytest.mark.parametrize(("status", "reply"), [(500, "success"), (302, "success"), (200, "no")])
def test_a_notice_not_accepted_is_repeated_by_the_table_on_the_virtual_clock(
    deliveries: Deliveries, clock: Clock, inbox: Inbox, status: int, reply: str
):
    inbox.status, inbox.reply = status, reply
    send(deliveries, inbox)
    until(lambda: len(deliveries.log()) == 1)
    clock.advance(12)
    settle()
    assert len(deliveries.log()) == 1
    clock.advance(4)
    until(lambda: len(deliveries.log()) == 2)
    clock.advance(31)
    until(lambda: len(deliveries.log()) == 3)
    clock.advance(86400)
    settle()
    assert outcomes(deliveries) == [(1, False), (2, False), (3, False)]
    assert inbox.bodies == [b"no=D1"] * 3


def test_nobody_there_is_a_failed_try(deliveries: Deliveries):
    deliveries.send("payment", "D1", "http://127.0.0.1:9/", b"x", "text/plain")
    until(lambda: len(deliveries.log()) == 1)
    [entry] = deliveries.log()
    assert (entry["status"], entry["reply"]) == (None, "ConnectionError")


def test_a_dropped_try_is_lost_and_the_next_one_comes(
    deliveries: Deliveries, clock: Clock, troubles: Troubles, inbox: Inbox
):
    inbox.reply = "success"
    troubles.add("notice", "drop", 1)
    send(deliveries, inbox)
    until(lambda: len(deliveries.log()) == 1)
    assert inbox.bodies == []
    clock.advance(16)
    until(lambda: len(deliveries.log()) == 2)
    assert outcomes(deliveries) == [(1, False), (2, True)]


def test_a_delayed_notice_waits_on_the_virtual_clock(
    deliveries: Deliveries, clock: Clock, troubles: Troubles, inbox: Inbox
):
    inbox.reply = "success"
    troubles.add("notice", "delay", 0, seconds=3600)
    send(deliveries, inbox)
    settle()
    clock.advance(3590)
    settle()
    assert inbox.bodies == []
    clock.advance(20)
    until(lambda: outcomes(deliveries) == [(1, True)])


def test_a_duplicated_notice_arrives_more_than_once(
    deliveries: Deliveries, troubles: Troubles, inbox: Inbox
):
    inbox.reply = "success"
    troubles.add("notice", "duplicate", 1, copies=5)
    send(deliveries, inbox)
    until(lambda: len(deliveries.log()) == 5)
    assert inbox.bodies == [b"no=D1"] * 5


@pytest.mark.parametrize(("order", "expected"), [("fifo", "123"), ("lifo", "321")])
def test_held_notices_are_released_in_order(
    deliveries: Deliveries, troubles: Troubles, inbox: Inbox, order: str, expected: str
):
    inbox.reply = "success"
    troubles.add("notice", "hold", 0)
    for number in "123":
        send(deliveries, inbox, number)
    settle()
    assert inbox.bodies == []
    assert deliveries.release(order) == 3
    assert [body.decode()[-1] for body in inbox.bodies] == list(expected)
    assert deliveries.release(order) == 0
    with pytest.raises(ValueError, match="order"):
        deliveries.release("random")


def test_a_resent_notice_is_the_same_bytes(deliveries: Deliveries, inbox: Inbox):
    inbox.reply = "success"
    send(deliveries, inbox)
    until(lambda: len(deliveries.log()) == 1)
    assert deliveries.resend("D1", copies=3) == [(200, "success")] * 3
    assert inbox.bodies == [b"no=D1"] * 4
    with pytest.raises(LookupError):
        deliveries.resend("D2")


def test_what_was_due_is_sent_by_the_next_process(
    books: Books, clock: Clock, troubles: Troubles, inbox: Inbox
):
    first = Deliveries(books, clock, troubles, RETRY_SECONDS, accept_success)
    send(first, inbox)
    until(lambda: outcomes(first) == [(1, False)])
    first.stop()
    inbox.reply = "success"
    clock.advance(60)
    second = Deliveries(books, clock, troubles, RETRY_SECONDS, accept_success)
    until(lambda: outcomes(second) == [(1, False), (2, True)])
    second.stop()


def test_a_notice_of_a_transaction_that_fails_is_not_sent(
    deliveries: Deliveries, books: Books, inbox: Inbox
):
    def pay_and_fail() -> None:
        with books.transaction():
            send(deliveries, inbox)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        pay_and_fail()
    settle()
    assert inbox.bodies == []


def test_books_are_written_by_many_threads_without_loss(tmp_path: Path):
    books = open_books(tmp_path / "b.sqlite", "CREATE TABLE IF NOT EXISTS n (v INTEGER NOT NULL)")
    with books.transaction() as connection:
        connection.execute("INSERT INTO n VALUES (0)")

    def count() -> None:
        for _ in range(50):
            with books.transaction() as connection:
                value = connection.execute("SELECT v FROM n").fetchone()["v"]
                connection.execute("UPDATE n SET v = ?", (value + 1,))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with books.transaction() as connection:
        assert connection.execute("SELECT v FROM n").fetchone()["v"] == 200
    books.close()


def test_the_clock_runs_from_where_it_is_set():
    clock = Clock(START)
    assert 0 <= (clock.now() - START).total_seconds() < 5
    assert clock.now().tzinfo is UTC
    clock.advance(60)
    assert 60 <= (clock.now() - START).total_seconds() < 65
    with pytest.raises(ValueError, match="时区"):
        clock.set(datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("at", "kind", "options"),
    [
        ("pay/other", "empty", {}),
        ("notice", "empty", {}),
        ("pay/orderquery", "drop", {}),
        ("pay/orderquery", "error", {}),
        ("pay/orderquery", "empty", {"second": 1}),
        ("pay/orderquery", "empty", {"times": -1}),
    ],
)
def test_a_switch_that_would_never_go_off_is_refused(at: str, kind: str, options: dict):
    troubles = Troubles({"pay/orderquery"})
    with pytest.raises(ValueError):
        troubles.add(at, kind, **options)


def test_switches_go_off_in_order_and_so_often():
    troubles = Troubles()
    troubles.add("a", "empty", 2)
    troubles.add("b", "html", 1)
    troubles.add("a", "http_500", 0)
    taken = [troubles.take("a") for _ in range(5)]
    assert [trouble and trouble.kind for trouble in taken] == ["empty"] * 2 + ["http_500"] * 3
    assert [switch["at"] for switch in troubles.list()] == ["b", "a"]
    troubles.clear()
    assert troubles.take("a") is None
