"""Notices of agreements: signed or ended, at their own addresses, and nobody's but Alipay's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.ports.callbacks import CallbackRejected, ChannelEvent, EventTopic, RawCallback
from app.domain.ports.mandates import EndedBy, MandateAnswer, MandateStanding
from app.domain.ports.outcomes import Reason
from tests.payments import alipay_hand as hand

CHANNEL = hand.channel()
FORM = "application/x-www-form-urlencoded; charset=utf-8"
SIGNED, ENDED = hand.signed(hand.agreement_notice()), hand.signed(hand.end_notice())


def read(body: bytes, endpoint: str = "mandate") -> ChannelEvent:
    return CHANNEL.read_callback(
        RawCallback(endpoint=endpoint, content_type=FORM, headers={}, body=body)
    )


def mandate_of(body: bytes, endpoint: str = "mandate") -> MandateAnswer:
    event = read(body, endpoint)
    assert (event.topic, event.outcome) == (EventTopic.MANDATE, None)
    assert event.mandate is not None
    return event.mandate


def assert_rejected(body: bytes, reason: str, endpoint: str = "mandate") -> None:
    with pytest.raises(CallbackRejected) as caught:
        read(body, endpoint)
    assert caught.value.reason == reason


@pytest.mark.parametrize("endpoint", ["mandate", "gateway"])
def test_an_agreement_that_was_signed(endpoint: str) -> None:
    assert mandate_of(SIGNED, endpoint) == MandateAnswer(
        standing=MandateStanding.ACTIVE,
        reason=Reason.OK,
        mandate_no=hand.MANDATE,
        reference=hand.AGREEMENT,
        payer_ref=hand.OPEN_ID,
        occurred_at=datetime(2026, 11, 24, 1, 29, 59, tzinfo=UTC),
        raw_code="NORMAL",
    )


@pytest.mark.parametrize(
    ("endpoint", "ended_by"),
    [("mandate", EndedBy.CENTRE), ("gateway", EndedBy.CONTRIBUTOR)],
)
def test_an_agreement_that_was_ended(endpoint: str, ended_by: EndedBy) -> None:
    """What we end is told to the address that we name, what a person ends to 应用网关 alone."""
    assert mandate_of(ENDED, endpoint) == MandateAnswer(
        standing=MandateStanding.ENDED,
        reason=Reason.CLOSED,
        mandate_no=hand.MANDATE,
        reference=hand.AGREEMENT,
        payer_ref=hand.OPEN_ID,
        ended_by=ended_by,
        occurred_at=datetime(2026, 11, 24, 1, 59, 59, tzinfo=UTC),
        raw_code="UNSIGN",
    )


def test_a_signing_told_of_after_it_has_run_out() -> None:
    body = hand.signed(hand.agreement_notice(invalid_time="2026-11-24 10:00:00"))

    told = mandate_of(body)

    assert (told.standing, told.ended_by) == (MandateStanding.ENDED, EndedBy.EXPIRY)
    assert told.occurred_at == hand.NOW


def test_a_person_of_an_old_application_and_one_who_is_not_named() -> None:
    fields = hand.agreement_notice(alipay_user_id="2088102146225135")
    del fields["alipay_open_id"]
    assert mandate_of(hand.signed(fields)).payer_ref == "2088102146225135"
    del fields["alipay_user_id"]
    assert mandate_of(hand.signed(fields)).payer_ref is None


def test_both_rules_of_signing_and_gbk() -> None:
    """Messages to the application may come in GBK, and signed as the platform's own."""
    fields = hand.end_notice(charset="GBK", external_logon_id="公积金账户")
    for rule in ("V1", "V2"):
        body = hand.signed(fields, rule=rule, encoding="gb18030")
        assert mandate_of(body, "gateway").standing is MandateStanding.ENDED


def test_an_agreement_without_a_number_of_ours_is_none_of_ours() -> None:
    for unsaid in ({"external_agreement_no": ""}, {}):
        fields = hand.end_notice(**unsaid)
        if not unsaid:
            del fields["external_agreement_no"]
        event = read(hand.signed(fields), "gateway")
        assert event == ChannelEvent(topic=EventTopic.IGNORED, outcome=None, note="dut_user_unsign")


