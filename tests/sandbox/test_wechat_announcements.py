"""预扣费通知 through API v3: a plan with pre-notice lets nothing be taken without one."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature

from tests.sandbox.gateways import RunningGateway
from tests.sandbox.wechat_client import CONTRACT, DEBIT, WeChatMerchant

NOWHERE = "http://127.0.0.1:9/x"


@pytest.fixture
def contract(merchant: WeChatMerchant, payer: str) -> str:
    """A contract of a plan with pre-notice, signed longer ago than a first debit may take."""
    merchant.gateway.control("plans/change", mode="PRE_NOTICE")
    contract_id = merchant.sign_contract(payer, NOWHERE)
    merchant.gateway.control("clock", set="2026-12-01T10:00:00+08:00")
    return contract_id


def debit(merchant: WeChatMerchant, contract: str, **changes: str) -> str:
    """Return the err_code of a debit, OK if it has none."""
    return merchant.debit(contract, NOWHERE, **changes).get("err_code", "OK")


def test_a_debit_waits_for_its_announcement_and_two_days(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, contract: str
):
    refused = merchant.debit(contract, NOWHERE)
    assert refused["err_code"] == "INVALID_REQUEST"
    assert refused["err_code_des"] == "需要先下发扣费前通知才能扣费"

    announced = merchant.announce(contract, merchant.announcement(10000))
    assert (announced.status_code, announced.content) == (204, b"")
    merchant.verify_v3(announced)
    assert debit(merchant, contract) == "INVALID_REQUEST"
    wechat_gateway.control("clock", set="2026-12-02T21:59:00+08:00")
    assert debit(merchant, contract) == "INVALID_REQUEST"
    wechat_gateway.control("clock", set="2026-12-03T06:59:00+08:00")
    assert debit(merchant, contract) == "INVALID_REQUEST"
    wechat_gateway.control("clock", set="2026-12-03T07:00:00+08:00")
    assert debit(merchant, contract, total_fee="10001") == "RULE_LIMIT"
    assert debit(merchant, contract) == "OK"
    assert merchant.ask("pay/paporderquery", out_trade_no=DEBIT)["trade_state"] == ("SUCCESS")
    [shown] = wechat_gateway.look("books")["announcements"]
    assert (shown["first_day"], shown["last_day"]) == ("20261203", "20261205")
    assert (shown["amount_fen"], shown["is_used"]) == (10000, True)


def test_one_announcement_is_good_for_one_success_but_for_many_tries(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, contract: str
):
    merchant.announce(contract, merchant.announcement(10000))
    wechat_gateway.control("clock", set="2026-12-03T10:00:00+08:00")
    wechat_gateway.control("payers/change", payer=payer, balance_fen=0)
    assert debit(merchant, contract, out_trade_no="P1") == "OK"
    query = merchant.ask("pay/paporderquery", out_trade_no="P1")
    assert query["err_code"] == "NOTENOUGH"
    wechat_gateway.control("payers/change", payer=payer, balance_fen=50000)
    assert debit(merchant, contract, out_trade_no="P2") == "OK"
    assert debit(merchant, contract, out_trade_no="P3") == "INVALID_REQUEST"
    assert merchant.announce(contract, merchant.announcement(10000)).status_code == 204


def test_the_days_of_an_announcement_run_out(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, contract: str
):
    merchant.announce(contract, merchant.announcement(10000, deduct_duration=None))
    again = merchant.announce(contract, merchant.announcement(10000))
    assert (again.status_code, again.json()["code"]) == (400, "INVALID_REQUEST")
    wechat_gateway.control("clock", set="2026-12-09T21:59:00+08:00")
    assert debit(merchant, contract, out_trade_no="P1") == "OK"
    wechat_gateway.control("clock", set="2026-12-20T10:00:00+08:00")
    assert merchant.announce(contract, merchant.announcement(10000)).status_code == 204
    wechat_gateway.control("clock", set="2026-12-25T10:00:00+08:00")
    assert debit(merchant, contract, out_trade_no="P2") == "INVALID_REQUEST"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mchid": "1900000109"}, "PARAM_ERROR"),
        ({"appid": "wx0000000000000000"}, "PARAM_ERROR"),
        ({"deduct_duration": {"unit": "DAY"}}, "PARAM_ERROR"),
        ({"deduct_duration": {"count": 8, "unit": "DAY"}}, "PARAM_ERROR"),
        ({"deduct_duration": {"count": 1, "unit": "MONTH"}}, "PARAM_ERROR"),
        ({"estimated_amount": None}, "PARAM_ERROR"),
        ({"estimated_amount": {"amount": "10000", "currency": "CNY"}}, "PARAM_ERROR"),
        ({"estimated_amount": {"amount": 0, "currency": "CNY"}}, "PARAM_ERROR"),
        ({"estimated_amount": {"amount": 100, "currency": "USD"}}, "PARAM_ERROR"),
        ({"estimated_amount": {"amount": 500001, "currency": "CNY"}}, "INVALID_REQUEST"),
    ],
)
def test_a_wrong_announcement_is_refused(
    merchant: WeChatMerchant, contract: str, changes: dict[str, object], code: str
):
    answer = merchant.announce(contract, merchant.announcement(10000, **changes))
    merchant.verify_v3(answer)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert merchant.gateway.look("books")["announcements"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"mchid": "1900000109"},
        {"serial_no": "0" * 40},
        {"signature": "AAAA"},
        {"timestamp": "1700000000"},
        {"nonce_str": ""},
    ],
)
def test_who_signs_wrongly_is_not_let_in(
    merchant: WeChatMerchant, contract: str, changes: dict[str, str]
):
    answer = merchant.announce(contract, merchant.announcement(10000), **changes)
    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")
    assert merchant.gateway.look("books")["announcements"] == []


def test_the_person_is_not_woken_and_an_ended_contract_not_announced(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, contract: str
):
    wechat_gateway.control("clock", set="2026-12-01T22:00:00+08:00")
    late = merchant.announce(contract, merchant.announcement(10000))
    assert late.json() == {"code": "INVALID_REQUEST", "message": "不在可通知时间段内"}
    wechat_gateway.control("clock", set="2026-12-02T07:00:00+08:00")
    assert merchant.announce("999", merchant.announcement(10000)).status_code == 404
    wechat_gateway.control("contracts/change", contract_code=CONTRACT, by="user")
    ended = merchant.announce(contract, merchant.announcement(10000))
    assert ended.json()["code"] == "INVALID_REQUEST"


def test_other_plans_are_not_announced(merchant: WeChatMerchant, contract: str):
    merchant.gateway.control("plans/change", mode="AFTER_24_HOURS")
    answer = merchant.announce(contract, merchant.announcement(10000))
    assert answer.json()["message"] == "当前签约的模板不是周期扣费类型，不能下发扣费前通知"


def test_troubles_at_an_announcement(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, contract: str
):
    place = "v3/papay/contracts/notify"
    wechat_gateway.control("troubles", at=place, kind="error", code="RATELIMIT_EXCEEDED")
    assert merchant.announce(contract, merchant.announcement(10000)).status_code == 429
    assert wechat_gateway.look("books")["announcements"] == []
    wechat_gateway.control("troubles", at=place, kind="error_after", code="SYSTEM_ERROR")
    assert merchant.announce(contract, merchant.announcement(10000)).status_code == 500
    assert len(wechat_gateway.look("books")["announcements"]) == 1
    wechat_gateway.control("troubles", at=place, kind="bad_sign")
    with pytest.raises(InvalidSignature):
        merchant.verify_v3(merchant.announce(contract, merchant.announcement(10000)))
