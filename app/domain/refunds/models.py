"""Refunds (退款) of mistaken deposits: asked for by one person, released by another. Fen."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
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


class RefundReason(StrEnum):
    """Why money goes back to where it came from."""

    DUPLICATE = "duplicate"
    WRONG_AMOUNT = "wrong_amount"
    WRONG_ACCOUNT = "wrong_account"
    OTHER = "other"


class RefundState(StrEnum):
    """Where a refund stands. The amount stays held on the account until it ends."""

    REQUESTED = "requested"
    REJECTED = "rejected"
    SENDING = "sending"
    """Released by the second person; the call to the channel has begun."""
    PROCESSING = "processing"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


REFUND_STATES = StateMachine(
    "refund",
    {
        RefundState.REQUESTED: frozenset({RefundState.REJECTED, RefundState.SENDING}),
        RefundState.SENDING: frozenset(
            {
                RefundState.PROCESSING,
                RefundState.UNKNOWN,
                RefundState.SUCCEEDED,
                RefundState.FAILED,
            }
        ),
        RefundState.PROCESSING: frozenset({RefundState.SUCCEEDED, RefundState.FAILED}),
        RefundState.UNKNOWN: frozenset(
            {RefundState.PROCESSING, RefundState.SUCCEEDED, RefundState.FAILED}
        ),
        RefundState.REJECTED: frozenset(),
        RefundState.SUCCEEDED: frozenset(),
        RefundState.FAILED: frozenset(),
    },
)

IN_FLIGHT = (RefundState.SENDING, RefundState.PROCESSING, RefundState.UNKNOWN)


class Refund(Base):
    """One refund of part or all of one credited order."""

    __tablename__ = "refund"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    refund_no: Mapped[str] = mapped_column(String(32), unique=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("payment_order.id"), index=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[RefundState] = mapped_column(enum_column(RefundState))
    reason: Mapped[RefundReason] = mapped_column(enum_column(RefundReason))
    note: Mapped[str] = mapped_column(String(200))
    request_key: Mapped[str] = mapped_column(String(64))
    request_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    maker: Mapped[str] = mapped_column(String(40))
    """Who asked: `contributor:<id>` or `staff:<id>`."""
    checker: Mapped[str | None] = mapped_column(String(40))
    """Who released or rejected it: `staff:<id>`, never the maker."""
    checker_note: Mapped[str | None] = mapped_column(String(200))
    requested_at: Mapped[datetime] = mapped_column(Instant)
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    channel_reference: Mapped[str | None] = mapped_column(String(64))
    raw_code: Mapped[str | None] = mapped_column(String(64))
    next_query_at: Mapped[datetime | None] = mapped_column(Instant)
    query_count: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")

    __table_args__ = (
        UniqueConstraint("maker", "request_key"),
        CheckConstraint("amount_fen > 0", name="amount_positive"),
        CheckConstraint("checker IS NULL OR checker <> maker", name="two_people"),
        CheckConstraint("state IN ('requested') OR checker IS NOT NULL", name="decided_by_someone"),
        Index("ix_refund_due", "state", "next_query_at"),
    )
