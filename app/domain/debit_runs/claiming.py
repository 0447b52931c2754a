"""Taking up instructions whose day has come: look, decide, and store the attempts to be sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    Row,
    Select,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from app.domain.agreements.models import Agreement, AgreementState
from app.domain.agreements.rules import DebitChannel
from app.domain.base import rows_changed, table_of
from app.domain.calendar import business_day
from app.domain.contributors.models import Account, AccountStatus
from app.domain.debit_runs.attempts import Candidate, store_attempts
from app.domain.debit_runs.limits import Limits, read_limits
from app.domain.debits.models import DebitInstruction
from app.domain.debits.moves import Failure, end, fail
from app.domain.debits.rules import (
    Decision,
    EndReason,
    InstructionState,
    Standing,
    Step,
    decide,
)
from app.domain.debits.telling import tell_not_sent
from app.domain.mandates.models import Mandate
from app.domain.mandates.rules import MandateState
from app.domain.payment_orders.models import OPEN_STATES, OrderState, PaymentOrder
from app.domain.payment_orders.rules import FIRST_QUERY_AFTER
from app.domain.periods import Period

ACCOUNT = table_of(Account)
AGREEMENT = table_of(Agreement)
INSTRUCTION = table_of(DebitInstruction)
MANDATE = table_of(Mandate)
ORDER = table_of(PaymentOrder)

ANSWER_DUE_AFTER = timedelta(days=2)
"""A wallet may take a debit in a day after it was handed in; one without an end so long after that
is shown to staff."""

# Built once: to build a statement costs SQLAlchemy several times what it costs to run it.
_IS_DUE = and_(
    INSTRUCTION.c.state == InstructionState.SCHEDULED,
    INSTRUCTION.c.next_attempt_on <= bindparam("today"),
    INSTRUCTION.c.channel.in_(bindparam("channels", expanding=True)),
)
_COUNT_DUE = select(func.count()).where(_IS_DUE)
_DUE: Select[Any] = (
    select(
        INSTRUCTION.c.id,
        INSTRUCTION.c.account_id,
        INSTRUCTION.c.agreement_id,
        INSTRUCTION.c.channel,
        INSTRUCTION.c.amount_fen,
        INSTRUCTION.c.period,
        INSTRUCTION.c.attempt_count,
        INSTRUCTION.c.announced_from,
        INSTRUCTION.c.announced_until,
    )
    .where(_IS_DUE)
    .order_by(INSTRUCTION.c.next_attempt_on, INSTRUCTION.c.id)
    .limit(bindparam("most"))
    # Another run has those: they are in good hands.
    .with_for_update(skip_locked=True)
)
_NET = ORDER.c.amount_fen - ORDER.c.refund_reserved_fen
_IS_OPEN = ORDER.c.state.in_(OPEN_STATES)
_USED = (
    select(
        ORDER.c.account_id,
        func.sum(
            case(
                (_IS_OPEN, ORDER.c.amount_fen),
                (
                    and_(
                        ORDER.c.state == OrderState.SUCCEEDED,
                        ORDER.c.credited_on.between(bindparam("first"), bindparam("last")),
                    ),
                    ORDER.c.amount_fen - ORDER.c.refunded_fen,
                ),
                else_=0,
            )
        ).label("used_fen"),
    )
    .where(ORDER.c.account_id.in_(bindparam("accounts", expanding=True)))
    .group_by(ORDER.c.account_id)
)
_BY_HAND: Select[Any] = select(
    ORDER.c.account_id,
    ORDER.c.contribution_month,
    ORDER.c.instruction_id,
    _NET.label("net_fen"),
    ORDER.c.state,
).where(
    ORDER.c.account_id.in_(bindparam("accounts", expanding=True)),
    ORDER.c.mandate_id.is_(None),
    or_(
        and_(
            ORDER.c.state == OrderState.SUCCEEDED,
            ORDER.c.credited_on >= bindparam("since"),
        ),
        _IS_OPEN,
    ),
)
_CIRCUMSTANCES: Select[Any] = (
    select(
        INSTRUCTION.c.id.label("instruction_id"),
        ACCOUNT.c.status,
        AGREEMENT.c.state,
        MANDATE.c.id,
        MANDATE.c.reference,
        MANDATE.c.cap_fen,
    )
    .join(ACCOUNT, ACCOUNT.c.id == INSTRUCTION.c.account_id)
    .join(AGREEMENT, AGREEMENT.c.id == INSTRUCTION.c.agreement_id)
    .join(
        MANDATE,
        and_(
            MANDATE.c.account_id == INSTRUCTION.c.account_id,
            MANDATE.c.channel == INSTRUCTION.c.channel,
            MANDATE.c.state == MandateState.ACTIVE,
            MANDATE.c.valid_from <= bindparam("today"),
            MANDATE.c.valid_to >= bindparam("today"),
        ),
        isouter=True,
    )
    .where(INSTRUCTION.c.id.in_(bindparam("ids", expanding=True)))
)
_COUNT_ORDERS = (
    update(ACCOUNT)
    .where(ACCOUNT.c.id.in_(bindparam("accounts", expanding=True)))
    .values(order_count=ACCOUNT.c.order_count + 1)
)
_Decided = tuple[Row[Any], Decision, Row[Any]]
"""An instruction, what to do with it, and its account, agreement and mandate as they are now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A stored order that is to be sent."""

    order_no: str
    channel: str
    amount_fen: int
    mandate_reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What a claim took up.

    Attributes:
        limits: what it went by, for the next claim of the run.
        steps: how many instructions took which step.
        waiting: ids of those that wait for a payment by hand or an announcement, and stay due.
    """

    attempts: list[Attempt]
    steps: Mapping[str, int]
    waiting: list[int]
    limits: Limits | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenUp:
    """What was decided; nothing of the `candidates` is stored yet, the others are dealt with."""

    candidates: list[Candidate]
    steps: Mapping[str, int]
    waiting: list[int]
    limits: Limits | None = None


