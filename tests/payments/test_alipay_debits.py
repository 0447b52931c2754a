"""Agreements and debits against Alipay's sandbox, by both products; its books are the witness."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from app.domain.calendar import business_day
from app.domain.ports.callbacks import EventTopic
from app.domain.ports.mandates import Cycle, EndedBy, MandateStanding
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.ports.payments import RefundRequest
from tests.payments.alipay_centre import BALANCE_FEN, Centre, open_centre
from tests.payments.sides import TROUBLES

PAY, QUERY = "alipay.trade.pay", "alipay.trade.query"
ASK, UNSIGN = "alipay.user.agreement.query", "alipay.user.agreement.unsign"


@pytest.fixture(scope="module", params=["merchant_deduct", "cycle_pay"])
def running_centre(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Centre]:
    with open_centre(request.param, tmp_path_factory.mktemp(request.param)) as centre:
        yield centre


@pytest.fixture
def centre(running_centre: Centre) -> Centre:
    """Alipay by either product, without troubles, and nothing heard of it yet."""
    running_centre.forget()
    return running_centre


@pytest.fixture(scope="module")
def running_merchant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre("merchant_deduct", tmp_path_factory.mktemp("deduct")) as centre:
        yield centre


@pytest.fixture
def merchant(running_merchant: Centre) -> Centre:
    """Alipay by 商家扣款, for what the product makes no difference to."""
    running_merchant.forget()
    return running_merchant


def kind_and_reason(outcome: Outcome) -> tuple[OutcomeKind, Reason]:
    return outcome.kind, outcome.reason


def booked(centre: Centre, number: str) -> dict:
    """What Alipay's own books say of an agreement."""
    rows = centre.gateway.look("books")["agreements"]
    return next(row for row in rows if row["external_agreement_no"] == number)


def utc(beijing: str) -> datetime:
    return datetime.fromisoformat(beijing).astimezone(UTC)


# Agreements


def test_from_the_page_to_the_agreement_in_force(centre: Centre) -> None:
    number, reference = centre.signed()

    [(endpoint, told)] = centre.until_told(number)
    asked = [centre.query(number), centre.query(number, reference)]
    confirmed = centre.channel.confirm_mandate(mandate_no=number, start_reference="", code="")
    at_alipay = booked(centre, number)
    assert (endpoint, told.topic, told.outcome) == ("mandate", EventTopic.MANDATE, None)
    for answer in (told.mandate, *asked, confirmed):
        assert answer is not None
        assert (answer.standing, answer.reason) == (MandateStanding.ACTIVE, Reason.OK)
        assert (answer.mandate_no, answer.reference) == (number, reference)
        assert answer.payer_ref == centre.payer
        assert answer.occurred_at == utc(at_alipay["signed_at"])
    assert at_alipay["agreement_no"] == reference
    codes = {"merchant_deduct": "GENERAL_WITHHOLDING_P", "cycle_pay": "CYCLE_PAY_AUTH_P"}
    assert at_alipay["product"] == codes[centre.product]


def test_an_agreement_lasts_through_its_last_day(centre: Centre) -> None:
    request = centre.request()
    centre.open_page(request)

    ends = utc(booked(centre, request.mandate_no)["expires_at"])

    assert business_day(ends) == request.valid_to + timedelta(days=1)


def test_a_person_who_goes_back_has_signed_nothing(centre: Centre) -> None:
    request = centre.request()

    assert centre.open_page(request, accept=False)["resultStatus"] == "6001"

    for answer in (centre.query(request.mandate_no), centre.end(request.mandate_no)):
        assert (answer.standing, answer.reason) == (MandateStanding.NOT_FOUND, Reason.NOT_FOUND)
    # The page may be opened again, later, by what the phone is given then.
    centre.gateway.control("clock", advance_seconds=1200)
    assert centre.open_page(request)["resultStatus"] == "7000"


def test_an_agreement_that_nobody_has_opened(centre: Centre) -> None:
    assert centre.query(centre.number("M")).standing is MandateStanding.NOT_FOUND


def test_a_page_that_was_changed_on_its_way_signs_nothing(centre: Centre) -> None:
    request = centre.request()
    phone = centre.channel.signing_action(request)["signStr"]

    page = centre.open_page(request, signStr=phone.replace("1234", "5678"))

    assert not page["ok"]
    assert centre.query(request.mandate_no).standing is MandateStanding.NOT_FOUND


