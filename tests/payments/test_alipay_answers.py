"""Answers of Alipay: what may be believed of them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.hashes import MD5, SHA1

from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.ports.payments import PaymentRequest
from app.payments.alipay.channel import AlipayPay
from tests.payments import alipay_hand as hand
from tests.payments.wire import (
    Wire,
    cut_short,
    dripping,
    endless,
    hang_up,
    open_wire,
    plain,
    silent,
)

Node = dict[str, object]
Call = Callable[[AlipayPay], Outcome]
CALLS: dict[str, tuple[Call, str, Node]] = {
    "prepare_payment": (
        lambda channel: channel.prepare_payment(hand.PAYMENT),
        hand.CREATE,
        hand.node(),
    ),
    "query_payment": (lambda channel: channel.query_payment(hand.ORDER), hand.QUERY, hand.paid()),
    "close_payment": (lambda channel: channel.close_payment(hand.ORDER), hand.CLOSE, hand.node()),
    "refund": (lambda channel: channel.refund(hand.REFUNDING), hand.REFUND_NODE, hand.refunded()),
    "query_refund": (
        lambda channel: channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND),
        hand.REFUND_QUERY,
        hand.refund_found(),
    ),
}
AnyCall = tuple[Call, str, Node]


@pytest.fixture(scope="module")
def line() -> Iterator[tuple[Wire, AlipayPay]]:
    """One server and one channel for all: reading keys takes longer than a call."""
    with open_wire() as wire:
        yield wire, hand.channel(wire.url)


@pytest.fixture
def wire(line: tuple[Wire, AlipayPay]) -> Wire:
    wire, _ = line
    wire.seen.clear()
    return wire


@pytest.fixture
def channel(line: tuple[Wire, AlipayPay]) -> AlipayPay:
    return line[1]


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> AnyCall:
    return CALLS[request.param]


def assert_unknown(outcome: Outcome, reason: Reason = Reason.BAD_ANSWER) -> None:
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert outcome.reason is reason
    assert outcome.number in (hand.ORDER, hand.REFUND)
    assert outcome.amount_fen is None
    assert outcome.reference is None


def believed(outcome: Outcome) -> bool:
    return outcome.kind in (OutcomeKind.SUCCEEDED, OutcomeKind.ACCEPTED)


def test_a_genuine_answer_is_believed(wire: Wire, channel: AlipayPay, call: AnyCall) -> None:
    make, name, node = call
    wire.will(plain(hand.answer(name, node)))

    assert believed(make(channel))


# The published vectors


@pytest.mark.parametrize("place", [0, 1])
def test_the_published_answers_are_genuine(wire: Wire, place: int) -> None:
    """Also the one whose braces in a text the SDK itself stumbles over."""
    vector = hand.VECTORS["responses"][place]
    wire.will(plain(vector["http_body"]))

    outcome = hand.channel(wire.url).prepare_payment(
        PaymentRequest(
            order_no="D20261124000001",
            amount_fen=123450,
            description="缴存",
            payer_ref=hand.OPEN_ID,
            expires_at=hand.NOW + timedelta(minutes=30),
            client_ip="",
        )
    )

    # The second says nothing of our number: it was read to the end, and only then doubted.
    expected = [(OutcomeKind.ACCEPTED, "10000"), (OutcomeKind.UNKNOWN, "unexpected: another out_")]
    assert (outcome.kind, outcome.raw_code[:24]) == expected[place]


def test_the_published_refusal_is_a_refusal(wire: Wire, channel: AlipayPay) -> None:
    wire.will(plain(hand.VECTORS["responses"][2]["http_body"]))

    outcome = channel.prepare_payment(hand.PAYMENT)

    assert_unknown(outcome, Reason.UNLISTED)
    assert outcome.raw_code == "ACQ.CYCLE_PAY_DATE_NOT_MATCH"
    assert outcome.raw_message == "扣款日期不在签约时的允许范围之内"


# The raw text


ODD_TEXTS = {
    "braces": "} { 结束 {",
    "a quote and braces": 'a"} , "sign":"x" {',
    "the name of the node": '"alipay_trade_query_response":{"code":"40004"}',
    "a backslash at the end": "a\\",
    "line separators": "a\u2028b\u2029c",
    "an emoji": "🏠𠮷",
}


@pytest.mark.parametrize("name", ODD_TEXTS)
def test_no_text_inside_can_lead_the_reading_astray(
    wire: Wire, channel: AlipayPay, name: str
) -> None:
    for node in (hand.paid(body=ODD_TEXTS[name]), {"body": ODD_TEXTS[name], **hand.paid()}):
        wire.will(plain(hand.answer(hand.QUERY, node)))

        assert channel.query_payment(hand.ORDER).amount_fen == 4500


def shaped(node: Node, layout: str, **dump: object) -> bytes:
    text = json.dumps(node, **dump)
    return layout.replace("NODE", text).replace("SIGN", hand.sign(text.encode())).encode()


def test_every_way_to_write_the_answer_is_read(wire: Wire, channel: AlipayPay) -> None:
    name = f'"{hand.QUERY}"'
    for layout in (
        f'{{"sign":"SIGN",{name}:NODE}}',
        f'{{{name}:NODE,"alipay_cert_sn":"8ac2","sign":"SIGN"}}',
        f'{{"decoy":"{hand.QUERY} {{","nested":{{"sign":"x"}},{name}:NODE,"sign":"SIGN"}}',
        f' {{\r\n\t{name} : NODE ,\n "sign" : "SIGN" }}\n',
        f'{{{name}:NODE,"sign":"SIGN"}}'.replace("/", "\\/"),
        f'{{{name}:NODE,"si\\u0067n":"SIGN"}}',
    ):
        for dump in ({"ensure_ascii": True}, {"ensure_ascii": False, "indent": 1}):
            wire.will(plain(shaped(hand.paid(subject="公积金"), layout, **dump)))

            assert channel.query_payment(hand.ORDER).amount_fen == 4500, layout


def test_a_field_that_stands_twice_with_one_value_is_read(wire: Wire, channel: AlipayPay) -> None:
    text = hand.text_of(hand.paid())
    twice = text[:-1] + ',"trade_status":"TRADE_SUCCESS"}'
    wire.will(plain(hand.envelope(hand.QUERY, twice, hand.sign(twice.encode()))))
    assert believed(channel.query_payment(hand.ORDER))

    other = text[:-1] + ',"trade_status":"WAIT_BUYER_PAY"}'
    wire.will(plain(hand.envelope(hand.QUERY, other, hand.sign(other.encode()))))
    assert_unknown(channel.query_payment(hand.ORDER))


def test_fields_of_tomorrow_and_nulls_are_read(
    wire: Wire, channel: AlipayPay, call: AnyCall
) -> None:
    make, name, node = call
    later = {"added_later": [{"新": None}], "sub_code": None, "sub_msg": None}
    wire.will(plain(hand.answer(name, {**node, **later})))

    assert believed(make(channel))


# Whose word it is


def forged(node: Node, name: str, sign: Callable[[bytes], str]) -> bytes:
    text = hand.text_of(node)
    return hand.envelope(name, text, sign(text.encode()))


def resigned(name: str, text: str) -> bytes:
    return hand.envelope(name, text, hand.sign(text.encode()))


FORGERIES: dict[str, Callable[[str, Node], bytes]] = {
    "unsigned": lambda name, node: hand.envelope(name, hand.text_of(node), None),
    "an empty sign": lambda name, node: hand.envelope(name, hand.text_of(node), ""),
    "a made-up sign": lambda name, node: hand.envelope(name, hand.text_of(node), "AAAA"),
    "a sign that is no base64": lambda name, node: hand.envelope(name, hand.text_of(node), "签!"),
    "a sign with junk inside": lambda name, node: forged(
        node, name, lambda text: "!" + hand.sign(text)
    ),
    "a sign that is no text": lambda name, node: (
        f'{{"{name}":{hand.text_of(node)},"sign":null}}'.encode()
    ),
    "signed with another key": lambda name, node: forged(
        node, name, lambda text: hand.sign(text, hand.another_key())
    ),
    "signed with our own key": lambda name, node: forged(
        node,
        name,
        lambda text: hand.sign(
            text, hand.load_pem_private_key(hand.VECTORS["keys"]["app_private"].encode(), None)
        ),
    ),
    "signed with SHA-1": lambda name, node: forged(
        node, name, lambda text: hand.sign(text, hashed=SHA1)
    ),
    "signed with MD5": lambda name, node: forged(
        node, name, lambda text: hand.sign(text, hashed=MD5)
    ),
    "changed after signing": lambda name, node: hand.answer(name, node).replace(
        b'"msg":"Success"', b'"msg":"success"'
    ),
    "space added after signing": lambda name, node: hand.answer(name, node).replace(
        b'"msg":"Success"', b'"msg": "Success"'
    ),
    "escaped otherwise after signing": lambda name, node: hand.answer(name, node).replace(
        b'"msg":"Success"', b'"msg":"\\u0053uccess"'
    ),
    "the signature of another answer": lambda name, node: hand.envelope(
        name, hand.text_of(node), hand.sign(b"{}")
    ),
    "a node of another call": lambda name, node: hand.answer("alipay_trade_pay_response", node),
    "as an error": lambda name, node: hand.answer(hand.ERROR, node),
    "two nodes": lambda name, node: hand.answer(name, node).replace(
        b"{", b'{"error_response":{"code":"40004"},', 1
    ),
    "the node twice": lambda name, node: hand.answer(name, node).replace(
        b"{", f'{{"{name}":{{"code":"10000"}},'.encode(), 1
    ),
    "two signs": lambda name, node: hand.answer(name, node).replace(b"{", b'{"sign":"x",', 1),
    "another order": lambda name, node: hand.answer(name, {**node, "out_trade_no": "D" + "9" * 31}),
    "no order": lambda name, node: hand.answer(name, hand.without(node, "out_trade_no")),
    "a number for the order": lambda name, node: hand.answer(name, {**node, "out_trade_no": 1}),
    "no code": lambda name, node: hand.answer(name, hand.without(node, "code")),
    "a number for the code": lambda name, node: hand.answer(name, {**node, "code": 10000}),
    "a node that is text": lambda name, node: hand.envelope(name, '"paid"', hand.sign(b'"paid"')),
    "a node that is a list": lambda name, node: hand.envelope(name, "[]", hand.sign(b"[]")),
    "raw text": lambda name, node: b"success",
    "html": lambda name, node: "<html><body>系统繁忙</body></html>".encode(),
    "html in GBK": lambda name, node: "<html><body>系统繁忙</body></html>".encode("gbk"),
    "empty": lambda name, node: b"",
    "an empty object": lambda name, node: b"{}",
    "XML": lambda name, node: b"<xml><code>10000</code></xml>",
    "truncated": lambda name, node: hand.answer(name, node)[:-20],
    "without its end": lambda name, node: hand.answer(name, node)[:-1],
    "text behind": lambda name, node: hand.answer(name, node) + b"{}",
    "a comma too many": lambda name, node: hand.answer(name, node)[:-1] + b",}",
    "a byte-order mark": lambda name, node: b"\xef\xbb\xbf" + hand.answer(name, node),
    "UTF-16": lambda name, node: hand.answer(name, node).decode().encode("utf-16"),
    "not UTF-8": lambda name, node: hand.answer(name, node).replace(b"Success", b"\xb3\xc9"),
    "half a character": lambda name, node: resigned(
        name, hand.text_of({**node, "sub_msg": "S"}).replace('"S"', '"\\ud800"')
    ),
    "too long": lambda name, node: hand.answer(name, {**node, "padding": "x" * 1_100_000}),
    "deep": lambda name, node: b'{"a":' * 100_000,
    "a deep node": lambda name, node: f'{{"{name}":{"[" * 100_000}'.encode(),
    "a huge number": lambda name, node: f'{{"a":{"9" * 5000},"sign":"x"}}'.encode(),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_an_answer_that_is_not_proven_says_nothing(
    wire: Wire, channel: AlipayPay, call: AnyCall, forgery: str
) -> None:
    make, name, node = call
    wire.will(plain(FORGERIES[forgery](name, node)))

    assert_unknown(make(channel))


def test_alipays_next_key_is_accepted_beside_the_current(wire: Wire) -> None:
    following = hand.another_key()
    channel = hand.channel(
        wire.url,
        alipay_next_public_key_file=hand.key_file("next.pem", hand.public_pem(following)),
    )
    text = hand.text_of(hand.paid())
    for key in (following, hand.load_pem_private_key(PEM_OF_ALIPAY, None)):
        wire.will(plain(hand.envelope(hand.QUERY, text, hand.sign(text.encode(), key))))
        assert channel.query_payment(hand.ORDER).amount_fen == 4500

    third = hand.generate_private_key(public_exponent=65537, key_size=2048)
    wire.will(plain(hand.envelope(hand.QUERY, text, hand.sign(text.encode(), third))))
    assert_unknown(channel.query_payment(hand.ORDER))


PEM_OF_ALIPAY = hand.VECTORS["keys"]["alipay_private"].encode()


# Refusals


def test_an_unsigned_refusal_says_nothing(wire: Wire, channel: AlipayPay, call: AnyCall) -> None:
    make, name, _ = call
    refusal = hand.text_of(hand.refusal("ACQ.TRADE_NOT_EXIST"))
    wire.will(plain(hand.envelope(name, refusal, None)))

    assert_unknown(make(channel))


@pytest.mark.parametrize(
    ("code", "sub_code", "reason"),
    [
        ("20000", "isp.unknow-error", Reason.BUSY),
        ("20000", "aop.ACQ.SYSTEM_ERROR", Reason.BUSY),
        ("20001", "aop.invalid-app-auth-token", Reason.OUR_FAULT),
        ("40001", "isv.missing-signature", Reason.OUR_FAULT),
        ("40002", "isv.invalid-signature", Reason.OUR_FAULT),
        ("40002", "isv.invalid-app-id", Reason.OUR_FAULT),
        ("40003", "isv.missing-signature-config", Reason.OUR_FAULT),
        ("40005", "isv.app-call-limited", Reason.BUSY),
        ("40006", "isv.insufficient-isv-permissions", Reason.OUR_FAULT),
    ],
)
def test_the_gateways_own_errors_say_nothing_of_the_money(
    wire: Wire, channel: AlipayPay, call: AnyCall, code: str, sub_code: str, reason: Reason
) -> None:
    make, name, _ = call
    text = hand.text_of(hand.refusal(sub_code, code))
    for where in (name, hand.ERROR):
        for signature in (None, hand.sign(text.encode())):
            wire.will(plain(hand.envelope(where, text, signature)))

            outcome = make(channel)

            assert_unknown(outcome, reason)
            assert (outcome.raw_code, outcome.raw_message) == (sub_code, "不能办理")


@pytest.mark.parametrize("code", ["20000", "40002", "40006", "10003", "99999"])
def test_only_a_business_code_gives_a_business_verdict(
    wire: Wire, channel: AlipayPay, code: str
) -> None:
    wire.will(plain(hand.answer(hand.QUERY, hand.refusal("ACQ.TRADE_NOT_EXIST", code))))
    assert channel.query_payment(hand.ORDER).kind is OutcomeKind.UNKNOWN

    wire.will(plain(hand.answer(hand.ERROR, hand.refusal("ACQ.TRADE_NOT_EXIST"))))
    assert channel.query_payment(hand.ORDER).kind is OutcomeKind.UNKNOWN


def test_an_unlisted_code_is_unknown(wire: Wire, channel: AlipayPay, call: AnyCall) -> None:
    make, name, _ = call
    for sub_code in ("ACQ.NEVER_HEARD_OF", ""):
        wire.will(plain(hand.answer(name, hand.refusal(sub_code))))

        outcome = make(channel)

        assert_unknown(outcome, Reason.UNLISTED)
        assert (outcome.raw_code, outcome.raw_message) == (sub_code, "不能办理")


def test_a_busy_gateway_is_unknown(wire: Wire, channel: AlipayPay, call: AnyCall) -> None:
    make, name, _ = call
    wire.will(plain(hand.answer(name, hand.refusal("ACQ.SYSTEM_ERROR"))))

    assert_unknown(make(channel), Reason.BUSY)


def test_long_words_of_alipay_are_cut(wire: Wire, channel: AlipayPay) -> None:
    refusal = hand.refusal("ACQ." + "X" * 100, sub_msg="长" * 300)
    wire.will(plain(hand.answer(hand.QUERY, refusal)))

    outcome = channel.query_payment(hand.ORDER)

    assert (len(outcome.raw_code), outcome.raw_message) == (64, "长" * 256)


# The transport


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 400, 403, 404, 500, 502, 503])
def test_only_a_plain_200_counts(
    wire: Wire, channel: AlipayPay, call: AnyCall, status: int
) -> None:
    make, name, node = call
    wire.will(plain(b"" if status == 204 else hand.answer(name, node), status=status))

    assert_unknown(make(channel))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    wire: Wire, channel: AlipayPay, call: AnyCall, status: int
) -> None:
    make, name, node = call
    with open_wire() as elsewhere:
        elsewhere.will(plain(hand.answer(name, node)))
        wire.will(plain(b"", status=status, headers={"Location": elsewhere.url}))

        assert_unknown(make(channel))

        assert elsewhere.seen == []


def test_a_compressed_answer_is_not_unpacked(wire: Wire, channel: AlipayPay) -> None:
    bomb = gzip.compress(hand.answer(hand.QUERY, hand.paid(padding="x" * 10_000_000)))
    wire.will(plain(bomb, headers={"Content-Encoding": "gzip"}))
    assert_unknown(channel.query_payment(hand.ORDER))

    wire.will(plain(hand.answer(hand.QUERY, hand.paid()), headers={"Content-Encoding": "gzip"}))
    assert_unknown(channel.query_payment(hand.ORDER))


def test_an_endless_answer_is_not_read_to_its_end(wire: Wire, channel: AlipayPay) -> None:
    sent: list[int] = []
    wire.will(endless(b" " * 65_536, sent, blocks=2000))

    outcome = channel.query_payment(hand.ORDER)

    assert_unknown(outcome)
    assert outcome.raw_code == "too long"
    # What the sockets' buffers hold, out of 130 MB.
    assert sum(sent) < 16_000_000


def test_silence_is_unknown_and_ends_by_our_own_clock(wire: Wire, call: AnyCall) -> None:
    make, _, _ = call
    wire.will(silent(2))

    outcome = make(hand.channel(wire.url, read_timeout=0.2))

    assert_unknown(outcome, Reason.NO_ANSWER)
    assert outcome.raw_code == "ReadTimeout"


def test_a_dripping_answer_ends_by_our_own_clock(wire: Wire) -> None:
    wire.will(dripping(hand.answer(hand.QUERY, hand.paid()), pause=0.05))

    outcome = hand.channel(wire.url, read_timeout=0.3).query_payment(hand.ORDER)

    assert_unknown(outcome, Reason.NO_ANSWER)
    assert outcome.raw_code == "too slow"


def test_a_connection_that_breaks_is_unknown(wire: Wire, channel: AlipayPay, call: AnyCall) -> None:
    make, name, node = call
    wire.will(hang_up)
    assert_unknown(make(channel), Reason.NO_ANSWER)

    wire.will(cut_short(hand.answer(name, node)))
    assert_unknown(make(channel), Reason.NO_ANSWER)
    # Asked once each: repeating is for those who know that it is safe.
    assert len(wire.seen) == 2


def test_nobody_listening_is_unknown(call: AnyCall) -> None:
    make, _, _ = call

    assert_unknown(make(hand.channel("http://127.0.0.1:1/")), Reason.NO_ANSWER)
