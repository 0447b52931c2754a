"""What the Alipay gateway lets in: public parameters, charset, signature, time, biz_content."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
import requests
from cryptography.hazmat.primitives.hashes import SHA1

from sandbox.alipay.accounts import Rules
from sandbox.alipay.server import create_gateway
from tests.sandbox.alipay_client import ORDER, AlipayMerchant, top_level
from tests.sandbox.gateways import RunningGateway, running

QUERY = "alipay.trade.query"
CONTENT = {"out_trade_no": ORDER}
NOT_FOUND = "ACQ.TRADE_NOT_EXIST"


def raw(merchant: AlipayMerchant, query: str, form: str = "", **headers: str) -> dict[str, str]:
    """POST as it stands, and return the raw parts of the answer."""
    kind = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    answer = requests.post(
        f"{merchant.gateway.url}gateway.do?{query}", data=form, headers=kind, timeout=10
    )
    assert answer.status_code == 200
    return top_level(answer.text)


def refusal(parts: dict[str, str]) -> dict:
    [name] = [name for name in parts if name.endswith("_response")]
    return json.loads(parts[name])


def test_get_and_post_are_answered_alike(alipay_merchant: AlipayMerchant):
    fields = alipay_merchant.signed(QUERY, CONTENT)
    posted = alipay_merchant.read(alipay_merchant.post(fields).content)
    url = f"{alipay_merchant.gateway.url}gateway.do"
    got = alipay_merchant.read(requests.get(url, params=fields, timeout=10).content)
    assert (posted["code"], posted["sub_code"]) == ("40004", NOT_FOUND)
    assert got["sub_code"] == NOT_FOUND


def test_public_parameters_may_be_in_the_address(alipay_merchant: AlipayMerchant):
    fields = alipay_merchant.signed(QUERY, CONTENT)
    content = fields.pop("biz_content")
    parts = raw(alipay_merchant, urlencode(fields), urlencode({"biz_content": content}))
    assert refusal(parts)["sub_code"] == NOT_FOUND


@pytest.mark.parametrize(
    ("left_out", "sub_code"),
    [
        ("method", "isv.missing-method"),
        ("app_id", "isv.missing-app-id"),
        ("sign_type", "isv.missing-signature-type"),
        ("sign", "isv.missing-signature"),
        ("timestamp", "isv.missing-timestamp"),
        ("version", "isv.missing-version"),
    ],
)
@pytest.mark.parametrize("is_empty", [False, True])
def test_each_public_parameter_is_missed(
    alipay_merchant: AlipayMerchant, left_out: str, sub_code: str, is_empty: bool
):
    fields = alipay_merchant.signed(QUERY, CONTENT, **{left_out: None})
    fields.pop(left_out, None)
    if is_empty:
        fields[left_out] = ""
    answer = alipay_merchant.read(alipay_merchant.post(fields).content)
    assert (answer["code"], answer["sub_code"]) == ("40001", sub_code)


@pytest.mark.parametrize(
    ("changes", "sub_code"),
    [
        ({"sign_type": "RSA"}, "isv.invalid-signature-type"),
        ({"sign_type": "rsa2"}, "isv.invalid-signature-type"),
        ({"version": "2.0"}, "isv.invalid-parameter"),
        ({"format": "XML"}, "isv.invalid-format"),
        ({"method": "alipay.trade.pay.everything"}, "isv.invalid-method"),
        ({"timestamp": "2026-11-24T10:00:30"}, "isv.invalid-timestamp"),
        ({"timestamp": "2026-11-24 10:0:30"}, "isv.invalid-timestamp"),
        ({"timestamp": "20261124100030"}, "isv.invalid-timestamp"),
        ({"timestamp": "2026-11-24 10:11:30"}, "isv.invalid-timestamp"),
        ({"timestamp": "2026-11-24 02:00:30"}, "isv.invalid-timestamp"),
    ],
)
def test_properly_signed_but_wrong(
    alipay_merchant: AlipayMerchant, changes: dict[str, str], sub_code: str
):
    answer = alipay_merchant.ask(changes.pop("method", QUERY), CONTENT, **changes)
    assert (answer["code"], answer["sub_code"]) == ("40002", sub_code)


def test_nine_minutes_off_is_near_enough(alipay_merchant: AlipayMerchant):
    for timestamp in ("2026-11-24 09:51:00", "2026-11-24 10:09:00"):
        assert alipay_merchant.query(timestamp=timestamp)["sub_code"] == NOT_FOUND


def test_a_signature_with_sha1_is_refused(alipay_merchant: AlipayMerchant):
    for sign_type, sub_code in (
        ("RSA", "isv.invalid-signature-type"),
        ("RSA2", "isv.invalid-signature"),
    ):
        fields = alipay_merchant.signed(QUERY, CONTENT, sign_type=sign_type)
        fields.pop("sign")
        fields["sign"] = alipay_merchant.sign(fields, hashed=SHA1)
        answer = alipay_merchant.read(alipay_merchant.post(fields).content)
        assert answer["sub_code"] == sub_code


@pytest.mark.parametrize("name", ["biz_content", "timestamp", "notify_url", "app_auth_token"])
def test_every_parameter_is_signed(alipay_merchant: AlipayMerchant, name: str):
    fields = alipay_merchant.signed(QUERY, CONTENT)
    fields[name] = fields.get(name, "") + " "
    answer = alipay_merchant.read(alipay_merchant.post(fields).content)
    assert answer["sub_code"] == "isv.invalid-signature"


def test_empty_values_are_not_signed(alipay_merchant: AlipayMerchant):
    fields = {**alipay_merchant.signed(QUERY, CONTENT), "return_url": ""}
    assert refusal(raw(alipay_merchant, "charset=utf-8", urlencode(fields)))["sub_code"] == (
        NOT_FOUND
    )


def test_a_plus_that_became_a_space_is_no_signature(alipay_merchant: AlipayMerchant):
    number, fields = 0, {"sign": ""}
    while "+" not in fields["sign"]:
        number += 1
        fields = alipay_merchant.signed(QUERY, {"out_trade_no": f"D{number}"})
    fields["sign"] = fields["sign"].replace("+", " ")
    answer = alipay_merchant.read(alipay_merchant.post(fields).content)
    assert answer["sub_code"] == "isv.invalid-signature"


def test_an_unknown_application_gets_no_signature(alipay_merchant: AlipayMerchant):
    fields = alipay_merchant.signed(QUERY, CONTENT, app_id="2021000000000000")
    parts = raw(alipay_merchant, "charset=utf-8", urlencode(fields))
    assert refusal(parts)["sub_code"] == "isv.invalid-app-id"
    assert "sign" not in parts


def test_post_needs_the_charset_in_the_address(alipay_merchant: AlipayMerchant):
    form = urlencode(alipay_merchant.signed(QUERY, CONTENT))
    answer = refusal(raw(alipay_merchant, "", form))
    assert (answer["code"], answer["sub_code"]) == ("40002", "isv.invalid-signature")


def test_no_parameter_comes_twice(alipay_merchant: AlipayMerchant):
    form = urlencode(alipay_merchant.signed(QUERY, CONTENT))
    for query, body in (
        ("charset=utf-8", f"{form}&version=1.0"),
        ("charset=utf-8&version=1.0", form),
        ("charset=utf-8&charset=utf-8", form),
        ("charset=utf-8", f"{form}&charset=utf-8"),
        ("charset=UTF-8", form),
    ):
        answer = refusal(raw(alipay_merchant, query, body))
        assert (answer["code"], answer["sub_code"]) == ("40002", "isv.invalid-parameter")


def test_other_forms_and_charsets_are_refused(alipay_merchant: AlipayMerchant):
    form = urlencode(alipay_merchant.signed(QUERY, CONTENT))
    as_json = raw(alipay_merchant, "charset=utf-8", form, **{"Content-Type": "application/json"})
    assert refusal(as_json)["sub_code"] == "isv.invalid-content-type"
    unknown = urlencode(alipay_merchant.signed(QUERY, CONTENT, charset="latin-1"))
    assert refusal(raw(alipay_merchant, "charset=latin-1", unknown))["sub_code"] == (
        "isv.invalid-charset"
    )
    broken = f"{form}&body=%B9%AB"
    assert refusal(raw(alipay_merchant, "charset=utf-8", broken))["sub_code"] == (
        "isv.invalid-charset"
    )


def test_gbk_is_spoken_both_ways(alipay_merchant: AlipayMerchant, alipay_payer: str):
    merchant = alipay_merchant
    fields = merchant.signed("alipay.trade.create", merchant.order(alipay_payer), charset="GBK")
    created = merchant.read(merchant.post(fields, "gb18030").content, "gb18030")
    assert created["code"] == "10000"
    queried = merchant.signed(QUERY, CONTENT, charset="GBK")
    answer = merchant.read(merchant.post(queried, "gb18030").content, "gb18030")
    assert answer["subject"] == "住房公积金缴存"
    as_utf8 = merchant.read(merchant.post(fields).content)
    assert as_utf8["sub_code"] == "isv.invalid-charset"


@pytest.mark.parametrize(
    "content", ["", "[]", '"D1"', "{", "null", '{"out_trade_no": "\\ud842"}', "[" * 5000]
)
def test_biz_content_is_a_json_object(alipay_merchant: AlipayMerchant, content: str):
    answer = alipay_merchant.ask(QUERY, content)
    assert (answer["code"], answer["sub_code"]) == ("40004", "ACQ.INVALID_PARAMETER")


def test_rare_characters_survive(alipay_merchant: AlipayMerchant, alipay_payer: str):
    alipay_merchant.create(alipay_payer, subject="𠮷 + % 😀", body='引号" 括号 } { \u2028')
    answer = alipay_merchant.query()
    assert (answer["subject"], answer["body"]) == ("𠮷 + % 😀", '引号" 括号 } { \u2028')


def test_the_rules_can_be_looser(tmp_path):
    def lenient(data_dir, clock):
        rules = Rules(timestamp_tolerance_seconds=None, signs_refusals=False)
        return create_gateway(data_dir, clock, rules)

    with running(lenient, tmp_path) as gateway:
        merchant = AlipayMerchant(gateway, "")
        assert merchant.query(timestamp="2020-01-01 00:00:00")["sub_code"] == NOT_FOUND
        fields = {**merchant.signed(QUERY, CONTENT), "sign": "AAAA"}
        parts = top_level(merchant.post(fields).text)
        assert refusal(parts)["sub_code"] == "isv.invalid-signature"
        assert "sign" not in parts


def test_only_get_and_post(alipay_gateway: RunningGateway):
    assert requests.put(f"{alipay_gateway.url}gateway.do", timeout=10).status_code == 405
    assert requests.get(alipay_gateway.url, timeout=10).status_code == 404
