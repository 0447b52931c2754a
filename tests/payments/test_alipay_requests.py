"""What we send to Alipay, and what must never leave with it or stay behind in a log."""

from __future__ import annotations

import base64
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)

from app.domain.ports.outcomes import OutcomeKind, Reason
from app.payments.alipay.channel import AlipayPay
from app.payments.reasons import ReasonTable
from config.reason_files import load_reasons
from tests.payments import alipay_hand as hand
from tests.payments.wire import Wire, open_wire, plain

CREATED = hand.answer(hand.CREATE, hand.node())


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as wire:
        wire.will(plain(CREATED))
        yield wire


def test_the_published_vector() -> None:
    """The hand that checks our requests signs as openssl does."""
    vector = hand.VECTORS["request"]
    app_key = hand.load_pem_private_key(hand.VECTORS["keys"]["app_private"].encode(), None)

    assert hand.text_to_sign(vector["params"]) == vector["string_to_sign"]
    assert hand.sign(vector["string_to_sign"].encode(), app_key) == vector["sign"]
    assert hand.read_sent(vector["urlencoded"].encode()) == vector["params"]


def test_the_trade_as_it_is_sent(wire: Wire) -> None:
    hand.channel(wire.url).prepare_payment(hand.PAYMENT)

    [request] = wire.seen
    assert (request.method, request.path) == ("POST", "/gateway.do?charset=utf-8")
    assert request.headers["Content-Type"].startswith("application/x-www-form-urlencoded")
    sent = hand.read_sent(request.body)
    content = sent.pop("biz_content")
    assert "灵活就业" in content
    assert sent == {
        "app_id": hand.APP_ID,
        "method": "alipay.trade.create",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": "2026-11-24 10:00:00",  # 02:00 UTC
        "version": "1.0",
        "notify_url": "https://fund.example/callbacks/alipay/payment",
    }
    assert hand.read_content(request.body) == {
        "out_trade_no": hand.ORDER,
        "total_amount": "45.00",
        "subject": "灵活就业人员住房公积金缴存",
        "product_code": "JSAPI_PAY",
        "op_app_id": hand.APP_ID,
        "seller_id": hand.SELLER,
        "buyer_open_id": hand.OPEN_ID,
        "time_expire": "2026-11-24 10:30:00",
    }


def test_the_other_calls_as_they_are_sent(wire: Wire) -> None:
    channel = hand.channel(wire.url)

    channel.query_payment(hand.ORDER)
    channel.close_payment(hand.ORDER)
    channel.refund(hand.REFUNDING)
    channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND)

    sent = [hand.read_sent(request.body) for request in wire.seen]
    assert [fields["method"] for fields in sent] == [
        "alipay.trade.query",
        "alipay.trade.close",
        "alipay.trade.refund",
        "alipay.trade.fastpay.refund.query",
    ]
    assert all("notify_url" not in fields for fields in sent)
    assert [hand.read_content(request.body) for request in wire.seen] == [
        {"out_trade_no": hand.ORDER},
        {"out_trade_no": hand.ORDER},
        {
            "out_trade_no": hand.ORDER,
            "out_request_no": hand.REFUND,
            "refund_amount": "15.00",
            "refund_reason": "缴存人申请退回",
        },
        {
            "out_trade_no": hand.ORDER,
            "out_request_no": hand.REFUND,
            "query_options": ["gmt_refund_pay"],
        },
    ]


@pytest.mark.parametrize(
    ("amount_fen", "yuan"),
    [
        (1, "0.01"),
        (10, "0.10"),
        (100, "1.00"),
        (123405, "1234.05"),
        (29, "0.29"),  # 0.29 * 100 is 28.999999999999996 in floating point
        (10_000_000_000, "100000000.00"),
    ],
)
def test_fen_are_sent_as_yuan_with_two_decimals(wire: Wire, amount_fen: int, yuan: str) -> None:
    hand.channel(wire.url).prepare_payment(replace(hand.PAYMENT, amount_fen=amount_fen))

    assert hand.read_content(wire.seen[0].body)["total_amount"] == yuan


