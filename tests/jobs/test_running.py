"""What the timetable runs, for which days, and what is recorded of it."""

from __future__ import annotations

import logging
from datetime import date, time

import pytest
from sqlalchemy import func, select

from app.domain.base import Base
from app.domain.ports import Ports
from app.domain.scheduling.models import RunState, Trigger
from app.domain.scheduling.operations import abandon_runs
from app.domain.scheduling.queries import find_progress, list_runs
from app.domain.scheduling.rules import days_to_do, last_due_day
from app.jobs import Daily, Job
from app.jobs.running import Term, count_due, run_by_hand, run_due
from app.jobs.timetable import JOBS
from tests.builders import an_account
from tests.domain.agreements.conftest import Desk, terms
from tests.fund import Fund, in_shanghai
from tests.jobs.conftest import Diary, runs, take

AT_SEVEN = Daily(at=time(7, 0))


def on(day: int) -> date:
    return date(2026, 11, day)


# -- which days a daily job is due for ---------------------------------------------------------


def test_a_daily_job_is_due_from_its_time_in_shanghai_on() -> None:
    assert last_due_day(in_shanghai(2026, 11, 24, 6, 59), at=time(7)) == on(23)
    assert last_due_day(in_shanghai(2026, 11, 24, 7, 0), at=time(7)) == on(24)
    # 23:30 in UTC is the next morning in Shanghai.
    assert last_due_day(in_shanghai(2027, 1, 1, 7, 30), at=time(7)) == date(2027, 1, 1)
    assert last_due_day(in_shanghai(2027, 1, 1, 0, 5), at=time(0, 10)) == date(2026, 12, 31)


@pytest.mark.parametrize(
    ("done_through", "expected"),
    [
        (None, [on(24)]),
        (on(24), []),
        (on(23), [on(24)]),
        (on(20), [on(21), on(22), on(23), on(24)]),
        (on(25), []),  # the clock went back
    ],
)
def test_missed_days_are_to_be_done_oldest_first(done_through, expected) -> None:
    now = in_shanghai(2026, 11, 24, 10, 0)
    assert days_to_do(now, at=time(7), done_through=done_through) == expected


# -- downtime -------------------------------------------------------------------------------------


def test_a_daily_job_runs_once_a_day(fund: Fund, term: Term) -> None:
    diary = Diary()
    for hour, minute in ((6, 59), (7, 0), (7, 1), (23, 59)):
        fund.clock.instant = in_shanghai(2026, 11, 24, hour, minute)
        run_due(diary.job(AT_SEVEN), term)
    assert diary.days == [on(23), on(24)]


def test_after_three_days_without_a_scheduler_each_day_is_done_once_in_order(
    fund: Fund, term: Term
) -> None:
    diary, often = Diary(), Diary(counts={"applied": 3})
    for job in (diary.job(AT_SEVEN), often.job(name="often")):
        run_due(job, term)
    fund.clock.instant = in_shanghai(2026, 11, 27, 9, 30)
    later = Term(fund.ports, take(fund.ports, "machine-2:1"))
    for _ in range(2):
        run_due(diary.job(AT_SEVEN), later)
    run_due(often.job(name="often"), later)

    assert diary.days == [on(24), on(25), on(26), on(27)]
    assert often.days == [on(24), on(27)]
    recorded = [run for run in runs(fund.ports) if run.job == "diary"][1:]
    assert [run.on_date for run in recorded] == [on(25), on(26), on(27)]
    # For which day it ran and when it ran are two things.
    assert {run.started_at for run in recorded} == {in_shanghai(2026, 11, 27, 9, 30)}
    assert {(run.state, run.holder, run.term) for run in recorded} == {
        (RunState.SUCCEEDED, "machine-2:1", 2)
    }


