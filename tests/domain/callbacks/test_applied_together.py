"""Payments that share a transaction: the plain ones are credited, none harms another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import update

from app.domain.base import table_of
from app.domain.contributors.models import Account, AccountStatus
from app.domain.payment_orders.models import OrderState
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.settlement import Effect
from app.domain.settlement.payments import credit_plain_payments
from tests.builders import an_account
from tests.fund import Fund

ACCOUNT = table_of(Account)


def an_order(
    fund: Fund, *, first_deposit_on: date | None = date(2026, 1, 1), channel: str = "wechat"
) -> tuple[int, str]:
    """Return a new account, by default one that paid before, and its order of 500.00."""
    account_id = an_account(fund.ports)
    change(fund, account_id, first_deposit_on=first_deposit_on)
    return account_id, fund.start(account_id, 50_000, channel=channel).order_no


def change(fund: Fund, account_id: int, **values: Any) -> None:
    fund.ports.transact(
        lambda session: session.execute(
            update(ACCOUNT).where(ACCOUNT.c.id == account_id).values(**values)
        )
    )


def paid(order_no: str, amount_fen: int = 50_000) -> Outcome:
    return Outcome(
        kind=OutcomeKind.SUCCEEDED,
        reason=Reason.OK,
        number=order_no,
        amount_fen=amount_fen,
        reference=f"T-{order_no}",
        occurred_at=datetime(2026, 11, 24, 1, 59, tzinfo=UTC),
    )


def credit(fund: Fund, answers: Sequence[tuple[str, Outcome]]) -> list[Effect | None]:
    return fund.ports.transact(
        lambda session: credit_plain_payments(session, answers, now=fund.clock.now())
    )


def test_each_plain_payment_is_credited_with_its_own_values(fund: Fund) -> None:
    first, first_no = an_order(fund)
    second, second_no = an_order(fund, channel="alipay")
    answers = [("wechat", paid(first_no)), ("alipay", paid(second_no))]
    assert credit(fund, answers) == [Effect.CREDITED, Effect.CREDITED]
    assert (fund.money(first), fund.money(second)) == ((50_000, 0), (50_000, 0))
    for order_no in (first_no, second_no):
        order = fund.order(order_no)
        assert (order.state, order.channel_reference) == (OrderState.SUCCEEDED, f"T-{order_no}")
        assert (order.credited_on, order.contribution_month) == (date(2026, 11, 24), "2026-11")
    assert sorted(fund.posting_keys()) == sorted([f"deposit:{first_no}", f"deposit:{second_no}"])
    assert fund.offences() == []


def test_two_payments_into_one_account_both_count(fund: Fund) -> None:
    account_id, order_no = an_order(fund)
    other_no = fund.start(account_id, 12_150).order_no
    answers = [("wechat", paid(order_no)), ("wechat", paid(other_no, 12_150))]
    assert credit(fund, answers) == [Effect.CREDITED, Effect.CREDITED]
    assert fund.money(account_id) == (62_150, 0)
    assert fund.offences() == []


def test_what_must_be_decided_is_left_and_the_others_are_credited(fund: Fund) -> None:
    plain, plain_no = an_order(fund)
    newcomer, newcomers_no = an_order(fund, first_deposit_on=None)
    closed, closed_no = an_order(fund)
    change(fund, closed, status=AccountStatus.CLOSED)
    wrong, wrong_no = an_order(fund)
    answers = [
        ("wechat", paid("D-not-ours")),
        ("wechat", paid(newcomers_no)),
        ("wechat", paid(plain_no)),
        ("wechat", paid(plain_no)),
        ("wechat", paid(closed_no)),
        ("wechat", paid(wrong_no, 49_999)),
        ("alipay", paid(wrong_no)),
    ]
    assert credit(fund, answers) == [None, None, Effect.CREDITED, None, None, None, None]
    assert fund.money(plain) == (50_000, 0)
    assert [fund.money(a) for a in (newcomer, closed, wrong)] == [(0, 0), (0, 0), (0, 0)]
    assert fund.posting_keys() == [f"deposit:{plain_no}"]
    assert fund.offences() == []


def test_a_payment_credited_before_is_not_credited_again(fund: Fund) -> None:
    account_id, order_no = an_order(fund)
    assert credit(fund, [("wechat", paid(order_no))]) == [Effect.CREDITED]
    assert credit(fund, [("wechat", paid(order_no))]) == [None]
    assert fund.money(account_id) == (50_000, 0)


def test_if_they_cannot_be_applied_together_each_is_applied_alone(
    fund: Fund, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a bug of ours")

    account_id, order_no = an_order(fund)
    body = fund.wechat.pay(order_no)
    monkeypatch.setattr("app.domain.callbacks.operations.credit_plain_payments", fail)
    assert fund.notify(body) == "ok"
    assert fund.money(account_id) == (50_000, 0)
    assert fund.callback_results() == ["credited"]


def test_the_reply_comes_after_the_shared_commit(fund: Fund) -> None:
    """Whoever is asked when the shared work returns sees the balance already."""
    account_id, order_no = an_order(fund)
    seen: list[tuple[int, int]] = []

    def look_afterwards(item: Any, work: Callable[[Sequence[Any]], Sequence[Any]]) -> Any:
        (result,) = work([item])
        seen.append(fund.money(account_id))
        return result

    watched = replace(fund, ports=replace(fund.ports, together=look_afterwards))
    assert watched.notify(fund.wechat.pay(order_no)) == "ok"
    assert seen == [(50_000, 0)]
    assert fund.callback_results() == ["credited"]
