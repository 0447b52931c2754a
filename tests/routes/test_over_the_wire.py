"""What only a real server shows: bodies without a length, and bodies that lie about it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.routes.callers import API, Caller, Doors, on_sqlite_only
from tests.simulated_channel import SimulatedChannel

pytestmark = on_sqlite_only

DEPOSIT = b'{"channel":"wechat","amount_fen":50000}'


@pytest.fixture
def person(doors: Doors) -> Caller:
    return doors.enrolled("a")


def send(
    origin: str, person: Caller, body: Iterator[bytes], *, path: str = f"{API}/deposits"
) -> tuple[int, dict]:
    """POST in chunks; http.client writes no Content-Length for an iterator."""
    connection = http.client.HTTPConnection(urlsplit(origin).netloc, timeout=20)
    headers = {
        "Authorization": f"Bearer {person.token}",
        "Idempotency-Key": "phone-1234",
        "Content-Type": "application/json",
        "Transfer-Encoding": "chunked",
    }
    try:
        connection.request("POST", path, body, headers, encode_chunked=True)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_small_body_in_chunks_is_read(origin: str, person: Caller) -> None:
    status, answer = send(origin, person, iter([DEPOSIT[:20], DEPOSIT[20:]]))
    assert (status, answer["amount_fen"]) == (201, 50_000)


def test_an_oversize_body_in_chunks_is_refused_while_it_is_read(
    origin: str, person: Caller
) -> None:
    status, answer = send(origin, person, iter([DEPOSIT, b" " * 33_000, b" " * 33_000]))
    assert (status, answer["code"]) == (413, "too_large")
    assert person.get(f"{API}/deposits").json["items"] == []


def test_an_oversize_callback_in_chunks_is_not_read_half(
    origin: str, person: Caller, channel: SimulatedChannel
) -> None:
    """Its first 64 KiB alone would be a genuine callback."""
    order_no = person.deposit(50_000).json["order_no"]
    callback = channel.pay(order_no).ljust(66_000)
    status, answer = send(origin, person, iter([callback]), path="/callbacks/wechat/payment")
    assert (status, answer["code"]) == (413, "too_large")
    assert person.get(f"{API}/deposits/{order_no}").json["state"] == "awaiting_payment"