def test_a_number_is_signed_once(centre: Centre) -> None:
    request = centre.request()
    assert centre.open_page(request)["ok"]

    assert not centre.open_page(request)["ok"]


def test_what_a_person_ends_is_told_to_the_application_alone(centre: Centre) -> None:
    number, reference = centre.signed()
    centre.until_told(number)

    centre.gateway.control("agreements/change", agreement_no=reference, by="user")

    [_, (endpoint, told)] = centre.until_told(number, 2)
    assert endpoint == "gateway"
    assert told.mandate is not None
    assert (told.mandate.standing, told.mandate.ended_by) == (
        MandateStanding.ENDED,
        EndedBy.CONTRIBUTOR,
    )
    assert told.mandate.occurred_at == utc(booked(centre, number)["ended_at"])
    asked = centre.query(number, reference)
    assert (asked.standing, asked.reason) == (MandateStanding.ENDED, Reason.CLOSED)


def test_an_end_that_was_told_nowhere_is_found_by_asking(centre: Centre) -> None:
    number, reference = centre.signed()
    centre.until_told(number)
    centre.gateway.control("troubles", at="notice", kind="drop", times=0)
    centre.gateway.control("agreements/change", agreement_no=reference, by="user")

    asked = centre.query(number, reference)

    assert (asked.standing, asked.ended_by) == (MandateStanding.ENDED, None)
    assert asked.raw_code == "USER_AGREEMENT_NOT_EXIST"


@pytest.mark.parametrize("by_reference", [True, False])
def test_one_that_runs_out_is_told_nowhere_and_found_by_asking(
    centre: Centre, by_reference: bool
) -> None:
    number, reference = centre.signed()
    centre.until_told(number)

    centre.gateway.control("agreements/change", agreement_no=reference, by="expiry")

    asked = centre.query(number, reference if by_reference else None)
    assert (asked.standing, asked.ended_by) == (MandateStanding.ENDED, EndedBy.EXPIRY)
    assert asked.occurred_at == utc(booked(centre, number)["expires_at"])
    assert centre.end(number, reference).standing is MandateStanding.ENDED
    assert len(centre.told(number)) == 1


def test_an_alipay_that_forgets_what_has_run_out(tmp_path: Path) -> None:
    with open_centre("merchant_deduct", tmp_path, shows_expired=False) as centre:
        number, reference = centre.signed()
        centre.gateway.control("agreements/change", agreement_no=reference, by="expiry")

        asked = centre.query(number, reference)

        assert (asked.standing, asked.ended_by) == (MandateStanding.ENDED, None)


@pytest.mark.parametrize("by_reference", [True, False])
def test_ending_it_twice(centre: Centre, by_reference: bool) -> None:
    number, reference = centre.signed()
    centre.until_told(number)

    first = centre.end(number, reference if by_reference else None)
    again = centre.end(number, reference)

    assert (first.standing, first.ended_by) == (MandateStanding.ENDED, EndedBy.CENTRE)
    assert (again.standing, again.ended_by) == (MandateStanding.ENDED, None)
    [_, (endpoint, told)] = centre.until_told(number, 2)
    assert endpoint == "mandate"
    assert told.mandate is not None
    assert (told.mandate.standing, told.mandate.ended_by) == (
        MandateStanding.ENDED,
        EndedBy.CENTRE,
    )
    assert booked(centre, number)["state"] == "UNSIGN"


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_while_asking_or_ending_is_unknown(merchant: Centre, kind: str) -> None:
    number, reference = merchant.signed()

    asked = merchant.trouble(ASK, kind).query_mandate(mandate_no=number, reference=reference)
    ended = merchant.trouble(UNSIGN, kind).end_mandate(mandate_no=number, reference=reference)

    assert {asked.standing, ended.standing} == {MandateStanding.UNKNOWN}
    found = merchant.query(number, reference).standing
    assert found is (MandateStanding.ENDED if TROUBLES[kind] else MandateStanding.ACTIVE)
    assert merchant.end(number, reference).standing is MandateStanding.ENDED


# Forgeries


