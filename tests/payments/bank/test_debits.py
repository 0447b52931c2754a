"""Debits and refunds in real time: money moves once, and what is not certain is UNKNOWN."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.ports.callbacks import EventTopic
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from config.reason_files import load_reasons
from sandbox.bank import codes
from tests.payments.bank.centre import Centre, utc
from tests.payments.sides import TROUBLES

# What each code of a debit means, written out from the bank's own list.
FUNDS = Reason.INSUFFICIENT_FUNDS
MEANINGS = {
    **dict.fromkeys(("64", "90"), (OutcomeKind.FAILED, FUNDS)),
    "33": (OutcomeKind.FAILED, Reason.AMOUNT_LIMIT),
    "81": (OutcomeKind.FAILED, Reason.PERIOD_LIMIT),
    **dict.fromkeys(("02", "06", "39"), (OutcomeKind.FAILED, Reason.BUSY)),
    **dict.fromkeys(("01", "30", "38", "60", "78"), (OutcomeKind.FAILED, Reason.ISSUER_REFUSED)),
    "63": (OutcomeKind.FAILED, Reason.ACCOUNT_FROZEN),
    **dict.fromkeys(("61", "73"), (OutcomeKind.FAILED, Reason.ACCOUNT_INVALID)),
    **dict.fromkeys(("40", "72", "77", "80", "89"), (OutcomeKind.FAILED, Reason.NO_MANDATE)),
    **dict.fromkeys(("66", "71"), (OutcomeKind.FAILED, Reason.IDENTITY_MISMATCH)),
    **dict.fromkeys(("44", "62", "68"), (OutcomeKind.FAILED, Reason.NOT_SUPPORTED)),
    **dict.fromkeys(
        ("10", "11", "13", "14", "31", "32", "43"), (OutcomeKind.FAILED, Reason.OUR_FAULT)
    ),
    **dict.fromkeys(("03", "04", "05", "83"), (OutcomeKind.ACCEPTED, Reason.PROCESSING)),
    "A6": (OutcomeKind.SUCCEEDED, Reason.OK),
    **dict.fromkeys(("42", "74", "75"), (OutcomeKind.UNKNOWN, Reason.PROCESSING)),
    "12": (OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
    **dict.fromkeys(("34", "35"), (OutcomeKind.UNKNOWN, Reason.NOT_FOUND)),
    **dict.fromkeys(("45", "46"), (OutcomeKind.UNKNOWN, Reason.ALREADY_REFUNDED)),
    "ZZ": (OutcomeKind.UNKNOWN, Reason.UNLISTED),
}


@pytest.fixture
def reference(centre: Centre) -> str:
    """The bank's number of an agreement in force."""
    return centre.signed(cap_fen=100000, period_cap_fen=400000)[1]


def kind_and_reason(outcome: Outcome) -> tuple[OutcomeKind, Reason]:
    return outcome.kind, outcome.reason


def test_from_the_debit_to_its_notice(centre: Centre, reference: str) -> None:
    request = centre.debit(reference)

    answered = centre.channel.submit_debit(request)

    told = centre.notice_of(request.order_no)
    asked = centre.channel.query_debit(request.order_no)
    [booked] = centre.booked("debits", "order_no", request.order_no)
    assert told.topic is EventTopic.PAYMENT
    for outcome in (answered, told.outcome, asked):
        assert kind_and_reason(outcome) == (OutcomeKind.SUCCEEDED, Reason.OK)
        assert outcome.number == request.order_no
        assert outcome.amount_fen == 50000
        assert outcome.reference == booked["bank_ref"]
        assert outcome.occurred_at == utc(booked["decided_at"])
    assert (booked["amount_fen"], booked["state"]) == (50000, "SUCCEEDED")


def test_the_same_number_again_is_no_second_debit(centre: Centre, reference: str) -> None:
    request = centre.debit(reference)

    first, again = (centre.channel.submit_debit(request) for _ in range(2))

    assert first == again
    assert len(centre.booked("entries", "reference", request.order_no)) == 1


def test_another_amount_under_the_same_number_is_unknown(centre: Centre, reference: str) -> None:
    request = centre.debit(reference)
    centre.channel.submit_debit(request)

    other = centre.channel.submit_debit(replace(request, amount_fen=1))

    assert kind_and_reason(other) == (OutcomeKind.UNKNOWN, Reason.OUR_FAULT)
    assert centre.channel.query_debit(request.order_no).amount_fen == 50000