def test_three_days_without_a_scheduler_over_the_end_of_the_year(fund: Fund, term: Term) -> None:
    diary = Diary()
    fund.clock.instant = in_shanghai(2026, 12, 30, 8, 0)
    run_due(diary.job(AT_SEVEN), term)
    fund.clock.instant = in_shanghai(2027, 1, 2, 6, 0)
    run_due(diary.job(AT_SEVEN), term)
    assert diary.days == [date(2026, 12, 30), date(2026, 12, 31), date(2027, 1, 1)]


def test_the_real_jobs_after_three_days(fund: Fund, term: Term) -> None:
    account_id = an_account(fund.ports)
    paid, unpaid = fund.start(account_id, 50_000).order_no, fund.start(account_id, 30_000).order_no
    fund.wechat.pay(paid)
    fund.deposit(account_id, 20_000)
    for job in JOBS:
        run_due(job, term)
    fund.clock.advance(days=3)
    for _ in range(2):
        for job in JOBS:
            run_due(job, term)
    assert fund.order(paid).state.value == "succeeded"
    assert fund.order(unpaid).state.value == "closed"
    assert fund.money(account_id) == (90_000, 0)  # 50,000 + 20,000 + opening subsidy 20,000
    assert fund.offences() == []
    sealing = [run for run in runs(fund.ports) if run.job == "seal-days"]
    # The 24th's deposit is sealed by the 25th's run; the 27th's resolved order is not over yet.
    assert [(run.on_date, run.counts) for run in sealing] == [
        (on(24), {"sealed": 0}),
        (on(25), {"sealed": 1}),
        (on(26), {"sealed": 0}),
        (on(27), {"sealed": 0}),
    ]


# -- failures -------------------------------------------------------------------------------------


def test_a_failure_is_recorded_without_its_words_and_later_days_wait(
    fund: Fund, term: Term, caplog: pytest.LogCaptureFixture
) -> None:
    diary = Diary(on(25))
    run_due(diary.job(AT_SEVEN), term)
    fund.clock.instant = in_shanghai(2026, 11, 26, 9, 0)
    run_due(diary.job(AT_SEVEN), term)
    assert diary.days == [on(24), on(25)]
    (failed,) = fund.ports.read(lambda session: list_runs(session, state=RunState.FAILED))
    assert (failed.on_date, failed.trigger) == (on(25), Trigger.SCHEDULE)
    assert failed.error.startswith("ValueError @ ")
    assert "测试用户" not in failed.error
    assert [r.levelno for r in caplog.records if r.message == "job failed"] == [logging.ERROR]


def test_a_daily_job_that_failed_is_tried_again_after_ten_minutes(fund: Fund, term: Term) -> None:
    diary = Diary(on(24))
    job = diary.job(AT_SEVEN)
    run_due(job, term)
    fund.clock.advance(minutes=9)
    run_due(job, term)
    assert diary.days == [on(24)]
    fund.clock.advance(minutes=1)
    run_due(job, term)
    assert diary.days == [on(24), on(24)]
    progress = fund.ports.read(lambda session: find_progress(session, job="diary"))
    assert (progress.failures, progress.succeeded_at, progress.done_through) == (2, None, None)

    diary.failing.clear()
    fund.clock.advance(minutes=10)
    run_due(job, term)
    progress = fund.ports.read(lambda session: find_progress(session, job="diary"))
    assert (progress.failures, progress.succeeded_at) == (0, fund.clock.now())
    assert progress.done_through == on(24)


# -- what is kept -----------------------------------------------------------------------------


def test_a_run_every_ten_seconds_that_finds_nothing_leaves_no_row(fund: Fund, term: Term) -> None:
    idle, busy = Diary(counts={"applied": 0}), Diary(counts={"applied": 2})
    for _ in range(5):
        fund.clock.advance(seconds=10)
        run_due(idle.job(name="idle"), term)
    run_due(busy.job(name="busy"), term)
    (kept,) = runs(fund.ports)
    assert (kept.job, kept.counts, kept.state) == ("busy", {"applied": 2}, RunState.SUCCEEDED)
    progress = fund.ports.read(lambda session: find_progress(session, job="idle"))
    assert progress.succeeded_at == fund.clock.now()