@pytest.mark.parametrize(
    ("defect", "reason"),
    [
        ("wrong_key", "signature"),
        ("no_sign", "signature"),
        ("empty_key", "signature"),
        ("tampered_after_signing", "signature"),
        ("other_app", "merchant"),
    ],
)
@pytest.mark.parametrize("kind", ["dut_user_unsign", "dut_user_sign"])
def test_a_forged_notice_says_nothing(
    merchant: Centre, defect: str, reason: str, kind: str
) -> None:
    number, reference = merchant.signed()
    merchant.until_told(number)
    changes = {"notify_type": kind}
    if defect == "tampered_after_signing":
        changes["external_agreement_no"] = merchant.number("M")

    forged = merchant.gateway.control(
        "notices/forge", out_trade_no=reference, defect=defect, fields=changes
    )

    assert (forged["reply"], merchant.rejected) == ("fail", [reason])
    assert len(merchant.told(number)) == 1
    assert merchant.query(number, reference).standing is MandateStanding.ACTIVE


def test_a_notice_may_come_again(merchant: Centre) -> None:
    number, reference = merchant.signed()
    merchant.until_told(number)

    merchant.gateway.control("notices/resend", out_trade_no=reference, copies=3)

    told = [event for _, event in merchant.told(number)]
    assert len(told) == 4
    assert all(event == told[0] for event in told)


# Debits


def test_from_the_debit_to_its_notice(centre: Centre) -> None:
    _, reference = centre.signed()
    request = centre.debit(reference)

    answered = centre.channel.submit_debit(request)

    told, asked = centre.outcome_of(request.order_no), centre.channel.query_debit(request.order_no)
    trades = centre.gateway.look("books")["trades"]
    [trade] = [trade for trade in trades if trade["out_trade_no"] == request.order_no]
    for outcome in (answered, told, asked):
        assert kind_and_reason(outcome) == (OutcomeKind.SUCCEEDED, Reason.OK)
        assert (outcome.number, outcome.amount_fen) == (request.order_no, 10_000)
        assert outcome.reference == trade["reference"]
        assert outcome.payer_ref == centre.payer
        assert outcome.occurred_at == utc(trade["paid_at"])
    assert centre.balance_fen() == BALANCE_FEN - 10_000


def test_the_same_number_again_is_no_second_debit(centre: Centre) -> None:
    _, reference = centre.signed()
    request = centre.debit(reference)

    first, again = (centre.channel.submit_debit(request) for _ in range(2))

    assert first.kind is OutcomeKind.SUCCEEDED
    # By how much, only the query tells.
    assert kind_and_reason(again) == (OutcomeKind.UNKNOWN, Reason.ALREADY_PAID)
    assert centre.channel.query_debit(request.order_no).amount_fen == 10_000
    assert centre.balance_fen() == BALANCE_FEN - 10_000


def test_another_amount_under_the_same_number_is_unknown(centre: Centre) -> None:
    _, reference = centre.signed()
    centre.gateway.control("troubles", at="debit/outcome", kind="slow")
    request = centre.debit(reference)
    centre.channel.submit_debit(request)

    other = centre.channel.submit_debit(replace(request, amount_fen=1))

    assert kind_and_reason(other) == (OutcomeKind.UNKNOWN, Reason.OUR_FAULT)
    assert centre.balance_fen() == BALANCE_FEN


def test_a_number_that_alipay_has_never_seen(centre: Centre) -> None:
    outcome = centre.channel.query_debit(centre.number("D"))

    assert kind_and_reason(outcome) == (OutcomeKind.FAILED, Reason.NOT_FOUND)


def test_what_wallet_and_agreement_forbid(centre: Centre) -> None:
    number, ended = centre.signed()
    centre.end(number, ended)
    _, expired = centre.signed()
    centre.gateway.control("agreements/change", agreement_no=expired, by="expiry")
    _, reference = centre.signed()
    centre.gateway.control("payers/change", payer=centre.payer, balance_fen=9_999)

    debits = [centre.debit(each) for each in (reference, ended, expired, "2026NONE")]
    outcomes = [centre.channel.submit_debit(debit) for debit in debits]

    assert [outcome.reason for outcome in outcomes] == [
        Reason.INSUFFICIENT_FUNDS,
        *([Reason.NO_MANDATE] * 3),
    ]
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.FAILED}
    assert {outcome.amount_fen for outcome in outcomes} == {None}
    asked = [centre.channel.query_debit(debit.order_no) for debit in debits]
    assert {kind_and_reason(each) for each in asked} == {(OutcomeKind.FAILED, Reason.NOT_FOUND)}
    assert centre.balance_fen() == 9_999


