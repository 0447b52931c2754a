"""Nobody was there when a debit was due: what the timetable does when it is kept again."""

from __future__ import annotations

import pytest

from app.domain.debits.rules import LOOK_BACK
from app.domain.ports.outcomes import Reason
from app.domain.scheduling.models import RunState
from app.jobs import Job
from app.jobs.running import Term, run_due
from app.jobs.timetable import JOBS
from tests.builders import a_mandate, an_account
from tests.domain.agreements.conftest import Desk, terms
from tests.domain.debits.conftest import Debiting, on
from tests.jobs.conftest import runs, take

AMOUNT_FEN = 50_000
SUBSIDY_FEN = 20_000


class Scheduler:
    """Keeps the whole timetable whenever a test wakes it."""

    def __init__(self, debiting: Debiting) -> None:
        self.debiting = debiting
        self.number = 0

    def wake(self) -> None:
        """Start, run every job once as it is due, in the order of the day, and be gone."""
        ports = self.debiting.ports
        self.number += 1
        term = Term(ports, take(ports, f"machine-1:{self.number}"))
        for job in self._jobs("resume-agreements", "seal-days", "plan-debits", "submit-debits"):
            run_due(job, term)

    def ask(self) -> None:
        """Ask about what is open, a minute later."""
        self.debiting.fund.clock.advance(minutes=1)
        term = Term(self.debiting.ports, take(self.debiting.ports, "machine-1:ask"))
        for job in self._jobs("resolve-orders", "propose-refunds"):
            run_due(job, term)

    def planned_for(self) -> list[str]:
        """Return the days that planning was recorded for, oldest first."""
        return [
            run.on_date.isoformat()
            for run in runs(self.debiting.ports)
            if run.job == "plan-debits" and run.state is RunState.SUCCEEDED
        ]

    @staticmethod
    def _jobs(*names: str) -> list[Job]:
        by_name = {job.name: job for job in JOBS}
        return [by_name[name] for name in names]


@pytest.fixture
def scheduler(debiting: Debiting) -> Scheduler:
    return Scheduler(debiting)


def another(debiting: Debiting, day: int) -> Debiting:
    """Return another person whose debit is on this day."""
    account_id = an_account(debiting.ports)
    a_mandate(debiting.ports, account_id)
    person = Debiting(debiting.fund, account_id, Desk(debiting.fund, account_id), debiting.wallet)
    person.sign(terms(day=day))
    return person


def test_three_days_across_the_debit_day_are_made_up_for_once_and_honestly(
    debiting: Debiting, scheduler: Scheduler
) -> None:
    """Asleep from the evening of the 8th to the 12th, a Saturday; the debits are on 9 and 10."""
    debiting.sign()  # on the 10th: nobody has announced it
    announced, under_way = another(debiting, 9), another(debiting, 8)
    debiting.wallet.trouble["submit"] = ["accepted"]
    for day in (7, 8):
        debiting.at(12, day)
        scheduler.wake()
    assert under_way.state() == ("attempting", None)
    assert announced.state() == ("scheduled", on(12, 9))
    debiting.at(12, 9)
    debiting.wallet.finish(under_way.last_order())  # and its notice is lost

    debiting.at(12, 12)
    for _ in range(3):
        scheduler.wake()
    # The job of each missed day was run for that day, once.
    assert scheduler.planned_for()[-4:] == ["2026-12-09", "2026-12-10", "2026-12-11", "2026-12-12"]
    assert len(scheduler.planned_for()) == len(set(scheduler.planned_for()))
    # Announced before, sent at once; not announced, told today and sent tomorrow.
    assert announced.state() == ("succeeded", None)
    assert announced.row().first_attempt_on == on(12, 12)
    assert debiting.state() == ("scheduled", on(12, 13))
    assert debiting.row().created_at.date() == on(12, 12)
    assert debiting.row().due_on == on(12, 10)
    scheduler.ask()
    assert under_way.state() == ("succeeded", None)

    debiting.at(12, 13)
    for _ in range(3):
        scheduler.wake()
    assert debiting.state() == ("succeeded", None)
    assert debiting.row().first_attempt_on == on(12, 13)
    for person in (debiting, announced, under_way):
        assert person.balance_fen == AMOUNT_FEN + SUBSIDY_FEN
        order = person.fund.order(person.row().paid_order_no)
        assert order.contribution_month == "2026-12"
    assert debiting.wallet.taken_fen() == 3 * AMOUNT_FEN
    # By the channel's clock the money moved on the 9th; we have it in the books since the 12th.
    late = debiting.fund.order(under_way.row().paid_order_no)
    assert (late.paid_at.date(), late.credited_on) == (on(12, 9), on(12, 12))
    assert debiting.fund.breaks() == []
    assert debiting.fund.offences() == []