def test_the_timestamp_is_beijings_wherever_the_machine_stands(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        hand.channel(wire.url).prepare_payment(hand.PAYMENT)
    finally:
        monkeypatch.undo()
        time.tzset()

    assert hand.read_sent(wire.seen[0].body)["timestamp"] == "2026-11-24 10:00:00"


def test_the_user_id_of_an_old_application_has_its_own_field(wire: Wire) -> None:
    hand.channel(wire.url).prepare_payment(replace(hand.PAYMENT, payer_ref="2088102146225135"))

    content = hand.read_content(wire.seen[0].body)
    assert content["buyer_id"] == "2088102146225135"
    assert content.keys().isdisjoint({"buyer_open_id", "op_buyer_open_id"})


def test_a_mini_program_other_than_the_caller_has_its_own_payers(wire: Wire) -> None:
    hand.channel(wire.url, op_app_id="2021000000000002").prepare_payment(hand.PAYMENT)

    content = hand.read_content(wire.seen[0].body)
    assert content["op_app_id"] == "2021000000000002"
    assert content["op_buyer_open_id"] == hand.OPEN_ID
    assert content.keys().isdisjoint({"buyer_open_id", "buyer_id"})


def test_text_is_made_fit_and_cannot_break_out(wire: Wire) -> None:
    evil = '缴存 𠮷 a/b=c&d","total_amount":"0.01\x00\ud800\n'

    hand.channel(wire.url).prepare_payment(replace(hand.PAYMENT, description=evil))

    content = hand.read_content(wire.seen[0].body)
    assert content["subject"] == '缴存 𠮷 a b c d","total_amount":"0.01'
    assert content["total_amount"] == "45.00"


def test_long_text_is_cut(wire: Wire) -> None:
    channel = hand.channel(wire.url)

    channel.prepare_payment(replace(hand.PAYMENT, description="缴" * 300))
    channel.refund(replace(hand.REFUNDING, reason="退" * 300))
    channel.refund(replace(hand.REFUNDING, reason="\n"))

    assert hand.read_content(wire.seen[0].body)["subject"] == "缴" * 256
    assert hand.read_content(wire.seen[1].body)["refund_reason"] == "退" * 256
    assert "refund_reason" not in hand.read_content(wire.seen[2].body)


def test_a_payer_that_cannot_be_written_is_not_sent(wire: Wire) -> None:
    outcome = hand.channel(wire.url).prepare_payment(replace(hand.PAYMENT, payer_ref="0\ud800"))

    assert (outcome.kind, outcome.reason) == (OutcomeKind.UNKNOWN, Reason.OUR_FAULT)
    assert wire.seen == []


def test_the_phone_gets_the_trade_number_under_its_odd_name() -> None:
    assert hand.channel().payer_action(hand.TRADE) == {"tradeNO": hand.TRADE}


def test_proxies_of_the_environment_are_not_used(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_wire() as proxy:
        proxy.will(plain(CREATED))
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)

        outcome = hand.channel(wire.url).prepare_payment(hand.PAYMENT)

        assert outcome.kind is OutcomeKind.ACCEPTED
        assert proxy.seen == []


def test_a_netrc_is_not_used(wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password something\n")
    monkeypatch.setenv("NETRC", str(netrc))

    hand.channel(wire.url).query_payment(hand.ORDER)

    assert "Authorization" not in wire.seen[0].headers


def test_nothing_that_is_sent_is_in_a_log_however_loud(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    channel = hand.channel(wire.url)
    sdk = logging.getLogger("python-alipay-sdk")
    level = sdk.level
    try:
        # A logging configuration that comes later and wants everything.
        sdk.setLevel(logging.DEBUG)
        with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "urllib3"):
            sdk.debug("what the SDK says when it is verbose: %s", hand.OPEN_ID)
            channel.prepare_payment(hand.PAYMENT)
            channel.query_payment(hand.ORDER)
            channel.refund(hand.REFUNDING)
    finally:
        sdk.setLevel(level)

    assert len(wire.seen) == 3
    signature = dict(hand.parse_qsl(wire.seen[0].body.decode()))["sign"]
    for secret in (hand.OPEN_ID, signature, "biz_content"):
        assert secret not in caplog.text


def test_the_sdk_writes_nowhere_of_its_own() -> None:
    sdk = logging.getLogger("python-alipay-sdk")

    assert sdk.handlers == []
    assert sdk.getEffectiveLevel() == logging.INFO


def test_the_sdk_is_imported_before_logging_is_configured() -> None:
    """Importing it closes every handler: it must come with the registry, not with the first use."""
    script = """
import sys
import app.payments.registry, app.connectors.logins.registry
assert "alipay" in sys.modules
import logging
from app.logs import configure_logging
configure_logging("DEBUG")
before = list(logging.getLogger().handlers)
from tests.payments import alipay_hand as hand
hand.channel()
assert logging.getLogger().handlers == before and len(before) == 1
assert set(before) <= {reference() for reference in logging._handlerList}
logging.getLogger("after").warning("still heard")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert "still heard" in done.stderr


# Start-up


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_timeout_must_end(seconds: float) -> None:
    for timeouts in ((seconds, 1.0), (1.0, seconds)):
        with pytest.raises(ValueError, match="timeout"):
            build(connect_timeout=timeouts[0], read_timeout=timeouts[1])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"app_id": ""}, "app id"),
        ({"seller_id": ""}, "seller id"),
        ({"seller_id": "fund@example.cn"}, "seller id"),
        ({"seller_id": "20880000000000012"}, "seller id"),
        ({"gateway_url": "openapi.alipay.com/gateway.do"}, "URL"),
        ({"gateway_url": "https:///gateway.do"}, "URL"),
        ({"gateway_url": "ftp://openapi.alipay.com/gateway.do"}, "URL"),
        ({"gateway_url": "https://openapi.alipay.com/gateway.do?charset=gbk"}, "no query"),
        ({"app_private_key_file": "/nowhere/app.pem"}, "no PEM key file"),
        ({"alipay_public_key_file": "/nowhere/alipay.pem"}, "no PEM key file"),
        ({"alipay_next_public_key_file": "/nowhere/next.pem"}, "no PEM key file"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, str], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build(**changes)


def elliptic_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


PEMS = hand.VECTORS["keys"]
BARE = "".join(PEMS["alipay_public"].splitlines()[1:-1])
PUBLIC_KEYS = {
    "our own": (PEMS["app_public"], "our own key"),
    "of 1024 bits": (hand.public_pem(hand.another_key(1024)), "1024 bits"),
    "a private one": (PEMS["alipay_private"], "no public key"),
    "our private one": (PEMS["app_private"], "no public key"),
    "without armour": (BARE, "no public key"),
    "not RSA": (
        elliptic_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "no RSA key",
    ),
    "not text": (base64.b64decode(BARE), "no PEM key file"),
    "empty": ("", "no public key"),
}
PRIVATE_KEYS = {
    "of 1024 bits": (hand.private_pem(hand.another_key(1024)), "1024 bits"),
    "a public one": (PEMS["app_public"], "no private key"),
    "behind a password": (
        hand.another_key().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
        ),
        "no private key",
    ),
    "not RSA": (
        elliptic_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hand.NoEncryption()),
        "no RSA key",
    ),
    "empty": ("", "no private key"),
}


@pytest.mark.parametrize("name", PUBLIC_KEYS)
@pytest.mark.parametrize("setting", ["alipay_public_key_file", "alipay_next_public_key_file"])
def test_an_unfit_key_of_alipay_is_refused(setting: str, name: str) -> None:
    pem, match = PUBLIC_KEYS[name]

    with pytest.raises(ValueError, match=match):
        build(**{setting: hand.key_file("unfit.pem", pem)})


@pytest.mark.parametrize("name", PRIVATE_KEYS)
def test_an_unfit_key_of_ours_is_refused(name: str) -> None:
    pem, match = PRIVATE_KEYS[name]

    with pytest.raises(ValueError, match=match) as caught:
        build(app_private_key_file=hand.key_file("unfit.pem", pem))

    assert "PRIVATE KEY" not in str(caught.value)


def test_both_ways_to_write_a_private_key_work(wire: Wire) -> None:
    key = hand.load_pem_private_key(PEMS["app_private"].encode(), None)
    channel = hand.channel(
        wire.url, app_private_key_file=hand.key_file("pkcs1.pem", hand.private_pem(key))
    )

    channel.query_payment(hand.ORDER)

    assert hand.read_sent(wire.seen[0].body)["method"] == "alipay.trade.query"


def test_a_reason_table_without_a_call_is_refused() -> None:
    rows = {call: codes for call, codes in load_reasons("alipay").items() if call != "refund"}

    with pytest.raises(ValueError, match="refund"):
        build(reasons=ReasonTable(rows))


def build(
    *,
    connect_timeout: float = 1.0,
    read_timeout: float = 1.0,
    reasons: ReasonTable | None = None,
    **changes: object,
) -> AlipayPay:
    return AlipayPay(
        hand.settings(**changes),
        callback_base_url="https://fund.example/",
        reasons=reasons or ReasonTable(load_reasons("alipay")),
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        now=lambda: hand.NOW,
    )