def test_a_debit_that_failed_may_be_sent_again_under_its_number(centre: Centre) -> None:
    _, reference = centre.signed()
    request = centre.debit(reference)
    centre.gateway.control("payers/change", payer=centre.payer, balance_fen=0)
    assert centre.channel.submit_debit(request).kind is OutcomeKind.FAILED
    centre.gateway.control("payers/change", payer=centre.payer, balance_fen=10_000)

    assert centre.channel.submit_debit(request).kind is OutcomeKind.SUCCEEDED
    assert centre.balance_fen() == 0


def test_more_than_the_contract_allows(merchant: Centre) -> None:
    _, reference = merchant.signed()
    limit = merchant.channel.limits.cap_fen_max

    most, more = (
        merchant.channel.submit_debit(merchant.debit(reference, limit + extra)) for extra in (0, 1)
    )

    assert most.kind is OutcomeKind.SUCCEEDED
    assert kind_and_reason(more) == (OutcomeKind.FAILED, Reason.AMOUNT_LIMIT)


@pytest.mark.parametrize(
    ("outcome", "kind", "reason"),
    [
        ("rules", OutcomeKind.SUCCEEDED, Reason.OK),
        ("failed", OutcomeKind.FAILED, Reason.CLOSED),
    ],
)
def test_what_is_decided_later(
    centre: Centre, outcome: str, kind: OutcomeKind, reason: Reason
) -> None:
    _, reference = centre.signed()
    centre.gateway.control("troubles", at="debit/outcome", kind="slow")
    request = centre.debit(reference)

    accepted = centre.channel.submit_debit(request)
    waiting = [centre.channel.query_debit(request.order_no), centre.channel.submit_debit(request)]
    centre.gateway.control("debits/finish", out_trade_no=request.order_no, outcome=outcome)

    for each in (accepted, *waiting):
        assert kind_and_reason(each) == (OutcomeKind.ACCEPTED, Reason.PROCESSING)
        assert each.amount_fen is None
    assert kind_and_reason(centre.channel.query_debit(request.order_no)) == (kind, reason)
    if kind is OutcomeKind.SUCCEEDED:
        assert kind_and_reason(centre.outcome_of(request.order_no)) == (kind, reason)
    else:
        again = centre.channel.submit_debit(request)
        assert kind_and_reason(again) == (OutcomeKind.UNKNOWN, Reason.CLOSED)
        assert centre.balance_fen() == BALANCE_FEN


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_on_the_way_is_unknown_and_found_by_asking(merchant: Centre, kind: str) -> None:
    _, reference = merchant.signed()
    request = merchant.debit(reference)

    outcome = merchant.trouble(PAY, kind).submit_debit(request)

    assert outcome.kind is OutcomeKind.UNKNOWN
    assert (outcome.number, outcome.amount_fen) == (request.order_no, None)
    found = merchant.channel.query_debit(request.order_no)
    if TROUBLES[kind]:
        assert (found.kind, found.amount_fen) == (OutcomeKind.SUCCEEDED, 10_000)
    else:
        assert kind_and_reason(found) == (OutcomeKind.FAILED, Reason.NOT_FOUND)
    again = merchant.channel.submit_debit(request).kind
    assert again is (OutcomeKind.UNKNOWN if TROUBLES[kind] else OutcomeKind.SUCCEEDED)
    assert merchant.balance_fen() == BALANCE_FEN - 10_000


def test_a_system_error_after_the_money_was_taken(merchant: Centre) -> None:
    _, reference = merchant.signed()
    for code, reason in (("ACQ.SYSTEM_ERROR", Reason.BUSY), ("20000", Reason.BUSY)):
        request = merchant.debit(reference)
        outcome = merchant.trouble(PAY, "error_after", code=code).submit_debit(request)

        assert kind_and_reason(outcome) == (OutcomeKind.UNKNOWN, reason)
        assert merchant.channel.query_debit(request.order_no).kind is OutcomeKind.SUCCEEDED
        assert merchant.outcome_of(request.order_no).kind is OutcomeKind.SUCCEEDED
    assert merchant.balance_fen() == BALANCE_FEN - 20_000


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_while_asking_for_a_debit_is_unknown(merchant: Centre, kind: str) -> None:
    _, reference = merchant.signed()
    request = merchant.debit(reference)
    merchant.channel.submit_debit(request)

    assert merchant.trouble(QUERY, kind).query_debit(request.order_no).kind is OutcomeKind.UNKNOWN


