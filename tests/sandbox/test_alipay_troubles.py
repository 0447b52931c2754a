"""Troubles at the calls of the Alipay gateway: what the client sees, and what was done."""

from __future__ import annotations

import json

import pytest
import requests
from cryptography.exceptions import InvalidSignature

from tests.sandbox.alipay_client import ORDER, AlipayMerchant, top_level
from tests.sandbox.gateways import RunningGateway

CREATE = "alipay.trade.create"


def post(merchant: AlipayMerchant, payer: str) -> requests.Response:
    return merchant.post(merchant.signed(CREATE, merchant.order(payer)))


@pytest.mark.parametrize(
    ("kind", "is_done", "status", "start"),
    [
        ("http_500", False, 500, "Internal"),
        ("html", False, 200, "<html>"),
        ("redirect", False, 302, ""),
        ("empty", True, 200, ""),
        ("truncated", True, 200, '{"alipay_trade_create_response"'),
    ],
)
def test_transport(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    kind: str,
    is_done: bool,
    status: int,
    start: str,
):
    alipay_gateway.control("troubles", at=CREATE, kind=kind)
    answer = post(alipay_merchant, alipay_payer)
    assert answer.status_code == status
    assert answer.text.startswith(start)
    with pytest.raises(ValueError):
        answer.json()
    assert (alipay_gateway.look("books")["trades"] != []) == is_done


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after"])
def test_silence(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, alipay_payer: str, kind: str
):
    alipay_gateway.control("troubles", at=CREATE, kind=kind, seconds=0.2)
    with pytest.raises(requests.ConnectionError):
        post(alipay_merchant, alipay_payer)
    is_done = alipay_gateway.look("books")["trades"] != []
    assert is_done == (kind == "timeout_after")


@pytest.mark.parametrize("kind", ["bad_sign", "unsigned"])
def test_the_true_answer_that_nobody_should_believe(
    alipay_gateway: RunningGateway, alipay_merchant: AlipayMerchant, alipay_payer: str, kind: str
):
    alipay_gateway.control("troubles", at=CREATE, kind=kind)
    parts = top_level(post(alipay_merchant, alipay_payer).text)
    node = parts["alipay_trade_create_response"]
    assert json.loads(node)["code"] == "10000"
    assert ("sign" in parts) == (kind == "bad_sign")
    if "sign" in parts:
        with pytest.raises(InvalidSignature):
            alipay_merchant.verify(node.encode(), json.loads(parts["sign"]))
    assert alipay_merchant.query()["out_trade_no"] == ORDER


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ACQ.SYSTEM_ERROR", ("40004", "ACQ.SYSTEM_ERROR")),
        ("20000", ("20000", "isp.unknow-error")),
    ],
)
@pytest.mark.parametrize("kind", ["error", "error_after"])
def test_errors_are_signed(
    alipay_gateway: RunningGateway,
    alipay_merchant: AlipayMerchant,
    alipay_payer: str,
    kind: str,
    code: str,
    expected: tuple[str, str],
):
    alipay_gateway.control("troubles", at=CREATE, kind=kind, code=code, message="系统繁忙")
    answer = alipay_merchant.create(alipay_payer)
    assert (answer["code"], answer["sub_code"]) == expected
    assert answer["sub_msg"] == "系统繁忙"
    is_done = alipay_gateway.look("books")["trades"] != []
    assert is_done == (kind == "error_after")
    assert alipay_merchant.create(alipay_payer)["code"] == "10000"


def test_unknown_places_are_refused(alipay_gateway: RunningGateway):
    for place in ("alipay.trade.precreate", "pay/orderquery"):
        assert not alipay_gateway.try_control("troubles", at=place, kind="html")["ok"]
