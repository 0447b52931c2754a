"""Debits under a contract in WeChat: money moves once, and what is not certain is UNKNOWN."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.ports.callbacks import EventTopic
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.ports.payments import RefundRequest
from tests.payments.sides import TROUBLES
from tests.payments.wechat.purse import Purse, utc

# What each code of a debit that was accepted means, written out from WeChat's list.
MEANINGS = {
    "NOTENOUGH": (OutcomeKind.FAILED, Reason.INSUFFICIENT_FUNDS),
    "RULE_LIMIT": (OutcomeKind.FAILED, Reason.AMOUNT_LIMIT),
    "RULELIMIT": (OutcomeKind.FAILED, Reason.ISSUER_REFUSED),
    "USER_ACCOUNT_ABNORMAL": (OutcomeKind.FAILED, Reason.ACCOUNT_FROZEN),
    "CONTRACT_NOT_EXIST": (OutcomeKind.FAILED, Reason.NO_MANDATE),
    "CONTRACTERROR": (OutcomeKind.FAILED, Reason.NO_MANDATE),
    "BANKERROR": (OutcomeKind.FAILED, Reason.BUSY),
    "INVALID_REQUEST": (OutcomeKind.FAILED, Reason.OUR_FAULT),
    "SYSTEMERROR": (OutcomeKind.UNKNOWN, Reason.BUSY),
    "0": (OutcomeKind.UNKNOWN, Reason.UNLISTED),
    "NEVER_HEARD_OF": (OutcomeKind.UNKNOWN, Reason.UNLISTED),
}


@pytest.fixture
def reference(purse: Purse) -> str:
    """WeChat's number of a contract in force."""
    return purse.signed()[1]


def kind_and_reason(outcome: Outcome | None) -> tuple[OutcomeKind, Reason]:
    assert outcome is not None
    return outcome.kind, outcome.reason


def is_taken(purse: Purse, order_no: str) -> bool:
    return any(row["paid_at"] for row in purse.booked("trades", "out_trade_no", order_no))


def test_from_the_debit_to_its_notice(purse: Purse) -> None:
    payer = purse.payer()
    request = purse.debit(purse.signed(payer)[1])

    answered = purse.channel.submit_debit(request)

    assert kind_and_reason(answered) == (OutcomeKind.ACCEPTED, Reason.PROCESSING)
    assert (answered.amount_fen, answered.reference) == (None, None)
    [told] = purse.notices_of(request.order_no)
    asked = purse.channel.query_debit(request.order_no)
    [booked] = purse.booked("trades", "out_trade_no", request.order_no)
    assert told.topic is EventTopic.PAYMENT
    for outcome in (told.outcome, asked):
        assert kind_and_reason(outcome) == (OutcomeKind.SUCCEEDED, Reason.OK)
        assert (outcome.number, outcome.amount_fen) == (request.order_no, 50_000)
        assert outcome.reference == booked["reference"]
        assert outcome.payer_ref == payer
        assert outcome.occurred_at == utc(booked["paid_at"])
    log = purse.gateway.look("deliveries")["deliveries"]
    entry = [each for each in log if each["topic"] == "debit"][-1]
    assert entry["url"].endswith("/callbacks/wechat/debit")
    assert entry["accepted"]


def test_the_same_number_again_is_no_second_debit(purse: Purse) -> None:
    payer = purse.payer()
    request = purse.debit(purse.signed(payer)[1])

    answers = [purse.channel.submit_debit(request) for _ in range(3)]

    assert kind_and_reason(answers[0]) == (OutcomeKind.ACCEPTED, Reason.PROCESSING)
    assert {kind_and_reason(each) for each in answers[1:]} == {
        (OutcomeKind.UNKNOWN, Reason.ALREADY_PAID)
    }
    assert purse.channel.query_debit(request.order_no).kind is OutcomeKind.SUCCEEDED
    [wallet] = purse.booked("payers", "payer", payer)
    assert wallet["balance_fen"] == 950_000


