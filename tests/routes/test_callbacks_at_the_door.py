"""The channels' door: no token, the channel's own words, and the bytes exactly as they came."""

from __future__ import annotations

from dataclasses import replace

import pytest
from apiflask import APIFlask
from sqlalchemy.exc import OperationalError

from app.domain.ports import Ports
from app.domain.ports.callbacks import ChannelEvent, EventTopic, RawCallback
from tests.routes.callers import API, Doors
from tests.simulated_channel import SimulatedChannel

DOOR = "/callbacks/wechat/payment"


def test_a_genuine_callback_is_answered_in_the_channels_words(
    doors: Doors, channel: SimulatedChannel
) -> None:
    person = doors.enrolled("a")
    order_no = person.deposit(50_000).json["order_no"]
    callback = channel.pay(order_no)
    for _ in range(3):
        answer = doors.client.post(DOOR, data=callback)
        assert (answer.status_code, answer.text, answer.mimetype) == (200, "ok", "text/plain")
    # 50000 once, and 20000 opening subsidy.
    assert person.get(f"{API}/account").json["balance_fen"] == 70_000


def test_a_forged_callback_changes_nothing(doors: Doors, channel: SimulatedChannel) -> None:
    person = doors.enrolled("a")
    order_no = person.deposit(50_000).json["order_no"]
    answer = doors.client.post(DOOR, data=channel.callback(order_no, forged=True))
    assert (answer.status_code, answer.text) == (200, "again")
    assert person.get(f"{API}/deposits/{order_no}").json["state"] == "awaiting_payment"


def test_the_adapter_reads_the_bytes_and_headers_as_they_came(
    doors: Doors, channel: SimulatedChannel
) -> None:
    read: list[RawCallback] = []

    def read_callback(raw: RawCallback) -> ChannelEvent:
        read.append(raw)
        return ChannelEvent(topic=EventTopic.IGNORED, outcome=None)

    channel.read_callback = read_callback
    body = b"a=%E4%B8%AD&b=&a=2&sign=x%2By" + b"\r\n\x00\xff"
    content_type = "application/x-www-form-urlencoded; charset=GBK"
    answer = doors.client.post(
        "/callbacks/alipay/anything",
        data=body,
        headers={"Content-Type": content_type, "X-Sign": "s"},
    )
    assert answer.text == "ok"
    (raw,) = read
    assert (raw.endpoint, raw.content_type, raw.body) == ("anything", content_type, body)
    assert raw.headers["X-Sign"] == "s"


@pytest.mark.parametrize("path", ["/callbacks/bank/payment", "/callbacks/wechat", "/callbacks/"])
def test_no_other_channel_has_a_door(doors: Doors, path: str) -> None:
    answer = doors.client.post(path, data=b"{}")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_it_takes_post_alone(doors: Doors, method: str) -> None:
    answer = doors.client.open(DOOR, method=method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_without_a_database_the_channel_is_asked_to_send_it_again(
    app: APIFlask, doors: Doors, ports: Ports, channel: SimulatedChannel
) -> None:
    person = doors.enrolled("a")
    callback = channel.pay(person.deposit(50_000).json["order_no"])

    def down(_work: object) -> None:
        raise OperationalError("INSERT", {}, Exception("gone away"))

    app.extensions["lianjiao"] = replace(ports, transact=down)
    answer = doors.client.post(DOOR, data=callback)
    assert (answer.status_code, answer.text) == (200, "again")
