"""Payment orders (支付订单): one instruction to a channel to take `amount_fen` from a person.

The order is also the record of the contribution: once credited it carries the day, the month it
counts for and what was refunded of it. Its times are its history, so a paid order costs no
second row (docs/decisions/0006).
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, BigId, Instant, enum_column
from app.domain.states import StateMachine


class OrderState(StrEnum):
    """Where an order stands. Only SUCCEEDED has moved a contributor's balance."""

    SENDING = "sending"
    """Stored; the call to the channel has begun and its answer is not recorded yet."""
    AWAITING_PAYMENT = "awaiting_payment"
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
                OrderState.CLOSING,
                OrderState.CLOSED,
                OrderState.SUCCEEDED,
                OrderState.IN_SUSPENSE,
            }
        ),
        OrderState.CLOSING: frozenset(
            {OrderState.CLOSED, OrderState.SUCCEEDED, OrderState.IN_SUSPENSE}
        ),
        # Late truth: the channel took the money after all.
        OrderState.CLOSED: frozenset({OrderState.IN_SUSPENSE}),
        OrderState.FAILED: frozenset({OrderState.IN_SUSPENSE}),
        OrderState.SUCCEEDED: frozenset(),
        OrderState.IN_SUSPENSE: frozenset(),
    },
)

OPEN_STATES = tuple(state for state in OrderState if state in _OPEN)
"""States in which the money may still come."""


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
    """The client's Idempotency-Key."""
    request_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    prepay_reference: Mapped[str | None] = mapped_column(String(64))
    channel_reference: Mapped[str | None] = mapped_column(String(64))
    raw_code: Mapped[str | None] = mapped_column(String(64))
    """The channel's last code, for staff."""
    paid_at: Mapped[datetime | None] = mapped_column(Instant)
    """When the money moved, by the channel's clock."""
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    credited_on: Mapped[date | None] = mapped_column(Date)
    contribution_month: Mapped[str | None] = mapped_column(String(7))
    refund_reserved_fen: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Asked back, whether or not refunded yet."""
    refunded_fen: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    next_query_at: Mapped[datetime | None] = mapped_column(Instant)
    query_count: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")

    __table_args__ = (
        UniqueConstraint("account_id", "request_key"),
        CheckConstraint("amount_fen > 0", name="amount_positive"),
        CheckConstraint(
            "refunded_fen >= 0 AND refund_reserved_fen >= refunded_fen"
            " AND refund_reserved_fen <= amount_fen",
            name="refunds_within_amount",
        ),
        Index("ix_payment_order_due", "state", "next_query_at"),
        Index("ix_payment_order_account_created", "account_id", "created_at"),
    )