def test_the_same_number_again_while_it_is_open_is_the_same_debit(
    purse: Purse, reference: str
) -> None:
    purse.gateway.control("troubles", at="debit/outcome", kind="slow")
    request = purse.debit(reference)
    first, again = (purse.channel.submit_debit(request) for _ in range(2))
    other = purse.channel.submit_debit(replace(request, amount_fen=1))
    second = purse.debit(reference)
    busy = purse.channel.submit_debit(second)

    assert {first.kind, again.kind} == {OutcomeKind.ACCEPTED}
    assert kind_and_reason(other) == (OutcomeKind.UNKNOWN, Reason.OUR_FAULT)
    assert kind_and_reason(busy) == (OutcomeKind.UNKNOWN, Reason.BUSY)
    assert kind_and_reason(purse.channel.query_debit(second.order_no)) == (
        OutcomeKind.FAILED,
        Reason.NOT_FOUND,
    )
    assert kind_and_reason(purse.channel.query_debit(request.order_no)) == (
        OutcomeKind.ACCEPTED,
        Reason.PROCESSING,
    )
    purse.gateway.control("debits/finish", out_trade_no=request.order_no)
    assert purse.channel.query_debit(request.order_no).amount_fen == 50_000


def test_a_number_that_wechat_has_never_seen(purse: Purse) -> None:
    outcome = purse.channel.query_debit(purse.number("D"))

    assert kind_and_reason(outcome) == (OutcomeKind.FAILED, Reason.NOT_FOUND)