def test_a_number_that_the_bank_has_never_seen(centre: Centre) -> None:
    outcome = centre.channel.query_debit(centre.number("D"))

    assert kind_and_reason(outcome) == (OutcomeKind.FAILED, Reason.NOT_FOUND)


@pytest.mark.parametrize("code", MEANINGS)
def test_each_code_of_the_bank(
    centre: Centre, reference: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    centre.gateway.control("troubles", at="debit/outcome", kind="refuse", code=code)
    request = centre.debit(reference, amount_fen=1000)

    answered = centre.channel.submit_debit(request)
    asked = centre.channel.query_debit(request.order_no)

    for outcome in (answered, asked):
        assert kind_and_reason(outcome) == MEANINGS[code]
        assert (outcome.number, outcome.raw_code) == (request.order_no, code)
    if code not in codes.STILL_OPEN:
        told = centre.notice_of(request.order_no).outcome
        assert kind_and_reason(told) == MEANINGS[code]
    is_taken = bool(centre.booked("entries", "reference", request.order_no))
    assert is_taken == (code in codes.MONEY_MOVED)
    unlisted = [each for each in caplog.records if each.getMessage() == "unlisted code"]
    assert bool(unlisted) == (code == "ZZ")


def test_every_code_that_the_bank_lists_is_mapped() -> None:
    """But for success, and those that answer other calls only: files and signings."""
    assert set(codes.MESSAGES) - {"00", "37", "41", "98"} == set(MEANINGS) - {"ZZ"}
    rows = load_reasons("bank")
    assert {code for code, row in rows["debit_result"].items() if row[0] == "succeeded"} == {
        *("00", "A6")
    }
    failed = {
        (call, code)
        for call in rows
        if call != "debit_result" and call != "start_mandate"
        for code, row in rows[call].items()
        if row[0] == "failed"
    }
    assert failed == {
        *((call, "34") for call in ("confirm_mandate", "query_mandate", "end_mandate")),
        *((call, "34") for call in ("query_debit", "query_refund")),
        *(("refund", code) for code in ("64", "90")),
        # In a signed refusal of a whole file nothing of it was taken.
        *(("batch_rejected", code) for code in ("10", "11", "13", "14", "31", "32", "43")),
    }


def test_what_card_and_agreement_forbid(centre: Centre) -> None:
    poor = centre.signed(centre.card(balance_fen=999))[1]
    small = centre.signed(cap_fen=1000, period_cap_fen=1000)[1]
    number, ended = centre.signed()
    centre.channel.end_mandate(mandate_no=number, reference=ended)

    outcomes = [
        centre.channel.submit_debit(centre.debit(reference, amount_fen=amount_fen))
        for reference, amount_fen in ((poor, 1000), (small, 1001), (ended, 1000), ("62NONE", 1000))
    ]

    assert [outcome.reason for outcome in outcomes] == [
        *(FUNDS, Reason.AMOUNT_LIMIT, Reason.NO_MANDATE, Reason.NO_MANDATE)
    ]
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.FAILED}
    assert {outcome.amount_fen for outcome in outcomes} == {None}


def test_what_is_decided_later_is_told_later(centre: Centre, reference: str) -> None:
    centre.gateway.control("troubles", at="debit/outcome", kind="slow")
    request = centre.debit(reference)

    accepted = centre.channel.submit_debit(request)
    centre.gateway.control("debits/finish", order_no=request.order_no)

    assert kind_and_reason(accepted) == (OutcomeKind.ACCEPTED, Reason.PROCESSING)
    assert accepted.amount_fen is None
    assert centre.notice_of(request.order_no).outcome.kind is OutcomeKind.SUCCEEDED


def test_a_debit_that_is_done_in_silence_stays_open(centre: Centre, reference: str) -> None:
    centre.gateway.control("troubles", at="debit/outcome", kind="silent")
    request = centre.debit(reference)

    assert centre.channel.submit_debit(request).kind is OutcomeKind.ACCEPTED
    assert centre.channel.query_debit(request.order_no).kind is OutcomeKind.ACCEPTED
    assert len(centre.booked("entries", "reference", request.order_no)) == 1


