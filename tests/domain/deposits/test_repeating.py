"""The same request again, lost answers, and answers that come out of order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.domain.deposits.operations import record_prepared
from app.domain.deposits.rules import IdempotencyKeyReused
from app.domain.payment_orders.models import OrderState, PaymentOrder
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from tests.builders import an_account
from tests.fund import Fund

CAP_FEN = 9_084_960  # 31,545.00 × 24 % × 12 = 90,849.60


def test_the_same_key_gives_the_same_order_and_asks_the_channel_once(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    first = fund.start(account_id, 50_000, key="the-same-key")
    again = fund.start(account_id, 50_000, key="the-same-key")
    assert again.order_no == first.order_no
    assert again.payment == first.payment
    assert fund.count(PaymentOrder) == 1
    assert fund.wechat.calls == [f"prepare_payment:{first.order_no}"]


@pytest.mark.parametrize(("amount_fen", "channel"), [(50_001, "wechat"), (50_000, "alipay")])
def test_the_same_key_with_another_content_is_refused(
    fund: Fund, amount_fen: int, channel: str
) -> None:
    account_id = an_account(fund.ports)
    fund.start(account_id, 50_000, key="the-same-key")
    with pytest.raises(IdempotencyKeyReused):
        fund.start(account_id, amount_fen, channel=channel, key="the-same-key")
    assert fund.count(PaymentOrder) == 1


def test_two_people_may_use_the_same_key(fund: Fund) -> None:
    orders = {
        fund.start(an_account(fund.ports), 50_000, key="the-same-key").order_no for _ in range(2)
    }
    assert len(orders) == 2


def test_the_same_key_finds_its_order_even_when_a_new_one_would_be_refused(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    first = fund.start(account_id, CAP_FEN, key="the-same-key")
    assert fund.start(account_id, CAP_FEN, key="the-same-key").order_no == first.order_no


@pytest.mark.parametrize("lost", ["lost_before", "lost_after"])
def test_a_lost_answer_is_asked_for_again_under_the_same_number(fund: Fund, lost: str) -> None:
    account_id = an_account(fund.ports)
    fund.wechat.trouble["prepare_payment"] = [lost]
    first = fund.start(account_id, 50_000, key="the-same-key")
    assert first.state is OrderState.UNKNOWN
    assert first.payment == {}

    again = fund.start(account_id, 50_000, key="the-same-key")
    assert again.order_no == first.order_no
    assert again.state is OrderState.AWAITING_PAYMENT
    assert again.payment == {"prepay": "P-T00000001"}
    assert len(fund.wechat.trades) == 1


def test_an_expired_order_is_not_sent_again(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.wechat.trouble["prepare_payment"] = ["lost_before"]
    fund.start(account_id, 50_000, key="the-same-key")
    fund.clock.advance(minutes=30)
    assert fund.start(account_id, 50_000, key="the-same-key").state is OrderState.UNKNOWN
    assert len(fund.wechat.calls) == 1


def test_a_definite_refusal_of_the_channel_fails_the_order(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    refused = Outcome(
        kind=OutcomeKind.FAILED, reason=Reason.PAYER_REFUSED, number="", raw_code="RULELIMIT"
    )
    fund.wechat.trouble["prepare_payment"] = [refused]
    view = fund.start(account_id, 50_000)
    assert view.state is OrderState.FAILED
    assert view.payment == {}
    order = fund.order(view.order_no)
    assert (order.raw_code, order.next_query_at) == ("RULELIMIT", None)
    assert order.ended_at == fund.clock.now()


def test_an_order_that_the_channel_calls_paid_is_not_failed_but_asked_about(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    paid = Outcome(kind=OutcomeKind.FAILED, reason=Reason.ALREADY_PAID, number="")
    fund.wechat.trouble["prepare_payment"] = [paid]
    view = fund.start(account_id, 50_000)
    assert view.state is OrderState.UNKNOWN
    assert fund.order(view.order_no).next_query_at == datetime(2026, 11, 24, 2, 0, 20, tzinfo=UTC)


def test_an_acceptance_without_a_reference_is_no_acceptance(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    empty = Outcome(kind=OutcomeKind.ACCEPTED, reason=Reason.OK, number="")
    fund.wechat.trouble["prepare_payment"] = [empty]
    assert fund.start(account_id, 50_000).state is OrderState.UNKNOWN


def test_a_late_refusal_does_not_undo_what_the_phone_can_pay(fund: Fund) -> None:
    """Two taps, two calls: the slower one's refusal comes after the other's acceptance."""
    account_id = an_account(fund.ports)
    order_no = fund.start(account_id, 50_000).order_no
    for kind in (OutcomeKind.FAILED, OutcomeKind.UNKNOWN):
        late = Outcome(kind=kind, reason=Reason.OUR_FAULT, number=order_no)
        fund.ports.transact(
            lambda session, late=late: record_prepared(
                session, order_no=order_no, outcome=late, now=fund.clock.now()
            )
        )
    order = fund.order(order_no)
    assert order.state is OrderState.AWAITING_PAYMENT
    assert order.prepay_reference == "P-T00000001"


def test_a_payment_that_overtakes_our_own_answer_is_kept(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    prepare = fund.wechat.prepare_payment

    def paid_at_once(request):  # type: ignore[no-untyped-def]
        answer = prepare(request)
        assert fund.notify(fund.wechat.pay(request.order_no)) == "ok"
        return answer

    fund.wechat.prepare_payment = paid_at_once  # type: ignore[method-assign]
    view = fund.start(account_id, 50_000)
    assert view.state is OrderState.SUCCEEDED
    assert view.payment == {}
    assert fund.money(account_id) == (70_000, 0)  # with the opening subsidy of 200.00
    assert fund.offences() == []
