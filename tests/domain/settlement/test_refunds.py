"""What a channel's word about a refund does to the books."""

from __future__ import annotations

import pytest

from app.domain.account_overview import account_overview
from app.domain.ledger.models import Hold
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.refunds.models import RefundState
from app.domain.settlement import Effect
from app.domain.settlement.refunds import apply_refund
from tests.builders import an_account
from tests.fund import Fund


@pytest.fixture
def account_id(fund: Fund) -> int:
    return an_account(fund.ports)


@pytest.fixture
def order_no(fund: Fund, account_id: int) -> str:
    """A credited deposit of 500.00; the account holds 700.00 with the opening subsidy."""
    return fund.deposit(account_id, 50_000)


def said(
    refund_no: str,
    kind: OutcomeKind = OutcomeKind.SUCCEEDED,
    reason: Reason = Reason.OK,
    *,
    amount_fen: int | None = 20_000,
) -> Outcome:
    return Outcome(
        kind=kind,
        reason=reason,
        number=refund_no,
        amount_fen=amount_fen,
        reference="W-refund-1",
        raw_code=reason.value.upper(),
    )


def failed(refund_no: str, reason: Reason = Reason.MERCHANT_FUNDS_SHORT) -> Outcome:
    return said(refund_no, OutcomeKind.FAILED, reason)


def apply(fund: Fund, outcome: Outcome, *, channel: str = "wechat") -> Effect:
    return fund.ports.transact(
        lambda session: apply_refund(
            session, channel=channel, outcome=outcome, now=fund.clock.now()
        )
    )


def test_a_done_refund_is_posted_and_its_hold_ends(
    fund: Fund, account_id: int, order_no: str
) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    fund.release(refund_no)
    assert apply(fund, said(refund_no)) is Effect.REFUNDED
    assert fund.money(account_id) == (50_000, 0)  # 500.00 + 200.00 − 200.00
    assert fund.count(Hold) == 0
    assert fund.entries()[-1] == (f"refund:{refund_no}", {"20102": 20_000, "11901": -20_000})
    order = fund.order(order_no)
    assert (order.refunded_fen, order.refund_reserved_fen) == (20_000, 20_000)
    refund = fund.refund(refund_no)
    assert refund.state is RefundState.SUCCEEDED
    assert refund.ended_at == fund.clock.now()
    assert refund.channel_reference == "W-refund-1"
    assert refund.next_query_at is None
    assert fund.offences() == []


def test_done_said_again_changes_nothing(fund: Fund, account_id: int, order_no: str) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    fund.release(refund_no)
    assert [apply(fund, said(refund_no)) for _ in range(3)] == [
        Effect.REFUNDED,
        Effect.DUPLICATE,
        Effect.DUPLICATE,
    ]
    assert fund.money(account_id) == (50_000, 0)
    assert fund.order(order_no).refunded_fen == 20_000
    assert fund.breaks() == []


def test_refunds_of_a_deposit_give_their_room_under_the_cap_back(
    fund: Fund, account_id: int, order_no: str
) -> None:
    def room() -> int | None:
        return fund.ports.read(
            lambda session: (
                account_overview(session, account_id=account_id, now=fund.clock.now()).room_fen
            )
        )

    assert room() == 9_034_960  # 90,849.60 − 500.00
    refund_no = fund.ask_back(order_no, 20_000)
    fund.release(refund_no)
    assert room() == 9_034_960  # not before it is done
    apply(fund, said(refund_no))
    assert room() == 9_054_960


def test_a_refusal_frees_the_money_and_tells_staff(
    fund: Fund, account_id: int, order_no: str
) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    fund.release(refund_no)
    assert apply(fund, failed(refund_no)) is Effect.REFUND_FAILED
    assert apply(fund, failed(refund_no)) is Effect.NOTHING
    assert fund.money(account_id) == (70_000, 0)
    assert fund.order(order_no).refund_reserved_fen == 0
    assert fund.refund(refund_no).state is RefundState.FAILED
    assert fund.breaks() == [("refund_failed", refund_no, 20_000, 20_000)]
    assert fund.posting_keys() == [
        f"deposit:{order_no}",
        f"opening-subsidy:{fund.person(account_id).id}:1",
    ]
    assert fund.offences() == []


