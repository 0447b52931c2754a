"""The list of what a person was told."""

from __future__ import annotations

from functools import partial

import pytest

from app.domain.outbox.operations import enqueue, send_messages
from app.domain.ports import Ports
from app.domain.ports.messages import MessageTopic
from app.routes.citizen.mandates import CARD_WISH
from tests.conftest import MovableClock
from tests.mandate_channel import CODE
from tests.routes.callers import API, Caller, Doors

PATH = f"{API}/messages"


@pytest.fixture
def rider(doors: Doors) -> Caller:
    return doors.enrolled("rider")


def tell(ports: Ports, count: int, *, account_id: int = 1) -> None:
    for number in range(count):
        ports.transact(
            partial(
                enqueue,
                account_id=account_id,
                topic=MessageTopic.DEBIT_FAILED,
                event_key=f"debit:{account_id}:{number}",
                fields={"reason": f"原因{number}"},
                at=ports.now(),
            )
        )


def test_signing_and_ending_a_mandate_are_listed(
    doors: Doors, rider: Caller, clock: MovableClock
) -> None:
    assert rider.get(PATH).json == {"items": [], "next_cursor": None}
    doors.with_agreement(rider)
    number = rider.post(f"{API}/mandates", json=CARD_WISH).json["mandate_no"]
    rider.call("POST", f"{API}/mandates/{number}/confirm", json={"code": CODE})
    clock.advance(minutes=5)
    rider.call("POST", f"{API}/mandates/{number}/end")
    assert rider.get(PATH).json == {
        "items": [
            {
                "topic": "mandate_ended",
                "title": "扣款签约终止",
                "text": "银行卡（尾号0128）扣款签约已终止（您本人解约）。"
                "不再自动扣款，如需继续请重新签约。",
                "created_at": "2026-11-24T10:05:00+08:00",
                "platform": None,
                "sent_at": None,
            },
            {
                "topic": "mandate_active",
                "title": "扣款签约生效",
                "text": "银行卡（尾号0128）扣款签约已生效，"
                "每笔最多扣划500.00元，有效期至2031年10月31日。",
                "created_at": "2026-11-24T10:00:00+08:00",
                "platform": None,
                "sent_at": None,
            },
        ],
        "next_cursor": None,
    }
    assert CARD_WISH["card"]["card_no"] not in rider.get(f"{API}/me/export").json["messages"][0]


def test_a_message_that_nobody_brought_is_listed_without_a_platform(
    rider: Caller, ports: Ports
) -> None:
    tell(ports, 1)
    assert send_messages(ports) == {"given_up": 1}
    [item] = rider.get(PATH).json["items"]
    assert (item["platform"], item["sent_at"]) == (None, None)


def test_pages_go_from_new_to_old(rider: Caller, ports: Ports) -> None:
    tell(ports, 5)
    texts, cursor = [], ""
    while True:
        page = rider.get(f"{PATH}?limit=2{cursor}").json
        texts.append([item["text"] for item in page["items"]])
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert texts == [
        ["扣款未成功：原因4。", "扣款未成功：原因3。"],
        ["扣款未成功：原因2。", "扣款未成功：原因1。"],
        ["扣款未成功：原因0。"],
    ]


def test_another_persons_messages_are_not_seen(doors: Doors, rider: Caller, ports: Ports) -> None:
    other = doors.enrolled("other")
    tell(ports, 3, account_id=1)
    tell(ports, 1, account_id=2)
    [item] = other.get(PATH).json["items"]
    assert item["text"] == "扣款未成功：原因0。"
    assert len(rider.get(PATH).json["items"]) == 3
    last = rider.get(f"{PATH}?limit=1").json["next_cursor"]
    # Somebody else's cursor is a number and shows nothing of theirs.
    assert other.get(f"{PATH}?cursor={last}").json["items"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "cursor=0", "cursor=x", "unread=1"])
def test_bad_queries_are_refused(rider: Caller, query: str) -> None:
    answer = rider.get(f"{PATH}?{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")


def test_who_has_no_account_has_no_messages(doors: Doors) -> None:
    answer = doors.logged_in("nobody").get(PATH)
    assert answer.status_code == 409
