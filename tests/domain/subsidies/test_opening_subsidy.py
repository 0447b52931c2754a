"""The opening subsidy: with the first recorded deposit, once a life, inside the cap."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from app.domain.contributors.models import Contributor
from app.domain.inquiries.operations import resolve_refunds
from app.domain.ledger.operations import place_hold, release_hold
from app.domain.payment_orders.models import OrderState
from app.domain.subsidies.models import SubsidyGrant
from app.domain.subsidies.operations import reverse_opening
from tests.builders import an_account
from tests.fund import Fund, in_shanghai

GRADUATE: dict[str, Any] = {"degree": {"level": "bachelor", "evidence": "测试"}}
PARENT: dict[str, Any] = {"children": {"count": 2, "minor_count": 1, "evidence": "户口簿"}}


def paid_before(fund: Fund, account_id: int, fen: int) -> None:
    """Say that the person had so much subsidy elsewhere before, without a grant of ours."""
    person_id = fund.person(account_id).id
    fund.ports.transact(
        lambda session: session.execute(
            update(Contributor).where(Contributor.id == person_id).values(subsidy_paid_fen=fen)
        )
    )


def give_back(fund: Fund, order_no: str, amount_fen: int) -> None:
    """Refund a deposit through to its end."""
    refund_no = fund.ask_back(order_no, amount_fen)
    fund.release(refund_no)
    fund.clock.advance(minutes=1)
    assert resolve_refunds(fund.ports) == {"refunded": 1}


@pytest.mark.parametrize(
    ("facts", "subsidy_fen"),
    [({}, 20_000), (PARENT, 30_000), (GRADUATE, 40_000), ({**PARENT, **GRADUATE}, 40_000)],
)
def test_the_first_deposit_brings_the_subsidy_of_the_highest_tier(
    fund: Fund, facts: dict[str, Any], subsidy_fen: int
) -> None:
    account_id = an_account(fund.ports, facts=facts)
    fund.deposit(account_id, 50_000)
    assert fund.money(account_id) == (50_000 + subsidy_fen, 0)
    assert fund.grants() == [(subsidy_fen, subsidy_fen, False)]
    assert fund.person(account_id).subsidy_paid_fen == subsidy_fen
    assert fund.offences() == []


def test_an_order_alone_brings_nothing(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.start(account_id, 50_000)
    assert fund.grants() == []


def test_later_deposits_bring_no_second_one(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    for channel in ("wechat", "alipay", "wechat"):
        fund.deposit(account_id, 50_000, channel=channel)
    assert fund.money(account_id) == (170_000, 0)  # 3 × 500.00 + 200.00
    assert fund.grants() == [(20_000, 20_000, False)]


def test_subsidy_and_deposit_are_posted_together_or_not_at_all(
    fund: Fund, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id = an_account(fund.ports)
    order_no = fund.start(account_id, 50_000).order_no
    notice = fund.wechat.pay(order_no)

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("the subsidy cannot be worked out")

    with monkeypatch.context() as broken:
        broken.setattr("app.domain.subsidies.operations.quote_opening_subsidy", fail)
        assert fund.notify(notice) == "ok"  # stored, to be applied again
    assert fund.money(account_id) == (0, 0)
    assert fund.order(order_no).state is OrderState.AWAITING_PAYMENT
    assert fund.account(account_id).first_deposit_on is None
    assert fund.posting_keys() == []
    assert fund.callback_results() == ["pending"]
    assert fund.offences() == []


def test_the_working_is_kept_with_the_grant(fund: Fund) -> None:
    account_id = an_account(fund.ports, facts=PARENT)
    fund.deposit(account_id, 50_000)
    grant = fund.ports.read(lambda session: session.scalars(select(SubsidyGrant)).one())
    assert grant.working["tier"] == "two_children"
    assert grant.working["clause"] == "试点方案 第三条"
    assert grant.granted_on.isoformat() == "2026-11-24"


def test_the_lifetime_cap_cuts_the_subsidy_to_what_is_left(fund: Fund) -> None:
    account_id = an_account(fund.ports, facts=GRADUATE)
    paid_before(fund, account_id, 980_000)
    fund.deposit(account_id, 50_000)
    # 10,000.00 − 9,800.00 = 200.00 of the 400.00 that are due
    assert fund.grants() == [(40_000, 20_000, False)]
    assert fund.money(account_id) == (70_000, 0)
    assert fund.person(account_id).subsidy_paid_fen == 1_000_000


def test_a_used_up_cap_leaves_nothing_but_the_explanation(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    paid_before(fund, account_id, 1_000_000)
    order_no = fund.deposit(account_id, 50_000)
    assert fund.money(account_id) == (50_000, 0)
    assert fund.posting_keys() == [f"deposit:{order_no}"]
    assert fund.grants() == [(20_000, 0, False)]


def test_a_payment_that_comes_in_after_the_programme_is_credited_without_a_subsidy(
    fund: Fund, limits_known_from_2025_to_2027: None
) -> None:
    account_id = an_account(fund.ports)
    fund.clock.instant = in_shanghai(2027, 12, 31, 23, 50)
    order_no = fund.start(account_id, 50_000).order_no
    fund.clock.instant = in_shanghai(2028, 1, 1, 0, 5)
    assert fund.notify(fund.wechat.pay(order_no)) == "ok"
    assert fund.callback_results() == ["credited"]
    assert fund.money(account_id) == (50_000, 0)
    assert fund.grants() == []
    assert fund.offences() == []


def test_on_the_last_day_of_the_programme_the_subsidy_is_paid(
    fund: Fund, limits_known_from_2025_to_2027: None
) -> None:
    account_id = an_account(fund.ports)
    fund.clock.instant = in_shanghai(2027, 12, 31, 23, 50)
    fund.deposit(account_id, 50_000)
    assert fund.grants() == [(20_000, 20_000, False)]


# -- taking it back --------------------------------------------------------------------------------


def test_when_no_deposit_stands_any_more_the_subsidy_goes_too(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    order_no = fund.deposit(account_id, 50_000)
    give_back(fund, order_no, 50_000)
    assert fund.money(account_id) == (0, 0)
    assert fund.grants() == [(20_000, 20_000, True)]
    assert fund.person(account_id).subsidy_paid_fen == 0
    assert fund.account(account_id).first_deposit_on is None
    person_id = fund.person(account_id).id
    assert fund.posting_keys()[-1] == f"opening-subsidy:{person_id}:1:reversal"
    assert fund.offences() == []


def test_a_first_deposit_after_that_earns_it_anew(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    give_back(fund, fund.deposit(account_id, 50_000), 50_000)
    fund.deposit(account_id, 30_000)
    assert fund.money(account_id) == (50_000, 0)
    assert fund.grants() == [(20_000, 20_000, True), (20_000, 20_000, False)]
    assert fund.person(account_id).subsidy_paid_fen == 20_000
    assert fund.offences() == []


def test_as_long_as_a_fen_of_a_deposit_stands_the_subsidy_stays(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    first, second = fund.deposit(account_id, 50_000), fund.deposit(account_id, 30_000)
    give_back(fund, first, 50_000)
    give_back(fund, second, 29_999)
    assert fund.money(account_id) == (20_001, 0)
    assert fund.grants() == [(20_000, 20_000, False)]
    give_back(fund, second, 1)
    assert fund.money(account_id) == (0, 0)
    assert fund.grants() == [(20_000, 20_000, True)]
    assert fund.offences() == []


def test_a_subsidy_that_is_not_there_any_more_is_shown_to_staff_and_never_paid_twice(
    fund: Fund,
) -> None:
    account_id = an_account(fund.ports)
    order_no = fund.deposit(account_id, 50_000)
    # Something else has a claim on part of what the subsidy left.
    fund.ports.transact(
        lambda session: place_hold(
            session, hold_key="else", account_id=account_id, amount_fen=1, now=fund.clock.now()
        )
    )
    give_back(fund, order_no, 50_000)
    assert fund.money(account_id) == (20_000, 1)
    assert [kind for kind, *_ in fund.breaks()] == ["subsidy_not_reversed"]
    assert fund.grants() == [(20_000, 20_000, False)]
    assert fund.offences() == []

    second = fund.deposit(account_id, 30_000)
    assert fund.grants() == [(20_000, 20_000, False)]
    assert fund.money(account_id) == (50_000, 1)

    fund.ports.transact(lambda session: release_hold(session, hold_key="else"))
    give_back(fund, second, 30_000)
    assert fund.money(account_id) == (0, 0)
    assert fund.grants() == [(20_000, 20_000, True)]
    assert fund.offences() == []


def test_a_subsidy_of_nothing_is_taken_back_without_an_entry(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    paid_before(fund, account_id, 1_000_000)
    order_no = fund.deposit(account_id, 50_000)
    give_back(fund, order_no, 50_000)
    assert fund.grants() == [(20_000, 0, True)]
    assert fund.posting_keys()[0] == f"deposit:{order_no}"
    assert len(fund.posting_keys()) == 2
    assert fund.person(account_id).subsidy_paid_fen == 1_000_000


def test_where_there_was_no_subsidy_there_is_none_to_take_back(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    assert not fund.ports.transact(
        lambda session: reverse_opening(session, account_id=account_id, now=fund.clock.now())
    )
    assert fund.posting_keys() == []
