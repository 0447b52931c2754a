"""Asking for a refund holds the money; a second person decides; nothing is sent before."""

from __future__ import annotations

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from app.domain.base import table_of
from app.domain.contributors.models import Account, AccountStatus
from app.domain.deposits.rules import IdempotencyKeyReused
from app.domain.errors import Conflict, NotFound
from app.domain.ledger.models import Hold
from app.domain.ledger.operations import BalanceTooLow, place_hold
from app.domain.refunds.models import Refund, RefundState
from app.domain.refunds.operations import (
    AccountFrozen,
    NotRefundable,
    SamePersonTwice,
    reject_refund,
)
from app.domain.refunds.queries import get_refund, list_refunds
from app.domain.settlement import Effect
from tests.builders import an_account
from tests.fund import CHECKER, MAKER, Fund

REFUND = table_of(Refund)


@pytest.fixture
def account_id(fund: Fund) -> int:
    return an_account(fund.ports)


@pytest.fixture
def order_no(fund: Fund, account_id: int) -> str:
    """A credited deposit of 500.00; the account holds 700.00 with the opening subsidy."""
    return fund.deposit(account_id, 50_000)


def freeze(fund: Fund, account_id: int) -> None:
    fund.ports.transact(
        lambda session: session.execute(
            update(Account).where(Account.id == account_id).values(status=AccountStatus.FROZEN)
        )
    )


def reject(fund: Fund, refund_no: str, *, checker_id: int = CHECKER) -> None:
    reject_refund(fund.ports, refund_no=refund_no, checker_id=checker_id, note="不同意")


# -- asking ----------------------------------------------------------------------------------------


def test_asking_holds_the_money_and_sends_nothing(
    fund: Fund, account_id: int, order_no: str
) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    assert fund.money(account_id) == (70_000, 20_000)
    assert fund.order(order_no).refund_reserved_fen == 20_000
    assert fund.order(order_no).refunded_fen == 0
    refund = fund.refund(refund_no)
    assert (refund.state, refund.checker, refund.next_query_at) == (
        RefundState.REQUESTED,
        None,
        None,
    )
    assert fund.wechat.refunds == {}
    assert fund.offences() == []


def test_parts_may_be_asked_back_up_to_the_whole(fund: Fund, order_no: str) -> None:
    fund.ask_back(order_no, 20_000)
    fund.ask_back(order_no, 30_000)
    with pytest.raises(NotRefundable) as refusal:
        fund.ask_back(order_no, 1)
    assert refusal.value.detail["refundable_fen"] == 0
    assert fund.count(Refund) == 2
    assert fund.offences() == []


def test_more_than_is_left_is_refused_and_holds_nothing(
    fund: Fund, account_id: int, order_no: str
) -> None:
    fund.ask_back(order_no, 20_000)
    with pytest.raises(NotRefundable) as refusal:
        fund.ask_back(order_no, 30_001)
    assert refusal.value.detail["refundable_fen"] == 30_000
    assert fund.money(account_id) == (70_000, 20_000)
    assert fund.offences() == []


def test_only_a_credited_deposit_can_be_asked_back(fund: Fund, account_id: int) -> None:
    unpaid = fund.start(account_id, 50_000).order_no
    with pytest.raises(NotRefundable):
        fund.ask_back(unpaid, 50_000)
    assert fund.count(Refund) == 0


def test_money_that_is_promised_elsewhere_cannot_be_asked_back(
    fund: Fund, account_id: int, order_no: str
) -> None:
    fund.ports.transact(
        lambda session: place_hold(
            session,
            hold_key="withdrawal:1",
            account_id=account_id,
            amount_fen=20_001,
            now=fund.clock.now(),
        )
    )
    with pytest.raises(BalanceTooLow):
        fund.ask_back(order_no, 50_000)
    assert fund.order(order_no).refund_reserved_fen == 0  # nothing half done
    assert fund.count(Refund) == 0
    fund.ask_back(order_no, 49_999)
    assert fund.money(account_id) == (70_000, 70_000)
    assert fund.offences() == []


