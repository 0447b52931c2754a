"""Debits at the doors: what comes next, what became of it in plain words, and making it up."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.debits import wording
from app.domain.debits.rules import EndReason, InstructionState
from app.domain.payment_orders.models import OrderState
from app.domain.ports.outcomes import Reason
from app.routes.citizen import debit_shapes
from config.reason_files import load_reasons
from tests.debit_channel import DebitChannel
from tests.routes.callers import API, Doors, on_sqlite_only
from tests.routes.debited import Debited

NEXT = {
    "period": "2026-12",
    "due_on": "2026-12-10",
    "sent_on": "2026-12-10",
    "amount_fen": 50_000,
    "channel": "bank",
}
DECEMBER = f"{API}/debits/2026-12"


def test_before_its_notice_the_next_debit_is_what_the_agreement_says(debited: Debited) -> None:
    person = debited.agreed("a")
    assert person.get(f"{API}/debits/next").json == {**NEXT, "announced": False}
    assert person.get(f"{API}/debits").json == {"items": [], "next_cursor": None}
    assert person.get(DECEMBER).status_code == 404
    assert person.get(f"{API}/account").json["next_debit"] is None


def test_without_an_agreement_nothing_comes_next(doors: Doors) -> None:
    answer = doors.enrolled("a").get(f"{API}/debits/next")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert answer.json["message"] == "目前没有待扣的款项"


def test_an_announced_debit_is_shown_with_its_day_and_amount(debited: Debited) -> None:
    person = debited.announced("a")
    assert person.get(f"{API}/debits/next").json == {**NEXT, "announced": True}
    assert person.get(f"{API}/account").json["next_debit"] == {**NEXT, "announced": True}
    seen = person.get(DECEMBER).json
    assert seen == {
        "period": "2026-12",
        "channel": "bank",
        "amount_fen": 50_000,
        "due_on": "2026-12-10",
        "state": "scheduled",
        "state_text": "待扣款",
        "next_attempt_on": "2026-12-10",
        "reason": None,
        "reason_text": "",
        "end_reason": None,
        "end_reason_text": "",
        "can_be_made_up": False,
        "announced_at": "2026-12-09T10:00:00+08:00",
        "ended_at": None,
        "attempts": [],
    }
    assert person.get(f"{API}/debits").json == {"items": [seen], "next_cursor": None}
    answer = person.post(f"{DECEMBER}/make-up", json={"channel": "wechat"})
    assert (answer.status_code, answer.json["code"]) == (409, "nothing_to_make_up")


def test_what_was_debited_is_a_deposit_through_the_bank(debited: Debited) -> None:
    person = debited.announced("a")
    assert debited.debit() == {"credited": 1}
    seen = person.get(DECEMBER).json
    assert (seen["state"], seen["state_text"]) == ("succeeded", "已扣款入账")
    assert (seen["next_attempt_on"], seen["can_be_made_up"]) == (None, False)
    (attempt,) = seen["attempts"]
    assert (attempt["state"], attempt["state_text"], attempt["by_hand"]) == (
        "succeeded",
        "已入账",
        False,
    )
    (deposit,) = person.get(f"{API}/deposits").json["items"]
    assert (deposit["order_no"], deposit["channel"]) == (attempt["order_no"], "bank")
    assert (deposit["state_text"], deposit["contribution_month"]) == ("已入账", "2026-12")
    assert person.get(f"{API}/deposits/{deposit['order_no']}").json == deposit
    # 500.00 and the opening subsidy of 200.00.
    assert person.get(f"{API}/account").json["balance_fen"] == 70_000
    exported = person.get(f"{API}/me/export").json["debits"]
    assert [(one["period"], one["state"]) for one in exported] == [("2026-12", "succeeded")]


def test_a_refused_debit_says_why_and_when_it_comes_again(debited: Debited) -> None:
    person = debited.refused("a")
    seen = person.get(DECEMBER).json
    assert (seen["state"], seen["state_text"]) == ("scheduled", "未扣成，将再次扣款")
    assert (seen["next_attempt_on"], seen["can_be_made_up"]) == ("2026-12-11", True)
    assert (seen["reason"], seen["reason_text"]) == ("insufficient_funds", "余额不足")
    (attempt,) = seen["attempts"]
    assert attempt == {
        "order_no": attempt["order_no"],
        "channel": "bank",
        "state": "failed",
        "state_text": "未扣成",
        "at": "2026-12-10T10:00:00+08:00",
        "by_hand": False,
        "reason": "insufficient_funds",
        "reason_text": "余额不足",
    }
    assert person.get(f"{API}/debits/next").json["sent_on"] == "2026-12-11"
    assert person.get(f"{API}/deposits").json["items"] == []
    assert person.get(f"{API}/deposits/{attempt['order_no']}").status_code == 404
    assert debited.debit(day=11) == {"credited": 1}
    seen = person.get(DECEMBER).json
    assert (seen["state"], seen["reason"], seen["reason_text"]) == ("succeeded", None, "")
    assert [one["reason_text"] for one in seen["attempts"]] == ["余额不足", ""]


def test_what_failed_is_made_up_once_however_often_it_is_tapped(debited: Debited) -> None:
    person = debited.refused("a", Reason.ACCOUNT_INVALID)
    seen = person.get(DECEMBER).json
    assert (seen["state"], seen["state_text"]) == ("missed", "本期未扣成")
    assert seen["reason_text"] == "银行卡或支付账户已失效，请更换后重新签约"
    path, body = f"{DECEMBER}/make-up", {"channel": "wechat"}
    order = person.post(path, json=body, key="make-up-1")
    assert order.status_code == 201, order.text
    assert (order.json["amount_fen"], order.json["channel"]) == (50_000, "wechat")
    assert (order.json["state"], order.json["contribution_month"]) == ("awaiting_payment", None)
    assert order.json["payment"] != {}
    assert person.post(path, json=body, key="make-up-1").json == order.json
    other = person.post(path, json=body, key="make-up-2")
    assert (other.status_code, other.json["code"]) == (409, "make_up_under_way")
    assert other.json["detail"] == {"order_no": order.json["order_no"]}
    assert person.get(f"{API}/deposits").json["items"] == [{**order.json, "payment": {}}]
    assert person.get(DECEMBER).json["attempts"][-1]["state_text"] == "待支付"

    debited.pay(order.json["order_no"])
    again = person.post(path, json=body, key="make-up-1")
    assert (again.status_code, again.json["state"]) == (201, "succeeded")
    assert again.json["contribution_month"] == "2026-12"
    paid = person.post(path, json=body, key="make-up-3")
    assert (paid.status_code, paid.json["code"]) == (409, "nothing_to_make_up")
    seen = person.get(DECEMBER).json
    assert (seen["state"], seen["end_reason"]) == ("skipped", "paid_by_hand")
    assert seen["end_reason_text"] == "您已自行缴存，本期不再扣款"
    assert (seen["reason"], seen["can_be_made_up"]) == (None, False)
    assert [(one["by_hand"], one["state"]) for one in seen["attempts"]] == [
        (False, "failed"),
        (True, "succeeded"),
    ]
    assert person.get(f"{API}/account").json["balance_fen"] == 70_000


def test_a_key_used_for_another_deposit_makes_nothing_up(debited: Debited) -> None:
    person = debited.refused("a")
    assert person.deposit(50_000, key="the-same-key").status_code == 201
    answer = person.post(f"{DECEMBER}/make-up", json={"channel": "wechat"}, key="the-same-key")
    assert (answer.status_code, answer.json["code"]) == (409, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "channel"),
        ({"channel": "bank"}, "channel"),
        ({"channel": "wechat", "amount_fen": 1}, "amount_fen"),
        ({"channel": "wechat", "despite_debit": 1}, "despite_debit"),
    ],
)
def test_a_make_up_names_its_channel_and_no_amount(
    debited: Debited, body: dict[str, Any], field: str
) -> None:
    person = debited.refused("a")
    answer = person.post(f"{DECEMBER}/make-up", json=body)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    assert list(answer.json["detail"]["fields"]) == [field]
    unkeyed = person.post(f"{DECEMBER}/make-up", json={"channel": "wechat"}, key="")
    assert unkeyed.status_code == 422
    assert person.get(f"{API}/deposits").json["items"] == []


def test_while_a_debit_is_unknown_a_deposit_asks_first(debited: Debited) -> None:
    person = debited.announced("a")
    assert debited.debit("lost_after") == {"open": 1}
    seen = person.get(DECEMBER).json
    assert seen["state_text"] == "扣款处理中，结果确认前请勿重复缴存"
    assert [one["state_text"] for one in seen["attempts"]] == ["扣款结果确认中"]
    assert person.get(f"{API}/deposits").json["items"] == []
    warned = person.deposit(50_000, key="the-same-key")
    assert (warned.status_code, warned.json["code"]) == (409, "debit_under_way")
    assert "仍可能扣款成功" in warned.json["message"]
    busy = person.post(f"{DECEMBER}/make-up", json={"channel": "wechat"})
    assert (busy.status_code, busy.json["code"]) == (409, "nothing_to_make_up")
    for despite in ("true", 1, None):
        body = {"channel": "wechat", "amount_fen": 50_000, "despite_debit": despite}
        assert person.post(f"{API}/deposits", json=body).status_code == 422
    known = {"channel": "wechat", "amount_fen": 50_000, "despite_debit": True}
    order = person.post(f"{API}/deposits", json=known, key="the-same-key")
    assert order.status_code == 201, order.text
    debited.pay(order.json["order_no"])
    assert debited.resolve() == {"credited": 1}
    assert person.get(f"{API}/account").json["balance_fen"] == 120_000
    assert person.get(DECEMBER).json["state"] == "succeeded"


def test_debits_come_by_pages(debited: Debited) -> None:
    debited.announced("a")
    debited.debit()
    debited.clock.advance(days=30)
    assert debited.plan() == 1
    person = debited.doors.logged_in("a")
    first = person.get(f"{API}/debits?limit=1").json
    assert [one["period"] for one in first["items"]] == ["2027-01"]
    second = person.get(f"{API}/debits?limit=1&cursor={first['next_cursor']}").json
    assert [one["period"] for one in second["items"]] == ["2026-12"]
    assert second["next_cursor"] is None


@on_sqlite_only
@pytest.mark.parametrize(
    "period",
    ["2026-13", "2026Q5", "2026q4", "2026-1", "12", "-1", "%00", "2026-12%0A", "X" * 3000]
    + ["%EF%BC%92026-12", "..%2Faccount", "'%20OR%201=1--"],
)
def test_what_is_no_period_is_not_found(debited: Debited, period: str) -> None:
    person = debited.refused("a")
    for answer in (
        person.get(f"{API}/debits/{period}"),
        person.post(f"{API}/debits/{period}/make-up", json={"channel": "wechat"}),
    ):
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_every_state_and_end_has_its_words() -> None:
    assert set(debit_shapes.STATE_TEXTS) == set(InstructionState)
    assert set(debit_shapes.ATTEMPT_STATE_TEXTS) == set(OrderState)
    assert set(wording.END_REASON_TEXTS) == set(EndReason)


@pytest.mark.parametrize("channel", ["wechat", "alipay", "bank"])
def test_every_reason_that_a_channel_refuses_a_debit_for_has_its_words(channel: str) -> None:
    calls = load_reasons(channel)
    telling = [name for name in calls if "debit" in name or name == "batch_rejected"]
    reasons = {
        Reason(reason)
        for name in telling
        for kind, reason in calls[name].values()
        if kind == "failed" and reason != "not_found"
    }
    assert reasons or channel != "bank"
    assert reasons - set(wording.REASON_TEXTS) == set()


@pytest.mark.parametrize("reason", [Reason.OUR_FAULT, Reason.BUSY, Reason.NOT_RECEIVED])
def test_what_is_not_the_persons_fault_says_so(debited: Debited, reason: Reason) -> None:
    person = debited.refused("a", reason)
    assert "不是您的原因" in person.get(DECEMBER).json["reason_text"]


def test_a_reason_without_words_of_its_own_blames_nobody(debited: Debited) -> None:
    person = debited.refused("a", Reason.UNLISTED)
    seen = person.get(DECEMBER).json
    assert seen["reason_text"] == "扣款未完成，如有疑问请联系公积金中心"


def test_the_bank_is_asked_by_nobody_who_only_looks(
    debited: Debited, debiting_bank: DebitChannel
) -> None:
    person = debited.refused("a")
    before = list(debiting_bank.calls)
    for path in ("/debits", "/debits/next", "/debits/2026-12", "/account", "/me/export"):
        assert person.get(f"{API}{path}").status_code == 200
    assert debiting_bank.calls == before
