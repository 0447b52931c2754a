"""The WeChat gateway driven by wechatpy, an SDK that merchants really use, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from wechatpy.exceptions import WeChatPayException
from wechatpy.pay import WeChatPay

from tests.sandbox.gateways import Inbox, RunningGateway
from tests.sandbox.wechat_client import ORDER, REFUND, WeChatMerchant


@pytest.fixture
def sdk(merchant: WeChatMerchant) -> Iterator[WeChatPay]:
    class Redirected(WeChatPay):
        API_BASE_URL = merchant.gateway.url

    sdk = Redirected(merchant.app_id, merchant.key, merchant.merchant_id, timeout=10)
    yield sdk
    sdk._http.close()


def create(sdk: WeChatPay, payer: str, inbox: Inbox, total_fee: int = 10000) -> dict:
    return sdk.order.create(
        trade_type="JSAPI",
        body="住房公积金缴存",
        total_fee=total_fee,
        notify_url=inbox.url,
        client_ip="203.0.113.7",
        user_id=payer,
        out_trade_no=ORDER,
    )


def test_from_order_to_refund(
    wechat_gateway: RunningGateway,
    merchant: WeChatMerchant,
    sdk: WeChatPay,
    payer: str,
    inbox: Inbox,
):
    wechat_gateway.clock.set(datetime.now(UTC))  # The SDK's order times come from the real clock.
    placed = create(sdk, payer, inbox)
    assert sdk.check_signature(placed)
    params = sdk.jsapi.get_jsapi_params(placed["prepay_id"])
    wechat_gateway.control("pay", payer=payer, phone=params)
    queried = sdk.order.query(out_trade_no=ORDER)
    assert sdk.check_signature(queried)
    assert queried["trade_state"] == "SUCCESS"

    wechat_gateway.until(lambda log: len(log) == 1)
    notice = sdk.parse_payment_result(inbox.bodies[0])
    assert notice["total_fee"] == 10000

    refunded = sdk.refund.apply(
        10000,
        2500,
        REFUND,
        out_trade_no=ORDER,
        notify_url=inbox.url.replace("payment", "refund"),
    )
    assert sdk.check_signature(refunded)
    found = sdk.refund.query(out_refund_no=REFUND)
    assert sdk.check_signature(found)
    assert found["refund_status_0"] == "SUCCESS"
    wechat_gateway.until(lambda log: len(log) == 2)
    opened = sdk.parse_refund_notify_result(inbox.bodies[1])
    assert opened["refund_fee"] == 2500
    assert opened["out_refund_no"] == REFUND

    with pytest.raises(WeChatPayException) as paid:
        sdk.order.close(ORDER)
    assert paid.value.errcode == "ORDERPAID"


def test_close_and_errors(wechat_gateway: RunningGateway, sdk: WeChatPay, payer: str, inbox: Inbox):
    wechat_gateway.clock.set(datetime.now(UTC))  # The SDK's order times come from the real clock.
    create(sdk, payer, inbox)
    assert sdk.check_signature(sdk.order.close(ORDER))
    with pytest.raises(WeChatPayException) as closed:
        create(sdk, payer, inbox, total_fee=1)
    assert closed.value.errcode == "ORDERCLOSED"
    with pytest.raises(WeChatPayException) as missing:
        sdk.order.query(out_trade_no="D9")
    assert missing.value.errcode == "ORDERNOTEXIST"
    sdk.api_key = "0" * 32
    with pytest.raises(WeChatPayException) as unsigned:
        sdk.order.query(out_trade_no=ORDER)
    assert (unsigned.value.return_code, unsigned.value.errmsg) == ("FAIL", None)


def test_bills(
    wechat_gateway: RunningGateway,
    merchant: WeChatMerchant,
    sdk: WeChatPay,
    payer: str,
    inbox: Inbox,
):
    merchant.place_and_pay(payer, inbox.url)
    wechat_gateway.control("clock", set="2026-11-25T10:00:00+08:00")
    day = date(2026, 11, 24)
    assert ORDER in sdk.tools.download_bill(day)
    assert "扣除交易手续费" in sdk.tools.download_fundflow(day)
    with pytest.raises(WeChatPayException) as none:
        sdk.tools.download_bill(date(2026, 11, 20))
    assert none.value.errmsg is None
    assert none.value.return_msg == "NO Bill Exist"
