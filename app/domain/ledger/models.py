"""The journal (账簿): entries, lines, daily seals, holds.

Sign rule: a line's `amount_fen` is positive for a debit (借) and negative for a credit (贷); the
lines of an entry sum to zero. A contributor's balance is the negated sum of their lines, because
住房公积金 is what the fund owes them. Journal rows are never updated or deleted: triggers refuse.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, BigId, Instant, enum_column


class Code(StrEnum):
    """The ledger accounts that operations post to; names and sides stand in the chart."""

    SPECIAL_ACCOUNT = "101"
    CHANNEL_CLEARING = "11901"
    CONTRIBUTORS = "20102"
    SUSPENSE_RECEIPTS = "21901"
    INTEREST_EXPENSE = "41101"
    OPENING_SUBSIDY_EXPENSE = "41104"


class EntryKind(StrEnum):
    """What an entry records."""

    DEPOSIT = "deposit"
    DEPOSIT_REFUND = "deposit_refund"
    SUSPENSE_RECEIPT = "suspense_receipt"
    OPENING_SUBSIDY = "opening_subsidy"
    OPENING_SUBSIDY_REVERSAL = "opening_subsidy_reversal"


class JournalEntry(Base):
    """One balanced movement of money (凭证)."""

    __tablename__ = "journal_entry"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    posting_key: Mapped[str] = mapped_column(String(80), unique=True)
    """What caused it; the same cause can post only once."""
    kind: Mapped[EntryKind] = mapped_column(enum_column(EntryKind, 32))
    business_date: Mapped[date] = mapped_column(ForeignKey("business_day.day"), index=True)
    value_date: Mapped[date] = mapped_column(Date)
    """From when the money counts for interest (起息日)."""
    posted_at: Mapped[datetime] = mapped_column(Instant)
    memo: Mapped[str] = mapped_column(String(120))


class JournalLine(Base):
    """One side of an entry. Contributors' lines name the account, clearing lines the channel."""

    __tablename__ = "journal_line"

    entry_id: Mapped[int] = mapped_column(ForeignKey("journal_entry.id"), primary_key=True)
    line_no: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    code: Mapped[str] = mapped_column(String(10))
    account_id: Mapped[int | None] = mapped_column(BigInteger)
    channel: Mapped[str | None] = mapped_column(String(16))
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    """Positive debit, negative credit, never zero."""

    __table_args__ = (
        CheckConstraint("amount_fen <> 0", name="amount_not_zero"),
        Index("ix_journal_line_account_entry", "account_id", "entry_id"),
    )


class BusinessDay(Base):
    """A day of the books: open until sealed. Every posting holds its row shared, sealing alone."""

    __tablename__ = "business_day"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    sealed_at: Mapped[datetime | None] = mapped_column(Instant)


class DailySeal(Base):
    """The seal of one business day: totals and a hash over its entries and the seal before."""

    __tablename__ = "daily_seal"

    day: Mapped[date] = mapped_column(ForeignKey("business_day.day"), primary_key=True)
    previous_day: Mapped[date | None] = mapped_column(Date, unique=True)
    entry_count: Mapped[int] = mapped_column(BigInteger)
    line_count: Mapped[int] = mapped_column(BigInteger)
    debit_fen: Mapped[int] = mapped_column(BigInteger)
    trial_balance: Mapped[dict[str, Any]] = mapped_column(JSON)
    """By code: debit_fen and credit_fen of the day, balance_fen at its end."""
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    sealed_at: Mapped[datetime] = mapped_column(Instant)


class Hold(Base):
    """Part of a balance promised to something under way (冻结待付); gone when it ends."""

    __tablename__ = "hold"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    hold_key: Mapped[str] = mapped_column(String(80), unique=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    placed_at: Mapped[datetime] = mapped_column(Instant)

    __table_args__ = (CheckConstraint("amount_fen > 0", name="amount_positive"),)
