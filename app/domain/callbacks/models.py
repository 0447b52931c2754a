"""Callbacks (渠道通知) as they came: sealed evidence and what became of each delivery."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, BigId, Instant, enum_column


class CallbackResult(StrEnum):
    """What a genuine callback did."""

    CREDITED = "credited"
    DUPLICATE = "duplicate"
    SUSPENSE = "suspense"
    MISMATCH = "mismatch"
    NOT_PAID = "not_paid"
    REFUND_NOTED = "refund_noted"
    MANDATE_NOTED = "mandate_noted"
    """What it says of a mandate is applied, or the channel will be asked."""
    IGNORED = "ignored"
    PENDING = "pending"
    """Stored, but applying it failed; a job tries again."""


class ChannelCallback(Base):
    """One delivery of a verified callback."""

    __tablename__ = "channel_callback"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel: Mapped[str] = mapped_column(String(16))
    endpoint: Mapped[str] = mapped_column(String(16))
    content_type: Mapped[str] = mapped_column(String(80))
    number: Mapped[str | None] = mapped_column(String(64), index=True)
    result: Mapped[CallbackResult] = mapped_column(enum_column(CallbackResult), index=True)
    body: Mapped[bytes] = mapped_column(LargeBinary(100_000))
    """The raw body, sealed."""
    key_id: Mapped[str] = mapped_column(String(16), index=True)
    received_at: Mapped[datetime] = mapped_column(Instant)