def claim_due(
    session: Session,
    *,
    channels: Collection[str],
    now: datetime,
    limit: int,
    new_number: Callable[[str], str],
    announcing: Collection[str] = (),
    passed_over: Collection[int] = (),
    limits: Limits | None = None,
) -> Claimed:
    """Take up to `limit` instructions of these channels whose day has come.

    Each is decided on by what is true now. What is sent is stored as an order first; the database
    refuses a second open one for the same instruction.

    Args:
        announcing: the channels that take announced debits only.
        passed_over: ids of instructions to leave alone in this run.
        limits: what an earlier claim of the run went by; read anew when they no longer hold.
    """
    taken = take_up(
        session,
        channels=channels,
        now=now,
        limit=limit,
        new_number=new_number,
        announcing=announcing,
        passed_over=passed_over,
        limits=limits,
    )
    store_attempts(
        session,
        taken.candidates,
        now=now,
        expires_at=now + ANSWER_DUE_AFTER,
        ask_at=now + FIRST_QUERY_AFTER,
    )
    attempts = [
        Attempt(
            order_no=candidate.order_no,
            channel=candidate.instruction.channel,
            amount_fen=candidate.instruction.amount_fen,
            mandate_reference=candidate.mandate.reference,
        )
        for candidate in taken.candidates
    ]
    return Claimed(attempts=attempts, steps=taken.steps, waiting=taken.waiting, limits=taken.limits)


def take_up(
    session: Session,
    *,
    channels: Collection[str],
    now: datetime,
    limit: int,
    new_number: Callable[[str], str],
    announcing: Collection[str] = (),
    passed_over: Collection[int] = (),
    limits: Limits | None = None,
) -> TakenUp:
    """Decide on up to `limit` instructions as `claim_due` does, and store no attempt."""
    today = business_day(now)
    due = _DUE if not passed_over else _DUE.where(INSTRUCTION.c.id.not_in(passed_over))
    values = {"channels": channels, "today": today, "most": limit}
    rows = session.execute(due, values).all()
    if not rows:
        return TakenUp(candidates=[], steps={}, waiting=[])
    if limits is None or not limits.still_hold(now):
        limits = read_limits(session, now=now)
    decided = _decide_all(session, rows, announcing=announcing, limits=limits, today=today)
    _set_aside(session, decided, now=now)
    return TakenUp(
        candidates=[
            Candidate(order_no=new_number("A"), instruction=row, mandate=found)
            for row, decision, found in decided
            if decision.step is Step.SEND
        ],
        steps=Counter(decision.step.value for _, decision, _ in decided),
        waiting=[row.id for row, decision, _ in decided if decision.step is Step.WAIT],
        limits=limits,
    )


def count_due_debits(session: Session, *, on: date) -> int:
    """Return how many instructions of all channels would be taken up."""
    return session.scalar(_COUNT_DUE, {"channels": tuple(DebitChannel), "today": on}) or 0