def test_a_contributor_asks_for_their_own_deposits_only(
    fund: Fund, account_id: int, order_no: str
) -> None:
    stranger = an_account(fund.ports)
    for number in (order_no, "D-unknown"):
        with pytest.raises(NotFound) as refusal:
            fund.ask_back(number, 50_000, maker="contributor:9", account_id=stranger)
        assert refusal.value.message == "未找到该笔缴存"
    assert fund.count(Refund) == 0
    fund.ask_back(order_no, 50_000, maker="contributor:1", account_id=account_id)


def test_nothing_leaves_a_frozen_account(fund: Fund, account_id: int, order_no: str) -> None:
    freeze(fund, account_id)
    with pytest.raises(AccountFrozen):
        fund.ask_back(order_no, 50_000)
    assert fund.money(account_id) == (70_000, 0)
    assert fund.count(Refund) == 0


@pytest.mark.parametrize("amount_fen", [0, -1, -50_000])
def test_the_database_refuses_a_refund_of_nothing(
    fund: Fund, account_id: int, order_no: str, amount_fen: int
) -> None:
    fund.ask_back(order_no, 10_000)
    with pytest.raises(DBAPIError):
        fund.ask_back(order_no, amount_fen)
    assert fund.money(account_id) == (70_000, 10_000)
    assert fund.offences() == []


def test_the_same_key_gives_the_same_refund_once(
    fund: Fund, account_id: int, order_no: str
) -> None:
    first = fund.ask_back(order_no, 50_000, key="the-same-key")
    # Nothing is left to reserve, and still it is found.
    assert fund.ask_back(order_no, 50_000, key="the-same-key") == first
    assert fund.money(account_id) == (70_000, 50_000)
    with pytest.raises(IdempotencyKeyReused):
        fund.ask_back(order_no, 49_999, key="the-same-key")
    with pytest.raises(IdempotencyKeyReused):
        fund.ask_back(order_no, 50_000, key="the-same-key", note="其他")


def test_two_makers_may_use_the_same_key(fund: Fund, account_id: int, order_no: str) -> None:
    numbers = {
        fund.ask_back(order_no, 10_000, key="the-same-key", maker=maker)
        for maker in ("staff:1", "staff:2", "contributor:1")
    }
    assert len(numbers) == 3


# -- deciding --------------------------------------------------------------------------------------


def test_the_one_who_asked_can_neither_release_nor_reject(
    fund: Fund, account_id: int, order_no: str
) -> None:
    refund_no = fund.ask_back(order_no, 50_000)
    with pytest.raises(SamePersonTwice):
        fund.release(refund_no, checker_id=MAKER)
    with pytest.raises(SamePersonTwice):
        reject(fund, refund_no, checker_id=MAKER)
    assert fund.refund(refund_no).state is RefundState.REQUESTED
    assert fund.money(account_id) == (70_000, 50_000)
    assert fund.wechat.calls == [f"prepare_payment:{order_no}"]


def test_the_database_too_refuses_one_person_in_both_roles(fund: Fund, order_no: str) -> None:
    refund_no = fund.ask_back(order_no, 50_000)
    with pytest.raises(DBAPIError):
        fund.ports.transact(
            lambda session: session.execute(
                update(REFUND)
                .where(REFUND.c.refund_no == refund_no)
                .values(state=RefundState.SENDING, checker=f"staff:{MAKER}")
            )
        )


def test_the_database_too_refuses_a_decision_by_nobody(fund: Fund, order_no: str) -> None:
    refund_no = fund.ask_back(order_no, 50_000)
    with pytest.raises(DBAPIError):
        fund.ports.transact(
            lambda session: session.execute(
                update(REFUND)
                .where(REFUND.c.refund_no == refund_no)
                .values(state=RefundState.SENDING)
            )
        )