def test_what_was_announced_and_not_sent_within_its_period_is_missed_by_our_fault(
    debiting: Debiting, scheduler: Scheduler, limits_known_from_2025_to_2027: None
) -> None:
    """A debit in January would fill December, which nobody may."""
    debiting.sign(terms(day=28))
    debiting.at(12, 27)
    scheduler.wake()
    assert debiting.state() == ("scheduled", on(12, 28))
    debiting.at(1, 2, year=2027)
    scheduler.wake()
    assert debiting.state() == ("missed", None)
    assert debiting.row().reason is Reason.OUR_FAULT
    assert debiting.wallet.calls == []
    assert debiting.see().can_be_made_up
    order = debiting.make_up("2026-12")
    debiting.fund.notify(debiting.fund.alipay.pay(order.order_no), channel="alipay")
    assert debiting.fund.order(order.order_no).contribution_month == "2027-01"
    assert debiting.fund.offences() == []


def test_on_the_last_day_of_its_period_it_is_still_sent(
    debiting: Debiting, scheduler: Scheduler
) -> None:
    debiting.sign(terms(day=28))
    debiting.at(12, 27)
    scheduler.wake()
    debiting.at(12, 31)
    scheduler.wake()
    assert debiting.state() == ("succeeded", None)


def test_longer_than_the_look_back_it_is_not_planned_any_more(
    debiting: Debiting, scheduler: Scheduler
) -> None:
    debiting.sign()
    debiting.at(12, 8)
    scheduler.wake()
    debiting.at(12, 10 + LOOK_BACK.days + 1)
    scheduler.wake()
    assert debiting.wallet.calls == []


def test_a_payment_by_hand_that_is_open_makes_the_debit_wait(debiting: Debiting) -> None:
    """Once paid it stands for the debit, so that both at once would surprise the person."""
    debiting.sign()
    debiting.live(12, 9)
    debiting.at(12, 10)
    order_no = debiting.fund.start(debiting.account_id, AMOUNT_FEN, channel="alipay").order_no
    assert debiting.submit() == {"wait": 1}
    debiting.fund.notify(debiting.fund.alipay.pay(order_no), channel="alipay")
    assert debiting.submit() == {"skip": 1}
    assert debiting.balance_fen == AMOUNT_FEN + SUBSIDY_FEN


def test_one_that_is_never_paid_holds_it_up_until_it_is_closed(debiting: Debiting) -> None:
    debiting.sign()
    debiting.live(12, 9)
    debiting.at(12, 10)
    debiting.fund.start(debiting.account_id, AMOUNT_FEN, channel="alipay")
    debiting.fund.start(debiting.account_id, AMOUNT_FEN - 1, channel="alipay")
    assert debiting.submit() == {"wait": 1}
    assert debiting.resolve(minutes=31) == {"closed": 2}
    assert debiting.submit() == {"credited": 1}


def test_one_that_is_too_small_to_stand_for_it_holds_up_nothing(debiting: Debiting) -> None:
    debiting.sign()
    debiting.live(12, 9)
    debiting.at(12, 10)
    debiting.fund.start(debiting.account_id, AMOUNT_FEN - 1, channel="alipay")
    assert debiting.submit() == {"credited": 1}
