"""The channel answers late, wrongly or not at all: nothing is charged or credited twice."""

from __future__ import annotations

import pytest

from tests.stories.town import Phone, Town

PLACE = {"wechat": "pay/unifiedorder", "alipay": "alipay.trade.create"}
QUERY = {"wechat": "pay/orderquery", "alipay": "alipay.trade.query"}


@pytest.fixture
def phone(town: Town, platform: str) -> Phone:
    phone = town.phone(platform)
    phone.enrol()
    return phone


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after", "http_500", "bad_sign"])
def test_an_order_whose_answer_was_lost_is_asked_for_again_under_its_number(
    town: Town, platform: str, phone: Phone, kind: str
) -> None:
    options = {"seconds": 2} if kind.startswith("timeout") else {}
    town.gateways[platform].control("troubles", at=PLACE[platform], kind=kind, times=1, **options)
    first = phone.deposit(50_000, key="the-same-key-00001")
    assert (first["state"], first["payment"]) == ("unknown", {})

    second = phone.deposit(50_000, key="the-same-key-00001")
    assert second["order_no"] == first["order_no"]
    assert second["state"] == "awaiting_payment"
    phone.pay(second)
    town.until_accepted(platform, second["order_no"])
    assert phone.balance() == 70_000
    assert len(town.gateways[platform].look("books")["trades"]) == 1


@pytest.mark.parametrize("kind", ["http_500", "truncated", "unsigned", "html"])
def test_a_query_without_a_verdict_is_repeated_later(
    town: Town, platform: str, phone: Phone, kind: str
) -> None:
    gateway = town.gateways[platform]
    gateway.control("troubles", at="notice", kind="drop", times=0)
    gateway.control("troubles", at=QUERY[platform], kind=kind, times=1)
    order = phone.deposit(50_000)
    phone.pay(order)
    town.run_jobs(after=20)
    assert phone.state_of(order["order_no"]) == "awaiting_payment"
    assert phone.balance() == 0
    town.run_jobs(after=60)
    assert phone.state_of(order["order_no"]) == "succeeded"
    assert phone.balance() == 70_000