def test_a_debit_that_the_bank_does_not_find_is_not_failed_by_sending(
    centre: Centre, reference: str
) -> None:
    centre.gateway.control("troubles", at="debit/outcome", kind="lost")

    outcome = centre.channel.submit_debit(centre.debit(reference))

    assert kind_and_reason(outcome) == (OutcomeKind.UNKNOWN, Reason.NOT_FOUND)


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_on_the_way_is_unknown_and_found_by_asking(
    centre: Centre, reference: str, kind: str
) -> None:
    # 64 without the debit that it is about is no result: money may have moved all the same.
    code = {"code": "64"} if kind.startswith("error") else {}
    channel = centre.trouble("debit", kind, **code)
    request = centre.debit(reference)

    outcome = channel.submit_debit(request)

    assert outcome.kind is OutcomeKind.UNKNOWN
    assert outcome.number == request.order_no
    found = centre.channel.query_debit(request.order_no)
    assert found.kind is (OutcomeKind.SUCCEEDED if TROUBLES[kind] else OutcomeKind.FAILED)
    assert centre.channel.submit_debit(request).kind is OutcomeKind.SUCCEEDED
    assert len(centre.booked("entries", "reference", request.order_no)) == 1


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_while_asking_is_unknown(centre: Centre, reference: str, kind: str) -> None:
    request = centre.debit(reference)
    centre.channel.submit_debit(request)
    code = {"code": "06"} if kind.startswith("error") else {}

    outcome = centre.trouble("debit/query", kind, **code).query_debit(request.order_no)

    assert outcome.kind is OutcomeKind.UNKNOWN


def test_a_clock_that_is_off_gets_nothing_but_unknown(centre: Centre, reference: str) -> None:
    request = centre.debit(reference)
    centre.channel.submit_debit(request)
    centre.channel._client._seals._now = lambda: centre.gateway.clock.now().replace(hour=3)
    try:
        outcome = centre.channel.query_debit(request.order_no)
    finally:
        centre.channel._client._seals._now = centre.gateway.clock.now

    # The bank refuses the message, and its answer is stale by our clock.
    assert kind_and_reason(outcome) == (OutcomeKind.UNKNOWN, Reason.BAD_ANSWER)
    assert outcome.raw_code == "stale"


# Refunds


def test_a_refund_in_parts_until_nothing_is_left(centre: Centre, reference: str) -> None:
    debit = centre.debit(reference)
    centre.channel.submit_debit(debit)
    first, rest, more = (centre.refund_of(debit, fen) for fen in (20000, 30000, 1))

    answers = [centre.channel.refund(refund) for refund in (first, first, rest, more)]

    assert [answer.kind for answer in answers] == [
        *([OutcomeKind.SUCCEEDED] * 3),
        OutcomeKind.UNKNOWN,
    ]
    assert [answer.amount_fen for answer in answers] == [20000, 20000, 30000, None]
    assert answers[0] == answers[1]
    asked = centre.channel.query_refund(order_no=debit.order_no, refund_no=first.refund_no)
    assert asked == answers[0]
    assert asked.occurred_at is not None
    assert abs(asked.occurred_at - centre.gateway.clock.now()) < timedelta(minutes=5)
    lost = centre.channel.query_refund(order_no=debit.order_no, refund_no=more.refund_no)
    assert kind_and_reason(lost) == (OutcomeKind.FAILED, Reason.NOT_FOUND)


def test_a_refund_number_says_nothing_of_another_order(centre: Centre, reference: str) -> None:
    debit, other = centre.debit(reference), centre.debit(reference)
    for each in (debit, other):
        centre.channel.submit_debit(each)
    refund = centre.refund_of(debit, 100)
    centre.channel.refund(refund)

    taken = centre.channel.refund(replace(refund, order_no=other.order_no))
    asked = centre.channel.query_refund(order_no=other.order_no, refund_no=refund.refund_no)

    assert kind_and_reason(taken) == (OutcomeKind.UNKNOWN, Reason.OUR_FAULT)
    assert kind_and_reason(asked) == (OutcomeKind.UNKNOWN, Reason.BAD_ANSWER)


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_at_a_refund_is_unknown_and_repeating_is_safe(
    centre: Centre, reference: str, kind: str
) -> None:
    debit = centre.debit(reference)
    centre.channel.submit_debit(debit)
    refund = centre.refund_of(debit, 20000)
    code = {"code": "06"} if kind.startswith("error") else {}

    outcome = centre.trouble("refund", kind, **code).refund(refund)

    assert outcome.kind is OutcomeKind.UNKNOWN
    assert centre.channel.refund(refund).kind is OutcomeKind.SUCCEEDED
    assert len(centre.booked("refunds", "refund_no", refund.refund_no)) == 1
