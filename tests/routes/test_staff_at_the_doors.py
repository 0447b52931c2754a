"""What staff do over HTTP: log in, register refunds, release or reject them, look at breaks."""

from __future__ import annotations

import pytest

from app.domain.ports import Ports
from app.domain.staff.models import Role
from app.domain.staff.operations import add_staff_member
from tests.conftest import MovableClock
from tests.routes.callers import API, STAFF, Caller, Doors
from tests.simulated_channel import SimulatedChannel

PASSWORD = "Correct-Horse-9"
REFUND = {"amount_fen": 20_000, "reason": "duplicate", "note": "本人来电"}
NOTE = {"note": "核对流水，情况属实"}


@pytest.fixture
def clerk_by_name(ports: Ports) -> int:
    return add_staff_member(
        ports, username="clerk", display_name="测试用户", role=Role.CLERK, password=PASSWORD
    )


def log_in(doors: Doors, username: str, password: str):
    body = {"username": username, "password": password}
    return doors.client.post(f"{STAFF}/session", json=body)


@pytest.mark.usefixtures("clerk_by_name")
def test_staff_log_in_with_a_password_for_eight_hours(doors: Doors) -> None:
    answer = log_in(doors, "clerk", PASSWORD)
    assert answer.status_code == 201
    assert set(answer.json) == {"token", "expires_at", "role"}
    assert (answer.json["role"], answer.json["expires_at"]) == (
        "clerk",
        "2026-11-24T18:00:00+08:00",
    )
    assert Caller(doors.client, answer.json["token"]).get(f"{STAFF}/refunds").status_code == 200


@pytest.mark.usefixtures("clerk_by_name")
def test_a_refused_log_in_never_says_why(doors: Doors) -> None:
    wrong = log_in(doors, "clerk", "Wrong-Horse-9")
    unknown = log_in(doors, "nobody", PASSWORD)
    odd = log_in(doors, "<b>' OR 1=1", PASSWORD)
    for answer in (wrong, unknown, odd):
        assert (answer.status_code, answer.json["code"]) == (401, "staff_login_refused")
        assert answer.json["message"] == wrong.json["message"]
        assert answer.json["detail"] == {}
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.usefixtures("clerk_by_name")
def test_five_wrong_passwords_lock_the_door_for_a_while(doors: Doors, clock: MovableClock) -> None:
    refused = [log_in(doors, "clerk", "Wrong-Horse-9") for _ in range(5)]
    locked = log_in(doors, "clerk", PASSWORD)
    assert locked.status_code == 401
    assert {answer.json["message"] for answer in refused} == {locked.json["message"]}
    clock.advance(minutes=15)
    assert log_in(doors, "clerk", PASSWORD).status_code == 201


def test_a_refund_registered_by_one_and_released_by_another(
    doors: Doors, channel: SimulatedChannel
) -> None:
    person, order_no = doors.with_deposit("a", 50_000)
    clerk, reviewer = doors.staff(Role.CLERK), doors.staff(Role.REVIEWER)
    asked = clerk.post(f"{STAFF}/refunds", json={**REFUND, "order_no": order_no})
    assert asked.status_code == 201
    refund_no = asked.json["refund_no"]
    assert (asked.json["state"], asked.json["channel"]) == ("requested", "wechat")
    assert (asked.json["maker"], asked.json["checker"]) == ("staff:1", None)
    released = reviewer.post(f"{STAFF}/refunds/{refund_no}/release", json=NOTE)
    assert released.status_code == 200
    assert (released.json["state"], released.json["checker"]) == ("processing", "staff:2")
    assert released.json["checker_note"] == NOTE["note"]
    assert channel.refunds == {refund_no: (order_no, 20_000, "done")}
    shown = person.get(f"{API}/refunds/{refund_no}").json
    assert (shown["state_text"], shown["decision_note"]) == ("退款处理中", NOTE["note"])
    again = reviewer.post(f"{STAFF}/refunds/{refund_no}/release", json=NOTE)
    assert (again.status_code, again.json["message"]) == (409, "该笔退款已处理")
    assert len([call for call in channel.calls if call.startswith("refund:")]) == 1


def test_a_rejected_refund_frees_the_money_and_says_why(
    doors: Doors, channel: SimulatedChannel
) -> None:
    person, order_no = doors.with_deposit("a", 50_000)
    body = {"amount_fen": 30_000, "reason": "other"}
    refund_no = person.post(f"{API}/deposits/{order_no}/refunds", json=body).json["refund_no"]
    supervisor = doors.staff(Role.SUPERVISOR)
    rejected = supervisor.post(f"{STAFF}/refunds/{refund_no}/reject", json={"note": "非误缴"})
    assert (rejected.status_code, rejected.json["state"]) == (200, "rejected")
    shown = person.get(f"{API}/refunds/{refund_no}").json
    assert (shown["state"], shown["state_text"], shown["decision_note"]) == (
        "rejected",
        "未通过",
        "非误缴",
    )
    assert shown["ended_at"] == "2026-11-24T10:00:00+08:00"
    assert person.get(f"{API}/account").json["held_fen"] == 0
    assert channel.refunds == {}


@pytest.mark.parametrize("decision", ["release", "reject"])
@pytest.mark.parametrize("role", [Role.REVIEWER, Role.SUPERVISOR])
def test_whoever_asked_does_not_decide(doors: Doors, role: Role, decision: str) -> None:
    _, order_no = doors.with_deposit("a", 50_000)
    maker = doors.staff(role)
    asked = maker.post(f"{STAFF}/refunds", json={**REFUND, "order_no": order_no})
    path = f"{STAFF}/refunds/{asked.json['refund_no']}/{decision}"
    answer = maker.post(path, json=NOTE)
    assert (answer.status_code, answer.json["code"]) == (403, "same_person_twice")
    assert maker.get(f"{STAFF}/refunds").json["items"][0]["state"] == "requested"


def test_what_staff_ask_for_must_exist(doors: Doors) -> None:
    reviewer = doors.staff(Role.REVIEWER)
    for path, body in (
        ("/refunds", {**REFUND, "order_no": "D" + "9" * 31}),
        ("/refunds/none/release", NOTE),
        ("/refunds/none/reject", NOTE),
    ):
        answer = reviewer.post(STAFF + path, json=body)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_a_decision_needs_a_reason(doors: Doors) -> None:
    reviewer = doors.staff(Role.REVIEWER)
    for body in ({}, {"note": ""}, {"note": None}, {"note": "好", "approve": True}):
        answer = reviewer.post(f"{STAFF}/refunds/none/release", json=body)
        assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")


def test_a_wrong_amount_is_shown_as_a_break_and_credits_nothing(doors: Doors) -> None:
    person = doors.enrolled("a")
    order_no = person.deposit(50_000).json["order_no"]
    doors.channel.pay(order_no)
    body = doors.channel.callback(order_no, amount_fen=5_000)
    assert doors.client.post("/callbacks/wechat/payment", data=body).text == "ok"
    assert person.get(f"{API}/account").json["balance_fen"] == 0
    (found,) = doors.staff(Role.AUDITOR).get(f"{STAFF}/breaks").json["items"]
    assert (found["kind"], found["number"]) == ("amount_mismatch", order_no)
    assert (found["expected_fen"], found["found_fen"]) == (50_000, 5_000)
    assert (found["opened_at"], found["closed_at"]) == ("2026-11-24T10:00:00+08:00", None)
