"""Notices lost, doubled, late and forged: the rider's money arrives once, or not at all."""

from __future__ import annotations

import pytest

from tests.stories.town import Phone, Town

OPENING_FEN = 20_000


@pytest.fixture
def phone(town: Town, platform: str) -> Phone:
    phone = town.phone(platform)
    phone.enrol()
    return phone


def lose_notices(town: Town, platform: str) -> None:
    town.gateways[platform].control("troubles", at="notice", kind="drop", times=0)


def test_a_lost_notice_is_recovered_by_asking(town: Town, platform: str, phone: Phone) -> None:
    lose_notices(town, platform)
    order = phone.deposit(50_000)
    phone.pay(order)
    town.run_jobs(after=19)
    assert phone.state_of(order["order_no"]) == "awaiting_payment"
    town.run_jobs(after=1)
    assert phone.state_of(order["order_no"]) == "succeeded"
    assert phone.balance() == 50_000 + OPENING_FEN


def test_a_notice_after_the_query_changes_nothing(town: Town, platform: str, phone: Phone) -> None:
    town.gateways[platform].control("troubles", at="notice", kind="hold", times=1)
    order = phone.deposit(50_000)
    phone.pay(order)
    town.run_jobs(after=20)
    assert phone.balance() == 70_000
    released = town.gateways[platform].control("notices/release")
    assert released["released"] == 1
    town.until_accepted(platform, order["order_no"])
    assert phone.balance() == 70_000


def test_the_same_notice_many_times_at_once_credits_once(
    town: Town, platform: str, phone: Phone
) -> None:
    town.gateways[platform].control("troubles", at="notice", kind="duplicate", copies=8)
    order = phone.deposit(50_000)
    phone.pay(order)
    town.until_accepted(platform, order["order_no"], count=8)
    again = town.gateways[platform].control(
        "notices/resend", out_trade_no=order["order_no"], copies=8
    )
    assert len(again["replies"]) == 8
    assert {reply["status"] for reply in again["replies"]} == {200}
    assert phone.balance() == 70_000
    assert len(phone.call("GET", "account/entries")["items"]) == 2


@pytest.mark.parametrize(
    "defect",
    ["wrong_key", "no_sign", "tampered_after_signing", "empty_key", "other_merchant", "other_app"],
)
def test_a_forged_notice_is_refused_and_leaves_no_trace(
    town: Town, platform: str, phone: Phone, defect: str
) -> None:
    order = phone.deposit(50_000)
    forged = town.gateways[platform].control(
        "notices/forge", out_trade_no=order["order_no"], defect=defect
    )
    assert "success" not in forged["reply"].lower()
    assert phone.state_of(order["order_no"]) == "awaiting_payment"
    assert phone.balance() == 0
    assert town.breaks() == []


AMOUNT_FIELD = {"wechat": {"total_fee": "1"}, "alipay": {"total_amount": "0.01"}}


def test_a_genuine_notice_of_another_amount_becomes_a_break(
    town: Town, platform: str, phone: Phone
) -> None:
    order = phone.deposit(50_000)
    forged = town.gateways[platform].control(
        "notices/forge",
        out_trade_no=order["order_no"],
        defect="none",
        fields=AMOUNT_FIELD[platform],
    )
    assert forged["status"] == 200
    assert phone.balance() == 0
    assert town.breaks() == [("amount_mismatch", order["order_no"])]


def test_an_order_that_nobody_pays_is_closed_at_the_channel(
    town: Town, platform: str, phone: Phone
) -> None:
    order = phone.deposit(50_000)
    room_fen = phone.call("GET", "account")["room_fen"]
    town.run_jobs(after=31 * 60)
    assert phone.state_of(order["order_no"]) == "closed"
    assert phone.call("GET", "account")["room_fen"] == room_fen + 50_000
    refused = town.gateways[platform].try_control("pay", payer=phone.payer, phone=order["payment"])
    assert refused["ok"] is False


def test_money_paid_at_the_last_moment_is_found_while_closing(
    town: Town, platform: str, phone: Phone
) -> None:
    lose_notices(town, platform)
    order = phone.deposit(50_000)
    town.advance(29 * 60)
    phone.pay(order)
    town.run_jobs(after=2 * 60)
    assert phone.state_of(order["order_no"]) == "succeeded"
    assert phone.balance() == 70_000
