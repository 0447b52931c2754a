"""Codes of the Alipay mini-program and what `alipay.system.oauth.token` makes of them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sandbox.alipay_client import AlipayMerchant, top_level
from tests.sandbox.gateways import RunningGateway

LOGIN = "alipay.system.oauth.token"


def log_in(merchant: AlipayMerchant, code: str, **changes: str) -> tuple[str, dict]:
    """Return the name of the node and what is in it."""
    public = {"grant_type": "authorization_code", "code": code, **changes}
    body = merchant.post(merchant.signed(LOGIN, None, **public)).content
    [name] = [name for name in top_level(body.decode()) if name.endswith("_response")]
    return name, merchant.read(body)


@pytest.fixture
def code(alipay_gateway: RunningGateway, alipay_payer: str) -> str:
    return alipay_gateway.control("login_codes", payer=alipay_payer)["code"]


def assert_refused(answer: tuple[str, dict], sub_code: str = "isv.code-invalid") -> None:
    name, node = answer
    assert name == "error_response"
    assert (node["code"], node["sub_code"]) == ("40002", sub_code)


def test_a_code_is_good_once(alipay_merchant: AlipayMerchant, alipay_payer: str, code: str):
    name, node = log_in(alipay_merchant, code)
    assert name == "alipay_system_oauth_token_response"
    assert node["open_id"] == alipay_payer
    assert node["access_token"]
    assert node["expires_in"] > 0
    assert node.keys().isdisjoint({"code", "msg", "user_id"})
    assert_refused(log_in(alipay_merchant, code))


def test_only_one_of_many_at_once(alipay_merchant: AlipayMerchant, code: str):
    with ThreadPoolExecutor(max_workers=8) as threads:
        answers = [threads.submit(log_in, alipay_merchant, code) for _ in range(8)]
    assert sum("open_id" in answer.result()[1] for answer in answers) == 1


def test_a_code_is_good_for_three_minutes(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, alipay_payer: str, code: str
):
    alipay_gateway.control("clock", advance_seconds=170)
    assert "open_id" in log_in(alipay_merchant, code)[1]
    late = alipay_gateway.control("login_codes", payer=alipay_payer)["code"]
    alipay_gateway.control("clock", advance_seconds=181)
    assert_refused(log_in(alipay_merchant, late))


@pytest.mark.parametrize("wrong", ["", "nonsense"])
def test_no_code_of_ours(alipay_merchant: AlipayMerchant, wrong: str):
    assert_refused(log_in(alipay_merchant, wrong))


def test_another_grant_is_refused(alipay_merchant: AlipayMerchant, code: str):
    for grant_type in ("refresh_token", ""):
        answer = log_in(alipay_merchant, code, grant_type=grant_type)
        assert_refused(answer, "isv.grant-type-invalid")


def test_a_wrong_signature_does_not_use_up_the_code(alipay_merchant: AlipayMerchant, code: str):
    public = {"grant_type": "authorization_code", "code": code}
    fields = {**alipay_merchant.signed(LOGIN, None, **public), "sign": "AAAA"}
    parts = top_level(alipay_merchant.post(fields).text)
    assert json.loads(parts["error_response"])["sub_code"] == "isv.invalid-signature"
    assert "open_id" in log_in(alipay_merchant, code)[1]


def test_codes_are_for_known_payers(alipay_gateway: RunningGateway):
    assert not alipay_gateway.try_control("login_codes", payer="nobody")["ok"]


def test_troubles_at_login(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, code: str
):
    alipay_gateway.control("troubles", at=LOGIN, kind="error", code="isv.code-invalid")
    name, node = log_in(alipay_merchant, code)
    assert (name, node["sub_code"]) == ("error_response", "isv.code-invalid")
    alipay_gateway.control("troubles", at=LOGIN, kind="error_after", code="20000")
    name, node = log_in(alipay_merchant, code)
    assert (name, node["code"], node["sub_code"]) == (
        "error_response",
        "20000",
        "isp.unknow-error",
    )
    assert_refused(log_in(alipay_merchant, code))