@pytest.mark.parametrize(
    "outcome_of",
    [
        lambda number: said(number, OutcomeKind.ACCEPTED, Reason.PROCESSING),
        lambda number: said(number, OutcomeKind.UNKNOWN, Reason.NO_ANSWER),
        lambda number: said(number, OutcomeKind.FAILED, Reason.NOT_FOUND),
    ],
)
def test_what_is_undecided_keeps_the_money_held(
    fund: Fund, account_id: int, order_no: str, outcome_of
) -> None:  # type: ignore[no-untyped-def]
    refund_no = fund.ask_back(order_no, 20_000)
    fund.release(refund_no)
    assert apply(fund, outcome_of(refund_no)) is Effect.NOTHING
    assert fund.money(account_id) == (70_000, 20_000)
    assert fund.refund(refund_no).state is RefundState.PROCESSING
    assert fund.refund(refund_no).next_query_at is not None
    assert fund.offences() == []


@pytest.mark.parametrize("amount_fen", [19_999, 20_001, 0, 50_000])
def test_another_amount_is_a_break_and_posts_nothing(
    fund: Fund, account_id: int, order_no: str, amount_fen: int
) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    fund.release(refund_no)
    assert apply(fund, said(refund_no, amount_fen=amount_fen)) is Effect.MISMATCH
    assert fund.breaks() == [("amount_mismatch", refund_no, 20_000, amount_fen)]
    assert fund.money(account_id) == (70_000, 20_000)
    assert fund.refund(refund_no).state is RefundState.PROCESSING
    assert fund.offences() == []


def test_a_refund_that_we_do_not_know_is_a_break(fund: Fund) -> None:
    for _ in range(2):
        assert apply(fund, said("R-not-ours")) is Effect.MISMATCH
    assert fund.breaks() == [("unknown_refund", "R-not-ours", None, 20_000)]


def test_one_channel_cannot_settle_a_refund_of_the_other(
    fund: Fund, account_id: int, order_no: str
) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    fund.release(refund_no)
    assert apply(fund, said(refund_no), channel="alipay") is Effect.MISMATCH
    assert fund.breaks() == [("unknown_refund", refund_no, None, 20_000)]
    assert fund.money(account_id) == (70_000, 20_000)


def test_money_given_back_after_a_refusal_is_shown_and_not_posted(
    fund: Fund, account_id: int, order_no: str
) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    fund.release(refund_no)
    apply(fund, failed(refund_no))
    for _ in range(2):
        assert apply(fund, said(refund_no)) is Effect.MISMATCH
    assert fund.breaks() == [
        ("refund_failed", refund_no, 20_000, 20_000),
        ("late_refund", refund_no, 20_000, 20_000),
    ]
    assert fund.money(account_id) == (70_000, 0)
    assert fund.refund(refund_no).state is RefundState.FAILED
    assert fund.offences() == []


def test_money_given_back_before_anyone_released_it_is_shown_and_not_posted(
    fund: Fund, account_id: int, order_no: str
) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    assert apply(fund, said(refund_no)) is Effect.MISMATCH
    assert fund.breaks() == [("late_refund", refund_no, 20_000, 20_000)]
    assert fund.refund(refund_no).state is RefundState.REQUESTED
    assert fund.money(account_id) == (70_000, 20_000)


def test_a_refund_that_fails_after_it_was_done_is_shown_and_not_undone(
    fund: Fund, account_id: int, order_no: str
) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    fund.release(refund_no)
    apply(fund, said(refund_no))
    assert apply(fund, failed(refund_no, Reason.PAYER_REFUSED)) is Effect.MISMATCH
    assert fund.breaks() == [("refund_failed", refund_no, 20_000, 20_000)]
    assert fund.refund(refund_no).state is RefundState.SUCCEEDED
    assert fund.money(account_id) == (50_000, 0)
    assert fund.offences() == []


def test_in_process_said_after_the_end_changes_nothing(
    fund: Fund, account_id: int, order_no: str
) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    fund.release(refund_no)
    apply(fund, said(refund_no))
    late = said(refund_no, OutcomeKind.ACCEPTED, Reason.PROCESSING)
    assert apply(fund, late) is Effect.NOTHING
    assert fund.refund(refund_no).state is RefundState.SUCCEEDED
    assert fund.refund(refund_no).next_query_at is None
    assert fund.breaks() == []


def test_done_may_overtake_our_own_answer(fund: Fund, account_id: int, order_no: str) -> None:
    refund_no = fund.ask_back(order_no, 20_000)
    send = fund.wechat.refund

    def done_at_once(request):  # type: ignore[no-untyped-def]
        answer = send(request)
        assert apply(fund, said(refund_no)) is Effect.REFUNDED
        return answer

    fund.wechat.refund = done_at_once  # type: ignore[method-assign]
    assert fund.release(refund_no) is Effect.NOTHING
    assert fund.refund(refund_no).state is RefundState.SUCCEEDED
    assert fund.money(account_id) == (50_000, 0)
    assert fund.offences() == []
