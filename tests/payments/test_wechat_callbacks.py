"""Notices of WeChat Pay: only a genuine one, about us, at its own endpoint, says anything."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.ports.callbacks import CallbackRejected, ChannelEvent, EventTopic, RawCallback
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from tests.payments import wechat_hand as hand

CHANNEL = hand.channel()


def read(body: bytes, endpoint: str = "payment") -> ChannelEvent:
    return CHANNEL.read_callback(
        RawCallback(endpoint=endpoint, content_type="text/xml", headers={}, body=body)
    )


def assert_rejected(body: bytes, reason: str, endpoint: str = "payment") -> None:
    with pytest.raises(CallbackRejected) as caught:
        read(body, endpoint)
    assert caught.value.reason == reason


# Payments


def test_a_genuine_payment_notice() -> None:
    assert read(hand.signed(hand.notice())) == ChannelEvent(
        topic=EventTopic.PAYMENT,
        outcome=Outcome(
            kind=OutcomeKind.SUCCEEDED,
            reason=Reason.OK,
            number=hand.ORDER,
            amount_fen=4500,
            reference="4200001234202611240000000001",
            payer_ref="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
            occurred_at=datetime(2026, 11, 24, 2, 1, 2, tzinfo=UTC),  # 10:01:02 in Beijing
            raw_code="SUCCESS",
        ),
    )


def test_fields_of_tomorrow_are_signed_too() -> None:
    fields = hand.notice(coupon_fee_0="1", added_later="新", empty="", **{"and.this-too": "&"})

    assert read(hand.signed(fields)).topic is EventTopic.PAYMENT
    assert_rejected(hand.signed(fields).replace("新".encode(), "旧".encode()), "signature")


def test_values_outside_cdata_and_a_declaration_are_fine() -> None:
    fields = hand.notice(attach="a&b<c")
    body = "".join(
        f"<{name}>{text.replace('&', '&amp;').replace('<', '&lt;')}</{name}>"
        for name, text in {**fields, "sign": hand.md5(fields)}.items()
    )

    event = read(f'<?xml version="1.0" encoding="UTF-8"?>\n<xml>{body}</xml>\n'.encode())

    assert event.topic is EventTopic.PAYMENT


@pytest.mark.parametrize(
    "body",
    [
        hand.xml(hand.notice()),
        hand.xml(hand.notice(sign="")),
        hand.xml(hand.notice(sign="A" * 32)),
        hand.xml(hand.notice(sign="签名")),
        hand.signed(hand.notice(), "0" * 32),
        hand.signed(hand.notice(), ""),
        hand.xml({**hand.notice(total_fee="9999"), "sign": hand.md5(hand.notice())}),
        hand.xml({**hand.notice(), "sign": hand.hmac_sha256(hand.notice())}),
        hand.xml(
            {
                **hand.notice(sign_type="HMAC-SHA256"),
                "sign": hand.hmac_sha256(hand.notice(sign_type="HMAC-SHA256")),
            }
        ),
    ],
    ids=[
        "no sign",
        "empty sign",
        "made-up sign",
        "sign that is not ASCII",
        "another key",
        "empty key",
        "changed amount",
        "HMAC without saying so",
        "HMAC as it claims",
    ],
)
def test_a_forged_notice(body: bytes) -> None:
    assert_rejected(body, "signature")


def test_the_claimed_sign_type_chooses_nothing() -> None:
    fields = hand.notice(sign_type="HMAC-SHA256")

    # Signed with MD5 as agreed: the claim is one signed field more.
    assert read(hand.signed(fields)).topic is EventTopic.PAYMENT


@pytest.mark.parametrize(
    "fields",
    [
        {"mch_id": "10000101"},
        {"mch_id": ""},
        {"appid": "wx0000000000000000"},
        {"appid": ""},
        {"sub_mch_id": "10000102"},
    ],
)
def test_a_genuine_notice_for_somebody_else(fields: dict[str, str]) -> None:
    assert_rejected(hand.signed(hand.notice(**fields)), "merchant")


def test_a_failed_try_is_not_a_payment() -> None:
    fields = hand.notice(result_code="FAIL", err_code="BANKERROR", err_code_des="银行系统异常")

    event = read(hand.signed(fields))

    assert event.topic is EventTopic.PAYMENT
    assert event.outcome is not None
    assert (event.outcome.kind, event.outcome.reason) == (OutcomeKind.ACCEPTED, Reason.NOT_PAID)
    assert event.outcome.amount_fen is None
    assert event.outcome.raw_code == "BANKERROR"


@pytest.mark.parametrize(
    "fields",
    [
        {"return_code": "FAIL"},
        {"return_code": ""},
        {"result_code": ""},
        {"result_code": "success"},
        {"result_code": "SUCCESS "},
        {"trade_type": "PAP"},
        {"trade_type": ""},
        {"fee_type": "USD"},
        {"fee_type": "cny"},
        {"total_fee": ""},
        {"total_fee": "0"},
        {"total_fee": "-1"},
        {"total_fee": "+4500"},
        {"total_fee": "45.00"},
        {"total_fee": "4500.0"},
        {"total_fee": "4_500"},
        {"total_fee": "4,500"},
        {"total_fee": "4e3"},
        {"total_fee": "04500"},
        {"total_fee": " 4500"},
        {"total_fee": "4500\n"},
        {"total_fee": "４５００"},
        {"total_fee": "٤٥"},
        {"total_fee": "NaN"},
        {"total_fee": "9" * 400},
        {"settlement_total_fee": "0"},
        {"settlement_total_fee": "44.00"},
        {"out_trade_no": ""},
        {"out_trade_no": "a b"},
        {"out_trade_no": "x" * 65},
        {"out_trade_no": "' or 1=1"},
        {"transaction_id": ""},
        {"time_end": ""},
        {"time_end": "20261324100102"},
        {"time_end": "20260230100102"},
        {"time_end": "00010101000000"},
        {"time_end": "99991231235959"},
        {"time_end": "２０２６１１２４１００１０２"},
        {"out_refund_no": hand.REFUND},
        {"req_info": hand.refund_notice()["req_info"]},
    ],
)
def test_a_signed_notice_that_makes_no_sense(fields: dict[str, str]) -> None:
    assert_rejected(hand.signed(hand.notice(**fields)), "malformed")


def test_a_coupon_that_brings_no_money_makes_the_amount_smaller() -> None:
    event = read(hand.signed(hand.notice(settlement_total_fee="4000")))

    assert event.outcome is not None
    assert event.outcome.amount_fen == 4000


def test_a_missing_currency_is_the_renminbi() -> None:
    fields = {name: text for name, text in hand.notice().items() if name != "fee_type"}

    assert read(hand.signed(fields)).topic is EventTopic.PAYMENT


# The XML


GENUINE = hand.signed(hand.notice())
BOMB = b"".join(
    [
        b'<!DOCTYPE xml [<!ENTITY a0 "ha">',
        *(b'<!ENTITY a%d "&a%d;&a%d;&a%d;">' % (n, n - 1, n - 1, n - 1) for n in range(1, 40)),
        b"]><xml><total_fee>&a39;</total_fee></xml>",
    ]
)
HOSTILE = {
    "empty": b"",
    "text": b"SUCCESS",
    "JSON": b'{"a": 1}',
    "another root": GENUINE.replace(b"<xml>", b"<root>").replace(b"</xml>", b"</root>"),
    "truncated": GENUINE[:-3],
    "two roots": GENUINE + GENUINE,
    "text after": GENUINE + b"x",
    "a document type": b"<!DOCTYPE xml>" + GENUINE,
    "an outside entity": b'<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    b"<xml><attach>&a;</attach></xml>",
    "an outside document type": b'<!DOCTYPE xml SYSTEM "http://127.0.0.1:1/x.dtd">' + GENUINE,
    "an entity bomb": BOMB,
    "an unknown entity": GENUINE.replace(b"</xml>", b"<attach>&nbsp;</attach></xml>"),
    "an amount twice": GENUINE.replace(b"</xml>", b"<total_fee>1</total_fee></xml>"),
    "a sign twice": GENUINE.replace(b"</xml>", b"<sign>1</sign></xml>"),
    "an element inside": GENUINE.replace(b"</xml>", b"<attach><b>1</b></attach></xml>"),
    "an empty element inside": GENUINE.replace(b"</xml>", b"<attach><b/></attach></xml>"),
    "deep": b"<xml>" * 5000 + b"</xml>" * 5000,
    "an attribute": GENUINE.replace(b"<total_fee>", b'<total_fee a="1">'),
    "a comment inside": GENUINE.replace(b"</xml>", b"<attach>1<!-- -->0</attach></xml>"),
    "an instruction": b'<?xml-stylesheet href="x"?>' + GENUINE,
    "text between": GENUINE.replace(b"</xml>", b"text</xml>"),
    "an odd name": GENUINE.replace(b"</xml>", b"<a:b>1</a:b></xml>"),
    "UTF-16": b"\xff\xfe" + GENUINE.decode().encode("utf-16-le"),
    "UTF-16 declared": b'<?xml version="1.0" encoding="utf-16"?>' + GENUINE,
    "UTF-7 declared": b'<?xml version="1.0" encoding="utf-7"?>' + GENUINE,
    "Latin-1 declared": b'<?xml version="1.0" encoding="iso-8859-1"?>' + GENUINE,
    "GBK": GENUINE.replace(b"OK", "好".encode("gbk")),
    "NUL": GENUINE.replace(b"OK", b"O\x00K"),
    "too long": GENUINE.replace(b"OK", b"O" * 65_536),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("endpoint", ["payment", "refund"])
def test_hostile_xml_is_turned_away_at_once(name: str, endpoint: str) -> None:
    started = time.perf_counter()

    assert_rejected(HOSTILE[name], "malformed", endpoint)

    assert time.perf_counter() - started < 0.1


def test_ten_megabytes_are_not_even_parsed() -> None:
    body = b"<xml>" + b"<a>1</a>" * 1_250_000 + b"</xml>"
    started = time.perf_counter()

    assert_rejected(body, "malformed")

    assert time.perf_counter() - started < 0.01


# Refunds


def test_a_genuine_refund_notice() -> None:
    assert read(hand.xml(hand.refund_notice()), "refund") == ChannelEvent(
        topic=EventTopic.REFUND,
        outcome=Outcome(
            kind=OutcomeKind.SUCCEEDED,
            reason=Reason.OK,
            number=hand.REFUND,
            amount_fen=1500,
            reference="50000001232026112400000000001",
            occurred_at=datetime(2026, 11, 24, 2, 5, 6, tzinfo=UTC),
            raw_code="SUCCESS",
        ),
    )


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        ("CHANGE", OutcomeKind.FAILED, Reason.PAYER_REFUSED),
        ("REFUNDCLOSE", OutcomeKind.FAILED, Reason.CLOSED),
        ("PROCESSING", OutcomeKind.ACCEPTED, Reason.PROCESSING),
        ("", OutcomeKind.UNKNOWN, Reason.UNLISTED),
    ],
)
def test_other_ends_of_a_refund(status: str, kind: OutcomeKind, reason: Reason) -> None:
    inside = hand.refund_inside(refund_status=status, success_time="")

    event = read(hand.xml(hand.refund_notice(inside)), "refund")

    assert event.outcome is not None
    assert (event.outcome.kind, event.outcome.reason) == (kind, reason)
    assert event.outcome.occurred_at is None


def test_a_refund_notice_is_no_payment_and_a_payment_notice_no_refund() -> None:
    assert_rejected(hand.xml(hand.refund_notice()), "malformed", "payment")
    assert_rejected(hand.signed(hand.refund_notice()), "malformed", "payment")
    assert_rejected(hand.signed(hand.notice()), "malformed", "refund")


@pytest.mark.parametrize("endpoint", ["", "Payment", "payment/", "refunds", "bill", "../payment"])
def test_no_other_endpoint_listens(endpoint: str) -> None:
    assert_rejected(hand.signed(hand.notice()), "malformed", endpoint)
    assert_rejected(hand.xml(hand.refund_notice()), "malformed", endpoint)


def test_a_refund_notice_sealed_with_another_key() -> None:
    for other in ("0" * 32, "1" * 32, ""):
        with pytest.raises(CallbackRejected) as caught:
            read(hand.xml(hand.refund_notice(key=other)), "refund")
        assert caught.value.reason in ("signature", "malformed")


@pytest.mark.parametrize(
    "fields", [{"mch_id": "10000101"}, {"appid": "wx0000000000000000"}, {"sub_mch_id": "1"}]
)
def test_a_refund_notice_for_somebody_else(fields: dict[str, str]) -> None:
    assert_rejected(hand.xml(hand.refund_notice(**fields)), "merchant", "refund")


@pytest.mark.parametrize(
    "sealed",
    [
        "",
        "not base64!",
        "AAAA",
        base64.b64encode(b"x" * 15).decode(),
        hand.seal(b"<root><out_refund_no>R1</out_refund_no></root>"),
        hand.seal(b"<!DOCTYPE root><root></root>"),
        hand.seal(b"not xml"),
        hand.seal(b"\xff\xfe"),
        hand.seal(hand.xml(hand.refund_inside(), root="xml")),
        hand.seal(hand.xml(hand.refund_inside(refund_fee="15.00"), root="root")),
        hand.seal(hand.xml(hand.refund_inside(refund_fee="0"), root="root")),
        hand.seal(hand.xml(hand.refund_inside(out_refund_no=""), root="root")),
        hand.seal(hand.xml(hand.refund_inside(out_trade_no=""), root="root")),
        hand.seal(hand.xml(hand.refund_inside(success_time="soon"), root="root")),
        hand.seal(hand.xml(hand.refund_inside(success_time="2026-13-01 00:00:00"), root="root")),
    ],
)
def test_a_refund_notice_that_cannot_be_read(sealed: str) -> None:
    with pytest.raises(CallbackRejected) as caught:
        read(hand.xml(hand.refund_notice(req_info=sealed)), "refund")
    assert caught.value.reason in ("signature", "malformed")


# Whatever comes


@settings(deadline=None, max_examples=300)
@given(body=st.binary(max_size=400), endpoint=st.sampled_from(["payment", "refund", "x"]))
def test_noise_is_only_ever_rejected(body: bytes, endpoint: str) -> None:
    with pytest.raises(CallbackRejected):
        read(body, endpoint)


@settings(deadline=None, max_examples=300)
@given(
    name=st.sampled_from(sorted(hand.notice())),
    text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40),
)
def test_any_value_in_a_signed_notice_is_read_or_rejected(name: str, text: str) -> None:
    text = text.replace("]]>", "")
    try:
        event = read(hand.signed(hand.notice(**{name: text})))
    except CallbackRejected:
        return
    assert event.outcome is not None
    assert event.outcome.kind is not OutcomeKind.UNKNOWN


@settings(deadline=None, max_examples=300)
@given(place=st.integers(0, len(GENUINE) - 1), byte=st.integers(0, 255))
def test_one_changed_byte_never_changes_what_is_believed(place: int, byte: int) -> None:
    body = GENUINE[:place] + bytes([byte]) + GENUINE[place + 1 :]
    try:
        event = read(body)
    except CallbackRejected:
        return
    assert event == read(GENUINE)


@settings(deadline=None, max_examples=300)
@given(place=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_changed_seal_is_read_or_rejected(place: int, byte: int) -> None:
    sealed = bytearray(base64.b64decode(hand.refund_notice()["req_info"]))
    sealed[place % len(sealed)] = byte
    fields = hand.refund_notice(req_info=base64.b64encode(bytes(sealed)).decode())
    try:
        event = read(hand.xml(fields), "refund")
    except CallbackRejected:
        return
    assert event.topic is EventTopic.REFUND


# Replies


def test_the_replies_are_wechats_own_words() -> None:
    for accepted, word in ((True, "SUCCESS"), (False, "FAIL")):
        reply = CHANNEL.reply(accepted=accepted)

        root = ElementTree.fromstring(reply.body)
        assert root.findtext("return_code") == word
        assert root.findtext("return_msg")
        assert (reply.status, reply.content_type) == (200, "text/xml; charset=utf-8")
