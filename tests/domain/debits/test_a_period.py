"""One period from its notice to its end: on the day, refused, retried, missed, unknown, late."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.agreements.rules import Frequency
from app.domain.contributors.models import Account, AccountStatus
from app.domain.debit_runs.twice import propose_refunds
from app.domain.debits.making_up import NothingToMakeUp
from app.domain.deposits.queries import counted_months
from app.domain.deposits.rules import DebitUnderWay
from app.domain.ports.outcomes import Reason
from tests.domain.agreements.conftest import terms
from tests.domain.debits.conftest import Debiting, on

AMOUNT_FEN = 50_000
SUBSIDY_FEN = 20_000  # of the first deposit


def test_it_is_planned_a_day_before_and_debited_once(debiting: Debiting) -> None:
    debiting.sign()
    debiting.at(12, 8)
    assert debiting.plan() == 0
    debiting.at(12, 9)
    assert debiting.plan() == 1
    assert debiting.plan() == 0
    assert debiting.submit() == {}
    assert debiting.state() == ("scheduled", on(12, 10))
    debiting.at(12, 10)
    assert debiting.submit() == {"credited": 1}
    assert debiting.submit() == {}
    assert debiting.balance_fen == AMOUNT_FEN + SUBSIDY_FEN
    assert debiting.state() == ("succeeded", None)
    assert debiting.wallet.taken_fen() == AMOUNT_FEN
    order = debiting.fund.order(debiting.last_order())
    assert order.contribution_month == "2026-12"
    assert debiting.row().paid_order_no == order.order_no
    assert debiting.fund.offences() == []


def test_after_days_without_anybody_it_is_announced_first_and_then_debited_once(
    debiting: Debiting,
) -> None:
    debiting.sign()
    assert debiting.live(12, 13) == {}
    assert debiting.state() == ("scheduled", on(12, 14))
    assert debiting.live(12, 14) == {"credited": 1}
    assert debiting.row().created_at.date() == on(12, 13)
    assert debiting.row().first_attempt_on == on(12, 14)


def test_a_refusal_is_retried_on_bank_days_and_then_missed(debiting: Debiting) -> None:
    # 2026-12-10 is a Thursday: T+1 Friday, T+3 Tuesday, T+5 Thursday.
    debiting.sign()
    debiting.wallet.trouble["submit"] = [Reason.INSUFFICIENT_FUNDS] * 4
    debiting.live(12, 9)
    assert debiting.live(12, 10) == {"debit_failed": 1}
    assert debiting.state() == ("scheduled", on(12, 11))
    assert debiting.live(12, 11) == {"debit_failed": 1}
    assert debiting.state() == ("scheduled", on(12, 15))
    assert debiting.live(12, 12) == {}
    assert debiting.live(12, 15) == {"debit_failed": 1}
    assert debiting.state() == ("scheduled", on(12, 17))
    assert debiting.live(12, 17) == {"debit_failed": 1}
    assert debiting.state() == ("missed", None)
    assert debiting.row().reason is Reason.INSUFFICIENT_FUNDS
    assert debiting.attempts() == ["failed"] * 4
    assert len(set(debiting.wallet.debits)) == 4
    assert debiting.balance_fen == 0
    assert debiting.fund.offences() == []


def test_a_reason_that_no_time_mends_is_not_retried(debiting: Debiting) -> None:
    debiting.sign()
    debiting.wallet.trouble["submit"] = [Reason.ACCOUNT_INVALID]
    debiting.live(12, 9)
    assert debiting.live(12, 10) == {"debit_failed": 1}
    assert debiting.state() == ("missed", None)


def test_without_a_mandate_nothing_is_sent(debiting: Debiting) -> None:
    debiting.sign(replace(terms(), channel="alipay"))
    debiting.fund.ports = replace(
        debiting.ports,
        channels=replace(debiting.ports.channels, debiting={"alipay": debiting.wallet}),
    )
    debiting.live(12, 9)
    assert debiting.live(12, 10) == {"fail": 1}
    assert debiting.state() == ("missed", None)
    assert debiting.row().reason is Reason.NO_MANDATE
    assert debiting.wallet.calls == []


@pytest.mark.parametrize("trouble", ["lost_before", "lost_after"])
def test_an_unknown_outcome_is_asked_about_and_never_sent_under_another_number(
    debiting: Debiting, trouble: str
) -> None:
    debiting.sign()
    debiting.wallet.trouble = {"submit": [trouble], "query": ["lost_before"]}
    debiting.live(12, 9)
    assert debiting.live(12, 10) == {"open": 1}
    assert debiting.state() == ("attempting", None)
    assert debiting.resolve() == {"nothing": 1}
    assert debiting.live(12, 11) == {}
    assert debiting.resolve() == {"credited": 1}
    assert debiting.attempts() == ["succeeded"]
    assert list(debiting.wallet.debits) == [debiting.last_order()]
    assert debiting.balance_fen == AMOUNT_FEN + SUBSIDY_FEN


def test_a_debit_under_way_ends_by_its_notice_however_often_it_comes(debiting: Debiting) -> None:
    debiting.sign()
    debiting.wallet.trouble["submit"] = ["accepted"]
    debiting.live(12, 9)
    assert debiting.live(12, 10) == {"open": 1}
    notice = debiting.wallet.finish(debiting.last_order())
    for _ in range(3):
        assert debiting.notify(notice) == "ok"
    assert debiting.fund.callback_results() == ["credited", "duplicate", "duplicate"]
    assert debiting.resolve() == {}
    assert debiting.balance_fen == AMOUNT_FEN + SUBSIDY_FEN
    assert debiting.fund.offences() == []


def test_paid_by_hand_before_its_day_it_is_skipped(debiting: Debiting) -> None:
    debiting.sign()
    debiting.live(12, 9)
    debiting.fund.deposit(debiting.account_id, AMOUNT_FEN, channel="alipay")
    assert debiting.live(12, 10) == {"skip": 1}
    assert debiting.state() == ("skipped", None)
    assert debiting.wallet.calls == []


def test_less_paid_by_hand_is_more_money_and_no_other_way_of_paying(debiting: Debiting) -> None:
    debiting.sign()
    debiting.live(12, 9)
    debiting.fund.deposit(debiting.account_id, AMOUNT_FEN - 1, channel="alipay")
    assert debiting.live(12, 10) == {"credited": 1}


def test_while_a_debit_is_unknown_paying_by_hand_warns_and_both_count(debiting: Debiting) -> None:
    debiting.sign()
    debiting.wallet.trouble["submit"] = ["lost_after"]
    debiting.live(12, 9)
    debiting.live(12, 10)
    with pytest.raises(DebitUnderWay):
        debiting.fund.start(debiting.account_id, AMOUNT_FEN, channel="alipay")
    order_no = debiting.fund.start(
        debiting.account_id, AMOUNT_FEN, channel="alipay", despite_debit=True
    ).order_no
    debiting.fund.notify(debiting.fund.alipay.pay(order_no), channel="alipay")
    assert debiting.resolve() == {"credited": 1}
    assert debiting.balance_fen == 2 * AMOUNT_FEN + SUBSIDY_FEN
    assert debiting.state() == ("succeeded", None)
    assert debiting.fund.breaks() == []


def test_a_refusal_that_was_none_is_credited_late_and_not_retried(debiting: Debiting) -> None:
    debiting.sign()
    debiting.wallet.trouble["submit"] = [Reason.INSUFFICIENT_FUNDS]
    debiting.live(12, 9)
    debiting.live(12, 10)
    first = debiting.last_order()
    debiting.notify(debiting.wallet.finish(first))
    assert debiting.state() == ("succeeded", None)
    assert debiting.balance_fen == AMOUNT_FEN + SUBSIDY_FEN
    assert debiting.fund.breaks() == [("late_debit", first, None, AMOUNT_FEN)]
    assert debiting.live(12, 11) == {}
    assert debiting.fund.offences() == []


def test_paid_twice_by_late_truth_a_refund_of_the_second_is_proposed_once(
    debiting: Debiting,
) -> None:
    debiting.sign()
    debiting.wallet.trouble["submit"] = [Reason.INSUFFICIENT_FUNDS]
    debiting.live(12, 9)
    debiting.live(12, 10)
    first = debiting.last_order()
    assert debiting.live(12, 11) == {"credited": 1}
    debiting.notify(debiting.wallet.finish(first))
    assert debiting.balance_fen == 2 * AMOUNT_FEN + SUBSIDY_FEN
    assert debiting.fund.breaks() == [("debited_twice", first, None, AMOUNT_FEN)]
    assert propose_refunds(debiting.ports) == {"proposed": 1, "refused": 0}
    assert propose_refunds(debiting.ports) == {"proposed": 0, "refused": 0}
    assert debiting.fund.money(debiting.account_id)[1] == AMOUNT_FEN
    assert debiting.fund.offences() == []


def test_a_missed_period_is_made_up_by_one_tap(debiting: Debiting) -> None:
    debiting.sign()
    debiting.wallet.trouble["submit"] = [Reason.ACCOUNT_FROZEN]
    debiting.live(12, 9)
    debiting.live(12, 10)
    assert debiting.see().can_be_made_up
    order = debiting.make_up("2026-12")
    assert order.amount_fen == AMOUNT_FEN
    assert debiting.make_up("2026-12").order_no == order.order_no
    debiting.fund.notify(debiting.fund.alipay.pay(order.order_no), channel="alipay")
    assert debiting.state() == ("skipped", None)
    assert debiting.balance_fen == AMOUNT_FEN + SUBSIDY_FEN
    with pytest.raises(NothingToMakeUp):
        debiting.make_up("2026-12", key="make-up-2")
    assert debiting.fund.offences() == []


def test_a_retry_waits_for_a_payment_by_hand_that_is_open(debiting: Debiting) -> None:
    debiting.sign()
    debiting.wallet.trouble["submit"] = [Reason.INSUFFICIENT_FUNDS]
    debiting.live(12, 9)
    debiting.live(12, 10)
    debiting.at(12, 11)
    order = debiting.make_up("2026-12")
    assert debiting.submit() == {"wait": 1}
    debiting.fund.notify(debiting.fund.alipay.pay(order.order_no), channel="alipay")
    assert debiting.submit() == {}
    assert debiting.state() == ("skipped", None)


def test_made_up_after_its_period_it_counts_for_the_month_it_is_paid_in(
    debiting: Debiting, limits_known_from_2025_to_2027: None
) -> None:
    debiting.sign()
    debiting.wallet.trouble["submit"] = [Reason.ACCOUNT_FROZEN]
    debiting.live(12, 9)
    debiting.live(12, 10)
    debiting.at(1, 5, year=2027)
    order = debiting.make_up("2026-12")
    debiting.fund.notify(debiting.fund.alipay.pay(order.order_no), channel="alipay")
    assert debiting.fund.order(order.order_no).contribution_month == "2027-01"


def test_three_missed_in_a_row_suspend_until_the_person_resumes(
    debiting: Debiting, limits_known_from_2025_to_2027: None
) -> None:
    debiting.sign()
    debiting.wallet.trouble["submit"] = [Reason.ISSUER_REFUSED, Reason.ACCOUNT_FROZEN] * 3
    for month, year in ((12, 2026), (1, 2027), (2, 2027)):
        assert debiting.desk.see().state == "active"
        for day in range(9, 20):
            debiting.live(month, day, year=year)
        assert debiting.state(f"{year}-{month:02d}") == ("missed", None)
    view = debiting.desk.see()
    assert view.state == "suspended"
    assert view.suspension is not None
    assert view.suspension.is_open_ended
    assert view.history[-1].reason == "连续 3 期扣款未成功，自动暂停"
    assert debiting.live(3, 9, year=2027) == {}
    assert debiting.live(3, 10, year=2027) == {}
    debiting.desk.resume()
    debiting.live(4, 9, year=2027)
    assert debiting.live(4, 10, year=2027) == {"credited": 1}
    assert debiting.desk.see().state == "active"


def test_our_own_fault_is_retried_and_suspends_nobody(debiting: Debiting) -> None:
    debiting.sign()
    debiting.wallet.trouble["submit"] = [Reason.OUR_FAULT] * 4
    for day in range(9, 20):
        debiting.live(12, day)
    assert debiting.state() == ("missed", None)
    assert len(debiting.wallet.debits) == 4


def test_a_quarter_paid_in_full_counts_for_three_months(debiting: Debiting) -> None:
    debiting.at(9, 25)
    debiting.sign(terms("quarterly", 3 * 12_150, day=10))
    debiting.live(10, 9)
    assert debiting.live(10, 10) == {"credited": 1}
    assert debiting.row("2026Q4").period == "2026Q4"
    months = debiting.ports.read(
        lambda session: counted_months(session, account_id=debiting.account_id)
    )
    assert months == ["2026-10", "2026-11", "2026-12"]


def test_what_the_person_ended_meanwhile_is_not_sent(debiting: Debiting) -> None:
    debiting.sign()
    debiting.live(12, 9)
    debiting.desk.end()
    assert debiting.live(12, 10) == {"cancel": 1}
    assert debiting.state() == ("cancelled", None)
    assert debiting.wallet.calls == []


def test_a_change_after_the_notice_leaves_what_was_announced(debiting: Debiting) -> None:
    debiting.sign()
    debiting.live(12, 9)
    debiting.desk.change(terms(amount_fen=90_000))
    assert debiting.live(12, 10) == {"credited": 1}
    assert debiting.wallet.taken_fen() == AMOUNT_FEN


def test_over_the_yearly_cap_nothing_is_taken(debiting: Debiting) -> None:
    debiting.sign(terms(amount_fen=5_000_000))
    debiting.live(12, 9)
    debiting.fund.deposit(debiting.account_id, 4_500_000, channel="alipay")
    assert debiting.live(12, 10) == {"skip": 1}
    assert debiting.row().end_reason == "over_cap"


def test_a_year_without_a_published_cap_debits_nothing(debiting: Debiting) -> None:
    debiting.sign()
    debiting.live(1, 9, year=2027)
    assert debiting.live(1, 10, year=2027) == {"skip": 1}
    assert debiting.row("2027-01").end_reason == "cap_not_published"


def test_a_closed_account_takes_nothing(debiting: Debiting) -> None:
    debiting.sign()
    debiting.live(12, 9)

    def close(session):  # type: ignore[no-untyped-def]
        session.get_one(Account, debiting.account_id).status = AccountStatus.FROZEN

    debiting.ports.transact(close)
    assert debiting.live(12, 10) == {"cancel": 1}


def test_an_amount_that_differs_is_a_break_and_no_money(debiting: Debiting) -> None:
    debiting.sign()
    debiting.wallet.trouble["submit"] = ["accepted"]
    debiting.live(12, 9)
    debiting.live(12, 10)
    order_no = debiting.last_order()
    debiting.wallet.finish(order_no)
    debiting.notify(debiting.wallet.notice(order_no, amount_fen=AMOUNT_FEN + 1))
    assert debiting.balance_fen == 0
    assert debiting.fund.breaks() == [("amount_mismatch", order_no, AMOUNT_FEN, AMOUNT_FEN + 1)]


def test_a_failure_after_a_success_changes_nothing(debiting: Debiting) -> None:
    debiting.sign()
    debiting.live(12, 9)
    debiting.live(12, 10)
    debiting.notify(debiting.wallet.notice(debiting.last_order(), kind="failed", reason="busy"))
    assert debiting.state() == ("succeeded", None)
    assert debiting.balance_fen == AMOUNT_FEN + SUBSIDY_FEN


def test_monthly_and_quarterly_never_cover_a_month_twice(debiting: Debiting) -> None:
    debiting.at(9, 25)
    debiting.sign(terms("quarterly", 60_000, day=10))
    debiting.live(10, 9)
    debiting.live(10, 10)
    debiting.desk.end()
    debiting.at(10, 12)
    debiting.desk.sign(terms())
    assert debiting.desk.see().versions[0].terms.frequency is Frequency.MONTHLY
    debiting.live(11, 9)
    assert debiting.live(11, 10) == {}
    assert debiting.wallet.taken_fen() == 60_000
