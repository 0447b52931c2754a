"""One tap, or many at once: a period is made up by one order at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.domain.debits.making_up import NothingToMakeUp
from app.domain.deposits.rules import DebitUnderWay, IdempotencyKeyReused, MakeUpUnderWay
from app.domain.payment_orders.models import PaymentOrder
from app.domain.ports.outcomes import Reason
from tests.domain.debits.conftest import Debiting

AMOUNT_FEN = 50_000


@pytest.fixture
def refused(debiting: Debiting) -> Debiting:
    """10 December: the debit failed and waits for its retry on the 11th."""
    debiting.sign()
    debiting.wallet.trouble["submit"] = [Reason.INSUFFICIENT_FUNDS]
    debiting.live(12, 9)
    assert debiting.live(12, 10) == {"debit_failed": 1}
    return debiting


def test_eight_taps_at_once_place_one_order(refused: Debiting) -> None:
    def tap(number: int) -> str:
        try:
            return refused.make_up("2026-12", key=f"tap-{number:05d}").order_no
        except MakeUpUnderWay as error:
            return f"told of {error.detail['order_no']}"

    before = refused.fund.count(PaymentOrder)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(tap, range(8)))
    assert refused.fund.count(PaymentOrder) == before + 1
    (order_no,) = (answer for answer in answers if not answer.startswith("told"))
    assert answers.count(f"told of {order_no}") == 7


def test_the_same_key_is_the_same_order_whatever_became_of_it(refused: Debiting) -> None:
    order_no = refused.make_up("2026-12").order_no
    refused.fund.notify(refused.fund.alipay.pay(order_no), channel="alipay")
    assert refused.state() == ("skipped", None)
    assert refused.make_up("2026-12").order_no == order_no
    with pytest.raises(NothingToMakeUp):
        refused.make_up("2026-12", key="make-up-2")
    refused.fund.start(refused.account_id, AMOUNT_FEN, key="a-deposit")
    with pytest.raises(IdempotencyKeyReused):
        refused.make_up("2026-12", key="a-deposit")


def test_an_order_that_ran_out_unpaid_leaves_the_period_to_be_made_up(refused: Debiting) -> None:
    first = refused.make_up("2026-12").order_no
    refused.resolve(minutes=31)
    assert refused.fund.order(first).state == "closed"
    assert refused.make_up("2026-12", key="make-up-2").order_no != first
    assert refused.live(12, 11) == {"wait": 1}


def test_while_another_periods_debit_is_under_way_it_asks_first(
    refused: Debiting, limits_known_from_2025_to_2027: None
) -> None:
    refused.wallet.trouble["submit"] = [Reason.INSUFFICIENT_FUNDS] * 3
    for day in (11, 15, 17):
        refused.live(12, day)
    assert refused.state() == ("missed", None)
    refused.live(1, 9, year=2027)
    refused.wallet.trouble["submit"] = ["accepted"]
    assert refused.live(1, 10, year=2027) == {"open": 1}
    with pytest.raises(DebitUnderWay):
        refused.make_up("2026-12")
    with pytest.raises(NothingToMakeUp):
        refused.make_up("2027-01")
    order_no = refused.make_up("2026-12", despite_debit=True).order_no
    refused.fund.notify(refused.fund.alipay.pay(order_no), channel="alipay")
    assert refused.state() == ("skipped", None)
    assert refused.fund.order(order_no).contribution_month == "2027-01"
