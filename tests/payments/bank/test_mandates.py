"""Agreements at the bank: signed, asked for, ended; whatever is not certain is UNKNOWN."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.ports.callbacks import EventTopic
from app.domain.ports.mandates import Cycle, EndedBy, MandateStanding
from app.domain.ports.outcomes import Reason
from tests.payments.bank.centre import Centre, utc
from tests.payments.sides import TROUBLES


def test_from_the_card_to_the_agreement_in_force(centre: Centre) -> None:
    card = centre.card(id_kind="01", id_no="320722199003076011")
    request = centre.request(card)

    started = centre.channel.start_mandate(request)
    assert (started.standing, started.reference) == (MandateStanding.AWAITING, None)
    asked = centre.channel.query_mandate(mandate_no=request.mandate_no, reference=None)
    assert asked.standing is MandateStanding.AWAITING
    confirmed = centre.channel.confirm_mandate(
        mandate_no=request.mandate_no,
        start_reference=started.start_reference,
        code=centre.code_of(card),
    )

    asked = centre.channel.query_mandate(
        mandate_no=request.mandate_no, reference=confirmed.reference
    )
    [booked] = centre.booked("mandates", "agreement_no", request.mandate_no)
    for answer in (confirmed, asked):
        assert (answer.standing, answer.reason) == (MandateStanding.ACTIVE, Reason.OK)
        assert answer.mandate_no == request.mandate_no
        assert answer.reference == booked["channel_agreement_no"]
        assert answer.occurred_at == utc(booked["signed_at"])
    terms = ("cap_fen", "period_cap_fen", "cycle", "debit_day", "valid_from", "valid_to")
    assert [booked[name] for name in terms] == [
        *(100000, 150000, "MONTH", 10, "20261101", "20281231")
    ]


def test_what_the_contract_allows(centre: Centre) -> None:
    limits = centre.channel.limits

    assert limits.needs_card
    assert limits.cap_fen_max is None
    assert limits.cycles == {Cycle.MONTH, Cycle.QUARTER}
    assert centre.channel.signing_action(centre.request(centre.card())) == {}


def test_starting_again_is_the_same_signing(centre: Centre) -> None:
    card = centre.card()
    request = centre.request(card)

    first, again = (centre.channel.start_mandate(request) for _ in range(2))

    assert first == again
    assert len(centre.gateway.control("sms", phone=card.phone)["messages"]) == 1


def test_other_terms_under_the_same_number_are_unknown(centre: Centre) -> None:
    request = centre.request(centre.card())
    centre.channel.start_mandate(request)

    other = centre.channel.start_mandate(replace(request, cap_fen=99999))

    assert (other.standing, other.raw_code) == (MandateStanding.UNKNOWN, "12")


@pytest.mark.parametrize(
    "wrong", [{"holder_name": "测试用"}, {"document_no": "87654321"}, {"phone": "13900000000"}]
)
def test_a_wrong_element_is_refused_without_saying_which(
    centre: Centre, wrong: dict[str, str]
) -> None:
    request = centre.request(replace(centre.card(), **wrong))

    answer = centre.channel.start_mandate(request)

    assert (answer.standing, answer.reason) == (MandateStanding.REFUSED, Reason.IDENTITY_MISMATCH)


def test_a_credit_card_is_refused(centre: Centre) -> None:
    answer = centre.channel.start_mandate(centre.request(centre.card(kind="credit")))

    assert (answer.standing, answer.reason) == (MandateStanding.REFUSED, Reason.NOT_SUPPORTED)


def test_a_document_that_the_bank_has_no_number_for_is_never_sent(centre: Centre) -> None:
    request = centre.request(replace(centre.card(), document_kind="driving_licence"))

    answer = centre.channel.start_mandate(request)

    assert (answer.standing, answer.reason) == (MandateStanding.REFUSED, Reason.NOT_SUPPORTED)
    found = centre.channel.query_mandate(mandate_no=request.mandate_no, reference=None)
    assert found.standing is MandateStanding.NOT_FOUND


def test_the_sixth_signing_of_a_day_is_too_many(centre: Centre) -> None:
    card = centre.card()
    for _ in range(5):
        assert centre.channel.start_mandate(centre.request(card)).standing is (
            MandateStanding.AWAITING
        )

    sixth = centre.channel.start_mandate(centre.request(card))

    assert (sixth.standing, sixth.reason) == (MandateStanding.REFUSED, Reason.TOO_MANY_TRIES)


def test_wrong_codes_until_the_signing_is_over(centre: Centre) -> None:
    card = centre.card()
    request = centre.request(card)
    serial = centre.channel.start_mandate(request).start_reference
    wrong = f"{(int(centre.code_of(card)) + 1) % 10**6:06d}"

    tries = [
        centre.channel.confirm_mandate(
            mandate_no=request.mandate_no, start_reference=serial, code=wrong
        )
        for _ in range(6)
    ]

    assert {(each.standing, each.reason) for each in tries[:5]} == {
        (MandateStanding.AWAITING, Reason.WRONG_CODE)
    }
    assert tries[5].standing is MandateStanding.UNKNOWN
    asked = centre.channel.query_mandate(mandate_no=request.mandate_no, reference=None)
    assert (asked.standing, asked.reason) == (MandateStanding.REFUSED, Reason.TOO_MANY_TRIES)


def test_a_number_that_the_bank_has_never_seen(centre: Centre) -> None:
    number = centre.number("M")

    answers = [
        centre.channel.query_mandate(mandate_no=number, reference=None),
        centre.channel.end_mandate(mandate_no=number, reference=None),
        centre.channel.confirm_mandate(mandate_no=number, start_reference="S1", code="000000"),
    ]

    assert {answer.standing for answer in answers} == {MandateStanding.NOT_FOUND}


def test_ending_it_twice(centre: Centre) -> None:
    number, reference = centre.signed()

    answers = [centre.channel.end_mandate(mandate_no=number, reference=reference) for _ in range(2)]

    for answer in answers:
        assert (answer.standing, answer.ended_by) == (MandateStanding.ENDED, EndedBy.CENTRE)


@pytest.mark.parametrize(
    ("state", "by", "standing", "ended_by"),
    [
        ("CANCELLED", "user", MandateStanding.ENDED, EndedBy.CONTRIBUTOR),
        ("CANCELLED", "bank", MandateStanding.ENDED, EndedBy.CHANNEL),
        ("SUSPENDED", "bank", MandateStanding.SUSPENDED, None),
    ],
)
def test_what_the_user_or_the_bank_does_to_it_is_told(
    centre: Centre, state: str, by: str, standing: MandateStanding, ended_by: EndedBy | None
) -> None:
    number, reference = centre.signed()

    centre.gateway.control("mandates/change", agreement_no=number, state=state, by=by)

    event = centre.notice_of(number)
    asked = centre.channel.query_mandate(mandate_no=number, reference=reference)
    assert (event.topic, event.outcome) == (EventTopic.MANDATE, None)
    assert event.mandate == asked
    assert (asked.standing, asked.ended_by) == (standing, ended_by)
    assert asked.reference == reference


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_at_the_start_is_unknown_and_no_second_signing(centre: Centre, kind: str) -> None:
    card = centre.card()
    request = centre.request(card)
    is_error = kind.startswith("error")
    channel = centre.trouble("sign/start", kind, **({"code": "06"} if is_error else {}))

    answer = channel.start_mandate(request)

    assert answer.standing is MandateStanding.UNKNOWN
    assert answer.mandate_no == request.mandate_no
    found = centre.channel.query_mandate(mandate_no=request.mandate_no, reference=None)
    assert found.standing is (
        MandateStanding.AWAITING if TROUBLES[kind] else MandateStanding.NOT_FOUND
    )
    assert centre.channel.start_mandate(request).standing is MandateStanding.AWAITING
    assert len(centre.gateway.control("sms", phone=card.phone)["messages"]) == 1


@pytest.mark.parametrize("kind", ["timeout_after", "bad_sign", "empty", "error_after"])
def test_a_lost_confirmation_is_unknown_and_found_by_asking(centre: Centre, kind: str) -> None:
    card = centre.card()
    request = centre.request(card)
    serial = centre.channel.start_mandate(request).start_reference
    is_error = kind.startswith("error")
    channel = centre.trouble("sign/confirm", kind, **({"code": "ZZ"} if is_error else {}))

    answer = channel.confirm_mandate(
        mandate_no=request.mandate_no, start_reference=serial, code=centre.code_of(card)
    )

    assert answer.standing is MandateStanding.UNKNOWN
    found = centre.channel.query_mandate(mandate_no=request.mandate_no, reference=None)
    assert found.standing is MandateStanding.ACTIVE


def test_no_card_number_is_told_to_anybody(
    centre: Centre, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    card = centre.card()
    request = centre.request(card)
    answers = [centre.channel.start_mandate(request)]
    for kind in ("http_500", "timeout_before", "truncated", "unsigned"):
        answers.append(centre.trouble("sign/start", kind).start_mandate(request))
    answers.append(centre.channel.start_mandate(replace(request, cap_fen=1)))

    told = caplog.text + repr(answers) + repr(request) + repr(card) + repr(centre.settings)
    for secret in (card.card_no, card.document_no, card.phone, card.holder_name):
        assert secret not in told


def test_text_that_cannot_be_sent_is_our_fault(centre: Centre) -> None:
    request = centre.request(replace(centre.card(), holder_name="\ud800"))

    answer = centre.channel.start_mandate(request)

    assert (answer.standing, answer.reason) == (MandateStanding.UNKNOWN, Reason.OUR_FAULT)