def test_rejecting_frees_the_money(fund: Fund, account_id: int, order_no: str) -> None:
    refund_no = fund.ask_back(order_no, 50_000)
    reject(fund, refund_no)
    refund = fund.refund(refund_no)
    assert refund.state is RefundState.REJECTED
    assert (refund.checker, refund.checker_note) == (f"staff:{CHECKER}", "不同意")
    assert refund.decided_at == refund.ended_at == fund.clock.now()
    assert fund.money(account_id) == (70_000, 0)
    assert fund.count(Hold) == 0
    assert fund.order(order_no).refund_reserved_fen == 0
    assert fund.offences() == []
    fund.ask_back(order_no, 50_000)  # and may be asked for again


def test_releasing_sends_it(fund: Fund, account_id: int, order_no: str) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    assert fund.release(refund_no) is Effect.NOTHING  # taken, not done
    assert fund.wechat.refunds == {refund_no: (order_no, 20_000, "done")}
    refund = fund.refund(refund_no)
    assert refund.state is RefundState.PROCESSING
    assert (refund.checker, refund.checker_note) == (f"staff:{CHECKER}", "同意")
    assert refund.decided_at == fund.clock.now()
    assert fund.money(account_id) == (70_000, 20_000)  # held until the channel says done


def test_a_refund_is_decided_once(fund: Fund, order_no: str) -> None:
    released, rejected = fund.ask_back(order_no, 20_000), fund.ask_back(order_no, 10_000)
    fund.release(released)
    reject(fund, rejected)
    for refund_no in (released, rejected):
        with pytest.raises(Conflict):
            fund.release(refund_no)
        with pytest.raises(Conflict):
            reject(fund, refund_no)
    assert [call for call in fund.wechat.calls if call.startswith("refund")] == [
        f"refund:{released}"
    ]


def test_an_account_frozen_after_the_asking_keeps_its_money(
    fund: Fund, account_id: int, order_no: str
) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    freeze(fund, account_id)
    with pytest.raises(AccountFrozen):
        fund.release(refund_no)
    assert fund.refund(refund_no).state is RefundState.REQUESTED
    assert fund.wechat.refunds == {}
    reject(fund, refund_no)
    assert fund.money(account_id) == (70_000, 0)


def test_a_refund_that_does_not_exist_is_not_found(fund: Fund) -> None:
    with pytest.raises(NotFound):
        fund.release("R-unknown")
    with pytest.raises(NotFound):
        reject(fund, "R-unknown")


# -- reading ---------------------------------------------------------------------------------------


def test_a_contributor_sees_their_own_refunds_only(
    fund: Fund, account_id: int, order_no: str
) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    stranger = an_account(fund.ports)

    def get(number: str, account: int | None):  # type: ignore[no-untyped-def]
        return fund.ports.read(
            lambda session: get_refund(session, refund_no=number, account_id=account)
        )

    assert get(refund_no, account_id) == get(refund_no, None)
    assert get(refund_no, None).order_no == order_no
    assert get(refund_no, None).channel == "wechat"
    for number, account in ((refund_no, stranger), ("R-unknown", stranger), ("R-unknown", None)):
        with pytest.raises(NotFound) as refusal:
            get(number, account)
        assert refusal.value.message == "未找到该笔退款"


def test_staff_list_refunds_newest_first_by_state_and_page(fund: Fund, order_no: str) -> None:
    numbers = [fund.ask_back(order_no, 1_000 + n) for n in range(3)]
    reject(fund, numbers[1])

    def listed(**filters) -> list[str]:  # type: ignore[no-untyped-def]
        views = fund.ports.read(lambda session: list_refunds(session, **filters))
        return [view.refund_no for view in views]

    assert listed() == numbers[::-1]
    assert listed(state=RefundState.REQUESTED) == [numbers[2], numbers[0]]
    assert listed(state=RefundState.REJECTED) == [numbers[1]]
    assert listed(limit=1) == [numbers[2]]
    newest = fund.refund(numbers[2]).id
    assert listed(before_id=newest) == [numbers[1], numbers[0]]