def test_a_debit_goes_back_as_any_payment_does(merchant: Centre) -> None:
    _, reference = merchant.signed()
    request = merchant.debit(reference)
    merchant.channel.submit_debit(request)
    refunds = merchant.channels.refunding["alipay"]
    refund = RefundRequest(
        order_no=request.order_no,
        refund_no=merchant.number("R"),
        amount_fen=10_000,
        total_fen=10_000,
        reason="缴存退款",
    )

    assert refunds.refund(refund).kind is OutcomeKind.SUCCEEDED
    assert merchant.balance_fen() == BALANCE_FEN
    # It was paid all the same.
    assert merchant.channel.query_debit(request.order_no).kind is OutcomeKind.SUCCEEDED


# 周期扣款


@pytest.fixture(scope="module")
def cycle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(
        "cycle_pay", tmp_path_factory.mktemp("cycle"), cycle_day_limit_fen=25_000
    ) as centre:
        yield centre


def test_cycle_pay_debits_once_a_period_in_its_window(cycle: Centre) -> None:
    cycle.forget()
    for clock, months in (("2027-03-10", 1), ("2027-05-10", 3)):
        cycle.gateway.control("clock", set=f"{clock}T09:00:00+08:00")
        due = date.fromisoformat(clock).replace(day=20)
        repeats = {1: Cycle.MONTH, 3: Cycle.QUARTER}[months]
        number, reference = cycle.signed(first_due_on=due, cycle=repeats)

        early = cycle.channel.submit_debit(cycle.debit(reference))
        cycle.gateway.control("clock", set=f"{due}T09:00:00+08:00")
        more = cycle.channel.submit_debit(cycle.debit(reference, 10_001))
        taken = cycle.channel.submit_debit(cycle.debit(reference))
        again = cycle.channel.submit_debit(cycle.debit(reference))

        assert kind_and_reason(early) == (OutcomeKind.FAILED, Reason.PERIOD_LIMIT)
        assert kind_and_reason(more) == (OutcomeKind.FAILED, Reason.AMOUNT_LIMIT)
        assert taken.kind is OutcomeKind.SUCCEEDED
        assert kind_and_reason(again) == (OutcomeKind.FAILED, Reason.PERIOD_LIMIT)
        next_due = due.replace(month=due.month + months)
        assert booked(cycle, number)["next_due"] == next_due.isoformat()


def test_cycle_pay_takes_so_much_of_a_person_in_a_day(cycle: Centre) -> None:
    cycle.forget()
    cycle.gateway.control("clock", set="2027-08-10T09:00:00+08:00")
    agreements = [cycle.signed()[1] for _ in range(3)]

    outcomes = [cycle.channel.submit_debit(cycle.debit(each)) for each in agreements]

    assert [outcome.kind for outcome in outcomes] == [
        *([OutcomeKind.SUCCEEDED] * 2),
        OutcomeKind.FAILED,
    ]
    assert outcomes[2].reason is Reason.AMOUNT_LIMIT


def test_cycle_pay_cannot_be_signed_for_more_than_it_takes(cycle: Centre) -> None:
    """The domain refuses it before, by the limits; Alipay would too."""
    assert cycle.channel.limits.cap_fen_max == 10_000

    page = cycle.open_page(cycle.request(cap_fen=10_001))

    assert (page["ok"], "限额" in page["error"]) == (False, True)


def test_no_name_or_id_of_a_person_is_told_to_anybody(
    merchant: Centre, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    request = merchant.request()
    page = merchant.open_page(request)
    merchant.until_told(request.mandate_no)
    answers = [merchant.query(request.mandate_no, page["agreement_no"])]
    for kind in ("http_500", "truncated", "unsigned"):
        answers.append(
            merchant.trouble(ASK, kind).query_mandate(
                mandate_no=request.mandate_no, reference=page["agreement_no"]
            )
        )
    merchant.channel.submit_debit(merchant.debit(page["agreement_no"]))

    ours = [record for record in caplog.records if not record.name.startswith("werkzeug")]
    told = "".join(record.getMessage() for record in ours) + repr(answers) + repr(request)
    assert merchant.payer not in told
