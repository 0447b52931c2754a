"""Notices of contracts and debits, signed by hand: each at its own endpoint, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.ports.callbacks import CallbackRejected, ChannelEvent, EventTopic, RawCallback
from app.domain.ports.mandates import EndedBy, MandateAnswer, MandateStanding
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from tests.payments import wechat_hand as hand
from tests.payments.test_wechat_callbacks import HOSTILE

CHANNEL = hand.channel()


def read(body: bytes, endpoint: str) -> ChannelEvent:
    return CHANNEL.read_callback(
        RawCallback(endpoint=endpoint, content_type="text/xml", headers={}, body=body)
    )


def refusal_of(body: bytes, endpoint: str) -> str:
    with pytest.raises(CallbackRejected) as caught:
        read(body, endpoint)
    return caught.value.reason


# Contracts


def test_a_genuine_notice_of_a_signing() -> None:
    event = read(hand.signed(hand.contract_notice()), "mandate")

    assert event == ChannelEvent(
        topic=EventTopic.MANDATE,
        outcome=None,
        mandate=MandateAnswer(
            standing=MandateStanding.ACTIVE,
            reason=Reason.OK,
            mandate_no=hand.MANDATE,
            reference=hand.CONTRACT,
            payer_ref=hand.OPENID,
            occurred_at=datetime(2026, 11, 24, 2, 0, 30, tzinfo=UTC),
            raw_code="ADD",
        ),
    )


@pytest.mark.parametrize(
    ("mode", "ended_by"),
    [
        ("1", EndedBy.EXPIRY),
        ("2", EndedBy.CONTRIBUTOR),
        ("3", EndedBy.CENTRE),
        ("4", EndedBy.CENTRE),
        ("5", EndedBy.CHANNEL),
        ("0", None),
        ("", None),
    ],
)
def test_a_genuine_notice_of_an_ending(mode: str, ended_by: EndedBy | None) -> None:
    fields = hand.contract_notice("DELETE", contract_termination_mode=mode)

    mandate = read(hand.signed(fields), "mandate").mandate

    assert mandate is not None
    assert (mandate.standing, mandate.ended_by) == (MandateStanding.ENDED, ended_by)
    assert (mandate.mandate_no, mandate.reference) == (hand.MANDATE, hand.CONTRACT)
    assert mandate.payer_ref == hand.OPENID


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"change_type": "MOVE"}, "contract MOVE"),
        ({"result_code": "FAIL", "err_code": "PARAM_ERROR"}, "contract PARAM_ERROR"),
        ({"change_type": "X" * 100}, "contract " + "X" * 55),
    ],
)
def test_genuine_news_that_nobody_knows_is_ignored(fields: dict[str, str], note: str) -> None:
    event = read(hand.signed(hand.contract_notice(**fields)), "mandate")

    assert event == ChannelEvent(topic=EventTopic.IGNORED, outcome=None, note=note)


def test_a_notice_that_names_our_app_is_ours_too() -> None:
    fields = hand.contract_notice(appid=hand.APP_ID)

    assert read(hand.signed(fields), "mandate").topic is EventTopic.MANDATE


@pytest.mark.parametrize(
    "fields",
    [
        {"mch_id": "10000101"},
        {"mch_id": ""},
        {"appid": "wx0000000000000000"},
        {"sub_mch_id": "10000102"},
    ],
)
def test_a_contract_of_somebody_else(fields: dict[str, str]) -> None:
    assert refusal_of(hand.signed(hand.contract_notice(**fields)), "mandate") == "merchant"


@pytest.mark.parametrize(
    "fields",
    [
        {"return_code": "FAIL"},
        {"contract_code": ""},
        {"contract_code": "a b"},
        {"contract_code": "M" * 65},
        {"contract_id": ""},
        {"contract_id": "' or 1=1"},
        {"operate_time": "2026-02-30 10:00:30"},
        {"operate_time": "20261124100030"},
    ],
)
def test_a_contract_notice_that_makes_no_sense(fields: dict[str, str]) -> None:
    for change in ("ADD", "DELETE"):
        body = hand.signed(hand.contract_notice(change, **fields))
        assert refusal_of(body, "mandate") == "malformed"


# Debits


def test_a_genuine_notice_of_a_debit() -> None:
    expected = ChannelEvent(
        topic=EventTopic.PAYMENT,
        outcome=Outcome(
            kind=OutcomeKind.SUCCEEDED,
            reason=Reason.OK,
            number=hand.ORDER,
            amount_fen=4500,
            reference="4200001234202611240000000001",
            payer_ref=hand.OPENID,
            occurred_at=datetime(2026, 11, 24, 2, 1, 2, tzinfo=UTC),
            raw_code="SUCCESS",
        ),
    )

    # With and without what the query calls its state.
    assert read(hand.signed(hand.debit_notice()), "debit") == expected
    assert read(hand.signed(hand.debit_notice(trade_state="SUCCESS")), "debit") == expected


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("NOTENOUGH", OutcomeKind.FAILED, Reason.INSUFFICIENT_FUNDS),
        ("USER_ACCOUNT_ABNORMAL", OutcomeKind.FAILED, Reason.ACCOUNT_FROZEN),
        ("", OutcomeKind.FAILED, Reason.PAYER_REFUSED),
        ("SYSTEMERROR", OutcomeKind.UNKNOWN, Reason.BUSY),
        ("NEVER_HEARD_OF", OutcomeKind.UNKNOWN, Reason.UNLISTED),
    ],
)
def test_a_genuine_notice_of_a_debit_that_failed(
    code: str, kind: OutcomeKind, reason: Reason
) -> None:
    event = read(hand.signed(hand.failed_debit_notice(code)), "debit")

    assert event.topic is EventTopic.PAYMENT
    assert event.outcome == Outcome(
        kind=kind,
        reason=reason,
        number=hand.ORDER,
        raw_code=code or "PAY_FAIL",
        raw_message="余额不足",
    )


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
def test_a_debit_of_somebody_else(fields: dict[str, str]) -> None:
    for plain in (hand.debit_notice, hand.failed_debit_notice):
        assert refusal_of(hand.signed(plain(**fields)), "debit") == "merchant"


@pytest.mark.parametrize(
    "fields",
    [
        {"return_code": "FAIL"},
        {"result_code": ""},
        {"result_code": "success"},
        {"trade_type": "JSAPI"},
        {"trade_type": ""},
        {"trade_state": "PAY_FAIL"},
        {"trade_state": "ACCEPT"},
        {"fee_type": "USD"},
        {"total_fee": "0"},
        {"total_fee": "45.00"},
        {"total_fee": "４５００"},
        {"out_trade_no": ""},
        {"out_trade_no": "a b"},
        {"transaction_id": ""},
        {"time_end": ""},
        {"time_end": "20260230100102"},
    ],
)
def test_a_debit_notice_that_makes_no_sense(fields: dict[str, str]) -> None:
    assert refusal_of(hand.signed(hand.debit_notice(**fields)), "debit") == "malformed"


@pytest.mark.parametrize(
    "fields",
    [
        {"trade_type": "JSAPI"},
        {"trade_state": "SUCCESS"},
        {"trade_state": "CLOSED"},
        {"out_trade_no": ""},
    ],
)
def test_a_failure_that_makes_no_sense(fields: dict[str, str]) -> None:
    assert refusal_of(hand.signed(hand.failed_debit_notice(**fields)), "debit") == "malformed"


# Both

GENUINE = {
    "mandate": hand.contract_notice(),
    "debit": hand.debit_notice(trade_state="SUCCESS"),
}


@pytest.mark.parametrize("endpoint", GENUINE)
def test_forged_notices(endpoint: str) -> None:
    fields = GENUINE[endpoint]
    bodies = [
        hand.xml(fields),
        hand.xml({**fields, "sign": ""}),
        hand.xml({**fields, "sign": "A" * 32}),
        hand.signed(fields, "0" * 32),
        hand.signed(fields, ""),
        hand.xml({**fields, "openid": "oSomebodyElse", "sign": hand.md5(fields)}),
        hand.xml({**fields, "added": "1", "sign": hand.md5(fields)}),
        hand.xml({**fields, "sign": hand.hmac_sha256(fields)}),
        hand.xml({**fields, "sign": hand.md5(fields).lower()}),
    ]

    assert [refusal_of(body, endpoint) for body in bodies] == ["signature"] * len(bodies)


@pytest.mark.parametrize("endpoint", GENUINE)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_xml_is_turned_away(endpoint: str, name: str) -> None:
    assert refusal_of(HOSTILE[name], endpoint) == "malformed"


def test_each_notice_has_its_own_endpoint() -> None:
    """A contract is no payment, a debit is none that was made by hand, and the other way round."""
    at = {
        "payment": hand.signed(hand.notice()),
        "refund": hand.xml(hand.refund_notice()),
        **{endpoint: hand.signed(fields) for endpoint, fields in GENUINE.items()},
        "debit that failed": hand.signed(hand.failed_debit_notice()),
    }
    heard = set()
    for own, body in at.items():
        for endpoint in ("payment", "refund", "debit", "mandate"):
            try:
                event = read(body, endpoint)
            except CallbackRejected:
                continue
            heard.add((own, endpoint, event.topic))

    assert heard == {
        ("payment", "payment", EventTopic.PAYMENT),
        ("refund", "refund", EventTopic.REFUND),
        ("debit", "debit", EventTopic.PAYMENT),
        ("debit that failed", "debit", EventTopic.PAYMENT),
        ("mandate", "mandate", EventTopic.MANDATE),
    }


@settings(deadline=None, max_examples=200)
@given(
    endpoint=st.sampled_from(sorted(GENUINE)),
    data=st.data(),
    text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40),
)
def test_any_value_in_a_signed_notice_is_read_or_rejected(
    endpoint: str, data: st.DataObject, text: str
) -> None:
    name = data.draw(st.sampled_from(sorted(GENUINE[endpoint])))
    fields = GENUINE[endpoint] | {name: text.replace("]]>", "")}
    try:
        event = read(hand.signed(fields), endpoint)
    except CallbackRejected:
        return
    assert event.outcome or event.mandate or event.topic is EventTopic.IGNORED


@settings(deadline=None, max_examples=200)
@given(
    endpoint=st.sampled_from(sorted(GENUINE)),
    place=st.integers(0, 10_000),
    byte=st.integers(0, 255),
)
def test_one_changed_byte_never_changes_what_is_believed(
    endpoint: str, place: int, byte: int
) -> None:
    genuine = hand.signed(GENUINE[endpoint])
    place %= len(genuine)
    try:
        event = read(genuine[:place] + bytes([byte]) + genuine[place + 1 :], endpoint)
    except CallbackRejected:
        return
    assert event == read(genuine, endpoint)
