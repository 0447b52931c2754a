"""When a debit (扣划) is sent, when it is tried again, and what stops it. Pure; fen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from app.domain.agreements.rules import Due
from app.domain.bank_calendar.rules import BankCalendar
from app.domain.calendar import SHANGHAI
from app.domain.ports.outcomes import Reason

CLAUSE = "试点方案 第二条"

LOOK_BACK = timedelta(days=7)
"""How long after its day a period may still be planned, if nobody was there to plan it in time."""

QUIET_BEFORE_NEXT = timedelta(days=2)
"""No retry so shortly before the next period's own debit."""


SENDING_FROM, SENDING_UNTIL = time(9), time(21)
"""Nobody is woken by a message that their debit failed, and there is time to answer it."""


class InstructionState(StrEnum):
    """Where an instruction stands: what a person owes for one period by their agreement."""

    SCHEDULED = "scheduled"
    """It will be sent on `next_attempt_on`: for the first time, or again."""
    ATTEMPTING = "attempting"
    """One attempt is under way, or nobody knows yet what became of it."""
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    """Nothing is taken for this period, and nothing is missing either."""
    MISSED = "missed"
    CANCELLED = "cancelled"


class EndReason(StrEnum):
    """Why nothing is sent for a period."""

    PAID_BY_HAND = "paid_by_hand"
    OVER_CAP = "over_cap"
    CAP_NOT_PUBLISHED = "cap_not_published"
    AGREEMENT_ENDED = "agreement_ended"
    ACCOUNT_NOT_USABLE = "account_not_usable"
    PROGRAMME_NOT_IN_FORCE = "programme_not_in_force"


class Step(StrEnum):
    """What is to be done with an instruction whose day has come."""

    SEND = "send"
    WAIT = "wait"
    """A payment by hand for it is open, or it is not announced yet: look again later."""
    SKIP = "skip"
    CANCEL = "cancel"
    FAIL = "fail"
    """It can't be sent; as if the channel had refused it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is true on the day an instruction is to be sent.

    Attributes:
        paid_by_hand_fen: credited for the period's months by hand, less refunds.
        room_fen: what the yearly cap leaves; None while the cap is not published.
        mandate_cap_fen: the most that one debit may take; None without a mandate that may debit.
        announced: the channel wants no announcement, or has one that is good for today.
        period_over: nobody sent it in time; a missed month is never filled.
    """

    agreement_ended: bool
    account_usable: bool
    programme_open: bool
    has_open_order: bool
    paid_by_hand_fen: int
    room_fen: int | None
    mandate_cap_fen: int | None
    announced: bool
    period_over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A step with its reason: an `EndReason` to skip or cancel, a `Reason` to fail."""

    step: Step
    end_reason: EndReason | None = None
    reason: Reason | None = None


SEND = Decision(step=Step.SEND)


def decide(amount_fen: int, standing: Standing) -> Decision:
    """Return what to do with an instruction whose day has come; every retry asks anew.

    Source: 试点方案 第二条. A payment by hand stands for the debit once it reaches its amount: a
    smaller one is more money of the person's own choice, not another way of paying the same.
    """
    if standing.has_open_order:
        return Decision(step=Step.WAIT)
    for stops, end_reason in (
        (standing.agreement_ended, EndReason.AGREEMENT_ENDED),
        (not standing.account_usable, EndReason.ACCOUNT_NOT_USABLE),
        (not standing.programme_open, EndReason.PROGRAMME_NOT_IN_FORCE),
    ):
        if stops:
            return Decision(step=Step.CANCEL, end_reason=end_reason)
    if standing.paid_by_hand_fen >= amount_fen:
        return Decision(step=Step.SKIP, end_reason=EndReason.PAID_BY_HAND)
    if standing.period_over:
        return Decision(step=Step.FAIL, reason=Reason.OUR_FAULT)
    if standing.room_fen is None:
        return Decision(step=Step.SKIP, end_reason=EndReason.CAP_NOT_PUBLISHED)
    if amount_fen > standing.room_fen:
        return Decision(step=Step.SKIP, end_reason=EndReason.OVER_CAP)
    if standing.mandate_cap_fen is None:
        return Decision(step=Step.FAIL, reason=Reason.NO_MANDATE)
    if amount_fen > standing.mandate_cap_fen:
        return Decision(step=Step.FAIL, reason=Reason.AMOUNT_LIMIT)
    return SEND if standing.announced else Decision(step=Step.WAIT)


def first_attempt_on(
    due: Due,
    *,
    planned_on: date,
    notice_days: int,
    on_bank_days: bool,
    calendar: BankCalendar,
) -> date | None:
    """Return the day on which a period's debit is sent; None if its period is over by then.

    Nobody is debited unannounced: one that is planned late is sent as long after its notice as
    any other. Where the channel settles on bank days the day rolls forward, but never out of the
    period: then it rolls back, as far as the notice allows.
    """
    earliest = max(due.due_on, planned_on + timedelta(days=notice_days))
    last = due.period.last_day
    if earliest > last:
        return None
    if not on_bank_days:
        return earliest
    rolled = calendar.roll_forward(earliest)
    if rolled <= last:
        return rolled
    back = calendar.roll_back(earliest)
    return back if back > planned_on else earliest


def retry_until(due: Due) -> date:
    """Return the last day on which a period may be tried again."""
    following = due.period.next().due_on(due.due_on.day)
    return min(due.period.last_day, following - QUIET_BEFORE_NEXT)


def next_attempt_on(
    reason: Reason,
    *,
    attempts: int,
    first_on: date,
    today: date,
    until: date,
    retry_days: Sequence[int],
    retry_reasons: Collection[str],
    calendar: BankCalendar,
) -> date | None:
    """Return the day of the next attempt after a failed one; None if the period is missed.

    Args:
        attempts: how many there were, the failed one included.
        first_on: day of the first one: T in T+1, T+3, T+5, counted in bank days.
    """
    if reason not in retry_reasons or attempts > len(retry_days):
        return None
    day = calendar.nth_bank_day_after(first_on, retry_days[attempts - 1])
    if day <= today:
        # What became of the attempt was known late.
        day = calendar.next_bank_day(today)
    return day if day <= until else None


def can_be_made_up(state: InstructionState, *, attempts: int) -> bool:
    """Tell whether a period may be paid by hand: it was missed, or failed and waits for a retry."""
    return state is InstructionState.MISSED or (
        state is InstructionState.SCHEDULED and attempts > 0
    )


def is_sending_time(now: datetime) -> bool:
    """Tell whether debits are sent at this time of day."""
    return SENDING_FROM <= now.astimezone(SHANGHAI).time() < SENDING_UNTIL
