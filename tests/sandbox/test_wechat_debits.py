"""Debits under a WeChat contract: accepted, carried out later, told, refunded, in the bill."""

from __future__ import annotations

import pytest

from tests.sandbox.gateways import Inbox, RunningGateway
from tests.sandbox.wechat_client import CONTRACT, DEBIT, WeChatMerchant, from_xml, md5

NOWHERE = "http://127.0.0.1:9/x"


@pytest.fixture
def contract(merchant: WeChatMerchant, payer: str) -> str:
    """A contract of a plan whose debits are carried out at once, told nowhere."""
    merchant.gateway.control("plans/change", mode="AT_ONCE")
    return merchant.sign_contract(payer, NOWHERE)


def pap_query(merchant: WeChatMerchant, number: str = DEBIT) -> dict[str, str]:
    return merchant.ask("pay/paporderquery", out_trade_no=number)


def debit_notice(gateway: RunningGateway, inbox: Inbox) -> dict[str, str]:
    """Return the one notice that reached the merchant."""
    gateway.until(lambda log: any(entry["accepted"] for entry in log))
    [body] = inbox.bodies
    return from_xml(body)


def test_a_debit_is_accepted_and_told_with_its_contract(
    wechat_gateway: RunningGateway,
    merchant: WeChatMerchant,
    payer: str,
    contract: str,
    inbox: Inbox,
):
    accepted = merchant.debit(contract, inbox.url, attach="2026-11")
    assert accepted["result_code"] == "SUCCESS"
    assert accepted.keys().isdisjoint({"transaction_id", "trade_state", "total_fee"})
    notice = debit_notice(wechat_gateway, inbox)

    assert notice["sign"] == md5(notice, merchant.key)
    told = ("result_code", "trade_type", "trade_state", "total_fee", "contract_id", "openid")
    assert [notice[name] for name in told] == [
        *("SUCCESS", "PAP", "SUCCESS", "10000", contract, payer)
    ]
    assert notice["attach"] == "2026-11"
    for found in (pap_query(merchant), merchant.ask("pay/orderquery", out_trade_no=DEBIT)):
        assert found["trade_state"] == "SUCCESS"
        assert found["contract_id"] == contract
        assert found["transaction_id"] == notice["transaction_id"]
    [wallet] = wechat_gateway.look("books")["payers"]
    assert wallet["balance_fen"] == 90000


def test_a_first_debit_is_carried_out_at_once_and_a_later_one_a_day_after(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, inbox: Inbox
):
    contract_id = merchant.sign_contract(payer, NOWHERE)
    merchant.debit(contract_id, NOWHERE, out_trade_no="P1")
    assert pap_query(merchant, "P1")["trade_state"] == "SUCCESS"

    wechat_gateway.control("clock", set="2026-12-09T10:00:00+08:00")
    merchant.debit(contract_id, inbox.url)
    waiting = pap_query(merchant)
    assert (waiting["trade_state"], waiting["trade_type"]) == ("ACCEPT", "PAP")
    wechat_gateway.control("clock", set="2026-12-10T09:59:00+08:00")
    assert pap_query(merchant)["trade_state"] == "ACCEPT"
    wechat_gateway.control("clock", set="2026-12-12T08:00:00+08:00")
    found = pap_query(merchant)
    assert found["trade_state"] == "SUCCESS"
    assert found["time_end"].startswith("2026121010")
    assert debit_notice(wechat_gateway, inbox)["time_end"] == found["time_end"]


def test_a_wallet_without_the_money_fails_and_nothing_moves(
    wechat_gateway: RunningGateway,
    merchant: WeChatMerchant,
    payer: str,
    contract: str,
    inbox: Inbox,
):
    wechat_gateway.control("payers/change", payer=payer, balance_fen=9999)
    assert merchant.debit(contract, inbox.url)["result_code"] == "SUCCESS"
    notice = debit_notice(wechat_gateway, inbox)
    assert notice["sign"] == md5(notice, merchant.key)
    assert (notice["result_code"], notice["err_code"]) == ("FAIL", "NOTENOUGH")
    assert (notice["out_trade_no"], notice["total_fee"]) == (DEBIT, "10000")
    assert notice.keys().isdisjoint({"transaction_id", "time_end"})
    found = pap_query(merchant)
    assert (found["trade_state"], found["err_code"]) == ("PAY_FAIL", "NOTENOUGH")
    assert merchant.ask("pay/orderquery", out_trade_no=DEBIT)["trade_state"] == "PAYERROR"
    assert wechat_gateway.look("books")["merchant_balance_fen"] == 0
    assert merchant.debit(contract, inbox.url)["err_code"] == "ORDER_CLOSED"
    wechat_gateway.control("payers/change", payer=payer, balance_fen=10000)
    merchant.debit(contract, inbox.url, out_trade_no="P2")
    assert pap_query(merchant, "P2")["trade_state"] == "SUCCESS"
    assert not wechat_gateway.try_control("payers/change", payer="oNo", balance_fen=1)["ok"]


