"""Contracts in WeChat: signed in the wallet, told, asked for, ended; what is unsure is UNKNOWN."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.ports.callbacks import EventTopic
from app.domain.ports.mandates import Cycle, EndedBy, MandateStanding
from app.domain.ports.outcomes import Reason
from tests.payments.sides import TROUBLES
from tests.payments.wechat.purse import Purse, utc

BUSY = {"error": {"code": "SYSTEMERROR"}, "error_after": {"code": "SYSTEMERROR"}}


def test_from_the_page_to_the_contract_in_force(purse: Purse) -> None:
    payer, request = purse.payer(), purse.request()

    started = purse.channel.start_mandate(request)
    before = purse.asked(request.mandate_no)
    contract_id = purse.sign(request, payer)["contract_id"]

    assert (started.standing, started.reason) == (MandateStanding.AWAITING, Reason.PROCESSING)
    assert before.standing is MandateStanding.NOT_FOUND
    [told] = purse.notices_of(request.mandate_no)
    assert (told.topic, told.outcome) == (EventTopic.MANDATE, None)
    [booked] = purse.booked("contracts", "contract_code", request.mandate_no)
    assert booked["plan_id"] == purse.settings.wechat.plan_id
    asked = [purse.asked(request.mandate_no, reference) for reference in (None, contract_id)]
    for answer in (told.mandate, *asked):
        assert answer is not None
        assert (answer.standing, answer.reason) == (MandateStanding.ACTIVE, Reason.OK)
        assert (answer.mandate_no, answer.reference) == (request.mandate_no, contract_id)
        assert answer.payer_ref == payer
        assert answer.occurred_at == utc(booked["signed_at"])


def test_what_the_plan_allows(purse: Purse) -> None:
    limits = purse.channel.limits

    assert not limits.needs_card
    assert limits.cap_fen_max is None
    assert limits.cycles == {Cycle.MONTH, Cycle.QUARTER}


def test_a_name_with_a_rare_character_is_shown_without_it(purse: Purse) -> None:
    request = purse.request(display_name="𠮷某的公积金账户尾号1234567890")
    action = purse.channel.signing_action(request)

    assert action["contract_display_account"].startswith("?某的公积金账户")
    assert len(action["contract_display_account"].encode()) <= 32
    assert purse.sign(request, purse.payer())["result"] == "signed"


def test_parameters_that_were_changed_are_refused_by_the_page(purse: Purse) -> None:
    action = dict(purse.channel.signing_action(purse.request()))

    refused = purse.gateway.try_control(
        "contracts/sign",
        payer=purse.payer(),
        extra_data={**action, "contract_code": purse.number("M")},
    )

    assert refused["error"] == "签名错误"


def test_a_page_that_was_opened_twice_signs_once(purse: Purse) -> None:
    payer, request = purse.payer(), purse.request()
    purse.sign(request, payer)
    again = purse.gateway.try_control(
        "contracts/sign", payer=payer, extra_data=dict(purse.channel.signing_action(request))
    )

    assert not again["ok"]
    assert len(purse.booked("contracts", "contract_code", request.mandate_no)) == 1


def test_who_goes_back_has_signed_nothing(purse: Purse) -> None:
    request = purse.request()
    purse.sign(request, purse.payer(), accept=False)

    for answer in (
        purse.asked(request.mandate_no),
        purse.channel.confirm_mandate(
            mandate_no=request.mandate_no, start_reference="", code="123456"
        ),
        purse.channel.end_mandate(mandate_no=request.mandate_no, reference=None),
    ):
        assert (answer.standing, answer.reason) == (MandateStanding.NOT_FOUND, Reason.NOT_FOUND)


def test_confirming_is_asking(purse: Purse) -> None:
    number, reference = purse.signed()

    answer = purse.channel.confirm_mandate(mandate_no=number, start_reference="", code="")

    assert answer == purse.asked(number, reference)
    assert answer.standing is MandateStanding.ACTIVE


def test_a_number_that_wechat_has_never_seen(purse: Purse) -> None:
    number = purse.number("M")

    answers = [purse.asked(number), purse.asked(number, "202611240000000000")]
    answers.append(purse.channel.end_mandate(mandate_no=number, reference=None))

    assert {answer.standing for answer in answers} == {MandateStanding.NOT_FOUND}


def test_ending_it_twice(purse: Purse) -> None:
    number, reference = purse.signed()

    answers = [
        purse.channel.end_mandate(mandate_no=number, reference=each)
        for each in (reference, reference, None)
    ]

    assert {answer.standing for answer in answers} == {MandateStanding.ENDED}
    _, deleted = purse.notices_of(number, 2)
    for answer in (deleted.mandate, purse.asked(number, reference)):
        assert answer is not None
        assert (answer.standing, answer.ended_by) == (MandateStanding.ENDED, EndedBy.CENTRE)
        assert answer.reference == reference


@pytest.mark.parametrize(
    ("by", "ended_by"),
    [
        ("user", EndedBy.CONTRIBUTOR),
        ("platform", EndedBy.CENTRE),
        ("closed", EndedBy.CHANNEL),
    ],
)
def test_who_ended_it_is_told(purse: Purse, by: str, ended_by: EndedBy) -> None:
    payer = purse.payer()
    number, reference = purse.signed(payer)

    purse.gateway.control("contracts/change", contract_code=number, by=by)

    _, deleted = purse.notices_of(number, 2)
    [booked] = purse.booked("contracts", "contract_code", number)
    for answer in (deleted.mandate, purse.asked(number, reference), purse.asked(number)):
        assert answer is not None
        assert (answer.standing, answer.ended_by) == (MandateStanding.ENDED, ended_by)
        assert (answer.mandate_no, answer.reference) == (number, reference)
        assert answer.payer_ref == payer
        assert answer.occurred_at == utc(booked["ended_at"])


def test_a_contract_that_ran_out_says_so(purse: Purse) -> None:
    number, reference = purse.signed()
    purse.wait_for_day(3651)

    _, deleted = purse.notices_of(number, 2)
    for answer in (deleted.mandate, purse.asked(number, reference)):
        assert answer is not None
        assert (answer.standing, answer.ended_by) == (MandateStanding.ENDED, EndedBy.EXPIRY)


def test_a_contract_under_another_plan_is_found_by_its_own_number(purse: Purse) -> None:
    """The centre may be granted another plan while old contracts go on."""
    number, reference = purse.signed()
    purse.channel._plan_id, kept = "987654", purse.channel._plan_id
    try:
        assert purse.asked(number, reference).standing is MandateStanding.ACTIVE
        assert purse.asked(number).standing is MandateStanding.NOT_FOUND
    finally:
        purse.channel._plan_id = kept


def test_another_contract_than_asked_for_is_unknown(purse: Purse) -> None:
    number, reference = purse.signed()
    other = purse.number("M")

    answer = purse.channel.query_mandate(mandate_no=other, reference=reference)

    assert (answer.standing, answer.reason) == (MandateStanding.UNKNOWN, Reason.BAD_ANSWER)
    assert answer.mandate_no == other
    assert purse.asked(number).standing is MandateStanding.ACTIVE


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_while_asking_is_unknown(purse: Purse, kind: str) -> None:
    number, reference = purse.signed()
    hasty = purse.trouble("papay/querycontract", kind, **BUSY.get(kind, {}))
    channel = purse.hasty if hasty else purse.channel

    answer = channel.query_mandate(mandate_no=number, reference=reference)

    assert answer.standing is MandateStanding.UNKNOWN
    assert (answer.mandate_no, answer.reference) == (number, None)


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_at_the_end_is_unknown_and_ending_again_is_safe(purse: Purse, kind: str) -> None:
    number, reference = purse.signed()
    hasty = purse.trouble("papay/deletecontract", kind, **BUSY.get(kind, {}))
    channel = purse.hasty if hasty else purse.channel

    answer = channel.end_mandate(mandate_no=number, reference=reference)

    assert answer.standing is MandateStanding.UNKNOWN
    is_over = purse.asked(number, reference).standing is MandateStanding.ENDED
    assert is_over == TROUBLES[kind]
    again = purse.channel.end_mandate(mandate_no=number, reference=reference)
    assert again.standing is MandateStanding.ENDED


def test_a_signing_in_the_dark_comes_to_light_later(purse: Purse) -> None:
    purse.gateway.control("troubles", at="contract/sign", kind="silent")
    request = purse.request()
    purse.sign(request, purse.payer())

    assert purse.asked(request.mandate_no).standing is MandateStanding.NOT_FOUND
    assert purse.events_about(request.mandate_no) == []
    purse.gateway.control("contracts/change", contract_code=request.mandate_no, by="release")
    assert purse.asked(request.mandate_no).standing is MandateStanding.ACTIVE
    purse.notices_of(request.mandate_no)


@pytest.mark.parametrize(
    ("defect", "reason"),
    [
        ("wrong_key", "signature"),
        ("no_sign", "signature"),
        ("empty_key", "signature"),
        ("tampered_after_signing", "signature"),
        ("other_merchant", "merchant"),
    ],
)
def test_forged_notices_of_a_contract_are_refused(purse: Purse, defect: str, reason: str) -> None:
    request = purse.request()
    purse.sign(request, purse.payer(), accept=False)

    purse.gateway.control("notices/forge", out_trade_no=request.mandate_no, defect=defect)

    assert purse.rejected == [reason]
    assert purse.events_about(request.mandate_no) == []


def test_no_key_is_told_to_anybody(purse: Purse, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    key = purse.settings.wechat.api_key.get_secret_value()
    number, reference = purse.signed()
    answers = [purse.asked(number, reference)]
    for kind in ("http_500", "truncated", "unsigned"):
        purse.trouble("papay/querycontract", kind)
        answers.append(purse.asked(number, reference))
    answers.append(purse.channel.end_mandate(mandate_no=number, reference=reference))

    told = caplog.text + repr(answers) + repr(replace(purse.request(), payer_ref="oSecret"))
    assert key not in told
    assert "oSecret" not in told
