"""Taking up instructions whose day has come: look, decide, and store the attempts to be sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from app.domain.agreements.models import Agreement, AgreementState
from app.domain.agreements.rules import DebitChannel
from app.domain.agreements.timelines import yearly_cap_of
from app.domain.base import rows_changed, table_of
from app.domain.calendar import business_day
from app.domain.contributors.models import Account, AccountStatus
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
from app.domain.deposits.rules import digest_request
from app.domain.mandates.models import Mandate
from app.domain.mandates.rules import MandateState
from app.domain.payment_orders.models import OPEN_STATES, OrderState, PaymentOrder
from app.domain.payment_orders.rules import FIRST_QUERY_AFTER
from app.domain.periods import Period
from app.domain.policy.queries import Policy
from app.domain.policy.rules import ProgrammeNotInForce

ACCOUNT = table_of(Account)
AGREEMENT = table_of(Agreement)
INSTRUCTION = table_of(DebitInstruction)
MANDATE = table_of(Mandate)
ORDER = table_of(PaymentOrder)

ANSWER_DUE_AFTER = timedelta(days=2)
"""A wallet may take a debit in a day after it was handed in; one without an end so long after that
is shown to staff."""

# Built once: to build a statement costs SQLAlchemy several times what it costs to run it.
_INSERT_ORDERS = insert(ORDER)
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
_MANDATES: Select[Any] = select(
    MANDATE.c.id, MANDATE.c.account_id, MANDATE.c.channel, MANDATE.c.reference, MANDATE.c.cap_fen
).where(
    MANDATE.c.account_id.in_(bindparam("accounts", expanding=True)),
    MANDATE.c.state == MandateState.ACTIVE,
    MANDATE.c.valid_from <= bindparam("today"),
    MANDATE.c.valid_to >= bindparam("today"),
)


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
        steps: how many instructions took which step.
        waiting: ids of those that wait for a payment by hand, and stay due.
    """

    attempts: list[Attempt]
    steps: Mapping[str, int]
    waiting: list[int]


def claim_due(
    session: Session,
    *,
    channels: Collection[str],
    now: datetime,
    limit: int,
    new_number: Callable[[str], str],
    passed_over: Collection[int] = (),
) -> Claimed:
    """Take up to `limit` instructions of these channels whose day has come.

    Each is decided on by what is true now. What is sent is stored as an order first; the database
    refuses a second open one for the same instruction.

    Args:
        passed_over: ids of instructions to leave alone in this run.
    """
    today = business_day(now)
    due = _due(channels, today).where(INSTRUCTION.c.id.not_in(passed_over)).limit(limit)
    rows = session.execute(due).all()
    if not rows:
        return Claimed(attempts=[], steps={}, waiting=[])
    decided = _decide_all(session, rows, today=today)
    _set_aside(session, decided, now=now)
    sending = [
        (row, mandate)
        for row, decision, mandate in decided
        if decision.step is Step.SEND and mandate is not None
    ]
    return Claimed(
        attempts=_store_attempts(session, sending, today=today, now=now, new_number=new_number),
        steps=Counter(decision.step.value for _, decision, _ in decided),
        waiting=[row.id for row, decision, _ in decided if decision.step is Step.WAIT],
    )


def count_due_debits(session: Session, *, on: date) -> int:
    """Return how many instructions of all channels would be taken up."""
    return session.scalar(select(func.count()).where(_is_due(tuple(DebitChannel), on))) or 0


def _due(channels: Collection[str], today: date) -> Select[Any]:
    return (
        select(INSTRUCTION)
        .where(_is_due(channels, today))
        .order_by(INSTRUCTION.c.next_attempt_on, INSTRUCTION.c.id)
        # Another run has those: they are in good hands.
        .with_for_update(skip_locked=True)
    )


def _is_due(channels: Collection[str], today: date) -> ColumnElement[bool]:
    return and_(
        INSTRUCTION.c.state == InstructionState.SCHEDULED,
        INSTRUCTION.c.next_attempt_on <= today,
        INSTRUCTION.c.channel.in_(channels),
    )