@pytest.mark.parametrize(
    "code",
    [
        *("NOTENOUGH", "RULE_LIMIT", "RULELIMIT", "USER_ACCOUNT_ABNORMAL", "CONTRACT_NOT_EXIST"),
        *("BANKERROR", "SYSTEMERROR", "0"),
    ],
)
def test_a_debit_is_refused_for_each_reason(merchant: WeChatMerchant, contract: str, code: str):
    merchant.gateway.control("troubles", at="debit/outcome", kind="refuse", code=code)
    assert merchant.debit(contract, NOWHERE)["result_code"] == "SUCCESS"
    found = pap_query(merchant)
    assert (found["trade_state"], found["err_code"]) == ("PAY_FAIL", code)
    assert merchant.gateway.look("books")["debits"][0]["code"] == code


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"contract_id": "999"}, ("SUCCESS", "CONTRACT_NOT_EXIST")),
        ({"total_fee": "500001"}, ("SUCCESS", "RULE_LIMIT")),
        ({"trade_type": "JSAPI"}, ("SUCCESS", "INVALID_REQUEST")),
        ({"openid": "oSomebodyElse"}, ("SUCCESS", "INVALID_REQUEST")),
        ({"appid": "wx0000000000000000"}, ("SUCCESS", "APPID_MCHID_NOT_MATCH")),
        ({"total_fee": "0.01"}, ("FAIL", "参数格式校验错误：total_fee")),
        ({"contract_id": None}, ("FAIL", "缺少参数contract_id")),
        ({"spbill_create_ip": None}, ("FAIL", "缺少参数spbill_create_ip")),
        ({"nonce_str": None}, ("FAIL", "缺少参数nonce_str")),
        ({"mch_id": "1900000109"}, ("FAIL", "商户号mch_id不存在")),
    ],
)
def test_a_wrong_debit_is_refused_at_once(
    merchant: WeChatMerchant, contract: str, changes: dict[str, str], error: tuple[str, str]
):
    refused = merchant.debit(contract, NOWHERE, **changes)
    assert (refused["return_code"], refused.get("err_code", refused["return_msg"])) == error
    assert merchant.gateway.look("books")["debits"] == []


def test_nothing_is_taken_under_an_ended_contract(merchant: WeChatMerchant, contract: str):
    merchant.gateway.control("contracts/change", contract_code=CONTRACT, by="user")
    assert merchant.debit(contract, NOWHERE)["err_code"] == "CONTRACTERROR"


def test_a_contract_ended_while_a_debit_waits_stops_it(
    merchant: WeChatMerchant, wechat_gateway: RunningGateway, contract: str
):
    wechat_gateway.control("troubles", at="debit/outcome", kind="slow", seconds=600)
    merchant.debit(contract, NOWHERE)
    wechat_gateway.control("contracts/change", contract_code=CONTRACT, by="user")
    wechat_gateway.control("clock", advance_seconds=601)
    assert pap_query(merchant)["err_code"] == "CONTRACTERROR"
    assert wechat_gateway.look("books")["merchant_balance_fen"] == 0


def test_a_number_is_debited_once(merchant: WeChatMerchant, contract: str):
    merchant.gateway.control("troubles", at="debit/outcome", kind="slow")
    merchant.debit(contract, NOWHERE)
    assert merchant.debit(contract, NOWHERE)["err_code"] == "ORDER_ACCEPTED"
    assert merchant.debit(contract, NOWHERE, total_fee="1")["err_code"] == "OUT_TRADE_NO_USED"
    other = merchant.debit(contract, NOWHERE, out_trade_no="P2")
    assert other["err_code"] == "FREQUENCY_LIMITED"
    assert pap_query(merchant, "P2")["err_code"] == "ORDERNOTEXIST"
    merchant.gateway.control("debits/finish", out_trade_no=DEBIT)
    assert pap_query(merchant)["trade_state"] == "SUCCESS"
    assert merchant.debit(contract, NOWHERE)["err_code"] == "ORDERPAID"
    assert not merchant.gateway.try_control("debits/finish", out_trade_no=DEBIT)["ok"]


