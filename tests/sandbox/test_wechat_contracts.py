"""Contracts of WeChat's 委托代扣: signed in the wallet, told, asked for, ended."""

from __future__ import annotations

import pytest

from tests.sandbox.gateways import Inbox, RunningGateway
from tests.sandbox.wechat_client import CONTRACT, WeChatMerchant, from_xml, hmac_sha256, md5

NOWHERE = "http://127.0.0.1:9/x"


def query(merchant: WeChatMerchant, **changes: str) -> dict[str, str]:
    fields = {"plan_id": merchant.plan_id, "contract_code": CONTRACT, "version": "1.0", **changes}
    return merchant.ask("papay/querycontract", **fields)


def end(merchant: WeChatMerchant, **changes: str) -> dict[str, str]:
    fields = {
        "plan_id": merchant.plan_id,
        "contract_code": CONTRACT,
        "contract_termination_remark": "停止缴存",
        "version": "1.0",
        **changes,
    }
    return merchant.ask("papay/deletecontract", **fields)


@pytest.mark.parametrize("sign_type", [None, "HMAC-SHA256"])
def test_a_person_signs_and_the_merchant_is_told(
    wechat_gateway: RunningGateway,
    merchant: WeChatMerchant,
    payer: str,
    inbox: Inbox,
    sign_type: str | None,
):
    contract_id = merchant.sign_contract(payer, inbox.url, sign_type=sign_type)
    [entry] = wechat_gateway.until(lambda log: len(log) == 1)
    notice = from_xml(inbox.bodies[0])

    make = hmac_sha256 if sign_type else md5
    assert notice["sign"] == make(notice, merchant.key)
    assert {name: notice[name] for name in notice if name != "sign"} == {
        "return_code": "SUCCESS",
        "result_code": "SUCCESS",
        "mch_id": merchant.merchant_id,
        "contract_code": CONTRACT,
        "plan_id": merchant.plan_id,
        "openid": payer,
        "change_type": "ADD",
        "operate_time": notice["operate_time"],
        "contract_id": contract_id,
        "contract_expired_time": notice["contract_expired_time"],
        "request_serial": "1795485600000",
    }
    assert notice["operate_time"].startswith("2026-11-24 10:0")
    assert notice["contract_expired_time"].startswith("2036-11-21 10:0")  # 3650 days
    assert (entry["topic"], entry["out_trade_no"], entry["accepted"]) == (
        "contract",
        CONTRACT,
        True,
    )


def test_a_contract_is_found_by_each_of_its_names(merchant: WeChatMerchant, payer: str):
    contract_id = merchant.sign_contract(payer, NOWHERE)
    by_code = query(merchant)
    by_id = query(merchant, plan_id=None, contract_code=None, contract_id=contract_id)
    by_person = query(merchant, contract_code=None, openid=payer)

    for found in (by_code, by_id, by_person):
        assert found["result_code"] == "SUCCESS"
        assert found["contract_id"] == contract_id
        assert found["contract_state"] == "0"
        assert found["openid"] == payer
        assert found["contract_display_account"] == "测试用户"
        assert "contract_terminated_time" not in found
    assert query(merchant, contract_code="M9")["err_code"] == "CONTRACT_NOT_EXIST"
    assert query(merchant, plan_id="999")["err_code"] == "CONTRACT_NOT_EXIST"
    assert query(merchant, plan_id=None)["return_msg"] == "缺少参数plan_id"
    assert query(merchant, version="2.0")["return_msg"] == "参数格式校验错误：version"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"plan_id": "999"}, "模板id不存在"),
        ({"plan_id": None}, "缺少参数plan_id"),
        ({"contract_code": "M" * 33}, "参数格式校验错误：contract_code"),
        ({"request_serial": None}, "缺少参数request_serial"),
        ({"notify_url": "http://127.0.0.1:9/x?a=1"}, "参数格式校验错误：notify_url"),
        ({"contract_display_account": "𠮷某"}, "contract_display_account 不支持四字节字符"),
        ({"mch_id": "1900000109"}, "商户号mch_id不存在"),
        ({"appid": "wx0000000000000000"}, "appid和mch_id不匹配"),
        ({"timestamp": 17954856}, "参数格式校验错误：timestamp"),
        ({"openid": "oSomebodyElse"}, "当前用户与签约用户不一致"),
        ({"sign_type": "RSA"}, "签名错误"),
    ],
)
def test_a_wrong_signing_is_refused_on_the_page(
    merchant: WeChatMerchant, payer: str, changes: dict[str, str | int | None], error: str
):
    refused = merchant.gateway.try_control(
        "contracts/sign", payer=payer, extra_data=merchant.signing(NOWHERE, **changes)
    )
    assert refused == {"ok": False, "error": error}
    assert merchant.gateway.look("books")["contracts"] == []


