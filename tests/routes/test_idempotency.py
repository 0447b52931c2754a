"""Idempotency-Key over HTTP: sending a request again never creates a second thing."""

from __future__ import annotations

import pytest

from app.domain.staff.models import Role
from tests.routes.callers import API, STAFF, Doors, on_sqlite_only
from tests.simulated_channel import SimulatedChannel

REFUND = {"amount_fen": 20_000, "reason": "duplicate", "note": "重复支付"}


def test_the_same_deposit_again_is_the_same_order(doors: Doors, channel: SimulatedChannel) -> None:
    person = doors.enrolled("a")
    first = person.deposit(50_000, key="phone-1234")
    again = person.deposit(50_000, key="phone-1234")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json == again.json
    assert first.json["payment"] == {"prepay": "P-T00000001"}
    assert len(person.get(f"{API}/deposits").json["items"]) == 1
    assert len(channel.trades) == 1


def test_a_deposit_whose_answer_was_lost_is_asked_for_again_under_its_number(
    doors: Doors, channel: SimulatedChannel
) -> None:
    person = doors.enrolled("a")
    channel.trouble["prepare_payment"] = ["lost_after"]
    lost = person.deposit(50_000, key="phone-1234")
    assert (lost.status_code, lost.json["state"], lost.json["payment"]) == (201, "unknown", {})
    again = person.deposit(50_000, key="phone-1234")
    assert again.json["order_no"] == lost.json["order_no"]
    assert again.json["state"] == "awaiting_payment"
    assert again.json["payment"] == {"prepay": "P-T00000001"}
    assert len(channel.trades) == 1


@pytest.mark.parametrize(
    "other",
    [{"channel": "wechat", "amount_fen": 50_001}, {"channel": "alipay", "amount_fen": 50_000}],
)
def test_the_same_key_with_another_content_is_refused(doors: Doors, other: dict) -> None:
    person = doors.enrolled("a")
    code = doors.logged_in("a").call("POST", f"{API}/session/link-code").json["code"]
    linked = doors.logged_in("a", platform="alipay")
    assert linked.call("POST", f"{API}/session/link", json={"code": code}).status_code == 200
    assert person.deposit(50_000, key="phone-1234").status_code == 201
    answer = person.post(f"{API}/deposits", json=other, key="phone-1234")
    assert (answer.status_code, answer.json["code"]) == (409, "idempotency_key_reused")
    assert len(person.get(f"{API}/deposits").json["items"]) == 1


def test_two_people_may_choose_the_same_key(doors: Doors) -> None:
    numbers = {
        doors.enrolled(name).deposit(50_000, key="phone-1234").json["order_no"]
        for name in ("a", "b")
    }
    assert len(numbers) == 2


def test_keys_that_differ_only_in_case_are_two_keys(doors: Doors) -> None:
    person = doors.enrolled("a")
    first = person.deposit(50_000, key="phoneABCD")
    second = person.deposit(50_000, key="phoneabcd")
    assert first.json["order_no"] != second.json["order_no"]


def test_the_same_refund_again_is_the_same_refund(doors: Doors) -> None:
    person, order_no = doors.with_deposit("a", 50_000)
    path = f"{API}/deposits/{order_no}/refunds"
    first = person.post(path, json=REFUND, key="refund-1234")
    again = person.post(path, json=REFUND, key="refund-1234")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json == again.json
    other = person.post(path, json={**REFUND, "note": "金额有误"}, key="refund-1234")
    assert (other.status_code, other.json["code"]) == (409, "idempotency_key_reused")
    # 50000 paid in, 20000 opening subsidy, 20000 held once.
    assert person.get(f"{API}/account").json["held_fen"] == 20_000


def test_the_same_refund_of_staff_again_is_the_same_refund(doors: Doors) -> None:
    _, order_no = doors.with_deposit("a", 50_000)
    clerk, colleague = doors.staff(Role.CLERK), doors.staff(Role.CLERK)
    body = {**REFUND, "order_no": order_no}
    first = clerk.post(f"{STAFF}/refunds", json=body, key="refund-1234")
    again = clerk.post(f"{STAFF}/refunds", json=body, key="refund-1234")
    assert (first.status_code, first.json) == (201, again.json)
    reused = clerk.post(f"{STAFF}/refunds", json={**body, "amount_fen": 1}, key="refund-1234")
    assert (reused.status_code, reused.json["code"]) == (409, "idempotency_key_reused")
    theirs = colleague.post(f"{STAFF}/refunds", json=body, key="refund-1234")
    assert theirs.status_code == 201
    assert theirs.json["refund_no"] != first.json["refund_no"]


CREATING = ["/deposits", "/deposits/{order_no}/refunds"]


@on_sqlite_only
@pytest.mark.parametrize("path", CREATING)
@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("", "缺少必填项"),
        ("short", "格式不正确或含有不支持的字符"),
        ("x" * 65, "格式不正确或含有不支持的字符"),
        ("has blank 123", "格式不正确或含有不支持的字符"),
        ("quote'12345", "格式不正确或含有不支持的字符"),
        ("one-key-1, one-key-2", "格式不正确或含有不支持的字符"),
        ("钥匙钥匙钥匙钥匙".encode().decode("latin-1"), "格式不正确或含有不支持的字符"),
    ],
)
def test_a_request_that_creates_needs_a_proper_key(
    doors: Doors, path: str, key: str, complaint: str
) -> None:
    person, order_no = doors.with_deposit("a", 50_000)
    body = REFUND if "refunds" in path else {"channel": "wechat", "amount_fen": 50_000}
    answer = person.post(API + path.format(order_no=order_no), json=body, key=key)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    assert answer.json["message"] == f"Idempotency-Key：{complaint}"
    assert answer.json["detail"] == {"fields": {"Idempotency-Key": complaint}}
    assert len(person.get(f"{API}/deposits").json["items"]) == 1
    assert person.get(f"{API}/account").json["held_fen"] == 0


def test_staff_need_a_key_too(doors: Doors) -> None:
    _, order_no = doors.with_deposit("a", 50_000)
    body = {**REFUND, "order_no": order_no}
    answer = doors.staff(Role.CLERK).post(f"{STAFF}/refunds", json=body, key="")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