def test_a_debit_can_be_finished_with_any_reason(merchant: WeChatMerchant, contract: str):
    merchant.gateway.control("troubles", at="debit/outcome", kind="slow")
    merchant.debit(contract, NOWHERE)
    merchant.gateway.control("debits/finish", out_trade_no=DEBIT, code="BANKERROR")
    assert pap_query(merchant)["err_code"] == "BANKERROR"


@pytest.mark.parametrize(
    ("kind", "told"),
    [("silent", ("trade_state", "ACCEPT")), ("lost", ("err_code", "ORDERNOTEXIST"))],
)
def test_money_that_has_moved_can_stay_in_the_dark(
    wechat_gateway: RunningGateway,
    merchant: WeChatMerchant,
    contract: str,
    inbox: Inbox,
    kind: str,
    told: tuple[str, str],
):
    wechat_gateway.control("troubles", at="debit/outcome", kind=kind, seconds=7200)
    merchant.debit(contract, inbox.url)
    name, value = told
    assert pap_query(merchant)[name] == value
    assert "transaction_id" not in pap_query(merchant)
    assert wechat_gateway.look("books")["merchant_balance_fen"] == 9940
    wechat_gateway.control("clock", advance_seconds=7200)
    notice = debit_notice(wechat_gateway, inbox)
    assert notice["result_code"] == "SUCCESS"
    assert pap_query(merchant)["trade_state"] == "SUCCESS"


def test_a_debit_in_the_dark_comes_to_light_by_hand(merchant: WeChatMerchant, contract: str):
    merchant.gateway.control("troubles", at="debit/outcome", kind="lost")
    merchant.debit(contract, NOWHERE)
    finish = {"out_trade_no": DEBIT, "code": "BANKERROR"}
    assert not merchant.gateway.try_control("debits/finish", **finish)["ok"]
    merchant.gateway.control("debits/finish", out_trade_no=DEBIT)
    assert pap_query(merchant)["trade_state"] == "SUCCESS"


def test_a_time_out_after_taking_the_money(merchant: WeChatMerchant, contract: str):
    merchant.gateway.control(
        "troubles", at="pay/pappayapply", kind="error_after", code="SYSTEMERROR"
    )
    assert merchant.debit(contract, NOWHERE)["err_code"] == "SYSTEMERROR"
    assert pap_query(merchant)["trade_state"] == "SUCCESS"


def test_a_debit_is_refunded_and_billed_like_a_payment(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, contract: str
):
    merchant.debit(contract, NOWHERE)
    refunded = merchant.refund("2500", out_trade_no=DEBIT)
    assert refunded["result_code"] == "SUCCESS"
    assert pap_query(merchant)["trade_state"] == "REFUND"
    wechat_gateway.control("clock", set="2026-11-25T10:00:00+08:00")
    bill = merchant.send(
        "pay/downloadbill",
        b"<xml>%s</xml>"
        % b"".join(
            f"<{name}>{text}</{name}>".encode()
            for name, text in merchant.signed(bill_date="20261124", bill_type="ALL").items()
        ),
    ).content.decode("utf-8-sig")
    lines = [line for line in bill.splitlines() if f"`{DEBIT}," in line]
    assert [line.split(",`")[8] for line in lines] == ["PAP", "PAP"]
    assert [line.split(",`")[9] for line in lines] == ["SUCCESS", "REFUND"]


def test_a_payment_by_hand_is_no_debit(merchant: WeChatMerchant, payer: str):
    merchant.place_and_pay(payer, NOWHERE, out_trade_no="D1")
    assert pap_query(merchant, "D1")["err_code"] == "INVALID_REQUEST"


def test_a_result_can_be_forged(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, contract: str, inbox: Inbox
):
    wechat_gateway.control("troubles", at="debit/outcome", kind="slow")
    merchant.debit(contract, inbox.url)
    wechat_gateway.control("notices/forge", out_trade_no=DEBIT, defect="wrong_key")
    notice = from_xml(inbox.bodies[0])
    assert (notice["result_code"], notice["contract_id"]) == ("SUCCESS", contract)
    assert notice["sign"] != md5(notice, merchant.key)
