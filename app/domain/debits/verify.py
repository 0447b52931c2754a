"""The invariants check over debits: instructions, and the orders that try to take their money."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import String, and_, case, func, or_, select, type_coerce
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.breaks.models import Break, BreakKind
from app.domain.debits.models import DebitInstruction
from app.domain.debits.rules import InstructionState
from app.domain.ledger.verify import Offence
from app.domain.mandates.models import Mandate
from app.domain.payment_orders.models import OPEN_STATES, OrderState, PaymentOrder

BREAK = table_of(Break)
INSTRUCTION = table_of(DebitInstruction)
MANDATE = table_of(Mandate)
ORDER = table_of(PaymentOrder)

_IS_DEBIT = ORDER.c.mandate_id.is_not(None)
_OVERTAKEN = (InstructionState.SUCCEEDED, InstructionState.CANCELLED)
_HAS_MONEY = (OrderState.SUCCEEDED, OrderState.IN_SUSPENSE)


def verify_debits(session: Session) -> Iterator[Offence]:
    """Yield every contradiction between instructions, their orders, mandates and breaks."""
    yield from _successes_have_their_order(session)
    yield from _orders_are_of_their_instruction(session)
    yield from _open_orders_are_attempts(session)
    yield from _taken_money_counts_or_is_a_break(session)


def _successes_have_their_order(session: Session) -> Iterator[Offence]:
    wrong = (
        select(INSTRUCTION.c.id, INSTRUCTION.c.paid_order_no, type_coerce(ORDER.c.state, String))
        .join_from(
            INSTRUCTION,
            ORDER,
            and_(
                ORDER.c.order_no == INSTRUCTION.c.paid_order_no,
                ORDER.c.instruction_id == INSTRUCTION.c.id,
                _IS_DEBIT,
            ),
            isouter=True,
        )
        .where(
            INSTRUCTION.c.state == InstructionState.SUCCEEDED,
            ORDER.c.state.is_distinct_from(OrderState.SUCCEEDED),
        )
        .order_by(INSTRUCTION.c.id)
    )
    for number, order_no, state in session.execute(wrong):
        yield Offence(
            "debit_succeeded_without_its_order",
            f"instruction #{number}",
            f"{order_no} succeeded",
            str(state),
        )


def _orders_are_of_their_instruction(session: Session) -> Iterator[Offence]:
    """What a payment by hand counts for is its own business; whose it is, and how much, is not."""
    wrong = (
        select(
            ORDER.c.order_no,
            ORDER.c.account_id.label("account_id"),
            ORDER.c.amount_fen,
            ORDER.c.channel,
            ORDER.c.contribution_month,
            INSTRUCTION.c.account_id.label("owing_id"),
            INSTRUCTION.c.amount_fen.label("owed_fen"),
            type_coerce(INSTRUCTION.c.channel, String).label("agreed_channel"),
            INSTRUCTION.c.period,
            MANDATE.c.account_id.label("mandate_of"),
            MANDATE.c.channel.label("mandate_at"),
        )
        .join_from(ORDER, INSTRUCTION, INSTRUCTION.c.id == ORDER.c.instruction_id)
        .join(MANDATE, MANDATE.c.id == ORDER.c.mandate_id, isouter=True)
        .where(
            or_(
                ORDER.c.account_id != INSTRUCTION.c.account_id,
                ORDER.c.amount_fen != INSTRUCTION.c.amount_fen,
                and_(
                    _IS_DEBIT,
                    or_(
                        ORDER.c.channel != type_coerce(INSTRUCTION.c.channel, String),
                        ORDER.c.contribution_month.is_distinct_from(INSTRUCTION.c.period),
                        MANDATE.c.account_id.is_distinct_from(ORDER.c.account_id),
                        MANDATE.c.channel.is_distinct_from(ORDER.c.channel),
                    ),
                ),
            )
        )
        .order_by(ORDER.c.id)
    )
    for row in session.execute(wrong):
        expected = f"{row.owed_fen} #{row.owing_id} {row.agreed_channel} {row.period}"
        found = f"{row.amount_fen} #{row.account_id} {row.channel} {row.contribution_month}"
        if row.mandate_of is not None:
            found += f" by a mandate of #{row.mandate_of} at {row.mandate_at}"
        yield Offence("order_differs_from_instruction", row.order_no, expected, found)


def _open_orders_are_attempts(session: Session) -> Iterator[Offence]:
    """One attempt while it says so, and none otherwise.

    A period that late money of an earlier attempt has ended may still have its last attempt open.
    """
    is_open = and_(_IS_DEBIT, ORDER.c.state.in_(OPEN_STATES))
    open_count = func.sum(case((is_open, 1), else_=0))
    taken_count = func.sum(case((and_(_IS_DEBIT, ORDER.c.state.in_(_HAS_MONEY)), 1), else_=0))
    attempting = INSTRUCTION.c.state == InstructionState.ATTEMPTING
    overtaken = and_(INSTRUCTION.c.state.in_(_OVERTAKEN), taken_count > 0, open_count == 1)
    wrong = (
        select(INSTRUCTION.c.id, type_coerce(INSTRUCTION.c.state, String), open_count)
        .join_from(INSTRUCTION, ORDER, ORDER.c.instruction_id == INSTRUCTION.c.id, isouter=True)
        .group_by(INSTRUCTION.c.id, INSTRUCTION.c.state)
        .having(
            or_(
                and_(attempting, open_count != 1),
                and_(~attempting, open_count != 0, ~overtaken),
            )
        )
        .order_by(INSTRUCTION.c.id)
    )
    for number, state, count in session.execute(wrong):
        yield Offence(
            "open_debits_differ_from_instruction", f"instruction #{number}", state, str(count)
        )


def _taken_money_counts_or_is_a_break(session: Session) -> Iterator[Offence]:
    twice = select(BREAK.c.number).where(BREAK.c.kind == BreakKind.DEBITED_TWICE)
    wrong = (
        select(
            ORDER.c.order_no, type_coerce(INSTRUCTION.c.state, String), INSTRUCTION.c.paid_order_no
        )
        .join_from(ORDER, INSTRUCTION, INSTRUCTION.c.id == ORDER.c.instruction_id)
        .where(
            _IS_DEBIT,
            ORDER.c.state == OrderState.SUCCEEDED,
            or_(
                INSTRUCTION.c.state != InstructionState.SUCCEEDED,
                and_(
                    INSTRUCTION.c.paid_order_no != ORDER.c.order_no,
                    ORDER.c.order_no.not_in(twice),
                ),
            ),
        )
        .order_by(ORDER.c.id)
    )
    for order_no, state, paid in session.execute(wrong):
        kind = "debit_taken_twice_without_break" if state == "succeeded" else "debit_without_effect"
        yield Offence(kind, order_no, "succeeded", f"{state} {paid}")
