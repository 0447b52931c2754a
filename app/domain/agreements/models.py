"""Agreements (缴存协议), their versioned terms, the consent to each, and every change of state.

Terms and changes of state are append-only by trigger. What is personal stands apart in the consent,
because a change of key has to write it again; its text is held fast by the hash beside the terms.
Amounts in fen.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import (
    BINARY,
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.agreements.rules import DebitChannel, Frequency
from app.domain.base import Base, BigId, Instant, Sealed, enum_column
from app.domain.contributors.models import Platform
from app.domain.states import StateMachine


class AgreementState(StrEnum):
    """Where an agreement stands. All but ENDED are live: an account has at most one of them."""

    DRAFT = "draft"
    """Written down; the consent to it is recorded in the same transaction."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    ENDED = "ended"


AGREEMENT_STATES = StateMachine(
    "agreement",
    {
        AgreementState.DRAFT: frozenset({AgreementState.ACTIVE}),
        AgreementState.ACTIVE: frozenset({AgreementState.SUSPENDED, AgreementState.ENDED}),
        AgreementState.SUSPENDED: frozenset({AgreementState.ACTIVE, AgreementState.ENDED}),
        AgreementState.ENDED: frozenset(),
    },
)


class Agreement(Base):
    """One agreement of one account."""

    __tablename__ = "agreement"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    agreement_no: Mapped[str] = mapped_column(String(32), unique=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    live_account_id: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    """The account while the agreement is live, NULL once it has ended: NULLs may repeat, so the
    database itself keeps it to one live agreement an account."""
    state: Mapped[AgreementState] = mapped_column(enum_column(AgreementState))
    version_count: Mapped[int] = mapped_column(SmallInteger, default=0)
    suspended_from: Mapped[date | None] = mapped_column(Date)
    """First day of the last suspension; periods due within it are not debited."""
    suspended_through: Mapped[date | None] = mapped_column(Date, index=True)
    created_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)

    __table_args__ = (
        # A comparison with NULL is unknown, which a check lets pass: hence each IS NOT NULL.
        CheckConstraint(
            "(state = 'ended' AND live_account_id IS NULL AND ended_at IS NOT NULL)"
            " OR (state <> 'ended' AND live_account_id IS NOT NULL"
            " AND live_account_id = account_id AND ended_at IS NULL)",
            name="live_until_ended",
        ),
        CheckConstraint(
            "(suspended_from IS NULL) = (suspended_through IS NULL)", name="suspension_is_whole"
        ),
    )


class AgreementTerms(Base):
    """One version of an agreement's terms. Append-only."""

    __tablename__ = "agreement_terms"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    agreement_id: Mapped[int] = mapped_column(ForeignKey("agreement.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    version: Mapped[int] = mapped_column(SmallInteger)
    frequency: Mapped[Frequency] = mapped_column(enum_column(Frequency))
    amount_fen: Mapped[int | None] = mapped_column(BigInteger)
    """Per period; NULL for a free agreement, as are the day and the channel."""
    debit_day: Mapped[int | None] = mapped_column(SmallInteger)
    channel: Mapped[DebitChannel | None] = mapped_column(enum_column(DebitChannel))
    first_period: Mapped[str] = mapped_column(String(7))
    """`2026-12` or `2026Q4`: from here on it applies, until a higher version does."""
    applies_from: Mapped[date] = mapped_column(Date)
    """First day of that period."""
    text_version: Mapped[str] = mapped_column(String(10))
    text_sha256: Mapped[bytes] = mapped_column(BINARY(32))
    """SHA-256 of the text that was read and signed, UTF-8."""
    signed_at: Mapped[datetime] = mapped_column(Instant)
    request_key: Mapped[str] = mapped_column(String(64))
    request_digest: Mapped[bytes] = mapped_column(LargeBinary(32))

    __table_args__ = (
        UniqueConstraint("agreement_id", "version"),
        UniqueConstraint("account_id", "request_key"),
        # 28: a later day does not exist in every month, and no channel takes it.
        CheckConstraint(
            "(frequency = 'free' AND amount_fen IS NULL AND debit_day IS NULL AND channel IS NULL)"
            " OR (frequency <> 'free' AND amount_fen IS NOT NULL AND amount_fen > 0"
            " AND debit_day IS NOT NULL AND debit_day BETWEEN 1 AND 28 AND channel IS NOT NULL)",
            name="whole_terms",
        ),
    )


class AgreementConsent(Base):
    """How one version was consented to; sealed, so the text and the device are for few to read."""

    __tablename__ = "agreement_consent"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    terms_id: Mapped[int] = mapped_column(ForeignKey("agreement_terms.id"), unique=True)
    platform: Mapped[Platform] = mapped_column(enum_column(Platform, 10))
    text: Mapped[bytes] = mapped_column(LargeBinary(32768))
    """The text that was signed, whole."""
    device: Mapped[bytes] = mapped_column(Sealed)
    client_ip: Mapped[bytes] = mapped_column(Sealed)
    key_id: Mapped[str] = mapped_column(String(16), index=True)


class AgreementStateChange(Base):
    """One move of an agreement's state. Append-only."""

    __tablename__ = "agreement_state_change"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    agreement_id: Mapped[int] = mapped_column(ForeignKey("agreement.id"))
    number: Mapped[int] = mapped_column(SmallInteger)
    from_state: Mapped[AgreementState | None] = mapped_column(enum_column(AgreementState))
    to_state: Mapped[AgreementState] = mapped_column(enum_column(AgreementState))
    actor: Mapped[str] = mapped_column(String(40))
    """`contributor:<id>`, or `system` for what the calendar does."""
    reason: Mapped[str] = mapped_column(String(200))
    suspended_from: Mapped[date | None] = mapped_column(Date)
    suspended_through: Mapped[date | None] = mapped_column(Date)
    at: Mapped[datetime] = mapped_column(Instant)

    __table_args__ = (UniqueConstraint("agreement_id", "number"),)
