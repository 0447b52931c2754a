"""People (缴存人), how they log in, and their fund accounts (个人账户).

Amounts in fen; balances never negative. Personal data are sealed; look-ups go through blind
indices.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BINARY,
    JSON,
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, BigId, Instant, Sealed, enum_column
from app.domain.contributors.documents import DocumentKind
from app.domain.contributors.rules import EmploymentForm


class AccountStatus(StrEnum):
    """Status of a fund account; the codes of JGJ/T 320 stand in brackets."""

    NORMAL = "normal"  # 01
    SEALED = "sealed"  # 02
    CLOSED = "closed"  # 05
    FROZEN = "frozen"  # 06


class Platform(StrEnum):
    """Where a person logs in from."""

    WECHAT = "wechat"
    ALIPAY = "alipay"


class Contributor(Base):
    """One person. Personal data are sealed by the vault; look-ups go through blind indices."""

    __tablename__ = "contributor"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    document_kind: Mapped[DocumentKind] = mapped_column(enum_column(DocumentKind, 40))
    document_index: Mapped[bytes] = mapped_column(BINARY(32), unique=True)
    """HMAC of kind and number: one person, one account."""
    document_no: Mapped[bytes] = mapped_column(Sealed)
    document_expires_on: Mapped[date | None] = mapped_column(Date)
    """Last day of validity, where the person declared one."""
    real_name: Mapped[bytes] = mapped_column(Sealed)
    phone: Mapped[bytes] = mapped_column(Sealed)
    phone_index: Mapped[bytes] = mapped_column(BINARY(32), index=True)
    birth_date: Mapped[bytes] = mapped_column(Sealed)
    key_id: Mapped[str] = mapped_column(String(16), index=True)
    """The key that sealed this row; `flask keys rotate` looks for old ones."""
    employment_form: Mapped[EmploymentForm] = mapped_column(enum_column(EmploymentForm, 20))
    industry_tags: Mapped[list[str]] = mapped_column(JSON)
    declared_facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    """What the person declares, each with its evidence: `DeclaredFacts.to_json`."""
    subsidy_paid_fen: Mapped[int] = mapped_column(BigInteger, default=0)
    """Subsidies of all kinds over the person's life, for the cap of clause 3."""
    enrolled_at: Mapped[datetime] = mapped_column(Instant)

    __table_args__ = (CheckConstraint("subsidy_paid_fen >= 0", name="subsidy_not_negative"),)


class Account(Base):
    """A contributor's fund account. Balance columns move only with lines of the journal."""

    __tablename__ = "account"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    contributor_id: Mapped[int] = mapped_column(ForeignKey("contributor.id"), unique=True)
    account_no: Mapped[str] = mapped_column(String(20), unique=True)
    status: Mapped[AccountStatus] = mapped_column(enum_column(AccountStatus, 10))
    balance_fen: Mapped[int] = mapped_column(BigInteger, default=0)
    held_fen: Mapped[int] = mapped_column(BigInteger, default=0)
    """Part of the balance promised to a refund or withdrawal under way."""
    order_count: Mapped[int] = mapped_column(BigInteger, default=0)
    """Raised by every new payment order, so that two of one person's wait for each other."""
    first_deposit_on: Mapped[date | None] = mapped_column(Date)
    """Day of the first recorded deposit; decides the opening subsidy."""
    opened_on: Mapped[date] = mapped_column(Date)

    __table_args__ = (
        CheckConstraint("balance_fen >= 0", name="balance_not_negative"),
        CheckConstraint("held_fen >= 0 AND held_fen <= balance_fen", name="held_within_balance"),
    )


class LoginIdentity(Base):
    """A person as one platform knows them (openid / open_id); nobody's until they enrol or link.

    It stands here and not with the sessions because enrolling binds it: a session may know of
    contributors, a contributor knows nothing of sessions.
    """

    __tablename__ = "login_identity"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    platform: Mapped[Platform] = mapped_column(enum_column(Platform, 10))
    subject_index: Mapped[bytes] = mapped_column(BINARY(32))
    """HMAC of the platform's id of the person."""
    subject: Mapped[bytes] = mapped_column(Sealed)
    key_id: Mapped[str] = mapped_column(String(16), index=True)
    contributor_id: Mapped[int | None] = mapped_column(ForeignKey("contributor.id"))
    created_at: Mapped[datetime] = mapped_column(Instant)

    __table_args__ = (
        UniqueConstraint("platform", "subject_index"),
        # At most one a platform, so that a payment always knows whose phone to ask.
        UniqueConstraint("contributor_id", "platform"),
    )
