"""Answers of Alipay that are genuine: what each one means."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.alipay.channel import AlipayPay
from app.payments.reasons import ReasonTable
from config.reason_files import load_reasons
from tests.payments import alipay_hand as hand
from tests.payments.wire import Wire, open_wire, plain

Node = dict[str, object]


@pytest.fixture(scope="module")
def line() -> Iterator[tuple[Wire, AlipayPay]]:
    """One server and one channel for all: reading keys takes longer than a call."""
    with open_wire() as wire:
        yield wire, hand.channel(wire.url)


@pytest.fixture
def wire(line: tuple[Wire, AlipayPay]) -> Wire:
    wire, _ = line
    wire.seen.clear()
    return wire


@pytest.fixture
def channel(line: tuple[Wire, AlipayPay]) -> AlipayPay:
    return line[1]


def assert_unknown(outcome: Outcome, reason: Reason = Reason.BAD_ANSWER) -> None:
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert outcome.reason is reason
    assert outcome.number in (hand.ORDER, hand.REFUND)
    assert outcome.amount_fen is None
    assert outcome.reference is None


ODD_AMOUNTS: list[object] = [
    *("", "0", "0.00", "-45.00", "+45.00", "45", "45.0", "45.000", "4.5e1", " 45.00", "45.00 "),
    *("４５.００", "045.00", "1,045.00", "9" * 10 + ".00", "NaN", "45.00\n", "45。00", ".45"),
    *(45.0, 4500, True, ["45.00"]),
]


@pytest.mark.parametrize("amount", ODD_AMOUNTS)
def test_an_odd_amount_is_a_bad_answer(wire: Wire, channel: AlipayPay, amount: object) -> None:
    wire.will(plain(hand.answer(hand.QUERY, hand.paid(total_amount=amount))))
    assert_unknown(channel.query_payment(hand.ORDER))

    wire.will(plain(hand.answer(hand.REFUND_NODE, hand.refunded(refund_fee=amount))))
    assert_unknown(channel.refund(hand.REFUNDING))

    wire.will(plain(hand.answer(hand.REFUND_QUERY, hand.refund_found(refund_amount=amount))))
    assert_unknown(channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND))


@pytest.mark.parametrize(
    ("yuan", "fen"), [("0.01", 1), ("0.29", 29), ("1234.05", 123405), ("999999999.99", 99999999999)]
)
def test_yuan_are_read_as_fen(wire: Wire, channel: AlipayPay, yuan: str, fen: int) -> None:
    wire.will(plain(hand.answer(hand.QUERY, hand.paid(total_amount=yuan))))

    assert channel.query_payment(hand.ORDER).amount_fen == fen


# Creating


def test_creating_gives_what_the_phone_needs(wire: Wire, channel: AlipayPay) -> None:
    wire.will(plain(hand.answer(hand.CREATE, hand.node(total_amount="45.00"))))

    assert channel.prepare_payment(hand.PAYMENT) == Outcome(
        kind=OutcomeKind.ACCEPTED,
        reason=Reason.NOT_PAID,
        number=hand.ORDER,
        reference=hand.TRADE,
        raw_code="10000",
    )


@pytest.mark.parametrize(
    "fields", [{"trade_no": ""}, {"trade_no": "<script>"}, {"total_amount": "45.01"}]
)
def test_creating_with_an_odd_answer_is_unknown(
    wire: Wire, channel: AlipayPay, fields: Node
) -> None:
    wire.will(plain(hand.answer(hand.CREATE, hand.node(**fields))))

    assert_unknown(channel.prepare_payment(hand.PAYMENT))


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("ACQ.TRADE_HAS_SUCCESS", OutcomeKind.FAILED, Reason.ALREADY_PAID),
        ("ACQ.TRADE_HAS_CLOSE", OutcomeKind.FAILED, Reason.CLOSED),
        ("ACQ.BUYER_NOT_EXIST", OutcomeKind.FAILED, Reason.OUR_FAULT),
        ("ACQ.INVALID_PARAMETER", OutcomeKind.FAILED, Reason.OUR_FAULT),
        ("ACQ.TOTAL_FEE_EXCEED", OutcomeKind.FAILED, Reason.PAYER_REFUSED),
        ("ACQ.CONTEXT_INCONSISTENT", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
        ("ACQ.TRADE_BUYER_NOT_MATCH", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
    ],
)
def test_refused_creating(
    wire: Wire, channel: AlipayPay, code: str, kind: OutcomeKind, reason: Reason
) -> None:
    wire.will(plain(hand.answer(hand.CREATE, hand.refusal(code))))

    outcome = channel.prepare_payment(hand.PAYMENT)

    assert (outcome.kind, outcome.reason, outcome.raw_code) == (kind, reason, code)


# Asking


@pytest.mark.parametrize("status", ["TRADE_SUCCESS", "TRADE_FINISHED", "TRADE_CLOSED"])
def test_a_paid_trade_is_a_payment_even_after_a_full_refund(
    wire: Wire, channel: AlipayPay, status: str
) -> None:
    """A trade refunded in full is closed like one that nobody paid, but for send_pay_date."""
    wire.will(plain(hand.answer(hand.QUERY, hand.paid(trade_status=status))))

    assert channel.query_payment(hand.ORDER) == Outcome(
        kind=OutcomeKind.SUCCEEDED,
        reason=Reason.OK,
        number=hand.ORDER,
        amount_fen=4500,
        reference=hand.TRADE,
        payer_ref=hand.OPEN_ID,
        occurred_at=datetime(2026, 11, 24, 2, 1, 2, tzinfo=UTC),  # 10:01:02 in Beijing
        raw_code=status,
    )


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        ("WAIT_BUYER_PAY", OutcomeKind.ACCEPTED, Reason.NOT_PAID),
        ("TRADE_CLOSED", OutcomeKind.FAILED, Reason.CLOSED),
        ("TRADE_PENDING", OutcomeKind.UNKNOWN, Reason.UNLISTED),
        ("trade_success", OutcomeKind.UNKNOWN, Reason.UNLISTED),
        ("", OutcomeKind.UNKNOWN, Reason.UNLISTED),
    ],
)
def test_other_states_of_a_trade(
    wire: Wire, channel: AlipayPay, status: str, kind: OutcomeKind, reason: Reason
) -> None:
    unpaid = hand.without(hand.paid(trade_status=status), "send_pay_date")
    wire.will(plain(hand.answer(hand.QUERY, unpaid)))

    outcome = channel.query_payment(hand.ORDER)

    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert outcome.amount_fen is None


@pytest.mark.parametrize("status", ["WAIT_BUYER_PAY", "TRADE_PENDING", ""])
def test_a_time_of_payment_alone_is_no_payment(wire: Wire, channel: AlipayPay, status: str) -> None:
    wire.will(plain(hand.answer(hand.QUERY, hand.paid(trade_status=status))))

    assert channel.query_payment(hand.ORDER).kind is not OutcomeKind.SUCCEEDED


def test_the_payer_of_an_old_application_has_a_user_id(wire: Wire, channel: AlipayPay) -> None:
    old = hand.without(hand.paid(buyer_user_id="2088102146225135"), "buyer_open_id")
    wire.will(plain(hand.answer(hand.QUERY, old)))

    assert channel.query_payment(hand.ORDER).payer_ref == "2088102146225135"


def test_a_trade_that_does_not_exist(wire: Wire, channel: AlipayPay) -> None:
    wire.will(plain(hand.answer(hand.QUERY, hand.refusal("ACQ.TRADE_NOT_EXIST"))))

    outcome = channel.query_payment(hand.ORDER)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.NOT_FOUND)


@pytest.mark.parametrize(
    "code", ["ACQ.INVALID_PARAMETER", "ACQ.ACCESS_FORBIDDEN", "ACQ.TRADE_HAS_SUCCESS", ""]
)
def test_a_refused_question_never_means_that_nothing_was_paid(
    wire: Wire, channel: AlipayPay, code: str
) -> None:
    wire.will(plain(hand.answer(hand.QUERY, hand.refusal(code))))

    assert channel.query_payment(hand.ORDER).kind is OutcomeKind.UNKNOWN


@pytest.mark.parametrize(
    "fields",
    [
        {"trade_no": ""},
        {"trade_no": None},
        {"send_pay_date": "2026-13-24 10:01:02"},
        {"send_pay_date": "20261124100102"},
        {"send_pay_date": "0001-01-01 00:00:00"},
        {"send_pay_date": 1795485662},
        {"buyer_open_id": 1},
    ],
)
def test_a_payment_with_an_odd_field_is_unknown(
    wire: Wire, channel: AlipayPay, fields: Node
) -> None:
    wire.will(plain(hand.answer(hand.QUERY, hand.paid(**fields))))

    assert_unknown(channel.query_payment(hand.ORDER))


# Closing


def test_a_closed_trade(wire: Wire, channel: AlipayPay) -> None:
    wire.will(plain(hand.answer(hand.CLOSE, hand.node())))

    outcome = channel.close_payment(hand.ORDER)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.SUCCEEDED, Reason.CLOSED)


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("ACQ.TRADE_NOT_EXIST", OutcomeKind.FAILED, Reason.NOT_FOUND),
        ("ACQ.TRADE_HAS_SUCCESS", OutcomeKind.FAILED, Reason.ALREADY_PAID),
        ("ACQ.TRADE_STATUS_ERROR", OutcomeKind.UNKNOWN, Reason.BUSY),
        ("ACQ.TRADE_HAS_CLOSE", OutcomeKind.UNKNOWN, Reason.BUSY),
        ("ACQ.INVALID_PARAMETER", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
    ],
)
def test_closing_that_was_refused(
    wire: Wire, channel: AlipayPay, code: str, kind: OutcomeKind, reason: Reason
) -> None:
    wire.will(plain(hand.answer(hand.CLOSE, hand.refusal(code))))

    outcome = channel.close_payment(hand.ORDER)

    assert (outcome.kind, outcome.reason, outcome.number) == (kind, reason, hand.ORDER)


# Refunds


def test_a_refund_that_moved_money_is_done(wire: Wire, channel: AlipayPay) -> None:
    """refund_fee is 20.00 with an earlier refund of 5.00: ours is 15.00."""
    wire.will(plain(hand.answer(hand.REFUND_NODE, hand.refunded())))

    assert channel.refund(hand.REFUNDING) == Outcome(
        kind=OutcomeKind.SUCCEEDED,
        reason=Reason.OK,
        number=hand.REFUND,
        amount_fen=1500,
        reference=hand.TRADE,
        occurred_at=datetime(2026, 11, 24, 2, 5, 6, tzinfo=UTC),
        raw_code="fund_change=Y",
    )


@pytest.mark.parametrize("change", ["N", "", None, "y", "MAYBE"])
def test_success_without_a_change_of_funds_is_not_done(
    wire: Wire, channel: AlipayPay, change: str | None
) -> None:
    wire.will(plain(hand.answer(hand.REFUND_NODE, hand.refunded(fund_change=change))))

    assert channel.refund(hand.REFUNDING) == Outcome(
        kind=OutcomeKind.ACCEPTED,
        reason=Reason.PROCESSING,
        number=hand.REFUND,
        reference=hand.TRADE,
        raw_code=f"fund_change={change or ''}",
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"refund_fee": "14.99"},  # less than this refund alone
        {"refund_fee": "45.01"},  # more than was paid
        {"refund_fee": None},
        {"trade_no": ""},
        {"gmt_refund_pay": "soon"},
    ],
)
def test_a_refund_answer_about_something_else_is_unknown(
    wire: Wire, channel: AlipayPay, fields: Node
) -> None:
    wire.will(plain(hand.answer(hand.REFUND_NODE, hand.refunded(**fields))))

    assert_unknown(channel.refund(hand.REFUNDING))


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("ACQ.SELLER_BALANCE_NOT_ENOUGH", OutcomeKind.FAILED, Reason.MERCHANT_FUNDS_SHORT),
        ("ACQ.TRADE_HAS_FINISHED", OutcomeKind.FAILED, Reason.CLOSED),
        ("ACQ.TRADE_NOT_EXIST", OutcomeKind.FAILED, Reason.NOT_FOUND),
        ("ACQ.BUYER_ERROR", OutcomeKind.FAILED, Reason.PAYER_REFUSED),
        ("ACQ.TRADE_HAS_CLOSE", OutcomeKind.UNKNOWN, Reason.ALREADY_REFUNDED),
        ("ACQ.TRADE_STATUS_ERROR", OutcomeKind.UNKNOWN, Reason.ALREADY_REFUNDED),
        ("ACQ.DISCORDANT_REPEAT_REQUEST", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
        ("ACQ.REASON_TRADE_REFUND_FEE_ERR", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
        ("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
        ("ACQ.INVALID_PARAMETER", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
    ],
)
def test_refused_refunds(
    wire: Wire, channel: AlipayPay, code: str, kind: OutcomeKind, reason: Reason
) -> None:
    wire.will(plain(hand.answer(hand.REFUND_NODE, hand.refusal(code, refund_fee="0.00"))))

    outcome = channel.refund(hand.REFUNDING)

    assert (outcome.kind, outcome.reason, outcome.number) == (kind, reason, hand.REFUND)


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        ("REFUND_SUCCESS", OutcomeKind.SUCCEEDED, Reason.OK),
        (None, OutcomeKind.ACCEPTED, Reason.PROCESSING),
        ("", OutcomeKind.ACCEPTED, Reason.PROCESSING),
        ("REFUND_FAIL", OutcomeKind.UNKNOWN, Reason.UNLISTED),
        ("refund_success", OutcomeKind.UNKNOWN, Reason.UNLISTED),
    ],
)
def test_only_one_word_says_that_a_refund_is_done(
    wire: Wire, channel: AlipayPay, status: str | None, kind: OutcomeKind, reason: Reason
) -> None:
    wire.will(plain(hand.answer(hand.REFUND_QUERY, hand.refund_found(refund_status=status))))

    outcome = channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND)

    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert (outcome.number, outcome.amount_fen) == (hand.REFUND, 1500)
    assert outcome.reference == hand.TRADE
    assert outcome.occurred_at == datetime(2026, 11, 24, 2, 5, 6, tzinfo=UTC)


def test_success_with_nothing_in_it_is_no_such_refund(wire: Wire, channel: AlipayPay) -> None:
    wire.will(plain(hand.answer(hand.REFUND_QUERY, {"code": "10000", "msg": "Success"})))

    outcome = channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.NOT_FOUND)
    assert outcome.number == hand.REFUND


@pytest.mark.parametrize("number", ["R" + "9" * 31, "", None])
def test_another_refund_is_unknown(wire: Wire, channel: AlipayPay, number: str | None) -> None:
    wire.will(plain(hand.answer(hand.REFUND_QUERY, hand.refund_found(out_request_no=number))))

    assert_unknown(channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND))

    wire.will(
        plain(hand.answer(hand.REFUND_QUERY, hand.without(hand.refund_found(), "out_request_no")))
    )
    assert_unknown(channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND))


@pytest.mark.parametrize("code", ["ACQ.TRADE_NOT_EXIST", "TRADE_NOT_EXIST"])
def test_a_payment_that_is_missing_says_nothing_of_its_refund(
    wire: Wire, channel: AlipayPay, code: str
) -> None:
    wire.will(plain(hand.answer(hand.REFUND_QUERY, hand.refusal(code))))

    outcome = channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND)

    assert_unknown(outcome, Reason.OUR_FAULT)


# The table


def rows_of(kind: str, *calls: str) -> set[tuple[str, str]]:
    rows = load_reasons("alipay")
    return {
        (call, code)
        for call in calls or rows
        for code, (meaning, _) in rows[call].items()
        if meaning == kind
    }


def test_codes_that_mean_money() -> None:
    """The only rows that can book money or end an order as closed."""
    assert rows_of("succeeded") == {
        ("trade_status", "TRADE_SUCCESS"),
        ("trade_status", "TRADE_FINISHED"),
        ("refund_status", "REFUND_SUCCESS"),
        ("debit_status", "TRADE_SUCCESS"),
        ("debit_status", "TRADE_FINISHED"),
    }
    ReasonTable(load_reasons("alipay"))


def test_questions_fail_only_on_a_verdict() -> None:
    assert rows_of("failed", "query_payment", "close_payment", "query_refund") == {
        ("query_payment", "ACQ.TRADE_NOT_EXIST"),
        ("close_payment", "ACQ.TRADE_NOT_EXIST"),
        ("close_payment", "ACQ.TRADE_HAS_SUCCESS"),
    }
