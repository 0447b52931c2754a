"""The timetable: each job does its work once, however often and side by side it runs."""

from __future__ import annotations

from datetime import date
from typing import Protocol

import pytest
from sqlalchemy import select

from app.domain.calendar import business_day
from app.domain.ledger.models import DailySeal
from app.jobs import (
    Counts,
    Every,
    Job,
    Runs,
    apply_callbacks,
    resolve_orders,
    resolve_refunds,
    seal_days,
)
from app.jobs.timetable import JOBS
from tests.builders import an_account
from tests.fund import Fund, in_shanghai


class HasRun(Protocol):
    run: Runs


def run(job: HasRun, fund: Fund) -> Counts:
    """Run a job for today."""
    return job.run(fund.ports, on=business_day(fund.clock.now()))


def sealed(fund: Fund) -> list[date]:
    return list(
        fund.ports.read(
            lambda session: session.scalars(select(DailySeal.day).order_by(DailySeal.day)).all()
        )
    )


# -- each job, twice -------------------------------------------------------------------------------


def test_orders_are_resolved_once(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    order_no = fund.start(account_id, 50_000).order_no
    fund.wechat.pay(order_no)
    fund.clock.advance(seconds=20)
    assert run(resolve_orders, fund) == {"credited": 1}
    assert run(resolve_orders, fund) == {}
    assert fund.money(account_id) == (70_000, 0)


def test_refunds_are_resolved_once(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.release(fund.ask_back(fund.deposit(account_id, 50_000), 20_000))
    fund.clock.advance(seconds=20)
    assert run(resolve_refunds, fund) == {"refunded": 1}
    assert run(resolve_refunds, fund) == {}
    assert fund.money(account_id) == (50_000, 0)


def test_pending_callbacks_are_applied_once(fund: Fund, monkeypatch: pytest.MonkeyPatch) -> None:
    account_id = an_account(fund.ports)
    order_no = fund.start(account_id, 50_000).order_no

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as broken:
        broken.setattr("app.domain.callbacks.operations.apply_payment", fail)
        fund.notify(fund.wechat.pay(order_no))
        assert run(apply_callbacks, fund) == {"applied": 0, "failed": 1}
    assert run(apply_callbacks, fund) == {"applied": 1, "failed": 0}
    assert run(apply_callbacks, fund) == {"applied": 0, "failed": 0}
    assert fund.money(account_id) == (70_000, 0)


def test_days_are_sealed_once(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.deposit(account_id, 50_000)
    fund.clock.advance(days=2)
    fund.deposit(account_id, 50_000)
    fund.clock.advance(days=1)
    assert run(seal_days, fund) == {"sealed": 2}
    assert run(seal_days, fund) == {"sealed": 0}
    assert sealed(fund) == [date(2026, 11, 24), date(2026, 11, 26)]
    assert fund.offences() == []


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_without_work_does_nothing(fund: Fund, job: Job) -> None:
    counts = run(job, fund)
    assert sum(counts.values()) == 0
    assert fund.offences() == []


# -- the turn of the day ---------------------------------------------------------------------------


def test_a_day_is_sealed_ten_minutes_after_shanghais_midnight(fund: Fund) -> None:
    fund.clock.instant = in_shanghai(2026, 11, 24, 23, 59)
    fund.deposit(an_account(fund.ports), 50_000)
    for hour, minute in ((0, 0), (0, 9)):
        fund.clock.instant = in_shanghai(2026, 11, 25, hour, minute)
        assert run(seal_days, fund) == {"sealed": 0}
    fund.clock.instant = in_shanghai(2026, 11, 25, 0, 10)
    assert run(seal_days, fund) == {"sealed": 1}
    assert sealed(fund) == [date(2026, 11, 24)]


def test_midnight_in_utc_seals_nothing(fund: Fund) -> None:
    fund.clock.instant = in_shanghai(2026, 11, 24, 7, 0)
    fund.deposit(an_account(fund.ports), 50_000)
    fund.clock.instant = in_shanghai(2026, 11, 24, 8, 30)
    assert run(seal_days, fund) == {"sealed": 0}


def test_a_slow_clock_after_midnight_still_posts_to_the_day_before(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    fund.clock.instant = in_shanghai(2026, 11, 24, 23, 50)
    order_no = fund.start(account_id, 50_000).order_no
    fund.clock.instant = in_shanghai(2026, 11, 25, 0, 9)
    run(seal_days, fund)
    fund.clock.instant = in_shanghai(2026, 11, 24, 23, 59)
    assert fund.notify(fund.wechat.pay(order_no)) == "ok"
    assert fund.order(order_no).credited_on == date(2026, 11, 24)


def test_a_posting_to_a_sealed_day_is_kept_and_comes_in_on_the_next(fund: Fund) -> None:
    """A clock that is slower than the grace: the callback waits, and is not lost."""
    account_id = an_account(fund.ports)
    fund.deposit(account_id, 50_000)
    order_no = fund.start(account_id, 30_000).order_no
    notice = fund.wechat.pay(order_no)
    fund.clock.instant = in_shanghai(2026, 11, 25, 0, 10)
    run(seal_days, fund)
    fund.clock.instant = in_shanghai(2026, 11, 24, 23, 59)
    assert fund.notify(notice) == "ok"
    assert fund.callback_results()[-1] == "pending"
    assert fund.money(account_id) == (70_000, 0)

    fund.clock.instant = in_shanghai(2026, 11, 25, 0, 11)
    assert run(apply_callbacks, fund) == {"applied": 1, "failed": 0}
    assert fund.money(account_id) == (100_000, 0)
    assert fund.order(order_no).credited_on == date(2026, 11, 25)
    assert fund.offences() == []


def test_three_days_without_a_scheduler_are_caught_up_with(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    paid, unpaid = fund.start(account_id, 50_000).order_no, fund.start(account_id, 30_000).order_no
    fund.wechat.pay(paid)
    refund_no = fund.ask_back(fund.deposit(account_id, 20_000, channel="alipay"), 20_000)
    fund.release(refund_no)
    fund.clock.advance(days=3)
    for job in JOBS:
        run(job, fund)
    assert fund.order(paid).state.value == "succeeded"
    assert fund.order(unpaid).state.value == "closed"
    assert fund.refund(refund_no).state.value == "succeeded"
    assert sealed(fund) == [date(2026, 11, 24)]
    assert fund.money(account_id) == (70_000, 0)
    assert fund.offences() == []


# -- the timetable ---------------------------------------------------------------------------------


def test_every_job_has_its_own_name_and_a_title() -> None:
    assert len({job.name for job in JOBS}) == len(JOBS)
    assert all(job.title for job in JOBS)
    assert all(job.when.seconds > 0 for job in JOBS if isinstance(job.when, Every))