def test_parameters_changed_after_signing_are_refused(merchant: WeChatMerchant, payer: str):
    extra_data = {**merchant.signing(NOWHERE), "contract_display_account": "别人"}
    refused = merchant.gateway.try_control("contracts/sign", payer=payer, extra_data=extra_data)
    assert refused["error"] == "签名错误"
    assert query(merchant)["err_code"] == "CONTRACT_NOT_EXIST"


def test_a_code_and_a_person_sign_once(merchant: WeChatMerchant, payer: str):
    merchant.sign_contract(payer, NOWHERE)
    for changes, error in (
        ({}, "该签约协议号已签约，请勿重复签约"),
        ({"timestamp": 1795485700}, "该签约协议号已签约，请勿重复签约"),
        ({"contract_display_account": "另一人"}, "签约协议号重复"),
        ({"contract_code": "M2"}, "您已签约该服务，请勿重复签约"),
    ):
        refused = merchant.gateway.try_control(
            "contracts/sign", payer=payer, extra_data=merchant.signing(NOWHERE, **changes)
        )
        assert refused["error"] == error
    other = merchant.gateway.control("payers", balance_fen=0)["payer"]
    assert merchant.sign_contract(other, NOWHERE, contract_code="M2")


def test_a_person_who_says_no_can_come_back(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, inbox: Inbox
):
    extra_data = merchant.signing(inbox.url)
    denied = wechat_gateway.control(
        "contracts/sign", payer=payer, extra_data=extra_data, accept=False
    )
    assert denied == {"ok": True, "result": "denied"}
    assert query(merchant)["err_code"] == "CONTRACT_NOT_EXIST"
    assert wechat_gateway.look("deliveries")["deliveries"] == []
    assert merchant.sign_contract(payer, inbox.url)
    assert query(merchant)["contract_state"] == "0"


def test_the_merchant_ends_a_contract_once(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, inbox: Inbox
):
    contract_id = merchant.sign_contract(payer, inbox.url)
    wechat_gateway.until(lambda log: len(log) == 1)
    ended = end(merchant)
    assert (ended["result_code"], ended["contract_id"]) == ("SUCCESS", contract_id)
    wechat_gateway.until(lambda log: len(log) == 2)
    notice = from_xml(inbox.bodies[1])
    assert notice["sign"] == md5(notice, merchant.key)
    assert (notice["change_type"], notice["contract_termination_mode"]) == ("DELETE", "3")
    assert notice["contract_id"] == contract_id
    found = query(merchant)
    assert (found["contract_state"], found["contract_termination_mode"]) == ("1", "3")
    assert found["contract_termination_remark"] == "停止缴存"
    assert found["contract_terminated_time"].startswith("2026-11-24 10:0")
    assert end(merchant)["err_code"] == "CONTRACTERROR"
    assert end(merchant, contract_code="M9")["err_code"] == "CONTRACT_NOT_EXIST"
    assert end(merchant, contract_termination_remark="")["return_code"] == "FAIL"


