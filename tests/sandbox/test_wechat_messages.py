"""Access tokens and subscribe messages, driven by wechatpy over real HTTP."""

from __future__ import annotations

import pytest
import requests
from wechatpy import WeChatClient
from wechatpy.exceptions import WeChatClientException

from tests.sandbox.gateways import RunningGateway
from tests.sandbox.wechat_client import WeChatMerchant

DATA = {"thing1": {"value": "十二月缴存"}, "amount2": {"value": "500.00元"}}


def token_of(merchant: WeChatMerchant, **changes: object) -> dict:
    content = {
        "grant_type": "client_credential",
        "appid": merchant.app_id,
        "secret": merchant.app_secret,
        **changes,
    }
    url = f"{merchant.gateway.url}cgi-bin/stable_token"
    return requests.post(url, json=content, timeout=10).json()


def send(merchant: WeChatMerchant, payer: str, token: str, data: object = DATA) -> int:
    """Send through the SDK; return its errcode, 0 if it is accepted."""

    class Redirected(WeChatClient):
        API_BASE_URL = f"{merchant.gateway.url}cgi-bin/"

    client = Redirected(merchant.app_id, merchant.app_secret, access_token=token, auto_retry=False)
    client.wxa.API_BASE_URL = merchant.gateway.url
    try:
        return client.wxa.send_subscribe_message(payer, "T1", data, page="pages/debits")["errcode"]
    except WeChatClientException as error:
        return error.errcode


def test_a_message_needs_consent_and_uses_it_up(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str
):
    token = token_of(merchant)["access_token"]
    assert send(merchant, payer, token) == 43101
    wechat_gateway.control("messages/consent", payer=payer, template_id="T1")
    assert send(merchant, payer, token) == 0
    assert send(merchant, payer, token) == 43101
    [message] = wechat_gateway.control("messages/inbox", payer=payer)["messages"]
    assert message["data"] == DATA
    assert (message["template_id"], message["page"]) == ("T1", "pages/debits")
    assert message["at"].startswith("2026-11-24T10:0")


@pytest.mark.parametrize(
    "data",
    [{}, {"thing1": {"value": ""}}, {"thing1": "x"}, {"thing1": {"value": "缴" * 21}}],
)
def test_wrong_arguments_do_not_use_up_the_consent(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, data: dict
):
    wechat_gateway.control("messages/consent", payer=payer, template_id="T1")
    token = token_of(merchant)["access_token"]
    assert send(merchant, payer, token, data) == 47003
    assert send(merchant, "oNobody", token) == 40003
    assert send(merchant, payer, token) == 0


def test_tokens_expire_and_are_replaced(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str
):
    wechat_gateway.control("messages/consent", payer=payer, template_id="T1", count=9)
    first = token_of(merchant)["access_token"]
    assert token_of(merchant)["access_token"] == first
    second = token_of(merchant, force_refresh=True)["access_token"]
    assert second != first
    assert send(merchant, payer, first) == 0
    wechat_gateway.control("clock", advance_seconds=301)
    assert send(merchant, payer, first) == 40001
    assert send(merchant, payer, second) == 0
    wechat_gateway.control("clock", advance_seconds=7200)
    assert send(merchant, payer, second) == 40001
    assert send(merchant, payer, "nonsense") == 40001


def test_who_may_have_a_token(merchant: WeChatMerchant):
    assert token_of(merchant, secret="0" * 32)["errcode"] == 40125
    assert token_of(merchant, appid="wx0000000000000000")["errcode"] == 40013
    assert token_of(merchant, grant_type="password")["errcode"] == 40002
    query = {
        "grant_type": "client_credential",
        "appid": merchant.app_id,
        "secret": merchant.app_secret,
    }
    url = f"{merchant.gateway.url}cgi-bin/token"
    tokens = {requests.get(url, params=query, timeout=10).json()["access_token"] for _ in range(2)}
    assert len(tokens) == 2


def test_troubles_at_messages(wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str):
    wechat_gateway.control("messages/consent", payer=payer, template_id="T1")
    token = token_of(merchant)["access_token"]
    place = "cgi-bin/message/subscribe/send"
    wechat_gateway.control("troubles", at=place, kind="error", code="45009")
    assert send(merchant, payer, token) == 45009
    assert wechat_gateway.control("messages/inbox", payer=payer)["messages"] == []
