"""Breaks (差错): what does not agree between a channel and our books, kept for staff to settle."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, BigId, Instant, enum_column


class BreakKind(StrEnum):
    """What is wrong."""

    AMOUNT_MISMATCH = "amount_mismatch"
    UNKNOWN_ORDER = "unknown_order"
    LATE_PAYMENT = "late_payment"
    ACCOUNT_CLOSED = "account_closed"
    PAID_TWICE = "paid_twice"
    UNKNOWN_REFUND = "unknown_refund"
    REFUND_FAILED = "refund_failed"
    LATE_REFUND = "late_refund"
    """The channel gave money back that our books do not hold for it any more."""
    SUBSIDY_NOT_REVERSED = "subsidy_not_reversed"
    LATE_DEBIT = "late_debit"
    """A debit that had failed took the money after all; it is credited."""
    DEBITED_TWICE = "debited_twice"
    """Two debits took the money of one period; both are credited, a refund is proposed."""
    LINE_UNWRITABLE = "line_unwritable"
    """A debit that cannot stand in the bank's file; it is not sent."""
    BATCH_AT_ODDS = "batch_at_odds"
    """A batch that cannot be written or handed in as it was decided on."""
    BATCH_DOUBTFUL = "batch_doubtful"
    """The bank turned a batch away in such a way that some of it may have been taken."""
    BATCH_FILE_REFUSED = "batch_file_refused"
    """A file of the bank that is not right in every respect; nothing of it was used."""
    ODD_BANK_FILE = "odd_bank_file"
    """A file of the bank under a name that no answer to us can have."""
    UNDECIDED = "undecided"
    """The channel has not said for too long what became of an order, a refund or a mandate."""
    UNKNOWN_MANDATE = "unknown_mandate"
    MANDATE_MISMATCH = "mandate_mismatch"
    """An answer about a mandate names another number at the channel, or another signer."""
    MANDATE_DRIFT = "mandate_drift"
    """The channel says of a mandate what nothing between us explains."""


class Break(Base):
    """One disagreement; the key keeps a repeated message from opening a second one."""

    __tablename__ = "settlement_break"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    break_key: Mapped[str] = mapped_column(String(200), unique=True)
    kind: Mapped[BreakKind] = mapped_column(enum_column(BreakKind))
    channel: Mapped[str] = mapped_column(String(16))
    number: Mapped[str] = mapped_column(String(64), index=True)
    """The order, refund or channel number that it is about."""
    expected_fen: Mapped[int | None] = mapped_column(BigInteger)
    found_fen: Mapped[int | None] = mapped_column(BigInteger)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    opened_at: Mapped[datetime] = mapped_column(Instant)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)
