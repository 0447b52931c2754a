"""Log-in sessions (登录会话) and the linking of two platforms. Secrets are kept as hashes only."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BINARY, BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, BigId, Instant


class SessionToken(Base):
    """One log-in, good until it expires or is revoked."""

    __tablename__ = "session_token"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(BINARY(32), unique=True)
    """SHA-256 of the token."""
    identity_id: Mapped[int] = mapped_column(ForeignKey("login_identity.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant, index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)


class LinkCode(Base):
    """A one-time code (关联码) that binds another platform's log-in to its issuer's account."""

    __tablename__ = "link_code"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    contributor_id: Mapped[int] = mapped_column(ForeignKey("contributor.id"), unique=True)
    """One live code a person: a new one takes the old one's place."""
    code_index: Mapped[bytes] = mapped_column(BINARY(32), unique=True)
    """HMAC of the code: a plain hash of 8 characters could be searched by whoever has a copy."""
    expires_at: Mapped[datetime] = mapped_column(Instant)


class LinkAttempt(Base):
    """A code typed in by a log-in, right or wrong; they are counted against guessing."""

    __tablename__ = "link_attempt"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    identity_id: Mapped[int] = mapped_column(ForeignKey("login_identity.id"))
    number: Mapped[int] = mapped_column(BigInteger)
    """Counts up for each log-in, so that of two attempts at once only one is the fifth."""
    attempted_at: Mapped[datetime] = mapped_column(Instant)

    __table_args__ = (UniqueConstraint("identity_id", "number"),)
