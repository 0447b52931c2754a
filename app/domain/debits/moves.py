"""What becomes of instructions: an attempt failed, the money came, nothing is to be sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import BindParameter, Row, Select, Update, bindparam, case, select, update
from sqlalchemy.orm import Session

from app.domain.agreements.operations import suspend_for_missed
from app.domain.bank_calendar.queries import read_bank_calendar
from app.domain.base import rows_changed, table_of
from app.domain.breaks.models import BreakKind
from app.domain.breaks.operations import open_break
from app.domain.calendar import business_day
from app.domain.debits.models import INSTRUCTION_STATES, DebitInstruction
from app.domain.debits.rules import EndReason, InstructionState, next_attempt_on
from app.domain.debits.telling import tell_failed, tell_paid, tell_suspended
from app.domain.mandates.models import Mandate
from app.domain.mandates.rules import MandateState
from app.domain.policy.queries import Policy
from app.domain.ports.outcomes import Reason

INSTRUCTION = table_of(DebitInstruction)
MANDATE = table_of(Mandate)

# The channel knows something of the mandate that we do not: ask it.
_SAYS_SOMETHING_OF_THE_MANDATE = {
    Reason.NO_MANDATE,
    Reason.ACCOUNT_INVALID,
    Reason.ACCOUNT_FROZEN,
    Reason.IDENTITY_MISMATCH,
}
# Built once: to build a statement costs SQLAlchemy several times what it costs to run it.
_LOCK_WHOLE: Select[Any] = (
    select(INSTRUCTION)
    .where(INSTRUCTION.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(INSTRUCTION.c.id)
    .with_for_update()
)
_LOCK: Select[Any] = _LOCK_WHOLE.with_only_columns(
    INSTRUCTION.c.id,
    INSTRUCTION.c.account_id,
    INSTRUCTION.c.state,
    INSTRUCTION.c.period,
    INSTRUCTION.c.amount_fen,
)
_CAN_STILL_BE_PAID = (InstructionState.SCHEDULED, InstructionState.MISSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fulfilment:
    """An order that was credited and names an instruction.

    Attributes:
        is_debit: taken under a mandate; otherwise paid by hand in the debit's place.
        had_failed: the channel had said before that it had failed.
    """

    instruction_id: int
    order_no: str
    channel: str
    amount_fen: int
    reference: str | None
    is_debit: bool
    had_failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An attempt that brought no money; `mandate_id` is None for one that could not be sent."""

    instruction_id: int
    reason: Reason
    mandate_id: int | None = None


def fulfil(session: Session, paid: Sequence[Fulfilment], *, now: datetime) -> None:
    """Take note that the money for these instructions has come.

    Late truth: it counts whatever was decided meanwhile. Money that was debited twice for one
    period, or after the channel had said no, is a break for staff.
    """
    instructions = _lock(session, _LOCK, [one.instruction_id for one in paid])
    fulfilled: dict[int, str] = {}
    made_up: list[int] = []
    for one in paid:
        state = instructions[one.instruction_id].state
        again = state is InstructionState.SUCCEEDED or one.instruction_id in fulfilled
        if not one.is_debit:
            if state in _CAN_STILL_BE_PAID:
                made_up.append(one.instruction_id)
            continue
        if again or one.had_failed:
            open_break(
                session,
                kind=BreakKind.DEBITED_TWICE if again else BreakKind.LATE_DEBIT,
                channel=one.channel,
                number=one.order_no,
                found_fen=one.amount_fen,
                reference=one.reference,
                now=now,
            )
        if not again:
            fulfilled[one.instruction_id] = one.order_no
    if fulfilled:
        _succeed(session, fulfilled, now=now)
        told = [(instructions[key], order_no) for key, order_no in fulfilled.items()]
        tell_paid(session, told, at=now)
    if made_up:
        end(session, made_up, InstructionState.SKIPPED, EndReason.PAID_BY_HAND, now=now)


def fail(session: Session, failures: Sequence[Failure], *, now: datetime) -> None:
    """Put failed attempts to their next day, or miss their periods; too many in a row suspend.

    One whose instruction has gone on meanwhile changes nothing.
    """
    today = business_day(now)
    figures = Policy.on(session, today).debit
    calendar = read_bank_calendar(session, on=today)
    instructions = _lock(session, _LOCK_WHOLE, [each.instruction_id for each in failures])
    missed: list[Row[Any]] = []
    for failure in failures:
        row = instructions[failure.instruction_id]
        sent = row.state is InstructionState.ATTEMPTING
        if not sent and row.state is not InstructionState.SCHEDULED:
            continue
        attempts = row.attempt_count + (0 if sent else 1)
        first_on = row.first_attempt_on or today
        next_on = next_attempt_on(
            failure.reason,
            attempts=attempts,
            first_on=first_on,
            today=today,
            until=row.retry_until,
            retry_days=figures.retry_days,
            retry_reasons=figures.retry_reasons,
            calendar=calendar,
        )
        _put_off_or_miss(session, row, failure, attempts, first_on, next_on, now=now)
        tell_failed(session, row, failure.reason, attempts=attempts, next_on=next_on, at=now)
        if next_on is None and failure.reason is not Reason.OUR_FAULT:
            missed.append(row)
        if failure.mandate_id is not None and failure.reason in _SAYS_SOMETHING_OF_THE_MANDATE:
            _ask_about_the_mandate(session, failure.mandate_id, now=now)
    for row in missed:
        _suspend_if_too_many(session, row, most=figures.missed_periods_to_suspend, now=now)


