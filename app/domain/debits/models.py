"""Debit instructions (扣划指令): what a person owes for one period by their agreement.

Each try to take it is a payment order that names it. Amounts in fen.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.agreements.rules import DebitChannel
from app.domain.base import Base, BigId, Instant, enum_column
from app.domain.debits.rules import EndReason, InstructionState
from app.domain.ports.outcomes import Reason
from app.domain.states import StateMachine

# Late truth: whatever was decided meanwhile, the channel took the money after all.
_TAKEN_AFTER_ALL = frozenset({InstructionState.SUCCEEDED})

INSTRUCTION_STATES = StateMachine(
    "debit_instruction",
    {
        InstructionState.SCHEDULED: _TAKEN_AFTER_ALL
        | {
            InstructionState.ATTEMPTING,
            InstructionState.SKIPPED,
            InstructionState.MISSED,
            InstructionState.CANCELLED,
        },
        InstructionState.ATTEMPTING: _TAKEN_AFTER_ALL
        | {
            InstructionState.SCHEDULED,
            InstructionState.MISSED,
            # The money came for an account that can't take it any more.
            InstructionState.CANCELLED,
        },
        # Paid by hand afterwards.
        InstructionState.MISSED: _TAKEN_AFTER_ALL | {InstructionState.SKIPPED},
        InstructionState.SKIPPED: _TAKEN_AFTER_ALL,
        InstructionState.CANCELLED: _TAKEN_AFTER_ALL,
        InstructionState.SUCCEEDED: frozenset(),
    },
)


class DebitInstruction(Base):
    """One period of one account: the database keeps it to one."""

    __tablename__ = "debit_instruction"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    agreement_id: Mapped[int] = mapped_column(ForeignKey("agreement.id"))
    terms_version: Mapped[int] = mapped_column(SmallInteger)
    period: Mapped[str] = mapped_column(String(7))
    """`2026-12` or `2026Q4`."""
    channel: Mapped[DebitChannel] = mapped_column(enum_column(DebitChannel))
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    """Frozen: as it was announced."""
    due_on: Mapped[date] = mapped_column(Date)
    """The debit day that was agreed on."""
    retry_until: Mapped[date] = mapped_column(Date)
    state: Mapped[InstructionState] = mapped_column(enum_column(InstructionState))
    next_attempt_on: Mapped[date | None] = mapped_column(Date)
    attempt_count: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    """Tries so far, those included that could not be sent."""
    first_attempt_on: Mapped[date | None] = mapped_column(Date)
    reason: Mapped[Reason | None] = mapped_column(enum_column(Reason))
    """Why the last attempt failed."""
    end_reason: Mapped[EndReason | None] = mapped_column(enum_column(EndReason))
    paid_order_no: Mapped[str | None] = mapped_column(String(32), unique=True)
    """The order that fulfilled it."""
    announced_from: Mapped[date | None] = mapped_column(Date)
    """First day on which a channel that wants announcements (预扣费通知) takes it; NULL before."""
    announced_until: Mapped[date | None] = mapped_column(Date)
    created_at: Mapped[datetime] = mapped_column(Instant)
    """When it was planned, and the person told."""
    ended_at: Mapped[datetime | None] = mapped_column(Instant)

    __table_args__ = (
        UniqueConstraint("account_id", "period"),
        CheckConstraint("amount_fen > 0", name="amount_positive"),
        CheckConstraint(
            "(state = 'scheduled') = (next_attempt_on IS NOT NULL)", name="scheduled_for_a_day"
        ),
        CheckConstraint(
            "(state = 'succeeded') = (paid_order_no IS NOT NULL)", name="succeeded_by_an_order"
        ),
        CheckConstraint(
            "(state IN ('scheduled', 'attempting')) = (ended_at IS NULL)", name="ended_when_it_says"
        ),
        CheckConstraint(
            "(state IN ('skipped', 'cancelled')) = (end_reason IS NOT NULL)",
            name="end_has_a_reason",
        ),
        CheckConstraint(
            "(announced_from IS NULL) = (announced_until IS NULL)", name="announcement_is_whole"
        ),
        CheckConstraint("state <> 'missed' OR reason IS NOT NULL", name="missed_for_a_reason"),
        Index("ix_debit_instruction_due", "state", "next_attempt_on"),
        Index("ix_debit_instruction_agreement", "agreement_id", "due_on"),
    )