def test_agreements_and_trades_have_addresses_of_their_own() -> None:
    for body in (SIGNED, ENDED):
        assert_rejected(body, "malformed", "payment")
    for body in (hand.signed(hand.notice()), hand.signed(hand.refund_notice())):
        assert_rejected(body, "malformed", "mandate")
        assert_rejected(body, "malformed", "gateway")


# Whose word it is

FORGED = {
    "no sign": hand.form(hand.end_notice()),
    "empty sign": hand.form(hand.end_notice(sign="")),
    "another key": hand.signed(hand.end_notice(), key=hand.another_key()),
    "sign type RSA": hand.signed(hand.end_notice(sign_type="RSA")),
    "another mandate": ENDED.replace(hand.MANDATE.encode(), b"M" + b"9" * 31),
    "another agreement": ENDED.replace(hand.AGREEMENT.encode(), b"2" * 20),
    "an end made of a signing": SIGNED.replace(b"dut_user_sign", b"dut_user_unsign").replace(
        b"status=NORMAL", b"status=UNSIGN"
    ),
    "a signing made of an end": ENDED.replace(b"dut_user_unsign", b"dut_user_sign").replace(
        b"status=UNSIGN", b"status=NORMAL"
    ),
    "a field added": ENDED + b"&invalid_time=2026-01-01+00%3A00%3A00",
}


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("endpoint", ["mandate", "gateway"])
def test_a_forged_notice(name: str, endpoint: str) -> None:
    assert FORGED[name] not in (SIGNED, ENDED)
    assert_rejected(FORGED[name], "signature", endpoint)


@pytest.mark.parametrize("app_id", ["2021000000000002", ""])
def test_a_genuine_notice_for_another_application(app_id: str) -> None:
    assert_rejected(hand.signed(hand.agreement_notice(app_id=app_id)), "merchant")
    assert_rejected(hand.signed(hand.end_notice(app_id=app_id)), "merchant", "gateway")


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "UNSIGN"},
        {"status": "TEMP"},
        {"status": "STOP"},
        {"status": "normal"},
        {"status": ""},
        {"agreement_no": ""},
        {"agreement_no": "a b"},
        {"external_agreement_no": "a b"},
        {"external_agreement_no": "x" * 65},
        {"sign_time": "2026-11-24"},
        {"sign_time": "2026-02-30 10:00:00"},
        {"invalid_time": "for ever"},
        {"sign_scene": "A&status=UNSIGN"},
        {"charset": "utf-7"},
    ],
)
def test_a_signed_notice_that_makes_no_sense(fields: dict[str, str]) -> None:
    assert_rejected(hand.signed(hand.agreement_notice(**fields)), "malformed")


@pytest.mark.parametrize("fields", [{"status": "NORMAL"}, {"unsign_time": "soon"}])
def test_an_end_that_makes_no_sense(fields: dict[str, str]) -> None:
    assert_rejected(hand.signed(hand.end_notice(**fields)), "malformed", "gateway")


def test_no_field_can_be_hidden_in_the_value_before_it() -> None:
    """The signed text is the same when two fields are sent as one."""
    fields = hand.agreement_notice()
    sign = dict(hand.parse_qsl(hand.signed(fields).decode()))["sign"]
    fields["external_agreement_no"] += f"&invalid_time={fields.pop('invalid_time')}"

    assert_rejected(hand.form({**fields, "sign": sign}), "malformed")


@settings(deadline=None, max_examples=200)
@given(
    name=st.sampled_from(sorted(hand.agreement_notice())),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
def test_any_value_in_a_signed_notice_is_read_or_rejected(name: str, text: str) -> None:
    try:
        event = read(hand.signed(hand.agreement_notice(**{name: text})))
    except CallbackRejected:
        return
    assert event.mandate is None or event.mandate.standing in (
        MandateStanding.ACTIVE,
        MandateStanding.ENDED,
    )


@settings(deadline=None, max_examples=200)
@given(place=st.integers(0, len(ENDED) - 1), byte=st.integers(0, 255))
def test_one_changed_byte_never_changes_what_is_believed(place: int, byte: int) -> None:
    body = ENDED[:place] + bytes([byte]) + ENDED[place + 1 :]
    try:
        event = read(body, "gateway")
    except CallbackRejected:
        return
    assert event == read(ENDED, "gateway")
