"""Notices of Alipay: only a genuine one, about us, at its own endpoint, says anything."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote_plus

import pytest
from cryptography.hazmat.primitives.hashes import MD5, SHA1
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.ports.callbacks import CallbackRejected, ChannelEvent, EventTopic, RawCallback
from app.domain.ports.mandates import MandateStanding
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from tests.payments import alipay_hand as hand

CHANNEL = hand.channel()
FORM = "application/x-www-form-urlencoded; charset=utf-8"


def read(body: bytes, endpoint: str = "payment", content_type: str = FORM) -> ChannelEvent:
    return CHANNEL.read_callback(
        RawCallback(endpoint=endpoint, content_type=content_type, headers={}, body=body)
    )


def assert_rejected(
    body: bytes, reason: str, endpoint: str = "payment", content_type: str = FORM
) -> None:
    with pytest.raises(CallbackRejected) as caught:
        read(body, endpoint, content_type)
    assert caught.value.reason == reason


# The published vectors


@pytest.mark.parametrize(
    ("name", "topic", "number"),
    [
        ("trade_success", EventTopic.PAYMENT, "D20261124000001"),
        ("partial_refund", EventTopic.REFUND, "R20261125000001"),
        ("full_refund", EventTopic.REFUND, "R20261125000002"),
    ],
)
def test_the_published_notices_of_a_trade(name: str, topic: EventTopic, number: str) -> None:
    event = read(hand.VECTORS["notifies"][name]["form_body"].encode())

    assert event.topic is topic
    assert event.outcome is not None
    assert event.outcome.number == number


def test_the_published_payment_in_full() -> None:
    event = read(hand.VECTORS["notifies"]["trade_success"]["form_body"].encode())

    assert event.outcome == Outcome(
        kind=OutcomeKind.SUCCEEDED,
        reason=Reason.OK,
        number="D20261124000001",
        amount_fen=123450,
        reference="2026112422001400000000000001",
        payer_ref="074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5",
        occurred_at=datetime(2026, 11, 24, 1, 9, 9, tzinfo=UTC),
        raw_code="TRADE_SUCCESS",
    )


@pytest.mark.parametrize("endpoint", ["payment", "mandate", "gateway"])
def test_the_published_message_that_says_nothing_of_money(endpoint: str) -> None:
    """The SDK takes it for a forgery: it is GBK, and signed by the other rule."""
    event = read(hand.VECTORS["notifies"]["gateway_message_v2_gbk"]["form_body"].encode(), endpoint)

    assert event == ChannelEvent(
        topic=EventTopic.IGNORED, outcome=None, note="servicemarket_order_notify"
    )


@pytest.mark.parametrize("endpoint", ["mandate", "gateway"])
def test_the_published_notices_of_an_agreement(endpoint: str) -> None:
    events = [
        read(hand.VECTORS["notifies"][name]["form_body"].encode(), endpoint)
        for name in ("agreement_sign", "agreement_unsign")
    ]

    for event in events:
        assert (event.topic, event.outcome) == (EventTopic.MANDATE, None)
        assert event.mandate is not None
        assert event.mandate.mandate_no == "AG20261124000001"
        assert event.mandate.reference == "20265224000000000001"
    assert [event.mandate.standing for event in events if event.mandate] == [
        MandateStanding.ACTIVE,
        MandateStanding.ENDED,
    ]


# Payments


@pytest.mark.parametrize("status", ["TRADE_SUCCESS", "TRADE_FINISHED"])
def test_a_genuine_payment_notice(status: str) -> None:
    assert read(hand.signed(hand.notice(trade_status=status))) == ChannelEvent(
        topic=EventTopic.PAYMENT,
        outcome=Outcome(
            kind=OutcomeKind.SUCCEEDED,
            reason=Reason.OK,
            number=hand.ORDER,
            amount_fen=4500,
            reference=hand.TRADE,
            payer_ref=hand.OPEN_ID,
            occurred_at=datetime(2026, 11, 24, 2, 1, 2, tzinfo=UTC),  # 10:01:02 in Beijing
            raw_code=status,
        ),
    )


def test_what_the_payer_got_off_does_not_change_the_amount() -> None:
    event = read(hand.signed(hand.notice(receipt_amount="40.00", buyer_pay_amount="39.00")))

    assert event.outcome is not None
    assert event.outcome.amount_fen == 4500


def test_a_payer_of_an_old_application() -> None:
    fields = hand.notice(buyer_id="2088102146225135")
    del fields["buyer_open_id"]

    event = read(hand.signed(fields))

    assert event.outcome is not None
    assert event.outcome.payer_ref == "2088102146225135"


def test_fields_of_tomorrow_and_blank_ones_are_signed_too() -> None:
    fields = hand.notice(added_later="新", passback_params="a%3D1+2 3&", **{"and.this-too": ""})

    assert read(hand.signed(fields)).topic is EventTopic.PAYMENT
    assert_rejected(hand.signed(fields).replace(b"&body=&", b"&"), "signature")
    assert_rejected(hand.signed(fields).replace(b"&and.this-too=", b""), "signature")


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "GBK", "gbk", "gb2312"])
def test_the_charset_that_the_notice_names(charset: str) -> None:
    encoding = "utf-8" if charset.lower() == "utf-8" else "gb18030"
    fields = hand.notice(charset=charset, subject="住房公积金缴存 镕𠮷")

    assert read(hand.signed(fields, encoding=encoding)).topic is EventTopic.PAYMENT


def test_without_a_charset_it_is_utf_8() -> None:
    fields = hand.notice()
    del fields["charset"]

    assert read(hand.signed(fields)).topic is EventTopic.PAYMENT


def test_both_rules_of_signing_are_known() -> None:
    for rule in ("V1", "V2"):
        assert read(hand.signed(hand.notice(), rule=rule)).topic is EventTopic.PAYMENT
        message = hand.signed(hand.platform_message(), rule=rule, encoding="gbk")
        assert read(message, "gateway").note == "servicemarket_order_notify"


def test_alipays_next_key_is_accepted_beside_the_current() -> None:
    following = hand.another_key()
    channel = hand.channel(
        alipay_next_public_key_file=hand.key_file("next.pem", hand.public_pem(following))
    )
    for body in (hand.signed(hand.notice()), hand.signed(hand.notice(), key=following)):
        raw = RawCallback(endpoint="payment", content_type=FORM, headers={}, body=body)
        assert channel.read_callback(raw).topic is EventTopic.PAYMENT

    assert_rejected(hand.signed(hand.notice(), key=following), "signature")


OUR_KEY = hand.load_pem_private_key(hand.VECTORS["keys"]["app_private"].encode(), None)
GENUINE = hand.signed(hand.notice())
FORGED = {
    "no sign": hand.form(hand.notice()),
    "empty sign": hand.form(hand.notice(sign="")),
    "made-up sign": hand.form(hand.notice(sign="QUJD")),
    "sign that is no base64": hand.form(hand.notice(sign="签名")),
    "sign with junk inside": GENUINE.replace(b"&sign=", b"&sign=%21"),
    "sign with a space for a plus": GENUINE.replace(b"%2B", b"+"),
    "another key": hand.signed(hand.notice(), key=hand.another_key()),
    "our own key": hand.signed(hand.notice(), key=OUR_KEY),
    "SHA-1": hand.signed(hand.notice(), hashed=SHA1),
    "SHA-1 as it claims": hand.signed(hand.notice(sign_type="RSA"), hashed=SHA1),
    "MD5": hand.signed(hand.notice(), hashed=MD5),
    "sign type RSA": hand.signed(hand.notice(sign_type="RSA")),
    "sign type unknown": hand.signed(hand.notice(sign_type="none")),
    "no sign type": hand.signed(
        {name: value for name, value in hand.notice().items() if name != "sign_type"}
    ),
    "changed amount": GENUINE.replace(b"total_amount=45.00", b"total_amount=99.99"),
    "changed order": GENUINE.replace(hand.ORDER.encode(), ("D" + "9" * 31).encode()),
    "a field added": GENUINE + b"&refund_fee=1.00",
    "a field taken away": GENUINE.replace(b"&version=1.0", b""),
    "another charset": GENUINE.replace(b"charset=utf-8", b"charset=GBK"),
    "the signature of another notice": hand.form(
        {**hand.notice(), "sign": hand.sign(b"notify_id=1")}
    ),
}


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("endpoint", ["payment", "gateway"])
def test_a_forged_notice(name: str, endpoint: str) -> None:
    assert FORGED[name] != GENUINE
    assert_rejected(FORGED[name], "signature", endpoint)


@pytest.mark.parametrize(
    "fields",
    [
        {"app_id": "2021000000000002"},
        {"app_id": ""},
        {"seller_id": "2088000000000002"},
        {"seller_id": ""},
        {"seller_id": "fund@example.cn"},
    ],
)
def test_a_genuine_notice_for_somebody_else(fields: dict[str, str]) -> None:
    assert_rejected(hand.signed(hand.notice(**fields)), "merchant")
    assert_rejected(hand.signed(hand.refund_notice(**fields)), "merchant")


def test_a_platform_message_for_another_application() -> None:
    message = hand.signed(
        hand.platform_message(app_id="2021000000000002"), rule="V2", encoding="gbk"
    )

    assert_rejected(message, "merchant", "gateway")


@pytest.mark.parametrize(
    "fields",
    [
        {"total_amount": ""},
        {"total_amount": "0.00"},
        {"total_amount": "-45.00"},
        {"total_amount": "+45.00"},
        {"total_amount": "45"},
        {"total_amount": "45.0"},
        {"total_amount": "45.000"},
        {"total_amount": "4500.0"},
        {"total_amount": "4_5.00"},
        {"total_amount": "1,045.00"},
        {"total_amount": "4.5e1"},
        {"total_amount": "045.00"},
        {"total_amount": " 45.00"},
        {"total_amount": "45.00\n"},
        {"total_amount": "４５.００"},
        {"total_amount": "٤٥.٠٠"},
        {"total_amount": "NaN"},
        {"total_amount": "9" * 400 + ".00"},
        {"out_trade_no": ""},
        {"out_trade_no": "a b"},
        {"out_trade_no": "x" * 65},
        {"out_trade_no": "' or 1=1"},
        {"trade_no": ""},
        {"trade_no": "<script>"},
        {"gmt_payment": "20261124100102"},
        {"gmt_payment": "2026-13-24 10:01:02"},
        {"gmt_payment": "2026-02-30 10:01:02"},
        {"gmt_payment": "0001-01-01 00:00:00"},
        {"gmt_payment": "2026-11-24 10:01:02 "},
        {"charset": "utf-7"},
        {"charset": "latin-1"},
    ],
)
def test_a_signed_notice_that_makes_no_sense(fields: dict[str, str]) -> None:
    assert_rejected(hand.signed(hand.notice(**fields)), "malformed")


def test_a_notice_may_leave_out_the_time_of_payment() -> None:
    event = read(hand.signed(hand.notice(gmt_payment="")))

    assert event.outcome is not None
    assert event.outcome.occurred_at is None


# What looks like a payment


@pytest.mark.parametrize("status", ["TRADE_SUCCESS", "TRADE_CLOSED", "TRADE_FINISHED"])
def test_a_refund_looks_like_a_payment_and_is_none(status: str) -> None:
    """A part of it back: TRADE_SUCCESS. All of it back: TRADE_CLOSED."""
    assert read(hand.signed(hand.refund_notice(trade_status=status))) == ChannelEvent(
        topic=EventTopic.REFUND,
        outcome=Outcome(
            kind=OutcomeKind.ACCEPTED,
            reason=Reason.PROCESSING,
            number=hand.REFUND,
            reference=hand.TRADE,
            raw_code=status,
        ),
    )


@pytest.mark.parametrize("left_out", [{"refund_fee"}, {"gmt_refund"}, {"refund_fee", "gmt_refund"}])
def test_one_sign_of_a_refund_is_enough(left_out: set[str]) -> None:
    fields = {name: text for name, text in hand.refund_notice().items() if name not in left_out}

    assert read(hand.signed(fields)).topic is EventTopic.REFUND


@pytest.mark.parametrize("unsaid", [{"out_biz_no": ""}, {"out_biz_no": "", "gmt_refund": ""}])
def test_a_refund_without_a_number_is_never_a_payment(unsaid: dict[str, str]) -> None:
    event = read(hand.signed(hand.refund_notice(**unsaid)))

    assert (event.topic, event.outcome) == (EventTopic.IGNORED, None)
    assert event.note == "refund without a number"


def test_a_payment_may_say_that_nothing_went_back() -> None:
    assert read(hand.signed(hand.notice(refund_fee="0.00"))).topic is EventTopic.PAYMENT


@pytest.mark.parametrize("status", ["WAIT_BUYER_PAY", "TRADE_CLOSED", "TRADE_PENDING", ""])
def test_a_trade_that_was_not_paid_is_ignored(status: str) -> None:
    """Alipay does tell of a trade that nobody paid in time, with a refund_fee of 0.00."""
    event = read(hand.signed(hand.closed_notice(trade_status=status)))

    assert event == ChannelEvent(topic=EventTopic.IGNORED, outcome=None, note=status)


@pytest.mark.parametrize("number", ["a b", "x" * 65, "R1'--"])
def test_an_odd_refund_number(number: str) -> None:
    assert_rejected(hand.signed(hand.refund_notice(out_biz_no=number)), "malformed")


def test_fields_of_a_refund_cannot_be_hidden_in_the_value_before_them() -> None:
    """The signed text is the same when two fields are sent as one."""
    fields = hand.refund_notice()
    # One made by hand on Alipay's own site; without these the hiding places are free.
    del fields["out_biz_no"], fields["gmt_payment"]
    sign = dict(hand.parse_qsl(hand.signed(fields).decode()))["sign"]
    fields["gmt_create"] += f"&gmt_refund={fields.pop('gmt_refund')}"
    fields["receipt_amount"] += f"&refund_fee={fields.pop('refund_fee')}"

    assert_rejected(hand.form({**fields, "sign": sign}), "malformed")


def test_a_value_with_fields_in_it_is_refused_in_a_trade() -> None:
    fields = hand.notice(subject="缴存&total_amount=0.01")
    assert_rejected(hand.signed(fields), "malformed")
    # What the published vector has in its subject is no field.
    assert read(hand.signed(hand.notice(subject="缴存 & 测试=1"))).topic is EventTopic.PAYMENT


# Where and how


@pytest.mark.parametrize("endpoint", ["", "Payment", "payment/", "refund", "bill", "../payment"])
def test_no_other_endpoint_listens(endpoint: str) -> None:
    assert_rejected(GENUINE, "malformed", endpoint)
    message = hand.signed(hand.platform_message(), rule="V2", encoding="gbk")
    assert_rejected(message, "malformed", endpoint)


def test_a_trade_is_told_of_at_its_own_endpoint_only() -> None:
    assert_rejected(GENUINE, "malformed", "gateway")
    assert_rejected(hand.signed(hand.refund_notice()), "malformed", "gateway")


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/json", "multipart/form-data; boundary=x", "text/xml"],
)
def test_only_a_form_is_read(content_type: str) -> None:
    assert_rejected(GENUINE, "malformed", content_type=content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded;charset=UTF-8",
        "Application/X-WWW-Form-Urlencoded ; charset=GBK",
    ],
)
def test_what_the_header_says_of_the_charset_chooses_nothing(content_type: str) -> None:
    assert read(GENUINE, content_type=content_type).topic is EventTopic.PAYMENT


HOSTILE = {
    "empty": b"",
    "text": b"success",
    "JSON": b'{"app_id":"2021000000000001"}',
    "XML": b"<xml><app_id>2021000000000001</app_id></xml>",
    "an amount twice": GENUINE + b"&total_amount=0.01",
    "an amount twice, first": b"total_amount=0.01&" + GENUINE,
    "the same amount twice": GENUINE + b"&total_amount=45.00",
    "a sign twice": GENUINE + b"&sign=1",
    "a charset twice": GENUINE + b"&charset=GBK",
    "a name in two spellings": GENUINE + b"&total%5Famount=0.01",
    "a field without a value": GENUINE + b"&x",
    "an empty field": GENUINE + b"&&",
    "an empty name": GENUINE + b"&=1",
    "an odd name": GENUINE + b"&a%26b=1",
    "a name that is not ASCII": GENUINE + b"&%E4%B8%AD=1",
    "raw bytes": GENUINE + b"&x=\xd6\xd0",
    "too many fields": GENUINE + b"&" + b"&".join(b"f%d=1" % number for number in range(300)),
    "too long": GENUINE + b"&x=" + b"1" * 65_536,
    "UTF-16": GENUINE.decode().encode("utf-16"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("endpoint", ["payment", "gateway"])
def test_what_is_no_form_of_alipays(name: str, endpoint: str) -> None:
    assert_rejected(HOSTILE[name], "malformed", endpoint)


def test_bytes_that_the_charset_does_not_have() -> None:
    fields = hand.notice()
    text = hand.text_to_sign(
        {name: value for name, value in fields.items() if name not in ("sign_type", "subject")}
    )
    signed = text.encode().replace(b"&total_amount", b"&subject=\xff\xfe&total_amount")
    body = hand.form({name: value for name, value in fields.items() if name != "subject"})
    body += b"&subject=%FF%FE&sign=" + quote_plus(hand.sign(signed)).encode()

    assert_rejected(body, "malformed")


# Whatever comes


@settings(deadline=None, max_examples=300)
@given(body=st.binary(max_size=400), endpoint=st.sampled_from(["payment", "gateway", "x"]))
def test_noise_is_only_ever_rejected(body: bytes, endpoint: str) -> None:
    with pytest.raises(CallbackRejected):
        read(body, endpoint)


@settings(deadline=None, max_examples=300)
@given(
    name=st.sampled_from(sorted(hand.refund_notice())),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
def test_any_value_in_a_signed_notice_is_read_or_rejected(name: str, text: str) -> None:
    try:
        event = read(hand.signed(hand.notice(**{name: text})))
    except CallbackRejected:
        return
    assert event.outcome is None or event.outcome.kind is not OutcomeKind.UNKNOWN


@settings(deadline=None, max_examples=300)
@given(place=st.integers(0, len(GENUINE) - 1), byte=st.integers(0, 255))
def test_one_changed_byte_never_changes_what_is_believed(place: int, byte: int) -> None:
    body = GENUINE[:place] + bytes([byte]) + GENUINE[place + 1 :]
    try:
        event = read(body)
    except CallbackRejected:
        return
    assert event == read(GENUINE)


# Replies


def test_the_reply_is_the_bare_word() -> None:
    for accepted, word in ((True, "success"), (False, "fail")):
        reply = CHANNEL.reply(accepted=accepted)

        assert (reply.body, reply.status) == (word, 200)
        assert reply.content_type == "text/plain; charset=utf-8"
