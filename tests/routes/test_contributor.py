"""What a contributor does over HTTP: log in, enrol, pay in, look, ask back, export, log out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.staff.models import Role
from tests.conftest import MovableClock
from tests.domain.people import eighteen
from tests.routes.callers import API, STAFF, Doors, application_of
from tests.simulated_channel import SimulatedChannel


def test_a_log_in_gives_a_token_for_seven_days(doors: Doors) -> None:
    answer = doors.client.post(
        f"{API}/session", json={"platform": "alipay", "code": "code-of-newcomer"}
    )
    assert answer.status_code == 201
    assert set(answer.json) == {"token", "expires_at", "enrolled"}
    assert answer.json["expires_at"] == "2026-12-01T10:00:00+08:00"
    assert answer.json["enrolled"] is False
    assert len(answer.json["token"]) >= 43


def test_a_code_works_once(doors: Doors) -> None:
    body = {"platform": "wechat", "code": "code-of-a"}
    assert doors.client.post(f"{API}/session", json=body).status_code == 201
    again = doors.client.post(f"{API}/session", json=body)
    assert (again.status_code, again.json["code"]) == (401, "login_refused")


def test_whoever_is_not_enrolled_is_told_so_at_every_door(doors: Doors) -> None:
    newcomer = doors.logged_in("newcomer")
    deposit = {"channel": "wechat", "amount_fen": 50_000}
    refund = {"amount_fen": 1, "reason": "other"}
    for answer in (
        newcomer.get(f"{API}/account"),
        newcomer.get(f"{API}/account/entries"),
        newcomer.get(f"{API}/me"),
        newcomer.get(f"{API}/me/export"),
        newcomer.get(f"{API}/deposits"),
        newcomer.get(f"{API}/deposits/{'D' * 32}"),
        newcomer.get(f"{API}/refunds/{'R' * 32}"),
        newcomer.post(f"{API}/deposits", json=deposit),
        newcomer.post(f"{API}/deposits/{'D' * 32}/refunds", json=refund),
        newcomer.call("PATCH", f"{API}/me/facts", json={}),
        newcomer.call("POST", f"{API}/session/link-code"),
    ):
        assert (answer.status_code, answer.json["code"]) == (409, "not_enrolled"), (
            answer.request.path
        )


def test_enrolling_opens_one_account(doors: Doors) -> None:
    person = doors.logged_in("a")
    answer = person.call("POST", f"{API}/enrolment", json=application_of("a"))
    assert answer.status_code == 201
    assert answer.json["opened_on"] == "2026-11-24"
    assert len(answer.json["account_no"]) == 16
    again = person.call("POST", f"{API}/enrolment", json=application_of("a"))
    assert (again.status_code, again.json["code"]) == (409, "identity_already_bound")
    elsewhere = doors.logged_in("b").call("POST", f"{API}/enrolment", json=application_of("a"))
    assert (elsewhere.status_code, elsewhere.json["code"]) == (409, "already_enrolled")
    assert answer.json["account_no"] not in elsewhere.text


def test_a_refused_enrolment_names_the_clause(doors: Doors) -> None:
    body = {**application_of("a"), "document_no": eighteen("320722", "20101125")}
    answer = doors.logged_in("a").call("POST", f"{API}/enrolment", json=body)
    assert (answer.status_code, answer.json["code"]) == (422, "too_young")
    assert answer.json["message"] == "未满 16 周岁，不能开户"
    assert answer.json["detail"] == {"minimum_age": 16, "clause": "试点方案 第一条"}


def test_one_account_is_seen_from_both_platforms(doors: Doors) -> None:
    on_wechat = doors.enrolled("a")
    refused = on_wechat.deposit(50_000, channel="alipay")
    assert (refused.status_code, refused.json["code"]) == (409, "platform_not_linked")
    issued = on_wechat.call("POST", f"{API}/session/link-code")
    assert issued.status_code == 201
    assert issued.json["expires_at"] == "2026-11-24T10:10:00+08:00"
    on_alipay = doors.logged_in("the-same-person", platform="alipay")
    linked = on_alipay.call("POST", f"{API}/session/link", json={"code": issued.json["code"]})
    assert (linked.status_code, linked.json) == (200, {"enrolled": True})
    assert on_alipay.get(f"{API}/account").json["account_no"] == on_wechat.account_no
    assert on_wechat.get(f"{API}/me").json["platforms"] == ["wechat", "alipay"]
    assert on_alipay.deposit(50_000, channel="alipay").status_code == 201


def test_the_screen_shows_ones_own_data_masked_and_the_export_in_full(doors: Doors) -> None:
    person, order_no = doors.with_deposit("a")
    # The number of application_of("a"): region, day of birth, serial, check digit.
    document_no = application_of("a")["document_no"]
    profile = person.get(f"{API}/me").json
    assert profile["real_name"] == "*试用户"
    assert profile["phone"] == "138****0000"
    assert profile["document_no"] == "320" + "*" * 11 + document_no[-4:]
    shown = "".join(
        person.get(path).text
        for path in (
            f"{API}/me",
            f"{API}/account",
            f"{API}/account/entries",
            f"{API}/deposits",
            f"{API}/deposits/{order_no}",
        )
    )
    exported = person.get(f"{API}/me/export")
    assert exported.headers["Content-Disposition"] == (
        'attachment; filename="lianjiao-my-data.json"'
    )
    for personal in (document_no, "测试用户", "13800000000", "1990-05-06"):
        assert personal not in shown
        assert personal in exported.text
    assert set(exported.json) == {
        "contributor",
        "account",
        "login_identities",
        "deposits",
        "refunds",
        "agreements",
        "mandates",
        "messages",
        "debits",
        "subsidies",
        "entries",
    }
    assert [deposit["order_no"] for deposit in exported.json["deposits"]] == [order_no]


def test_no_answer_to_staff_shows_who_a_contributor_is(doors: Doors) -> None:
    person, order_no = doors.with_deposit("a")
    person.post(f"{API}/deposits/{order_no}/refunds", json={"amount_fen": 1, "reason": "other"})
    body = doors.channel.callback(order_no, amount_fen=1)
    assert doors.client.post("/callbacks/wechat/payment", data=body).text == "ok"
    auditor = doors.staff(Role.AUDITOR)
    shown = auditor.get(f"{STAFF}/refunds").text + auditor.get(f"{STAFF}/breaks").text
    assert order_no in shown
    for personal in (application_of("a")["document_no"], "测试用户", "13800000000"):
        assert personal not in shown


def test_a_deposit_from_order_to_balance(
    doors: Doors, channel: SimulatedChannel, clock: MovableClock
) -> None:
    person = doors.enrolled("a")
    placed = person.deposit(12_150)
    assert placed.status_code == 201
    order_no = placed.json["order_no"]
    assert placed.json == {
        "order_no": order_no,
        "channel": "wechat",
        "amount_fen": 12_150,
        "refunded_fen": 0,
        "refundable_fen": 0,
        "state": "awaiting_payment",
        "state_text": "待支付",
        "created_at": "2026-11-24T10:00:00+08:00",
        "expires_at": "2026-11-24T10:30:00+08:00",
        "paid_at": None,
        "credited_on": None,
        "contribution_month": None,
        "payment": {"prepay": "P-T00000001"},
    }
    clock.advance(minutes=1)
    callback = channel.pay(order_no)
    assert doors.client.post("/callbacks/wechat/payment", data=callback).text == "ok"
    paid = person.get(f"{API}/deposits/{order_no}").json
    assert (paid["state"], paid["state_text"], paid["payment"]) == ("succeeded", "已入账", {})
    assert paid["paid_at"] == "2026-11-24T10:01:00+08:00"
    assert (paid["credited_on"], paid["contribution_month"]) == ("2026-11-24", "2026-11")
    assert paid["refundable_fen"] == 12_150
    overview = person.get(f"{API}/account").json
    # 12150 paid in + 20000 opening subsidy; the cap of 2026 is 9084960.
    assert overview == {
        "account_no": person.account_no,
        "status": "normal",
        "balance_fen": 32_150,
        "available_fen": 32_150,
        "held_fen": 0,
        "year": 2026,
        "deposited_this_year_fen": 12_150,
        "yearly_cap_fen": 9_084_960,
        "room_fen": 9_072_810,
        "monthly_minimum_fen": 12_150,
        "months_counted": 1,
        "months": ["2026-11"],
        "months_to_loan_gate": 5,
        "opening_subsidy_fen": 20_000,
        "next_debit": None,
    }


def test_the_cap_counts_what_may_still_be_paid(doors: Doors) -> None:
    person = doors.enrolled("a")
    assert person.deposit(9_084_960).status_code == 201
    assert person.get(f"{API}/account").json["room_fen"] == 0
    answer = person.deposit(12_150)
    assert (answer.status_code, answer.json["code"]) == (422, "yearly_cap_exceeded")
    assert answer.json["detail"]["room_fen"] == 0


def test_an_order_no_longer_payable_hands_out_no_payment(doors: Doors, clock: MovableClock) -> None:
    person = doors.enrolled("a")
    order_no = person.deposit(50_000).json["order_no"]
    clock.advance(minutes=29, seconds=59)
    assert person.get(f"{API}/deposits/{order_no}").json["payment"] == {"prepay": "P-T00000001"}
    clock.advance(seconds=1)
    assert person.get(f"{API}/deposits/{order_no}").json["payment"] == {}


def test_a_channel_that_refuses_the_order_is_told_as_a_failed_deposit(
    doors: Doors, channel: SimulatedChannel
) -> None:
    person = doors.enrolled("a")
    refused = Outcome(
        kind=OutcomeKind.FAILED, reason=Reason.OUR_FAULT, number="", raw_code="PARAM_ERROR"
    )
    channel.trouble["prepare_payment"] = [refused]
    answer = person.deposit(50_000)
    assert (answer.status_code, answer.json["state"]) == (201, "failed")
    assert answer.json["state_text"] == "下单失败，请重新发起"
    assert "PARAM_ERROR" not in answer.text


def test_declarations_add_up(doors: Doors) -> None:
    person = doors.enrolled("a")
    children = {"children": {"count": 2, "minor_count": 1, "evidence": "户口簿"}}
    first = person.call("PATCH", f"{API}/me/facts", json=children)
    assert (first.status_code, first.json) == (200, {"facts": children})
    degree = {"degree": {"level": "master", "evidence": "学历证书"}}
    second = person.call("PATCH", f"{API}/me/facts", json=degree)
    assert second.json == {"facts": {**children, **degree}}
    assert person.call("PATCH", f"{API}/me/facts", json={}).json == second.json
    assert person.get(f"{API}/me").json["facts"] == {**children, **degree}


def test_a_refund_asked_for_is_held_and_seen(doors: Doors) -> None:
    person, order_no = doors.with_deposit("a", 50_000)
    body = {"amount_fen": 30_000, "reason": "wrong_amount", "note": "多付"}
    asked = person.post(f"{API}/deposits/{order_no}/refunds", json=body)
    assert asked.status_code == 201
    refund_no = asked.json["refund_no"]
    assert asked.json == {
        "refund_no": refund_no,
        "order_no": order_no,
        "amount_fen": 30_000,
        "state": "requested",
        "state_text": "已受理，待复核",
        "reason": "wrong_amount",
        "note": "多付",
        "requested_at": "2026-11-24T10:00:00+08:00",
        "ended_at": None,
        "decision_note": None,
    }
    assert person.get(f"{API}/refunds/{refund_no}").json == asked.json
    overview = person.get(f"{API}/account").json
    # 50000 + 20000 opening subsidy, 30000 of it held.
    assert (overview["balance_fen"], overview["held_fen"], overview["available_fen"]) == (
        70_000,
        30_000,
        40_000,
    )
    assert person.get(f"{API}/deposits/{order_no}").json["refundable_fen"] == 20_000
    more = person.post(f"{API}/deposits/{order_no}/refunds", json={**body, "amount_fen": 20_001})
    assert (more.status_code, more.json["code"]) == (422, "not_refundable")
    assert more.json["detail"] == {"refundable_fen": 20_000}


def test_what_is_not_paid_cannot_be_refunded(doors: Doors) -> None:
    person = doors.enrolled("a")
    order_no = person.deposit(50_000).json["order_no"]
    body = {"amount_fen": 1, "reason": "other"}
    answer = person.post(f"{API}/deposits/{order_no}/refunds", json=body)
    assert (answer.status_code, answer.json["code"]) == (422, "not_refundable")


@pytest.mark.parametrize("hops", [0, 1])
def test_the_payers_address_is_believed_from_as_many_proxies_as_are_set(
    build_app, settings, ports, channel: SimulatedChannel, hops: int
) -> None:
    seen = []
    prepare = channel.prepare_payment
    channel.prepare_payment = lambda request: (seen.append(request.client_ip), prepare(request))[1]
    app = build_app(settings.model_copy(update={"trusted_proxies": hops}), ports)
    person = Doors(app.test_client(), ports, channel).enrolled("a")
    forwarded = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    body = {"channel": "wechat", "amount_fen": 50_000}
    assert person.post(f"{API}/deposits", json=body, headers=forwarded).status_code == 201
    assert seen == ["198.51.100.7" if hops else "127.0.0.1"]


def test_the_token_ends_with_its_time(doors: Doors, clock: MovableClock) -> None:
    person = doors.enrolled("a")
    clock.advance(days=6, hours=23, minutes=59, seconds=59)
    assert person.get(f"{API}/account").status_code == 200
    clock.instant += timedelta(seconds=1)
    assert person.get(f"{API}/account").status_code == 401


def test_on_a_day_without_policy_the_overview_says_so(doors: Doors, clock: MovableClock) -> None:
    doors.enrolled("a")
    clock.instant = clock.instant.replace(year=2001)
    answer = doors.logged_in("a").get(f"{API}/account")
    assert (answer.status_code, answer.json["code"]) == (422, "no_policy_value")
