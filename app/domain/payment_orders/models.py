"""Payment orders (支付订单): one instruction to a channel to take `amount_fen` from a person.

The order is also the record of the contribution: once credited it carries the day, the month it
counts for and what was refunded of it. Its times are its history, so a paid order costs no
second row (docs/decisions/0006). A debit's attempt is an order under a mandate: whatever is true of
money that a person pays is true of money that is taken from them (docs/decisions/0017).
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, BigId, Instant, enum_column
from app.domain.ports.outcomes import Reason
from app.domain.states import StateMachine


class OrderState(StrEnum):
    """Where an order stands. Only SUCCEEDED has moved a contributor's balance."""

    SENDING = "sending"
    """Stored; the call to the channel has begun and its answer is not recorded yet."""
    AWAITING_PAYMENT = "awaiting_payment"
    """The channel has it: the payer is to confirm, or a debit is under way there."""
    UNKNOWN = "unknown"
    """The channel's answer was lost or unreadable; a query will tell."""
    CLOSING = "closing"
    """Expired; being closed at the channel. A payment may still win the race."""
    SUCCEEDED = "succeeded"
    CLOSED = "closed"
    FAILED = "failed"
    IN_SUSPENSE = "in_suspense"
    """Paid, but too late or to an account that can't take it: the money waits in suspense."""


_OPEN = frozenset(
    {
        OrderState.SENDING,
        OrderState.AWAITING_PAYMENT,
        OrderState.UNKNOWN,
        OrderState.CLOSING,
    }
)

ORDER_STATES = StateMachine(
    "payment_order",
    {
        OrderState.SENDING: frozenset(
            {
                OrderState.AWAITING_PAYMENT,
                OrderState.UNKNOWN,
                OrderState.FAILED,
                OrderState.CLOSING,
                OrderState.CLOSED,
                OrderState.SUCCEEDED,
                OrderState.IN_SUSPENSE,
            }
        ),
        OrderState.UNKNOWN: frozenset(
            {
                OrderState.AWAITING_PAYMENT,
                OrderState.FAILED,
                OrderState.CLOSING,
                OrderState.CLOSED,
                OrderState.SUCCEEDED,
                OrderState.IN_SUSPENSE,
            }
        ),
        OrderState.AWAITING_PAYMENT: frozenset(
            {
                OrderState.UNKNOWN,
                OrderState.FAILED,
                OrderState.CLOSING,
                OrderState.CLOSED,
                OrderState.SUCCEEDED,
                OrderState.IN_SUSPENSE,
            }
        ),
        OrderState.CLOSING: frozenset(
            {OrderState.CLOSED, OrderState.SUCCEEDED, OrderState.IN_SUSPENSE}
        ),
        # Late truth: the channel took the money after all. What a person paid may have been paid
        # again meanwhile and waits for staff; what was debited is theirs at once.
        OrderState.CLOSED: frozenset({OrderState.IN_SUSPENSE}),
        OrderState.FAILED: frozenset({OrderState.IN_SUSPENSE, OrderState.SUCCEEDED}),
        OrderState.SUCCEEDED: frozenset(),
        OrderState.IN_SUSPENSE: frozenset(),
    },
)

OPEN_STATES = tuple(state for state in OrderState if state in _OPEN)
"""States in which the money may still come."""

_WHILE_OPEN = (
    "CASE WHEN state IN ('sending', 'awaiting_payment', 'unknown', 'closing')"
    " THEN instruction_id END"
)


class PaymentOrder(Base):
    """One order at one channel; `order_no` is ours, unique for ever, stored before it is sent."""

    __tablename__ = "payment_order"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    order_no: Mapped[str] = mapped_column(String(32), unique=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    channel: Mapped[str] = mapped_column(String(16))
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[OrderState] = mapped_column(enum_column(OrderState))
    request_key: Mapped[str] = mapped_column(String(64))
    """The client's Idempotency-Key; for a debit `debit:<instruction>:<number of the attempt>`."""
    request_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    prepay_reference: Mapped[str | None] = mapped_column(String(64))
    channel_reference: Mapped[str | None] = mapped_column(String(64))
    reason: Mapped[Reason | None] = mapped_column(enum_column(Reason))
    """Why it failed."""
    raw_code: Mapped[str | None] = mapped_column(String(64))
    """The channel's last code, for staff."""
    paid_at: Mapped[datetime | None] = mapped_column(Instant)
    """When the money moved, by the channel's clock."""
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    credited_on: Mapped[date | None] = mapped_column(Date)
    contribution_month: Mapped[str | None] = mapped_column(String(7))
    """`2026-12` or, debited for a quarter, `2026Q4`. Known before it is paid where it is a
    debit's; it counts once it is credited."""
    refund_reserved_fen: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Asked back, whether or not refunded yet."""
    refunded_fen: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    next_query_at: Mapped[datetime | None] = mapped_column(Instant)
    query_count: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    instruction_id: Mapped[int | None] = mapped_column(ForeignKey("debit_instruction.id"))
    """The debit instruction that it tries to fulfil, by a debit or paid by hand in its place."""
    mandate_id: Mapped[int | None] = mapped_column(ForeignKey("mandate.id"))
    """The mandate under which it debits; NULL for what a person pays by hand."""
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("debit_batch.id"))
    """The batch file by which it is debited; NULL for one that is sent alone."""
    batch_place: Mapped[int | None] = mapped_column(Integer)
    """Its line there, counted from 1."""
    open_instruction_id: Mapped[int | None] = mapped_column(
        BigInteger, Computed(_WHILE_OPEN, persisted=False)
    )
    """Computed by the database, so nothing can forget it: at most one open order an instruction."""

    __table_args__ = (
        UniqueConstraint("account_id", "request_key"),
        CheckConstraint("mandate_id IS NULL OR instruction_id IS NOT NULL", name="debit_is_owed"),
        CheckConstraint("(batch_id IS NULL) = (batch_place IS NULL)", name="batch_has_a_place"),
        CheckConstraint("amount_fen > 0", name="amount_positive"),
        CheckConstraint(
            "refunded_fen >= 0 AND refund_reserved_fen >= refunded_fen"
            " AND refund_reserved_fen <= amount_fen",
            name="refunds_within_amount",
        ),
        Index("ix_payment_order_due", "state", "next_query_at"),
        Index("ix_payment_order_account_created", "account_id", "created_at"),
        Index("ix_payment_order_instruction_id", "instruction_id"),
        Index("uq_payment_order_batch_place", "batch_id", "batch_place", unique=True),
        Index("uq_payment_order_open_instruction_id", "open_instruction_id", unique=True),
    )