@pytest.mark.parametrize("code", MEANINGS)
def test_each_reason_of_wechats(
    purse: Purse, reference: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    purse.gateway.control("troubles", at="debit/outcome", kind="refuse", code=code)
    request = purse.debit(reference)

    answered = purse.channel.submit_debit(request)
    asked = purse.channel.query_debit(request.order_no)
    [told] = purse.notices_of(request.order_no)

    assert answered.kind is OutcomeKind.ACCEPTED
    assert told.topic is EventTopic.PAYMENT
    for outcome in (asked, told.outcome):
        assert kind_and_reason(outcome) == MEANINGS[code]
        assert (outcome.number, outcome.raw_code) == (request.order_no, code)
        assert (outcome.amount_fen, outcome.reference) == (None, None)
    assert not is_taken(purse, request.order_no)
    unlisted = [each for each in caplog.records if each.getMessage() == "unlisted code"]
    assert bool(unlisted) == (MEANINGS[code][1] is Reason.UNLISTED)


def test_a_wallet_without_the_money(purse: Purse) -> None:
    request = purse.debit(purse.signed(purse.payer(balance_fen=49_999))[1])

    purse.channel.submit_debit(request)
    asked = purse.channel.query_debit(request.order_no)
    again = purse.channel.submit_debit(request)

    assert kind_and_reason(asked) == (OutcomeKind.FAILED, Reason.INSUFFICIENT_FUNDS)
    # The number is used up; why, the question has told.
    assert kind_and_reason(again) == (OutcomeKind.UNKNOWN, Reason.CLOSED)


def test_what_contract_and_plan_forbid(purse: Purse, reference: str) -> None:
    number, ended = purse.signed()
    purse.gateway.control("contracts/change", contract_code=number, by="user")
    requests = [
        purse.debit(ended),
        purse.debit("202611240000000000"),
        purse.debit(reference, amount_fen=500_001),
    ]

    outcomes = [purse.channel.submit_debit(request) for request in requests]

    assert [kind_and_reason(outcome) for outcome in outcomes] == [
        (OutcomeKind.FAILED, Reason.NO_MANDATE),
        (OutcomeKind.FAILED, Reason.NO_MANDATE),
        # An earlier send of the same may have used the limit up: ask.
        (OutcomeKind.UNKNOWN, Reason.AMOUNT_LIMIT),
    ]
    found = {kind_and_reason(purse.channel.query_debit(each.order_no)) for each in requests}
    assert found == {(OutcomeKind.FAILED, Reason.NOT_FOUND)}


def test_a_contract_that_ends_while_the_debit_waits(purse: Purse) -> None:
    number, reference = purse.signed()
    purse.gateway.control("troubles", at="debit/outcome", kind="slow")
    request = purse.debit(reference)
    purse.channel.submit_debit(request)
    purse.channel.end_mandate(mandate_no=number, reference=reference)
    purse.gateway.control("debits/finish", out_trade_no=request.order_no)

    [told] = purse.notices_of(request.order_no)

    assert kind_and_reason(told.outcome) == (OutcomeKind.FAILED, Reason.NO_MANDATE)


def test_a_plan_that_debits_a_day_later(purse: Purse, reference: str) -> None:
    purse.gateway.control("plans/change", mode="AFTER_24_HOURS")
    purse.wait_for_day(2)
    request = purse.debit(reference)

    assert purse.channel.submit_debit(request).kind is OutcomeKind.ACCEPTED
    assert purse.channel.query_debit(request.order_no).kind is OutcomeKind.ACCEPTED
    purse.wait_for_day(1, hour=11)
    assert purse.channel.query_debit(request.order_no).kind is OutcomeKind.SUCCEEDED


def test_money_that_was_taken_in_the_dark_is_never_failed(purse: Purse) -> None:
    """`silent` tells nothing for a while, `lost` does not even know the number."""
    seen = {}
    for kind in ("silent", "lost"):
        _, reference = purse.signed()
        purse.gateway.control("troubles", at="debit/outcome", kind=kind)
        request = purse.debit(reference)
        submitted = purse.channel.submit_debit(request)
        seen[kind] = (submitted.kind, purse.channel.query_debit(request.order_no).kind)
        assert is_taken(purse, request.order_no)
        purse.gateway.control("debits/finish", out_trade_no=request.order_no)
        [told] = purse.notices_of(request.order_no)
        assert told.outcome is not None
        assert told.outcome.kind is OutcomeKind.SUCCEEDED

    assert seen == {
        "silent": (OutcomeKind.ACCEPTED, OutcomeKind.ACCEPTED),
        # NOT_FOUND, which is never the last word.
        "lost": (OutcomeKind.ACCEPTED, OutcomeKind.FAILED),
    }


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_on_the_way_is_unknown_and_found_by_asking(
    purse: Purse, reference: str, kind: str
) -> None:
    # A system error after the money was taken among them.
    code = {"code": "SYSTEMERROR"} if kind.startswith("error") else {}
    hasty = purse.trouble("pay/pappayapply", kind, **code)
    request = purse.debit(reference)

    outcome = (purse.hasty if hasty else purse.channel).submit_debit(request)

    assert outcome.kind is OutcomeKind.UNKNOWN
    assert outcome.number == request.order_no
    found = purse.channel.query_debit(request.order_no)
    assert found.kind is (OutcomeKind.SUCCEEDED if TROUBLES[kind] else OutcomeKind.FAILED)
    again = purse.channel.submit_debit(request)
    assert again.kind is (OutcomeKind.UNKNOWN if TROUBLES[kind] else OutcomeKind.ACCEPTED)
    assert purse.channel.query_debit(request.order_no).kind is OutcomeKind.SUCCEEDED
    assert len(purse.booked("debits", "out_trade_no", request.order_no)) == 1


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_while_asking_is_unknown(purse: Purse, reference: str, kind: str) -> None:
    request = purse.debit(reference)
    purse.channel.submit_debit(request)
    code = {"code": "SYSTEMERROR"} if kind.startswith("error") else {}
    hasty = purse.trouble("pay/paporderquery", kind, **code)

    outcome = (purse.hasty if hasty else purse.channel).query_debit(request.order_no)

    assert outcome.kind is OutcomeKind.UNKNOWN


def test_a_refunded_debit_was_taken_all_the_same(purse: Purse, reference: str) -> None:
    request = purse.debit(reference)
    purse.channel.submit_debit(request)
    refund = purse.callbacks.refund(
        RefundRequest(
            order_no=request.order_no,
            refund_no=purse.number("R"),
            amount_fen=20_000,
            total_fen=50_000,
            reason="缴存退款",
        )
    )

    asked = purse.channel.query_debit(request.order_no)

    assert refund.kind is OutcomeKind.ACCEPTED
    assert kind_and_reason(asked) == (OutcomeKind.SUCCEEDED, Reason.OK)
    assert (asked.amount_fen, asked.raw_code) == (50_000, "REFUND")


@pytest.mark.parametrize(
    ("defect", "reason"),
    [
        ("wrong_key", "signature"),
        ("no_sign", "signature"),
        ("empty_key", "signature"),
        ("tampered_after_signing", "signature"),
        ("other_merchant", "merchant"),
        ("other_app", "merchant"),
    ],
)
def test_forged_results_are_refused(purse: Purse, reference: str, defect: str, reason: str) -> None:
    purse.gateway.control("troubles", at="debit/outcome", kind="slow")
    request = purse.debit(reference)
    purse.channel.submit_debit(request)

    purse.gateway.control("notices/forge", out_trade_no=request.order_no, defect=defect)

    assert purse.rejected == [reason]
    assert purse.events_about(request.order_no) == []
    assert purse.channel.query_debit(request.order_no).kind is OutcomeKind.ACCEPTED
