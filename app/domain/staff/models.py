"""Members of staff, their console sessions, and every attempt to log in."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BINARY, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, BigId, Instant, enum_column


class Role(StrEnum):
    """What a member of staff is there for."""

    CLERK = "clerk"
    """经办: prepares cases."""
    REVIEWER = "reviewer"
    """复核: decides what a clerk prepared."""
    SUPERVISOR = "supervisor"
    """主管: large amounts and exceptions."""
    AUDITOR = "auditor"
    """审计: reads everything, changes nothing."""
    ADMINISTRATOR = "administrator"
    """管理员: staff and parameters, no money."""


class LoginResult(StrEnum):
    """How an attempt to log in began: with a try left, or not."""

    TRIED = "tried"
    LOCKED = "locked"
    UNKNOWN = "unknown"


class StaffMember(Base):
    """One person who works at the centre. Never deleted: records name them."""

    __tablename__ = "staff_member"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    username: Mapped[str] = mapped_column(String(32), unique=True)
    display_name: Mapped[str] = mapped_column(String(30))
    role: Mapped[Role] = mapped_column(enum_column(Role, 16))
    password_hash: Mapped[str] = mapped_column(String(255))
    """Argon2id with its own parameters and salt."""
    failed_count: Mapped[int] = mapped_column(Integer, default=0)
    """Tries since the last success or lock, the one under way included."""
    locked_until: Mapped[datetime | None] = mapped_column(Instant)
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(Instant)


class StaffSession(Base):
    """One log-in to the console."""

    __tablename__ = "staff_session"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(BINARY(32), unique=True)
    """SHA-256 of the token."""
    staff_id: Mapped[int] = mapped_column(ForeignKey("staff_member.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant, index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)


class StaffLoginAttempt(Base):
    """An attempt to log in, written for known and unknown names alike.

    The name is only kept where it is one: people type passwords into the wrong field.
    """

    __tablename__ = "staff_login_attempt"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    staff_id: Mapped[int | None] = mapped_column(ForeignKey("staff_member.id"), index=True)
    result: Mapped[LoginResult] = mapped_column(enum_column(LoginResult, 10))
    attempted_at: Mapped[datetime] = mapped_column(Instant)
