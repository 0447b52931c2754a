"""Subsidies (补贴) granted, each with the working that explains its amount. Fen."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Date, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, BigId, enum_column


class SubsidyKind(StrEnum):
    """Clause 3: 开户补贴 once; 年度缴存补贴 each year."""

    OPENING = "opening"


class SubsidyGrant(Base):
    """One subsidy credited to one person."""

    __tablename__ = "subsidy_grant"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    grant_key: Mapped[str] = mapped_column(String(80), unique=True)
    contributor_id: Mapped[int] = mapped_column(ForeignKey("contributor.id"), index=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    kind: Mapped[SubsidyKind] = mapped_column(enum_column(SubsidyKind))
    due_fen: Mapped[int] = mapped_column(BigInteger)
    """What the tier gives, before the lifetime cap."""
    paid_fen: Mapped[int] = mapped_column(BigInteger)
    working: Mapped[dict[str, Any]] = mapped_column(JSON)
    granted_on: Mapped[date] = mapped_column(Date)
    reversed_on: Mapped[date | None] = mapped_column(Date)

    __table_args__ = (
        CheckConstraint("paid_fen >= 0 AND paid_fen <= due_fen", name="paid_within_due"),
    )
