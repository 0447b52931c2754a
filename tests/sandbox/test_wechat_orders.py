"""The WeChat gateway's orders over real HTTP, asked by hand: what it takes and what it refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sandbox.gateways import Inbox, RunningGateway
from tests.sandbox.wechat_client import ORDER, WeChatMerchant, from_xml, md5, to_xml

URL = "http://127.0.0.1:9/callbacks/payment"


def refusal(answer: dict[str, str]) -> str:
    if answer["return_code"] == "FAIL":
        assert "sign" not in answer
        return answer["return_msg"]
    assert answer["result_code"] == "FAIL"
    assert answer["err_code_des"]
    return answer["err_code"]


def test_an_order_gets_a_prepay_id_and_the_same_one_again(merchant: WeChatMerchant, payer: str):
    first = merchant.ask("pay/unifiedorder", **merchant.order(payer, URL))
    again = merchant.ask(
        "pay/unifiedorder", **merchant.order(payer, URL, spbill_create_ip="203.0.113.8")
    )

    assert first["result_code"] == "SUCCESS"
    assert first["trade_type"] == "JSAPI"
    assert first["prepay_id"].startswith("wx20261124")
    assert len(first["prepay_id"]) == 36
    assert again["prepay_id"] == first["prepay_id"]


@pytest.mark.parametrize("sign_type", ["MD5", "HMAC-SHA256"])
def test_both_sign_types_are_understood(merchant: WeChatMerchant, payer: str, sign_type: str):
    placed = merchant.ask("pay/unifiedorder", sign_type=sign_type, **merchant.order(payer, URL))
    assert placed["result_code"] == "SUCCESS"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda fields: {**fields, "sign": "0" * 32},
        lambda fields: {**fields, "sign": fields["sign"].lower()},
        lambda fields: {**fields, "total_fee": "1"},
        lambda fields: {**fields, "sign_type": "HMAC-SHA256"},
        lambda fields: {**fields, "sign_type": "NONE"},
        lambda fields: {name: value for name, value in fields.items() if name != "sign"},
        lambda fields: {**fields, "sign": md5(fields, "")},
    ],
)
def test_a_wrong_signature_is_refused_unsigned(merchant: WeChatMerchant, payer: str, spoil):
    fields = spoil(merchant.signed(**merchant.order(payer, URL)))
    answer = from_xml(merchant.send("pay/unifiedorder", to_xml(fields)).content)
    assert answer == {"return_code": "FAIL", "return_msg": "签名错误"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<xml>",
        b"not xml",
        b"<root><a>1</a></root>",
        b"<xml><a><b>1</b></a></xml>",
        b"<xml><a>1</a><a>2</a></xml>",
        b'<!DOCTYPE xml [<!ENTITY e "x">]><xml><a>&e;</a></xml>',
        b'<!DOCTYPE xml SYSTEM "http://127.0.0.1:9/x.dtd"><xml></xml>',
        "<xml><a>缴存</a></xml>".encode("gbk"),
    ],
)
def test_what_is_not_the_prescribed_xml_is_refused(merchant: WeChatMerchant, body: bytes):
    answer = from_xml(merchant.send("pay/orderquery", body).content)
    assert answer["return_code"] == "FAIL"
    assert answer["return_msg"] in {"XML格式错误", "post数据为空"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"body": ""}, "缺少参数body"),
        ({"body": "缴" * 43}, "参数格式校验错误：body"),  # 129 bytes
        ({"out_trade_no": "D" * 33}, "参数格式校验错误：out_trade_no"),
        ({"out_trade_no": "D 1"}, "参数格式校验错误：out_trade_no"),
        ({"total_fee": "0"}, "参数格式校验错误：total_fee"),
        ({"total_fee": "100.00"}, "参数格式校验错误：total_fee"),
        ({"total_fee": "-5"}, "参数格式校验错误：total_fee"),
        ({"spbill_create_ip": "fund.example"}, "参数格式校验错误：spbill_create_ip"),
        ({"notify_url": URL + "?a=1"}, "参数格式校验错误：notify_url"),
        ({"notify_url": "/callbacks"}, "参数格式校验错误：notify_url"),
        ({"time_expire": "20261124"}, "参数格式校验错误：time_expire"),
        ({"time_expire": "20261132000000"}, "参数格式校验错误：time_expire"),
        ({"time_expire": "20261124100030"}, "time_expire时间过短，至少1分钟"),
        ({"fee_type": "USD"}, "参数格式校验错误：fee_type"),
        ({"nonce_str": ""}, "缺少参数nonce_str"),
        ({"nonce_str": "a" * 33}, "参数格式校验错误：nonce_str"),
        ({"appid": ""}, "缺少参数appid"),
        ({"mch_id": "1000000000"}, "商户号mch_id不存在"),
        ({"openid": ""}, "JSAPI支付必须传openid"),
        ({"openid": "oNobody"}, "appid and openid not match"),
        ({"trade_type": "NATIVE"}, "NOAUTH"),
        ({"appid": "wx0000000000000000"}, "APPID_MCHID_NOT_MATCH"),
    ],
)
def test_every_field_is_checked(
    merchant: WeChatMerchant, payer: str, changes: dict[str, str], message: str
):
    answer = merchant.ask("pay/unifiedorder", **merchant.order(payer, URL, **changes))
    assert refusal(answer) == message
    assert merchant.gateway.look("books")["trades"] == []


@pytest.mark.parametrize(
    "changes", [{"total_fee": "9999"}, {"body": "别的"}, {"time_expire": "20261124103000"}]
)
def test_the_same_number_with_other_content_is_refused(
    merchant: WeChatMerchant, payer: str, changes: dict[str, str]
):
    merchant.ask("pay/unifiedorder", **merchant.order(payer, URL))
    answer = merchant.ask("pay/unifiedorder", **merchant.order(payer, URL, **changes))
    assert refusal(answer) == "OUT_TRADE_NO_USED"


def test_paying_moves_the_money_once_and_the_query_tells_it(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, inbox: Inbox
):
    paid = merchant.place_and_pay(payer, inbox.url, attach="甲,乙")
    answer = merchant.ask("pay/orderquery", out_trade_no=ORDER)
    by_reference = merchant.ask("pay/orderquery", transaction_id=paid["reference"])

    assert answer["trade_state"] == "SUCCESS"
    assert answer["total_fee"] == answer["cash_fee"] == "10000"
    assert answer["fee_type"] == "CNY"
    assert answer["openid"] == payer
    assert answer["transaction_id"] == paid["reference"]
    assert len(paid["reference"]) == 28
    assert answer["time_end"].startswith("2026112410")
    assert answer["attach"] == "甲,乙"
    assert by_reference["out_trade_no"] == ORDER
    books = wechat_gateway.look("books")
    [trade] = books["trades"]
    assert (trade["state"], trade["amount_fen"], trade["refunded_fen"]) == ("SUCCESS", 10000, 0)
    assert trade["payer"] == payer
    assert books["payers"] == [{"payer": payer, "balance_fen": 90000}]
    assert books["merchant_balance_fen"] == 9940  # 10000 - 0.60 %
    second = wechat_gateway.try_control("pay", payer=payer, phone=merchant.phone("wx1"))
    assert not second["ok"]


def test_many_taps_on_pay_are_one_payment(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, inbox: Inbox
):
    placed = merchant.ask("pay/unifiedorder", **merchant.order(payer, inbox.url))
    phone = merchant.phone(placed["prepay_id"])
    with ThreadPoolExecutor(max_workers=8) as threads:
        taps = [
            threads.submit(wechat_gateway.try_control, "pay", payer=payer, phone=phone)
            for _ in range(8)
        ]
    assert [tap.result()["ok"] for tap in taps].count(True) == 1
    assert wechat_gateway.look("books")["payers"] == [{"payer": payer, "balance_fen": 90000}]


def test_a_paid_order_is_neither_placed_again_nor_closed(
    merchant: WeChatMerchant, payer: str, inbox: Inbox
):
    merchant.place_and_pay(payer, inbox.url)
    again = merchant.ask("pay/unifiedorder", **merchant.order(payer, inbox.url))
    closed = merchant.ask("pay/closeorder", out_trade_no=ORDER)
    assert refusal(again) == "ORDERPAID"
    assert refusal(closed) == "ORDERPAID"


def test_a_closed_order_cannot_be_paid(merchant: WeChatMerchant, payer: str):
    placed = merchant.ask("pay/unifiedorder", **merchant.order(payer, URL))
    closed = merchant.ask("pay/closeorder", out_trade_no=ORDER)
    phone = merchant.phone(placed["prepay_id"])
    paid = merchant.gateway.try_control("pay", payer=payer, phone=phone)

    assert closed["result_code"] == "SUCCESS"
    assert paid == {"ok": False, "error": "该订单已关闭"}
    assert merchant.ask("pay/orderquery", out_trade_no=ORDER)["trade_state"] == "CLOSED"
    assert refusal(merchant.ask("pay/closeorder", out_trade_no=ORDER)) == "ORDERCLOSED"
    again = merchant.ask("pay/unifiedorder", **merchant.order(payer, URL))
    assert refusal(again) == "ORDERCLOSED"


def test_an_unknown_order_does_not_exist(merchant: WeChatMerchant):
    assert refusal(merchant.ask("pay/orderquery", out_trade_no=ORDER)) == "ORDERNOTEXIST"
    assert refusal(merchant.ask("pay/closeorder", out_trade_no=ORDER)) == "ORDERNOTEXIST"
    assert refusal(merchant.refund("100")) == "ORDERNOTEXIST"
    assert refusal(merchant.ask("pay/orderquery")) == "缺少参数transaction_id或out_trade_no"


@pytest.mark.parametrize("state", ["USERPAYING", "PAYERROR", "REVOKED", "ACCEPT", "NOTPAY"])
def test_a_query_can_tell_every_unpaid_state(merchant: WeChatMerchant, payer: str, state: str):
    merchant.ask("pay/unifiedorder", **merchant.order(payer, URL))
    merchant.gateway.control("orders/state", out_trade_no=ORDER, trade_state=state)
    answer = merchant.ask("pay/orderquery", out_trade_no=ORDER)
    assert answer["trade_state"] == state
    assert answer["trade_state_desc"]
    assert "transaction_id" not in answer


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paySign": "0" * 32}, "支付验证签名失败"),
        ({"timeStamp": "1795485601"}, "支付验证签名失败"),
        ({"signType": "HMAC-SHA256"}, "支付验证签名失败"),
        ({"package": "prepay_id=wx0"}, "支付参数无效：没有这个 prepay_id"),
        ({"package": "wx0"}, "支付参数格式错误：package"),
        ({"nonceStr": ""}, "调用支付JSAPI缺少参数：nonceStr"),
        ({"timeStamp": 1795485600}, "调用支付JSAPI缺少参数：timeStamp"),
    ],
)
def test_the_wallet_checks_what_the_phone_was_given(
    merchant: WeChatMerchant, payer: str, changes: dict[str, object], message: str
):
    placed = merchant.ask("pay/unifiedorder", **merchant.order(payer, URL))
    phone = merchant.phone(placed["prepay_id"]) | changes
    paid = merchant.gateway.try_control("pay", payer=payer, phone=phone)
    assert paid == {"ok": False, "error": message}


def test_nobody_pays_for_another_or_with_an_empty_wallet(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str
):
    poor = wechat_gateway.control("payers", balance_fen=9999)["payer"]
    placed = merchant.ask("pay/unifiedorder", **merchant.order(poor, URL))
    phone = merchant.phone(placed["prepay_id"])
    assert wechat_gateway.try_control("pay", payer=payer, phone=phone)["error"].startswith("当前")
    assert wechat_gateway.try_control("pay", payer=poor, phone=phone)["error"] == "余额不足"
    assert wechat_gateway.look("books")["merchant_balance_fen"] == 0


def test_a_prepay_id_lives_two_hours_and_a_new_one_can_be_had(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, inbox: Inbox
):
    order = merchant.order(payer, inbox.url)
    stale = merchant.ask("pay/unifiedorder", **order)["prepay_id"]
    wechat_gateway.control("clock", advance_seconds=2 * 3600)
    late = wechat_gateway.try_control("pay", payer=payer, phone=merchant.phone(stale))
    fresh = merchant.ask("pay/unifiedorder", **order)["prepay_id"]

    assert late == {"ok": False, "error": "该订单已过期"}
    assert fresh != stale
    assert wechat_gateway.control("pay", payer=payer, phone=merchant.phone(fresh))["reference"]


def test_an_order_past_its_time_stays_unpaid_until_it_is_closed(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str
):
    order = merchant.order(payer, URL, time_expire="20261124101000")
    placed = merchant.ask("pay/unifiedorder", **order)
    wechat_gateway.control("clock", set="2026-11-24T10:10:00+08:00")
    phone = merchant.phone(placed["prepay_id"])
    late = wechat_gateway.try_control("pay", payer=payer, phone=phone)
    assert late == {"ok": False, "error": "该订单已过期"}
    assert merchant.ask("pay/orderquery", out_trade_no=ORDER)["trade_state"] == "NOTPAY"
    assert merchant.ask("pay/closeorder", out_trade_no=ORDER)["result_code"] == "SUCCESS"