def end(
    session: Session,
    instruction_ids: Sequence[int],
    target: InstructionState,
    end_reason: EndReason,
    *,
    now: datetime,
) -> None:
    """Skip or cancel instructions: nothing is sent for them any more."""
    rows_changed(
        session,
        update(INSTRUCTION)
        .where(
            INSTRUCTION.c.id.in_(instruction_ids),
            INSTRUCTION.c.state.in_(INSTRUCTION_STATES.sources_of(target)),
        )
        .values(state=target, end_reason=end_reason, next_attempt_on=None, ended_at=now),
    )


def _lock(session: Session, which: Select[Any], ids: Sequence[int]) -> Mapping[int, Row[Any]]:
    return {row.id: row for row in session.execute(which, {"ids": ids})}


@lru_cache(maxsize=64)
def _succeeding(count: int) -> Update:
    """Build the statement that fulfils so many instructions, the n-th by the order `number_n`."""
    ids: list[BindParameter[int]] = [bindparam(f"id_{n}") for n in range(count)]
    numbers: dict[Any, Any] = {key: bindparam(f"number_{n}") for n, key in enumerate(ids)}
    return (
        update(INSTRUCTION)
        .where(
            INSTRUCTION.c.id.in_(ids),
            INSTRUCTION.c.state.in_(INSTRUCTION_STATES.sources_of(InstructionState.SUCCEEDED)),
        )
        .values(
            state=InstructionState.SUCCEEDED,
            paid_order_no=case(numbers, value=INSTRUCTION.c.id),
            next_attempt_on=None,
            end_reason=None,
            ended_at=bindparam("ended"),
        )
    )


def _succeed(session: Session, order_no_by_id: Mapping[int, str], *, now: datetime) -> None:
    values: dict[str, Any] = {"ended": now}
    for n, (instruction_id, order_no) in enumerate(order_no_by_id.items()):
        values[f"id_{n}"], values[f"number_{n}"] = instruction_id, order_no
    moved = rows_changed(session, _succeeding(len(order_no_by_id)), values)
    assert moved == len(order_no_by_id), f"of {len(order_no_by_id)} instructions, {moved} moved"


def _put_off_or_miss(
    session: Session,
    row: Row[Any],
    failure: Failure,
    attempts: int,
    first_on: date,
    next_on: date | None,
    *,
    now: datetime,
) -> None:
    target = InstructionState.SCHEDULED if next_on else InstructionState.MISSED
    if target is not row.state:  # one that could not be sent is put off
        INSTRUCTION_STATES.check(row.state, target)
    session.execute(
        update(INSTRUCTION)
        .where(INSTRUCTION.c.id == row.id)
        .values(
            state=target,
            reason=failure.reason,
            attempt_count=attempts,
            first_attempt_on=first_on,
            next_attempt_on=next_on,
            ended_at=None if next_on else now,
        )
    )


def _ask_about_the_mandate(session: Session, mandate_id: int, *, now: datetime) -> None:
    rows_changed(
        session,
        update(MANDATE)
        .where(MANDATE.c.id == mandate_id, MANDATE.c.state == MandateState.ACTIVE)
        .values(next_query_at=now),
    )


def _suspend_if_too_many(session: Session, row: Row[Any], *, most: int, now: datetime) -> None:
    """Suspend the agreement if its last periods were all missed, by no fault of the centre's."""
    last = session.execute(
        select(INSTRUCTION.c.state, INSTRUCTION.c.reason)
        .where(INSTRUCTION.c.agreement_id == row.agreement_id, INSTRUCTION.c.due_on <= row.due_on)
        .order_by(INSTRUCTION.c.due_on.desc())
        .limit(most)
    ).all()
    all_missed = all(
        state is InstructionState.MISSED and reason is not Reason.OUR_FAULT
        for state, reason in last
    )
    if len(last) == most and all_missed:
        suspended = suspend_for_missed(session, row.agreement_id, periods=most, at=now)
        if suspended:
            tell_suspended(session, row, periods=most, at=now)