def _decide_all(
    session: Session, rows: Sequence[Row[Any]], *, today: date
) -> list[tuple[Row[Any], Decision, Row[Any] | None]]:
    account_ids = sorted({row.account_id for row in rows})
    # As for an order that a person places: two of one person wait for each other, so that both
    # cannot take the same room under the cap.
    rows_changed(
        session,
        update(ACCOUNT)
        .where(ACCOUNT.c.id.in_(account_ids))
        .values(order_count=ACCOUNT.c.order_count + 1),
    )
    usable = set(
        session.scalars(
            select(ACCOUNT.c.id).where(
                ACCOUNT.c.id.in_(account_ids), ACCOUNT.c.status == AccountStatus.NORMAL
            )
        )
    )
    ended = set(
        session.scalars(
            select(AGREEMENT.c.id).where(
                AGREEMENT.c.id.in_({row.agreement_id for row in rows}),
                AGREEMENT.c.state == AgreementState.ENDED,
            )
        )
    )
    mandates: dict[tuple[int, str], Row[Any]] = {
        (mandate.account_id, mandate.channel): mandate
        for mandate in session.execute(_MANDATES, {"accounts": account_ids, "today": today})
    }
    programme_open = _is_programme_open(session, today)
    cap_fen = yearly_cap_of(session, today.year)
    used = _used_fen(session, account_ids, year=today.year)
    by_hand = _paid_by_hand(session, rows, account_ids)
    decided: list[tuple[Row[Any], Decision, Row[Any] | None]] = []
    for row in rows:
        mandate = mandates.get((row.account_id, row.channel))
        paid_fen, has_open_order = by_hand(row)
        standing = Standing(
            agreement_ended=row.agreement_id in ended,
            account_usable=row.account_id in usable,
            programme_open=programme_open,
            has_open_order=has_open_order,
            paid_by_hand_fen=paid_fen,
            room_fen=None if cap_fen is None else cap_fen - used.get(row.account_id, 0),
            mandate_cap_fen=mandate.cap_fen if mandate else None,
            period_over=Period.parse(row.period).last_day < today,
        )
        decision = decide(row.amount_fen, standing)
        if decision.step is Step.SEND:
            used[row.account_id] = used.get(row.account_id, 0) + row.amount_fen
        decided.append((row, decision, mandate))
    return decided


def _is_programme_open(session: Session, today: date) -> bool:
    try:
        Policy.on(session, today).programme.check_open()
    except ProgrammeNotInForce:
        return False
    return True


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
    decided: Sequence[tuple[Row[Any], Decision, Row[Any] | None]],
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
    if failures:
        fail(session, failures, now=now)


def _store_attempts(
    session: Session,
    sending: Sequence[tuple[Row[Any], Row[Any]]],
    *,
    today: date,
    now: datetime,
    new_number: Callable[[str], str],
) -> list[Attempt]:
    if not sending:
        return []
    attempts: list[Attempt] = []
    orders: list[dict[str, Any]] = []
    for row, mandate in sending:
        order_no = new_number("A")
        attempts.append(
            Attempt(
                order_no=order_no,
                channel=row.channel,
                amount_fen=row.amount_fen,
                mandate_reference=mandate.reference,
            )
        )
        orders.append(
            {
                "order_no": order_no,
                "account_id": row.account_id,
                "channel": row.channel,
                "amount_fen": row.amount_fen,
                "state": OrderState.SENDING,
                "request_key": f"debit:{row.id}:{row.attempt_count + 1}",
                "request_digest": digest_request(
                    channel=row.channel, amount_fen=row.amount_fen, mandate=mandate.id
                ),
                "created_at": now,
                "expires_at": now + ANSWER_DUE_AFTER,
                "next_query_at": now + FIRST_QUERY_AFTER,
                "contribution_month": row.period,
                "instruction_id": row.id,
                "mandate_id": mandate.id,
            }
        )
    session.execute(_INSERT_ORDERS, orders)
    rows_changed(
        session,
        update(INSTRUCTION)
        .where(INSTRUCTION.c.id.in_([row.id for row, _ in sending]))
        .values(
            state=InstructionState.ATTEMPTING,
            next_attempt_on=None,
            attempt_count=INSTRUCTION.c.attempt_count + 1,
            first_attempt_on=func.coalesce(INSTRUCTION.c.first_attempt_on, today),
        ),
    )
    return attempts