@pytest.mark.parametrize(("by", "mode"), [("user", "2"), ("platform", "4"), ("closed", "5")])
def test_others_end_a_contract_too(
    wechat_gateway: RunningGateway,
    merchant: WeChatMerchant,
    payer: str,
    inbox: Inbox,
    by: str,
    mode: str,
):
    ended_url = inbox.url.replace("payment", "ended")
    wechat_gateway.control("plans/change", termination_url=ended_url)
    merchant.sign_contract(payer, inbox.url)
    wechat_gateway.control("contracts/change", contract_code=CONTRACT, by=by)
    log = wechat_gateway.until(lambda log: len(log) == 2)
    assert [entry["url"] for entry in log] == [inbox.url, ended_url]
    notice = from_xml(inbox.bodies[1])
    assert (notice["change_type"], notice["contract_termination_mode"]) == ("DELETE", mode)
    assert query(merchant)["contract_termination_mode"] == mode
    again = wechat_gateway.try_control("contracts/change", contract_code=CONTRACT, by=by)
    assert not again["ok"]


def test_a_contract_runs_out_at_its_own_moment(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, inbox: Inbox
):
    merchant.sign_contract(payer, inbox.url)
    expires_at = query(merchant)["contract_expired_time"]
    wechat_gateway.control("clock", set="2036-12-25T10:00:00+08:00")
    found = query(merchant)
    assert (found["contract_state"], found["contract_termination_mode"]) == ("1", "1")
    assert found["contract_terminated_time"] == expires_at


def test_a_signing_whose_answer_is_lost_comes_to_light_later(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, inbox: Inbox
):
    wechat_gateway.control("troubles", at="contract/sign", kind="silent", seconds=3600)
    contract_id = merchant.sign_contract(payer, inbox.url)
    assert query(merchant)["err_code"] == "CONTRACT_NOT_EXIST"
    assert inbox.bodies == []
    wechat_gateway.control("clock", advance_seconds=3600)
    wechat_gateway.until(lambda log: len(log) == 1)
    assert query(merchant)["contract_id"] == contract_id


def test_a_signing_can_be_released_by_hand_or_refused(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str
):
    wechat_gateway.control("troubles", at="contract/sign", kind="refuse", code="风险控制")
    wechat_gateway.control("troubles", at="contract/sign", kind="silent")
    refused = wechat_gateway.try_control(
        "contracts/sign", payer=payer, extra_data=merchant.signing(NOWHERE)
    )
    assert refused["error"] == "签约失败：风险控制"
    merchant.sign_contract(payer, NOWHERE)
    assert query(merchant)["err_code"] == "CONTRACT_NOT_EXIST"
    wechat_gateway.control("contracts/change", contract_code=CONTRACT, by="release")
    assert query(merchant)["contract_state"] == "0"


@pytest.mark.parametrize(
    ("defect", "is_signed", "merchant_is_ours"),
    [
        ("none", True, True),
        ("other_merchant", True, False),
        ("wrong_key", False, True),
        ("empty_key", False, True),
        ("no_sign", False, True),
        ("tampered_after_signing", False, True),
    ],
)
def test_a_contract_notice_can_be_forged(
    wechat_gateway: RunningGateway,
    merchant: WeChatMerchant,
    payer: str,
    inbox: Inbox,
    defect: str,
    is_signed: bool,
    merchant_is_ours: bool,
):
    extra_data = merchant.signing(inbox.url)
    wechat_gateway.control("contracts/sign", payer=payer, extra_data=extra_data, accept=False)
    wechat_gateway.control("notices/forge", out_trade_no=CONTRACT, defect=defect)
    notice = from_xml(inbox.bodies[0])
    assert (notice["change_type"], notice["contract_code"]) == ("ADD", CONTRACT)
    assert notice["contract_id"]
    assert (notice.get("sign") == md5(notice, merchant.key)) is is_signed
    assert (notice["mch_id"] == merchant.merchant_id) is merchant_is_ours
    other_app = {"out_trade_no": CONTRACT, "defect": "other_app"}
    assert not wechat_gateway.try_control("notices/forge", **other_app)["ok"]
