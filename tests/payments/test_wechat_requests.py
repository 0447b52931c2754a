"""What we send to WeChat Pay, and what must never leave with it or stay behind in a log."""

from __future__ import annotations

import hashlib
import logging
import random
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import wechatpy.pay.api.order

from app.domain.ports.outcomes import OutcomeKind, Reason
from app.domain.ports.payments import PaymentRequest, RefundRequest
from app.payments.reasons import ReasonTable
from app.payments.wechat.channel import WeChatPay
from app.payments.wechat.signing import is_genuine
from config.reason_files import load_reasons
from tests.payments import wechat_hand as hand
from tests.payments.wire import Wire, open_wire, plain

PAYMENT = PaymentRequest(
    order_no=hand.ORDER,
    amount_fen=4500,
    description="灵活就业人员住房公积金缴存",
    payer_ref="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    expires_at=hand.NOW + timedelta(minutes=30),
    client_ip="203.0.113.9",
)
REFUND = RefundRequest(
    order_no=hand.ORDER,
    refund_no=hand.REFUND,
    amount_fen=1500,
    total_fen=4500,
    reason="缴存人申请退回",
)
PREPARED = hand.signed(hand.answer(trade_type="JSAPI", prepay_id="wx2014102720093955"))


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as wire:
        wire.will(plain(PREPARED))
        yield wire


def test_the_published_vector() -> None:
    fields = {
        "appid": "wxd930ea5d5a258f4f",
        "body": "test",
        "device_info": "1000",
        "mch_id": "10000100",
        "nonce_str": "ibuaiVcKdpRxkhJA",
    }
    signature = "9A0A8659F005D6984697E2CA0A9CF3B7"
    other_type = "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6"

    assert hand.md5(fields, hand.KEY) == signature
    assert hand.hmac_sha256(fields, hand.KEY) == other_type
    assert is_genuine({**fields, "sign": signature}, hand.KEY)
    assert is_genuine({**fields, "sign": signature, "empty": ""}, hand.KEY)
    assert not is_genuine({**fields, "sign": other_type}, hand.KEY)
    assert not is_genuine({**fields, "sign": signature}, "")
    keyless = b"appid=wxd930ea5d5a258f4f&body=test&device_info=1000"
    keyless += b"&mch_id=10000100&nonce_str=ibuaiVcKdpRxkhJA"
    assert not is_genuine({**fields, "sign": hashlib.md5(keyless).hexdigest().upper()}, "")
    assert not is_genuine(fields, hand.KEY)


def test_the_order_as_it_is_sent(wire: Wire) -> None:
    hand.channel(wire.url).prepare_payment(PAYMENT)

    [request] = wire.seen
    sent = hand.read_sent(request.body)
    sign = sent.pop("sign")
    assert sign == hand.md5(sent)
    assert len(sent.pop("nonce_str")) == 32
    assert (request.method, request.path) == ("POST", "/pay/unifiedorder")
    assert sent == {
        "appid": hand.APP_ID,
        "mch_id": hand.MERCHANT,
        "body": "灵活就业人员住房公积金缴存",
        "out_trade_no": hand.ORDER,
        "fee_type": "CNY",
        "total_fee": "4500",
        "spbill_create_ip": "203.0.113.9",
        "time_start": "20261124100000",  # 02:00 UTC
        "time_expire": "20261124103000",
        "notify_url": "https://fund.example/callbacks/wechat/payment",
        "trade_type": "JSAPI",
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    }


def test_the_other_calls_as_they_are_sent(wire: Wire) -> None:
    channel = hand.channel(wire.url)

    channel.query_payment(hand.ORDER)
    channel.close_payment(hand.ORDER)
    channel.refund(REFUND)
    channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND)

    assert [request.path for request in wire.seen] == [
        "/pay/orderquery",
        "/pay/closeorder",
        "/secapi/pay/refund",
        "/pay/refundquery",
    ]
    bodies = [hand.read_sent(request.body) for request in wire.seen]
    for sent in bodies:
        assert sent.pop("sign") == hand.md5(sent)
        assert (sent["appid"], sent["mch_id"]) == (hand.APP_ID, hand.MERCHANT)
    assert len({sent["nonce_str"] for sent in bodies}) == 4
    query, close, refund, refund_query = bodies
    assert query["out_trade_no"] == close["out_trade_no"] == hand.ORDER
    assert refund["out_refund_no"] == refund_query["out_refund_no"] == hand.REFUND
    assert (refund["out_trade_no"], refund["refund_desc"]) == (hand.ORDER, "缴存人申请退回")
    assert (refund["refund_fee"], refund["total_fee"]) == ("1500", "4500")
    assert refund["notify_url"] == "https://fund.example/callbacks/wechat/refund"


def test_a_nonce_cannot_be_foretold(wire: Wire) -> None:
    channel = hand.channel(wire.url)
    state = random.getstate()
    try:
        for _ in range(2):
            random.seed(1)
            channel.query_payment(hand.ORDER)
    finally:
        random.setstate(state)

    first, second = (hand.read_sent(request.body)["nonce_str"] for request in wire.seen)
    assert first != second


