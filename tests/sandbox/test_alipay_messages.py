"""Messages of the Alipay mini-program: with consent, or after a payment."""

from __future__ import annotations

import json

import pytest

from tests.sandbox.alipay_client import AlipayMerchant
from tests.sandbox.gateways import RunningGateway

SEND = "alipay.open.app.mini.templatemessage.send"
DATA = {"keyword1": {"value": "十二月缴存"}}


def send(merchant: AlipayMerchant, payer: str, **changes: object) -> str:
    """Return the sub_code, or the code of one that was sent."""
    content = {
        "to_open_id": payer,
        "user_template_id": "T1",
        "page": "pages/debits",
        "data": json.dumps(DATA),
        **changes,
    }
    # The gateway's clock may have been moved: its own time, to the second.
    now = merchant.gateway.look("clock")["now"][:19].replace("T", " ")
    answer = merchant.ask(SEND, content, timestamp=now)
    return answer.get("sub_code", answer["code"])


def test_a_message_needs_consent_and_uses_it_up(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, alipay_payer: str
):
    assert send(alipay_merchant, alipay_payer) == "USER_NOT_SUBSCRIBE"
    alipay_gateway.control("messages/consent", payer=alipay_payer, template_id="T1")
    assert send(alipay_merchant, alipay_payer) == "10000"
    assert send(alipay_merchant, alipay_payer) == "USER_NOT_SUBSCRIBE"
    [message] = alipay_gateway.control("messages/inbox", payer=alipay_payer)["messages"]
    assert (message["template_id"], message["page"]) == ("T1", "pages/debits")
    assert message["data"] == DATA


def test_a_payment_allows_a_message_for_seven_days(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, alipay_payer: str
):
    trade_no = alipay_merchant.create_and_pay(alipay_payer)
    assert send(alipay_merchant, alipay_payer, form_id=trade_no) == "10000"
    other = send(alipay_merchant, "0nobody", form_id=trade_no)
    assert other == "FORM_ID_NOT_MATCH_APPID"
    alipay_gateway.control("clock", set="2026-12-01T10:30:00+08:00")
    assert send(alipay_merchant, alipay_payer, form_id=trade_no) == "FORM_ID_OVER_TIME"


@pytest.mark.parametrize(
    "changes", [{"data": "{"}, {"data": DATA}, {"data": '{"keyword1":"x"}'}, {"page": ""}]
)
def test_wrong_arguments_do_not_use_up_the_consent(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    changes: dict,
):
    alipay_gateway.control("messages/consent", payer=alipay_payer, template_id="T1")
    assert send(alipay_merchant, alipay_payer, **changes) == "ACQ.INVALID_PARAMETER"
    assert send(alipay_merchant, alipay_payer) == "10000"
