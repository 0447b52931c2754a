"""What every phone-payment channel must do, tried against the sandbox gateways over real HTTP.

The same stories are told of each adapter; the gateway's own books are the witness.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.domain.errors import ChannelTrouble
from app.domain.ports.callbacks import EventTopic
from app.domain.ports.logins import LoginRefused
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from tests.payments.sides import GATEWAYS, PAID_FEN, TROUBLES, Side, open_side


@pytest.fixture(scope="module", params=GATEWAYS)
def running_side(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Side]:
    with open_side(request.param, tmp_path_factory.mktemp(request.param)) as side:
        yield side


@pytest.fixture
def side(running_side: Side) -> Side:
    running_side.forget()
    return running_side


# A payment


def test_from_the_order_to_the_payment(side: Side) -> None:
    order, phone = side.prepared()
    before = side.channel.query_payment(order.order_no)
    assert (before.kind, before.reason) == (OutcomeKind.ACCEPTED, Reason.NOT_PAID)

    assert side.pay(phone)

    told = side.notice_of(order.order_no)
    assert told.topic is EventTopic.PAYMENT
    asked = side.channel.query_payment(order.order_no)
    for outcome in (told.outcome, asked):
        assert outcome is not None
        assert (outcome.kind, outcome.reason) == (OutcomeKind.SUCCEEDED, Reason.OK)
        assert outcome.amount_fen == 12345
        assert outcome.payer_ref == side.payer
        assert outcome.reference == side.trade(order)["reference"]
        assert outcome.occurred_at is not None
        assert outcome.occurred_at.isoformat() == _utc(side.trade(order)["paid_at"])
    assert side.trade(order)["amount_fen"] == 12345


def _utc(beijing: str) -> str:
    return datetime.fromisoformat(beijing).astimezone(UTC).isoformat()


def test_the_notice_is_accepted_in_the_channels_own_words(side: Side) -> None:
    order = side.paid()

    log = side.gateway.until(
        lambda log: any(entry["out_trade_no"] == order.order_no for entry in log)
    )

    entries = [entry for entry in log if entry["out_trade_no"] == order.order_no]
    assert [entry["accepted"] for entry in entries] == [True]
    assert entries[0]["url"].endswith(f"/callbacks/{side.name}/payment")


def test_placing_again_is_the_same_order(side: Side) -> None:
    order, _ = side.prepared()
    side.gateway.clock.advance(60)

    again = side.channel.prepare_payment(order)

    assert again.kind is OutcomeKind.ACCEPTED
    assert side.pay(side.channel.payer_action(again.reference))
    assert side.channel.query_payment(order.order_no).amount_fen == 12345


def test_another_amount_under_the_same_number_is_never_a_new_order(side: Side) -> None:
    order, _ = side.prepared()

    other = side.channel.prepare_payment(replace(order, amount_fen=1))

    assert (other.kind, other.reason) == (OutcomeKind.UNKNOWN, Reason.OUR_FAULT)
    assert side.trade(order)["amount_fen"] == 12345


def test_placing_what_is_paid_says_so(side: Side) -> None:
    order = side.paid()

    again = side.channel.prepare_payment(order)

    assert (again.kind, again.reason) == (OutcomeKind.FAILED, Reason.ALREADY_PAID)


def test_amounts_of_a_fen_and_of_millions(side: Side) -> None:
    for amount_fen in (1, 29, 10_000_001):
        order, phone = side.prepared(amount_fen=amount_fen)
        assert side.pay(phone)

        assert side.channel.query_payment(order.order_no).amount_fen == amount_fen
        assert side.trade(order)["amount_fen"] == amount_fen


def test_an_order_cannot_be_paid_after_its_time(side: Side) -> None:
    order, phone = side.prepared()
    side.gateway.clock.advance(31 * 60)

    assert not side.pay(phone)
    assert side.channel.query_payment(order.order_no).kind is not OutcomeKind.SUCCEEDED


def test_a_number_that_the_channel_has_never_seen(side: Side) -> None:
    number = side.order().order_no

    for outcome in (side.channel.query_payment(number), side.channel.close_payment(number)):
        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.NOT_FOUND)


# Closing

FIVE_MINUTES = 300


def test_a_closed_order_cannot_be_paid(side: Side) -> None:
    order, phone = side.prepared()
    side.gateway.clock.advance(FIVE_MINUTES)

    closed = side.channel.close_payment(order.order_no)

    assert (closed.kind, closed.reason) == (OutcomeKind.SUCCEEDED, Reason.CLOSED)
    assert not side.pay(phone)
    asked = side.channel.query_payment(order.order_no)
    assert (asked.kind, asked.reason) == (OutcomeKind.FAILED, Reason.CLOSED)
    again = side.channel.prepare_payment(order)
    assert (again.kind, again.reason) == (OutcomeKind.FAILED, Reason.CLOSED)


def test_closing_never_closes_what_is_paid(side: Side) -> None:
    order = side.paid()
    side.gateway.clock.advance(FIVE_MINUTES)

    closed = side.channel.close_payment(order.order_no)

    assert closed.kind is not OutcomeKind.SUCCEEDED
    assert closed.reason is not Reason.CLOSED
    assert side.channel.query_payment(order.order_no).kind is OutcomeKind.SUCCEEDED


# Refunds


def test_from_the_refund_to_its_end(side: Side) -> None:
    order = side.paid()
    refund = side.refund_of(order)

    outcome = side.channel.refund(refund)

    assert outcome.kind in (OutcomeKind.ACCEPTED, OutcomeKind.SUCCEEDED)
    assert outcome.number == refund.refund_no
    asked = side.query_refund(refund)
    assert (asked.kind, asked.reason) == (OutcomeKind.SUCCEEDED, Reason.OK)
    assert (asked.number, asked.amount_fen) == (refund.refund_no, 2345)
    assert asked.occurred_at is not None
    told = side.notice_of(refund.refund_no)
    assert told.topic is EventTopic.REFUND
    assert side.trade(order)["refunded_fen"] == 2345
    # The payment is still the whole payment.
    assert side.channel.query_payment(order.order_no).amount_fen == 12345


def test_a_notice_of_a_refund_books_no_second_payment(side: Side) -> None:
    order = side.paid()
    assert side.notice_of(order.order_no).topic is EventTopic.PAYMENT
    for amount_fen in (2345, 10000):
        refund = side.refund_of(order, amount_fen)
        side.channel.refund(refund)
        assert side.notice_of(refund.refund_no).topic is EventTopic.REFUND

    assert len(side.events_about(order.order_no)) == 1


def test_a_payment_refunded_in_full_is_still_a_payment(side: Side) -> None:
    order = side.paid()
    side.channel.refund(side.refund_of(order, PAID_FEN))
    assert side.trade(order)["refunded_fen"] == 12345

    asked = side.channel.query_payment(order.order_no)

    assert (asked.kind, asked.amount_fen) == (OutcomeKind.SUCCEEDED, 12345)


def test_the_same_refund_again_moves_no_more_money(side: Side) -> None:
    order = side.paid()
    refund = side.refund_of(order)
    side.channel.refund(refund)

    again = side.channel.refund(refund)

    assert again.kind in (OutcomeKind.ACCEPTED, OutcomeKind.SUCCEEDED)
    assert side.trade(order)["refunded_fen"] == 2345


def test_more_than_was_paid_does_not_go_back(side: Side) -> None:
    order = side.paid()
    side.channel.refund(side.refund_of(order, 10000))

    too_much = side.channel.refund(side.refund_of(order, 2346))  # 12345 − 10000 + 1

    assert too_much.kind in (OutcomeKind.UNKNOWN, OutcomeKind.FAILED)
    assert side.trade(order)["refunded_fen"] == 10000


def test_a_refund_in_process_is_not_done(side: Side) -> None:
    order = side.paid()
    refund = side.refund_of(order)
    side.trouble("refund", "refund_pending")

    for outcome in (side.channel.refund(refund), side.query_refund(refund)):
        assert (outcome.kind, outcome.reason) == (OutcomeKind.ACCEPTED, Reason.PROCESSING)
    assert side.channel.refund(refund).kind is OutcomeKind.ACCEPTED

    side.gateway.control("refunds/finish", out_refund_no=refund.refund_no, state="success")
    assert side.query_refund(refund).kind is OutcomeKind.SUCCEEDED


def test_a_refund_that_the_channel_has_never_seen(side: Side) -> None:
    order = side.paid()

    outcome = side.query_refund(side.refund_of(order))

    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.NOT_FOUND)


# Notices that should not be believed


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
def test_a_forged_notice_is_sent_back(side: Side, defect: str, reason: str) -> None:
    order, _ = side.prepared()

    forged = side.gateway.control("notices/forge", out_trade_no=order.order_no, defect=defect)

    assert (side.events_about(order.order_no), side.rejected) == ([], [reason])
    assert "success" not in forged["reply"].lower()


def test_a_notice_of_another_amount_says_the_other_amount(side: Side) -> None:
    """A genuine signature is believed; that it is not our amount is for the books to find."""
    order, _ = side.prepared()
    field = {"wechat": {"total_fee": "1"}, "alipay": {"total_amount": "0.01"}}[side.name]

    side.gateway.control("notices/forge", out_trade_no=order.order_no, defect="none", fields=field)

    assert side.notice_of(order.order_no).outcome.amount_fen == 1  # type: ignore[union-attr]


# Trouble on the way


def assert_unknown(outcome: Outcome, number: str) -> None:
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert outcome.number == number
    assert (outcome.amount_fen, outcome.reference) == (None, None)


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_while_placing(side: Side, kind: str) -> None:
    order = side.order()
    channel = side.trouble("prepare_payment", kind)

    assert_unknown(channel.prepare_payment(order), order.order_no)

    asked = side.channel.query_payment(order.order_no)
    expected = Reason.NOT_PAID if TROUBLES[kind] else Reason.NOT_FOUND
    assert asked.reason is expected
    # Whatever happened, the same number can be placed and paid.
    again = side.channel.prepare_payment(order)
    assert again.kind is OutcomeKind.ACCEPTED
    assert side.pay(side.channel.payer_action(again.reference))


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_while_asking(side: Side, kind: str) -> None:
    order = side.paid()
    channel = side.trouble("query_payment", kind)

    assert_unknown(channel.query_payment(order.order_no), order.order_no)

    assert side.channel.query_payment(order.order_no).kind is OutcomeKind.SUCCEEDED


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_while_closing(side: Side, kind: str) -> None:
    order, phone = side.prepared()
    side.gateway.clock.advance(FIVE_MINUTES)
    channel = side.trouble("close_payment", kind)

    assert_unknown(channel.close_payment(order.order_no), order.order_no)

    assert side.pay(phone) is not TROUBLES[kind]
    asked = side.channel.query_payment(order.order_no)
    closed, paid = (OutcomeKind.FAILED, Reason.CLOSED), (OutcomeKind.SUCCEEDED, Reason.OK)
    assert (asked.kind, asked.reason) == (closed if TROUBLES[kind] else paid)


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_while_refunding(side: Side, kind: str) -> None:
    order = side.paid()
    refund = side.refund_of(order)
    channel = side.trouble("refund", kind)

    assert_unknown(channel.refund(refund), refund.refund_no)

    asked = side.query_refund(refund)
    if not TROUBLES[kind]:
        assert (asked.kind, asked.reason) == (OutcomeKind.FAILED, Reason.NOT_FOUND)
        side.channel.refund(refund)
        asked = side.query_refund(refund)
    assert (asked.kind, asked.amount_fen) == (OutcomeKind.SUCCEEDED, 2345)
    assert side.trade(order)["refunded_fen"] == 2345


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_while_asking_for_a_refund(side: Side, kind: str) -> None:
    refund = side.refund_of(side.paid())
    side.channel.refund(refund)
    channel = side.trouble("query_refund", kind)

    asked = channel.query_refund(order_no=refund.order_no, refund_no=refund.refund_no)

    assert_unknown(asked, refund.refund_no)

    assert side.query_refund(refund).kind is OutcomeKind.SUCCEEDED


# Log-in


def code_of(side: Side) -> str:
    return side.gateway.control("login_codes", payer=side.payer)["code"]


def test_a_log_in_code_tells_who_pays_and_works_once(side: Side) -> None:
    code = code_of(side)

    assert side.login.subject_of(code) == side.payer
    with pytest.raises(LoginRefused):
        side.login.subject_of(code)


def test_an_old_or_a_made_up_code_is_refused(side: Side) -> None:
    old = code_of(side)
    side.gateway.clock.advance(FIVE_MINUTES + 1)

    for code in (old, "0" * 32):
        with pytest.raises(LoginRefused):
            side.login.subject_of(code)


@pytest.mark.parametrize("kind", ["http_500", "html", "empty", "truncated"])
def test_trouble_while_logging_in_is_no_refusal(side: Side, kind: str) -> None:
    code = code_of(side)
    side.trouble("login", kind, **({"done": False} if kind == "empty" else {}))

    with pytest.raises(ChannelTrouble):
        side.login.subject_of(code)

    if kind != "truncated":
        assert side.login.subject_of(code) == side.payer
