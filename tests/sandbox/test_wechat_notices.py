"""The WeChat gateway's notices, forged ones, troubles and log-in, over real HTTP."""

from __future__ import annotations

import time

import pytest
import requests

from tests.sandbox.gateways import Inbox, RunningGateway
from tests.sandbox.wechat_client import ORDER, WeChatMerchant, from_xml, hmac_sha256, md5, to_xml

PAYMENT_FIELDS = {
    *("return_code", "result_code", "appid", "mch_id", "nonce_str", "sign", "openid"),
    *("is_subscribe", "trade_type", "bank_type", "total_fee", "fee_type", "cash_fee"),
    *("cash_fee_type", "transaction_id", "out_trade_no", "attach", "time_end"),
}


@pytest.mark.parametrize("sign_type", ["MD5", "HMAC-SHA256"])
def test_a_payment_is_announced_signed_as_the_order_was(
    wechat_gateway: RunningGateway,
    merchant: WeChatMerchant,
    payer: str,
    inbox: Inbox,
    sign_type: str,
):
    paid = merchant.place_and_pay(payer, inbox.url, attach="甲", sign_type=sign_type)
    [entry] = wechat_gateway.until(lambda log: len(log) == 1)
    notice = from_xml(inbox.bodies[0])

    make = md5 if sign_type == "MD5" else hmac_sha256
    assert notice["sign"] == make(notice, merchant.key)
    assert set(notice) - {"sign_type"} == PAYMENT_FIELDS
    assert notice["total_fee"] == "10000"
    assert notice["fee_type"] == "CNY"
    assert notice["openid"] == payer
    assert notice["transaction_id"] == paid["reference"]
    assert notice["time_end"].startswith("2026112410")
    assert inbox.content_types[0].startswith("text/xml")
    assert entry["accepted"]
    assert entry["topic"] == "payment"


def test_only_the_prescribed_answer_ends_the_notices(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, inbox: Inbox
):
    inbox.reply = "success"
    merchant.place_and_pay(payer, inbox.url)
    wechat_gateway.until(lambda log: len(log) == 1)
    inbox.reply = "<xml><return_code>FAIL</return_code></xml>"
    wechat_gateway.control("clock", advance_seconds=15)
    wechat_gateway.until(lambda log: len(log) == 2)
    inbox.reply = "<xml><return_code>SUCCESS</return_code><return_msg>OK</return_msg></xml>"
    wechat_gateway.control("clock", advance_seconds=15)
    log = wechat_gateway.until(lambda log: len(log) == 3)
    assert [entry["accepted"] for entry in log] == [False, False, True]
    resent = wechat_gateway.control("notices/resend", out_trade_no=ORDER, copies=2)
    assert [reply["status"] for reply in resent["replies"]] == [200, 200]
    assert len(set(inbox.bodies)) == 1


@pytest.mark.parametrize(
    ("defect", "is_signed", "merchant_is_ours", "app_is_ours"),
    [
        ("none", True, True, True),
        ("other_merchant", True, False, True),
        ("other_app", True, True, False),
        ("wrong_key", False, True, True),
        ("empty_key", False, True, True),
        ("no_sign", False, True, True),
        ("tampered_after_signing", False, True, True),
    ],
)
def test_a_forged_notice_has_the_one_defect_asked_for(
    wechat_gateway: RunningGateway,
    merchant: WeChatMerchant,
    payer: str,
    inbox: Inbox,
    defect: str,
    is_signed: bool,
    merchant_is_ours: bool,
    app_is_ours: bool,
):
    merchant.ask("pay/unifiedorder", **merchant.order(payer, inbox.url))
    forged = wechat_gateway.control(
        "notices/forge", out_trade_no=ORDER, defect=defect, fields={"total_fee": "1"}
    )
    notice = from_xml(inbox.bodies[0])
    assert forged["body"].encode() == inbox.bodies[0]
    assert forged["status"] == 200
    assert (notice.get("sign") == md5(notice, merchant.key)) is is_signed
    assert (notice["mch_id"] == merchant.merchant_id) is merchant_is_ours
    assert (notice["appid"] == merchant.app_id) is app_is_ours
    assert notice["total_fee"] == "1"
    assert set(notice) >= PAYMENT_FIELDS - {"sign"}
    if defect == "empty_key":
        assert notice["sign"] == md5(notice, "")
    assert wechat_gateway.look("deliveries")["deliveries"] == []


def test_a_forgery_can_be_had_without_sending_it(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, inbox: Inbox
):
    merchant.ask("pay/unifiedorder", **merchant.order(payer, inbox.url))
    wechat_gateway.control("notices/forge", out_trade_no=ORDER, defect="none", send=False)
    assert inbox.bodies == []
    for changes in ({"out_trade_no": "D9"}, {"defect": "pretty"}):
        wanted = {"out_trade_no": ORDER, "defect": "none"} | changes
        assert not wechat_gateway.try_control("notices/forge", **wanted)["ok"]


def query(merchant: WeChatMerchant) -> requests.Response:
    return merchant.send("pay/orderquery", to_xml(merchant.signed(out_trade_no=ORDER)))


def set_trouble(merchant: WeChatMerchant, kind: str, **options: object) -> None:
    merchant.gateway.control("troubles", at="pay/orderquery", kind=kind, **options)


@pytest.fixture
def placed(merchant: WeChatMerchant, payer: str) -> None:
    merchant.ask("pay/unifiedorder", **merchant.order(payer, "http://127.0.0.1:9/x"))