def test_a_daily_run_that_finds_nothing_is_kept(fund: Fund, term: Term) -> None:
    run_due(Diary(counts={}).job(AT_SEVEN), term)
    assert [run.counts for run in runs(fund.ports)] == [{}]


def test_runs_are_removed_after_four_hundred_days(fund: Fund, term: Term) -> None:
    run_due(Diary().job(AT_SEVEN), term)
    remove = next(job for job in JOBS if job.name == "remove-expired")
    today = on(24)
    fund.clock.advance(days=400)
    assert remove.run(fund.ports, on=today)["runs_removed"] == 0
    fund.clock.advance(seconds=1)
    assert count_due(remove, fund.ports, on=today)["runs_removed"] == 1
    assert remove.run(fund.ports, on=today)["runs_removed"] == 1
    assert runs(fund.ports) == []


def test_what_a_job_did_is_logged_and_doing_nothing_is_not(
    fund: Fund, term: Term, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run_due(Diary(counts={"sealed": 0}).job(name="idle"), term)
        run_due(Diary(counts={"sealed": 2}).job(name="busy"), term)
    (record,) = [r for r in caplog.records if r.message == "job done"]
    assert (record.job, record.sealed) == ("busy", 2)  # type: ignore[attr-defined]


# -- by hand --------------------------------------------------------------------------------------


def test_a_run_by_hand_is_recorded_and_leaves_the_timetable_alone(fund: Fund, term: Term) -> None:
    diary = Diary()
    run_by_hand(diary.job(AT_SEVEN), fund.ports, on=on(20), holder="desk:9")
    (run,) = runs(fund.ports)
    assert (run.on_date, run.trigger, run.holder, run.term) == (
        on(20),
        Trigger.MANUAL,
        "desk:9",
        None,
    )
    run_due(diary.job(AT_SEVEN), term)
    assert diary.days == [on(20), on(24)]


def test_a_run_by_hand_that_fails_is_recorded_and_said(fund: Fund) -> None:
    diary = Diary(on(24))
    with pytest.raises(ValueError):
        run_by_hand(diary.job(), fund.ports, on=on(24), holder="desk:9")
    (run,) = runs(fund.ports)
    assert (run.state, run.trigger) == (RunState.FAILED, Trigger.MANUAL)


# -- without doing it ----------------------------------------------------------------------------


def rows_of(ports: Ports) -> dict[str, int | list[object]]:
    return ports.read(
        lambda session: {
            table.name: [tuple(row) for row in session.execute(select(table))]
            for table in Base.metadata.sorted_tables
        }
    )


def test_a_dry_run_changes_nothing_and_names_what_the_run_then_does(fund: Fund) -> None:
    """Each job, with something to do for every one of them."""
    account_id = an_account(fund.ports)
    paid = fund.start(account_id, 50_000).order_no
    fund.wechat.pay(paid)
    fund.release(fund.ask_back(fund.deposit(account_id, 20_000), 20_000))
    Desk(fund, account_id).sign(terms(day=26))
    fund.clock.advance(days=1)
    before = rows_of(fund.ports)
    foretold = {job.name: count_due(job, fund.ports, on=on(25)) for job in JOBS}
    assert rows_of(fund.ports) == before
    assert foretold == {
        "resolve-orders": {"due": 1},
        "resolve-refunds": {"due": 1},
        "resolve-mandates": {"due": 0},
        "apply-callbacks": {"pending": 0},
        "announce-debits": {"due": 0},
        "submit-debits": {"due": 0},
        "send-debit-batches": {"unsent": 0},
        "fetch-bank-answers": {"at_bank": 0},
        "propose-refunds": {"proposed": 0},
        "plan-debits": {"planned": 1},
        "send-messages": {"due": 0},
        "compare-mandates": {"due": 0},
        "resume-agreements": {"resumed": 0},
        "seal-days": {"sealed": 1},
        "remove-expired": {"removed": 0, "runs_removed": 0, "messages_removed": 0},
    }
    done = {job.name: job.run(fund.ports, on=on(25)) for job in JOBS}
    assert done["resolve-orders"] == {"credited": 1}
    assert done["resolve-refunds"] == {"refunded": 1}
    assert done["seal-days"] == {"sealed": 1}
    assert done["plan-debits"] == {"planned": 1}


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_without_work_nothing_is_foretold(fund: Fund, job: Job) -> None:
    assert sum(count_due(job, fund.ports, on=on(24)).values()) == 0


# -- the fence ------------------------------------------------------------------------------------


def credited(ports: Ports) -> int:
    journal = Base.metadata.tables["journal_entry"]
    return ports.read(
        lambda session: session.scalar(select(func.count()).select_from(journal)) or 0
    )


def test_a_scheduler_that_wakes_up_after_losing_the_lease_does_nothing(
    fund: Fund, term: Term
) -> None:
    fund.wechat.pay(fund.start(an_account(fund.ports), 50_000).order_no)
    fund.clock.advance(days=1)
    fresh = Term(fund.ports, take(fund.ports, "machine-2:1"))
    before = rows_of(fund.ports)
    for job in JOBS:
        run_due(job, term)
    assert rows_of(fund.ports) == before
    for job in JOBS:
        run_due(job, fresh)
    assert credited(fund.ports) == 2  # the deposit and its opening subsidy


def test_a_job_that_is_deposed_half_way_takes_up_no_more_work(fund: Fund, term: Term) -> None:
    account_id = an_account(fund.ports)
    for _ in range(3):
        fund.wechat.pay(fund.start(account_id, 50_000).order_no)
    fund.clock.advance(seconds=20)
    asked = fund.wechat.query_payment

    def ask_and_lose_the_lease(order_no: str):  # type: ignore[no-untyped-def]
        abandon_runs(fund.ports, take(fund.ports, "machine-2:1"))
        return asked(order_no)

    fund.wechat.query_payment = ask_and_lose_the_lease  # type: ignore[method-assign]
    resolve = next(job for job in JOBS if job.name == "resolve-orders")
    run_due(resolve, term)
    # What it had asked for is recorded: an answer is true whoever asked. No second one is.
    assert fund.money(account_id) == (70_000, 0)
    (run,) = runs(fund.ports)
    assert (run.state, run.term) == (RunState.ABANDONED, 1)


def test_a_job_that_is_told_to_stop_ends_after_the_piece_under_way(fund: Fund, term: Term) -> None:
    account_id = an_account(fund.ports)
    for _ in range(3):
        fund.wechat.pay(fund.start(account_id, 50_000).order_no)
    fund.clock.advance(seconds=20)
    asked = fund.wechat.query_payment

    def ask_and_be_told(order_no: str):  # type: ignore[no-untyped-def]
        term.is_over = True
        return asked(order_no)

    fund.wechat.query_payment = ask_and_be_told  # type: ignore[method-assign]
    resolve = next(job for job in JOBS if job.name == "resolve-orders")
    run_due(resolve, term)
    assert fund.money(account_id) == (70_000, 0)
    (run,) = runs(fund.ports)
    assert (run.state, run.ended_at) == (RunState.ABANDONED, fund.clock.now())


def test_a_deposed_scheduler_can_not_record_a_day_as_done(fund: Fund, term: Term) -> None:
    diary = Diary()

    def lose(_ports: Ports) -> None:
        diary.meanwhile = lambda _ports: None
        abandon_runs(fund.ports, take(fund.ports, "machine-2:1"))

    diary.meanwhile = lose
    run_due(diary.job(AT_SEVEN), term)
    progress = fund.ports.read(lambda session: find_progress(session, job="diary"))
    assert progress.done_through is None
    fresh = Term(fund.ports, take(fund.ports, "machine-2:1"))
    run_due(diary.job(AT_SEVEN), fresh)
    assert [run.state for run in runs(fund.ports)] == [RunState.ABANDONED, RunState.SUCCEEDED]
    assert diary.days == [on(24), on(24)]