def _decide_all(
    session: Session,
    rows: Sequence[Row[Any]],
    *,
    announcing: Collection[str],
    limits: Limits,
    today: date,
) -> list[_Decided]:
    account_ids = sorted({row.account_id for row in rows})
    # As for an order that a person places: two of one person wait for each other, so that both
    # cannot take the same room under the cap.
    rows_changed(session, _COUNT_ORDERS, {"accounts": account_ids})
    circumstances = {
        found.instruction_id: found
        for found in session.execute(
            _CIRCUMSTANCES, {"ids": [row.id for row in rows], "today": today}
        )
    }
    cap_fen = limits.cap_fen
    used = _used_fen(session, account_ids, year=today.year)
    by_hand = _paid_by_hand(session, rows, account_ids)
    decided: list[_Decided] = []
    for row in rows:
        found = circumstances[row.id]
        paid_fen, has_open_order = by_hand(row)
        standing = Standing(
            agreement_ended=found.state is AgreementState.ENDED,
            account_usable=found.status is AccountStatus.NORMAL,
            programme_open=limits.programme_open,
            has_open_order=has_open_order,
            paid_by_hand_fen=paid_fen,
            room_fen=None if cap_fen is None else cap_fen - used.get(row.account_id, 0),
            mandate_cap_fen=found.cap_fen,
            announced=row.channel not in announcing or is_announced(row, today),
            period_over=Period.parse(row.period).last_day < today,
        )
        decision = decide(row.amount_fen, standing)
        if decision.step is Step.SEND:
            used[row.account_id] = used.get(row.account_id, 0) + row.amount_fen
        decided.append((row, decision, found))
    return decided


def is_announced(row: Row[Any], day: date) -> bool:
    """Tell whether an instruction's announcement is good for a day."""
    begins: date | None = row.announced_from
    return begins is not None and begins <= day <= row.announced_until


def _used_fen(session: Session, account_ids: Sequence[int], *, year: int) -> dict[int, int]:
    days = {"first": date(year, 1, 1), "last": date(year, 12, 31)}
    rows = session.execute(_USED, {"accounts": account_ids, **days})
    return {row.account_id: int(row.used_fen) for row in rows}


def _paid_by_hand(
    session: Session, rows: Sequence[Row[Any]], account_ids: Sequence[int]
) -> Callable[[Row[Any]], tuple[int, bool]]:
    """Return what says of an instruction: fen paid by hand for it, and whether one is open."""
    since = min(Period.parse(row.period).first_day for row in rows)
    by_account: dict[int, list[Row[Any]]] = {}
    for paid in session.execute(_BY_HAND, {"accounts": account_ids, "since": since}):
        by_account.setdefault(paid.account_id, []).append(paid)

    def look(row: Row[Any]) -> tuple[int, bool]:
        period = Period.parse(row.period)
        counted = {period.key, *period.months}
        found = by_account.get(row.account_id, [])
        paid_fen = sum(
            paid.net_fen
            for paid in found
            if paid.state is OrderState.SUCCEEDED and paid.contribution_month in counted
        )
        is_open = any(
            paid.state is not OrderState.SUCCEEDED
            # Paid, it would stand for the debit: both at once would surprise the person.
            and (
                paid.instruction_id == row.id
                or (paid.instruction_id is None and paid.net_fen >= row.amount_fen)
            )
            for paid in found
        )
        return paid_fen, is_open

    return look


def _set_aside(
    session: Session,
    decided: Sequence[_Decided],
    *,
    now: datetime,
) -> None:
    """Do what is to be done with those that are not sent."""
    ends: dict[tuple[InstructionState, EndReason], list[int]] = {}
    targets = {Step.SKIP: InstructionState.SKIPPED, Step.CANCEL: InstructionState.CANCELLED}
    failures: list[Failure] = []
    for row, decision, _ in decided:
        if decision.end_reason is not None:
            ends.setdefault((targets[decision.step], decision.end_reason), []).append(row.id)
        elif decision.reason is not None:
            failures.append(Failure(instruction_id=row.id, reason=decision.reason))
    for (target, end_reason), ids in ends.items():
        end(session, ids, target, end_reason, now=now)
    unsent = [(row, decision.end_reason) for row, decision, _ in decided if decision.end_reason]
    tell_not_sent(session, unsent, at=now)
    if failures:
        fail(session, failures, now=now)