@pytest.mark.parametrize("address", ["", "unknown", "]]></spbill_create_ip><total_fee>1"])
def test_no_name_is_looked_up_for_a_missing_address(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    def look_up(*_: object) -> str:
        raise AssertionError("a DNS look-up")

    monkeypatch.setattr(socket, "gethostbyname", look_up)
    monkeypatch.setattr(wechatpy.pay.api.order, "get_external_ip", look_up)

    hand.channel(wire.url).prepare_payment(replace(PAYMENT, client_ip=address))

    sent = hand.read_sent(wire.seen[0].body)
    assert (sent["spbill_create_ip"], sent["total_fee"]) == ("127.0.0.1", "4500")


def test_text_cannot_break_out_of_its_element(wire: Wire) -> None:
    evil = "x]]></body><total_fee>1</total_fee><body><![CDATA[\x00\ud800\n"

    hand.channel(wire.url).prepare_payment(replace(PAYMENT, description=evil))

    sent = hand.read_sent(wire.seen[0].body)
    assert sent["total_fee"] == "4500"
    assert sent.pop("sign") == hand.md5(sent)


def test_a_payer_that_would_break_the_message_is_not_sent(wire: Wire) -> None:
    outcome = hand.channel(wire.url).prepare_payment(replace(PAYMENT, payer_ref="o]]>"))

    assert (outcome.kind, outcome.reason) == (OutcomeKind.UNKNOWN, Reason.OUR_FAULT)
    assert wire.seen == []


def test_long_text_is_cut_between_characters(wire: Wire) -> None:
    channel = hand.channel(wire.url)

    channel.prepare_payment(replace(PAYMENT, description="缴" * 60))
    channel.refund(replace(REFUND, reason="退" * 60))

    assert hand.read_sent(wire.seen[0].body)["body"] == "缴" * 42  # 126 of 127 bytes
    assert hand.read_sent(wire.seen[1].body)["refund_desc"] == "退" * 26  # 78 of 80 bytes


def test_the_phone_gets_text_signed_by_hand_alike() -> None:
    action = dict(hand.channel().payer_action("wx2014102720093955"))

    signature = action.pop("paySign")
    assert action["timeStamp"] == "1795485600"  # 2026-11-24 10:00:00 +08:00
    assert action["package"] == "prepay_id=wx2014102720093955"
    assert action["signType"] == "MD5"
    assert set(action) == {"timeStamp", "nonceStr", "package", "signType"}
    assert all(isinstance(value, str) for value in action.values())
    assert signature == hand.md5({**action, "appId": hand.APP_ID})


def test_proxies_of_the_environment_are_not_used(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_wire() as proxy:
        proxy.will(plain(PREPARED))
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)

        outcome = hand.channel(wire.url).prepare_payment(PAYMENT)

        assert outcome.kind is OutcomeKind.ACCEPTED
        assert proxy.seen == []


def test_a_netrc_is_not_used(wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password something\n")
    monkeypatch.setenv("NETRC", str(netrc))

    hand.channel(wire.url).query_payment(hand.ORDER)

    assert "Authorization" not in wire.seen[0].headers


def test_the_key_is_in_no_log_however_loud(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    channel = hand.channel(wire.url)
    names = [name for name in logging.root.manager.loggerDict if name.startswith("wechatpy")]
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        # A logging configuration that comes later and wants everything.
        for name in names:
            logging.getLogger(name).setLevel(logging.DEBUG)
        with caplog.at_level(logging.DEBUG):
            channel.payer_action("wx2014102720093955")
            channel.prepare_payment(PAYMENT)
            channel.query_payment(hand.ORDER)
            channel.refund(REFUND)
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)

    assert "wechatpy.pay.utils" in names
    assert hand.KEY not in caplog.text
    assert PAYMENT.payer_ref not in caplog.text
    assert "wechatpy" not in {record.name.split(".")[0] for record in caplog.records}


def test_the_sdk_is_quiet_by_level_too() -> None:
    logging.getLogger("wechatpy").setLevel(logging.NOTSET)

    hand.channel()

    # Not the level of the root, which is higher here.
    assert logging.getLogger("wechatpy.pay.utils").getEffectiveLevel() == logging.INFO


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_timeout_must_end(seconds: float) -> None:
    for timeouts in ((seconds, 1.0), (1.0, seconds)):
        with pytest.raises(ValueError, match="timeout"):
            build(connect_timeout=timeouts[0], read_timeout=timeouts[1])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"api_key": ""}, "API key"),
        ({"api_key": "short"}, "API key"),
        ({"api_key": " " * 32}, "API key"),
        ({"app_id": ""}, "app id"),
        ({"merchant_id": ""}, "merchant id"),
        ({"pay_base_url": "api.mch.weixin.qq.com"}, "URL"),
        ({"client_cert_file": "/nowhere/cert.pem"}, "come together"),
        (
            {"client_cert_file": "/nowhere/cert.pem", "client_key_file": "/nowhere/key.pem"},
            "no WeChat client certificate file",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, str], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build(**changes)


def test_an_address_without_a_last_slash_works(wire: Wire) -> None:
    hand.channel(wire.url.rstrip("/")).query_payment(hand.ORDER)

    assert wire.seen[0].path == "/pay/orderquery"


def test_a_reason_table_without_a_call_is_refused() -> None:
    rows = {call: codes for call, codes in load_reasons("wechat").items() if call != "refund"}

    with pytest.raises(ValueError, match="refund"):
        build(reasons=ReasonTable(rows))


def build(
    *,
    connect_timeout: float = 1.0,
    read_timeout: float = 1.0,
    reasons: ReasonTable | None = None,
    **changes: object,
) -> WeChatPay:
    return WeChatPay(
        hand.settings(**changes),
        callback_base_url="https://fund.example/",
        reasons=reasons or ReasonTable(load_reasons("wechat")),
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        now=lambda: hand.NOW,
    )
