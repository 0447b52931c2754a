"""Sending refunds and asking about them: never lost, never doubled."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain.inquiries.operations import resolve_refunds
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.refunds.models import RefundState
from app.domain.refunds.operations import approve_refund
from app.domain.settlement import Effect
from tests.builders import an_account
from tests.fund import CHECKER, Fund


@pytest.fixture
def account_id(fund: Fund) -> int:
    return an_account(fund.ports)


@pytest.fixture
def refund_no(fund: Fund, account_id: int) -> str:
    """A refund of 200.00 asked for, out of a deposit of 500.00; the account holds 700.00."""
    return fund.ask_back(fund.deposit(account_id, 50_000), 20_000)


def sent(fund: Fund) -> int:
    return sum(line.startswith("refund:") for line in fund.wechat.calls)


def until_it_ends(fund: Fund, refund_no: str) -> list[str]:
    """Run the job whenever the refund is due; return what each run did."""
    effects: list[str] = []
    while (due := fund.refund(refund_no).next_query_at) is not None:
        fund.clock.instant = due
        effects += resolve_refunds(fund.ports)
    return effects


def test_a_refund_goes_from_release_to_done(fund: Fund, account_id: int, refund_no: str) -> None:
    assert fund.release(refund_no) is Effect.NOTHING
    assert until_it_ends(fund, refund_no) == ["refunded"]
    assert fund.money(account_id) == (50_000, 0)
    assert sent(fund) == 1
    assert fund.offences() == []


def test_a_request_is_not_sent_before_it_is_released(
    fund: Fund, account_id: int, refund_no: str
) -> None:
    fund.clock.advance(days=30)
    assert resolve_refunds(fund.ports) == {}
    assert sent(fund) == 0


@pytest.mark.parametrize("lost", ["lost_before", "lost_after"])
def test_a_lost_answer_neither_loses_nor_doubles_the_refund(
    fund: Fund, account_id: int, refund_no: str, lost: str
) -> None:
    fund.wechat.trouble["refund"] = [lost]
    fund.release(refund_no)
    assert fund.refund(refund_no).state is RefundState.UNKNOWN
    assert fund.money(account_id) == (70_000, 20_000)
    assert until_it_ends(fund, refund_no)[-1] == "refunded"
    assert fund.money(account_id) == (50_000, 0)
    assert list(fund.wechat.refunds) == [refund_no]
    assert fund.wechat.trades[fund.wechat.refunds[refund_no][0]].refunded_fen == 20_000
    assert fund.offences() == []


def test_a_refund_whose_outcome_is_unknown_is_asked_about_not_sent(
    fund: Fund, account_id: int, refund_no: str
) -> None:
    fund.wechat.trouble["refund"] = ["lost_after"]
    fund.wechat.trouble["query_refund"] = ["lost_before", "lost_before"]
    fund.release(refund_no)
    assert until_it_ends(fund, refund_no) == ["nothing", "nothing", "refunded"]
    assert sent(fund) == 1


def test_an_unknown_not_found_does_not_send_again(
    fund: Fund, account_id: int, refund_no: str
) -> None:
    fund.wechat.trouble["refund"] = ["lost_after"]
    unsure = Outcome(kind=OutcomeKind.UNKNOWN, reason=Reason.NOT_FOUND, number=refund_no)
    fund.wechat.trouble["query_refund"] = [unsure]
    fund.release(refund_no)
    until_it_ends(fund, refund_no)
    assert sent(fund) == 1


def test_the_caller_sends_and_the_job_leaves_it_alone_meanwhile(
    fund: Fund, account_id: int, refund_no: str
) -> None:
    send = fund.wechat.refund
    inner: list[dict[str, int]] = []

    def job_runs_meanwhile(request):  # type: ignore[no-untyped-def]
        inner.append(resolve_refunds(fund.ports))
        return send(request)

    fund.wechat.refund = job_runs_meanwhile  # type: ignore[method-assign]
    fund.release(refund_no)
    assert inner == [{}]
    assert sent(fund) == 1


def test_a_crash_between_release_and_sending_is_made_good_by_the_job(
    fund: Fund, account_id: int, refund_no: str
) -> None:
    fund.ports.transact(
        lambda session: approve_refund(
            session, refund_no=refund_no, checker_id=CHECKER, note="同意", now=fund.clock.now()
        )
    )
    assert fund.refund(refund_no).state is RefundState.SENDING
    assert sent(fund) == 0
    assert until_it_ends(fund, refund_no) == ["nothing", "refunded"]
    assert sent(fund) == 1
    assert fund.money(account_id) == (50_000, 0)


def test_a_crash_between_sending_and_storing_the_answer_is_made_good_by_the_job(
    fund: Fund, account_id: int, refund_no: str
) -> None:
    send = fund.wechat.refund

    def dies_after_it(request):  # type: ignore[no-untyped-def]
        send(request)
        raise KeyboardInterrupt

    fund.wechat.refund = dies_after_it  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        fund.release(refund_no)
    fund.wechat.refund = send  # type: ignore[method-assign]
    assert until_it_ends(fund, refund_no)[-1] == "refunded"
    assert fund.wechat.trades[fund.wechat.refunds[refund_no][0]].refunded_fen == 20_000
    assert fund.money(account_id) == (50_000, 0)
    assert fund.offences() == []


def test_a_refusal_of_the_channel_frees_the_money_and_is_not_repeated(
    fund: Fund, account_id: int, refund_no: str
) -> None:
    short = Outcome(
        kind=OutcomeKind.FAILED,
        reason=Reason.MERCHANT_FUNDS_SHORT,
        number=refund_no,
        raw_code="NOTENOUGH",
    )
    fund.wechat.trouble["refund"] = [short]
    assert fund.release(refund_no) is Effect.REFUND_FAILED
    assert fund.money(account_id) == (70_000, 0)
    assert fund.breaks() == [("refund_failed", refund_no, 20_000, None)]
    fund.clock.advance(days=10)
    assert resolve_refunds(fund.ports) == {}
    assert sent(fund) == 1


def test_a_refusal_that_another_request_has_overtaken_does_not_free_the_money(
    fund: Fund, account_id: int, refund_no: str
) -> None:
    """The caller's request is refused, its answer is slow; the job's is taken meanwhile."""
    send = fund.wechat.refund
    short = Outcome(kind=OutcomeKind.FAILED, reason=Reason.MERCHANT_FUNDS_SHORT, number=refund_no)

    def is_overtaken(request):  # type: ignore[no-untyped-def]
        fund.wechat.refund = send  # type: ignore[method-assign]
        fund.clock.advance(minutes=1)
        assert resolve_refunds(fund.ports) == {"nothing": 1}
        return short

    fund.wechat.refund = is_overtaken  # type: ignore[method-assign]
    assert fund.release(refund_no) is Effect.NOTHING
    assert fund.money(account_id) == (70_000, 20_000)
    assert until_it_ends(fund, refund_no) == ["refunded"]
    assert fund.money(account_id) == (50_000, 0)
    assert fund.breaks() == []


def test_a_refund_that_takes_its_time_is_asked_about_until_it_is_done(
    fund: Fund, account_id: int, refund_no: str
) -> None:
    fund.wechat.refunds_stay_in_process = True
    fund.release(refund_no)
    for _ in range(3):
        fund.clock.instant = fund.refund(refund_no).next_query_at
        assert resolve_refunds(fund.ports) == {"nothing": 1}
    assert fund.refund(refund_no).state is RefundState.PROCESSING
    assert fund.money(account_id) == (70_000, 20_000)
    order_no, amount_fen, _ = fund.wechat.refunds[refund_no]
    fund.wechat.refunds[refund_no] = (order_no, amount_fen, "done")
    assert until_it_ends(fund, refund_no) == ["refunded"]
    assert fund.breaks() == []


def test_a_refund_undecided_for_five_days_is_shown_to_staff_once(
    fund: Fund, account_id: int, refund_no: str
) -> None:
    fund.wechat.refunds_stay_in_process = True
    fund.release(refund_no)
    released = fund.refund(refund_no).decided_at
    fund.clock.instant = released + timedelta(days=4, hours=23)
    resolve_refunds(fund.ports)
    assert fund.breaks() == []
    for _ in range(2):
        fund.clock.instant = max(fund.refund(refund_no).next_query_at, released + timedelta(days=5))
        resolve_refunds(fund.ports)
    assert fund.breaks() == [("undecided", refund_no, 20_000, None)]
    assert fund.money(account_id) == (70_000, 20_000)


def test_trouble_with_one_refund_does_not_keep_the_others_waiting(
    fund: Fund, account_id: int, refund_no: str
) -> None:
    other = an_account(fund.ports)
    good = fund.ask_back(fund.deposit(other, 50_000), 50_000)
    for number in (refund_no, good):
        fund.release(number)
    query = fund.wechat.query_refund

    def fails_for_one(*, order_no: str, refund_no: str) -> Outcome:
        if refund_no != good:
            raise RuntimeError("a bug of the adapter")
        return query(order_no=order_no, refund_no=refund_no)

    fund.wechat.query_refund = fails_for_one  # type: ignore[method-assign]
    fund.clock.advance(minutes=1)
    assert resolve_refunds(fund.ports) == {"error": 1, "refunded": 1}
    assert fund.money(other) == (0, 0)
    assert fund.money(account_id) == (70_000, 20_000)


def test_both_channels_give_back_what_they_took(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    for channel in ("wechat", "alipay"):
        refund_no = fund.ask_back(fund.deposit(account_id, 50_000, channel=channel), 50_000)
        fund.release(refund_no)
        until_it_ends(fund, refund_no)
        assert list(fund.channel(channel).refunds) == [refund_no]
    assert fund.money(account_id) == (0, 0)
    assert fund.offences() == []
