"""The WeChat gateway driven by wechatpy, an SDK that merchants really use, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from wechatpy.exceptions import WeChatPayException
from wechatpy.pay import WeChatPay

from tests.sandbox.gateways import Inbox, RunningGateway
from tests.sandbox.wechat_client import CONTRACT, DEBIT, ORDER, REFUND, WeChatMerchant


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


@pytest.fixture
def withhold(sdk: WeChatPay, monkeypatch: pytest.MonkeyPatch) -> WeChatPay:
    """The SDK as it signs and debits; it must not ask the network for its own address."""
    monkeypatch.setattr("wechatpy.pay.api.withhold.get_external_ip", lambda: "203.0.113.7")
    return sdk


def sign_contract(
    sdk: WeChatPay, merchant: WeChatMerchant, payer: str, inbox: Inbox
) -> dict[str, str]:
    """Let the person sign what the SDK signed, and return the notice."""
    extra_data = sdk.withhold.apply_signing(merchant.plan_id, CONTRACT, "测试用户", inbox.url)[
        "data"
    ]
    merchant.gateway.control("contracts/sign", payer=payer, extra_data=extra_data)
    merchant.gateway.until(lambda log: len(log) == 1)
    return sdk.parse_payment_result(inbox.bodies[0])


def test_a_contract_from_signing_to_its_end(
    wechat_gateway: RunningGateway,
    merchant: WeChatMerchant,
    withhold: WeChatPay,
    payer: str,
    inbox: Inbox,
):
    signed = sign_contract(withhold, merchant, payer, inbox)
    assert (signed["change_type"], signed["contract_code"]) == ("ADD", CONTRACT)
    by_code = withhold.withhold.query_signing(plan_id=merchant.plan_id, contract_code=CONTRACT)
    assert withhold.check_signature(by_code)
    assert (by_code["contract_id"], by_code["contract_state"]) == (signed["contract_id"], "0")

    ended = withhold.withhold.apply_cancel_signing(
        contract_id=signed["contract_id"], contract_termination_remark="不再缴存"
    )
    assert withhold.check_signature(ended)
    found = withhold.withhold.query_signing(contract_id=signed["contract_id"])
    assert (found["contract_state"], found["contract_termination_mode"]) == ("1", "3")
    wechat_gateway.until(lambda log: len(log) == 2)
    assert withhold.parse_payment_result(inbox.bodies[1])["change_type"] == "DELETE"


def test_a_debit_from_its_announcement_to_its_result(
    wechat_gateway: RunningGateway,
    merchant: WeChatMerchant,
    withhold: WeChatPay,
    payer: str,
    inbox: Inbox,
):
    wechat_gateway.control("plans/change", mode="PRE_NOTICE")
    contract_id = sign_contract(withhold, merchant, payer, inbox)["contract_id"]
    debit = {
        "body": "住房公积金缴存",
        "total_fee": 10000,
        "contract_id": contract_id,
        "notify_url": inbox.url,
        "out_trade_no": DEBIT,
    }
    wechat_gateway.control("clock", set="2026-12-01T10:00:00+08:00")
    with pytest.raises(WeChatPayException) as unannounced:
        withhold.withhold.apply_deduct(**debit)
    assert unannounced.value.errcode == "INVALID_REQUEST"
    assert merchant.announce(contract_id, merchant.announcement(10000)).status_code == 204

    wechat_gateway.control("clock", set="2026-12-03T10:00:00+08:00")
    assert withhold.check_signature(withhold.withhold.apply_deduct(**debit))
    queried = withhold.withhold.query_order(out_trade_no=DEBIT)
    assert withhold.check_signature(queried)
    assert queried["trade_state"] == "SUCCESS"
    wechat_gateway.until(lambda log: len(log) == 2)
    notice = withhold.parse_payment_result(inbox.bodies[1])
    assert (notice["total_fee"], notice["contract_id"]) == (10000, contract_id)
    with pytest.raises(WeChatPayException) as again:
        withhold.withhold.apply_deduct(**debit)
    assert again.value.errcode == "ORDERPAID"