@pytest.mark.usefixtures("placed")
def test_troubles_of_the_transport(merchant: WeChatMerchant):
    set_trouble(merchant, "http_500")
    set_trouble(merchant, "html")
    set_trouble(merchant, "empty")
    set_trouble(merchant, "truncated")
    set_trouble(merchant, "redirect", location="https://elsewhere.invalid/")
    assert query(merchant).status_code == 500
    assert query(merchant).headers["Content-Type"].startswith("text/html")
    assert query(merchant).content == b""
    half = query(merchant).content
    assert half.startswith(b"<xml>")
    assert b"</xml>" not in half
    moved = query(merchant)
    assert (moved.status_code, moved.headers["Location"]) == (302, "https://elsewhere.invalid/")
    assert from_xml(query(merchant).content)["trade_state"] == "NOTPAY"


@pytest.mark.usefixtures("placed")
def test_troubles_of_the_answer(merchant: WeChatMerchant):
    set_trouble(merchant, "bad_sign")
    set_trouble(merchant, "unsigned")
    set_trouble(merchant, "error", code="SYSTEMERROR")
    bad = from_xml(query(merchant).content)
    assert bad["trade_state"] == "NOTPAY"
    assert bad["sign"] != md5(bad, merchant.key)
    assert "sign" not in from_xml(query(merchant).content)
    error = from_xml(query(merchant).content)
    assert error["err_code"] == "SYSTEMERROR"
    assert error["sign"] == md5(error, merchant.key)


@pytest.mark.parametrize(("kind", "is_done"), [("timeout_before", False), ("timeout_after", True)])
def test_silence_before_and_after_it_is_done(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, kind: str, is_done: bool
):
    wechat_gateway.control("troubles", at="pay/unifiedorder", kind=kind, seconds=0.3)
    body = to_xml(merchant.signed(**merchant.order(payer, "http://127.0.0.1:9/x")))
    started = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        merchant.send("pay/unifiedorder", body)
    assert time.monotonic() - started >= 0.3
    assert bool(wechat_gateway.look("books")["trades"]) is is_done


@pytest.mark.parametrize(("kind", "is_done"), [("error", False), ("error_after", True)])
def test_an_error_before_and_after_it_is_done(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str, kind: str, is_done: bool
):
    wechat_gateway.control("troubles", at="pay/unifiedorder", kind=kind, code="SYSTEMERROR")
    order = merchant.order(payer, "http://127.0.0.1:9/x")
    assert merchant.ask("pay/unifiedorder", **order)["err_code"] == "SYSTEMERROR"
    assert bool(wechat_gateway.look("books")["trades"]) is is_done


def test_the_control_api_refuses_nonsense(wechat_gateway: RunningGateway, payer: str):
    assert wechat_gateway.look("health") == {"ok": True}
    assert wechat_gateway.look("clock")["now"].startswith("2026-11-24T10:00")
    for path, content in (
        ("troubles", {"at": "pay/nothing", "kind": "html"}),
        ("troubles", {"at": "notice", "kind": "html"}),
        ("payers", {"balance_fen": -1}),
        ("payers", {"balance_fen": "1"}),
        ("clock", {"set": "2026-11-24T10:00:00"}),
        ("clock", {}),
        ("login_codes", {"payer": "oNobody"}),
        ("notices/resend", {"out_trade_no": "D9"}),
        ("notices/resend", {"out_trade_no": "D9", "copies": 0}),
        ("merchant/payout", {"amount_fen": 1}),
        ("orders/state", {"out_trade_no": "D9", "trade_state": "SUCCESS"}),
    ):
        answer = wechat_gateway.try_control(path, **content)
        assert answer["ok"] is False
        assert answer["error"]


def test_troubles_are_listed_and_cleared(wechat_gateway: RunningGateway):
    wechat_gateway.control("troubles", at="notice", kind="delay", times=0, seconds=9)
    listed = wechat_gateway.look("troubles")["troubles"]
    assert listed == [{"at": "notice", "kind": "delay", "times": 0, "seconds": 9}]
    requests.delete(f"{wechat_gateway.url}_control/troubles", timeout=5)
    assert wechat_gateway.look("troubles")["troubles"] == []


def log_in(merchant: WeChatMerchant, code: str, **changes: str) -> dict:
    query = {
        "appid": merchant.app_id,
        "secret": merchant.app_secret,
        "js_code": code,
        "grant_type": "authorization_code",
        **changes,
    }
    return requests.get(f"{merchant.gateway.url}sns/jscode2session", query, timeout=5).json()


def test_a_code_logs_in_once_within_five_minutes(
    wechat_gateway: RunningGateway, merchant: WeChatMerchant, payer: str
):
    code = wechat_gateway.control("login_codes", payer=payer)["code"]
    assert log_in(merchant, code, appid="wx0")["errcode"] == 40013
    assert log_in(merchant, code, secret="0")["errcode"] == 40125
    assert log_in(merchant, code, grant_type="x")["errcode"] == 40002
    assert log_in(merchant, "no-such-code")["errcode"] == 40029
    session = log_in(merchant, code)
    assert session["openid"] == payer
    assert len(session["session_key"]) == 24
    assert log_in(merchant, code)["errcode"] == 40163
    late = wechat_gateway.control("login_codes", payer=payer)["code"]
    wechat_gateway.control("clock", advance_seconds=300)
    assert log_in(merchant, late)["errcode"] == 40029
    wechat_gateway.control("troubles", at="sns/jscode2session", kind="error", code="45011")
    assert log_in(merchant, late)["errcode"] == 45011
