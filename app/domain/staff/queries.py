"""Who sits at the console, and who works here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.staff.models import Role, StaffMember, StaffSession
from app.domain.staff.rules import TOKEN_LENGTH_MAX, hash_token

SESSION = table_of(StaffSession)
MEMBER = table_of(StaffMember)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffCaller:
    """The member of staff behind a valid console session."""

    staff_id: int
    username: str
    display_name: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffListed:
    """A line of the staff list."""

    username: str
    display_name: str
    role: Role
    active: bool
    locked_until: datetime | None
    created_at: datetime


def authenticate_staff(session: Session, token: str, *, now: datetime) -> StaffCaller | None:
    """Return who holds this token; None if it is wrong, expired, revoked or its holder disabled."""
    if len(token) > TOKEN_LENGTH_MAX:
        return None
    found = session.execute(
        select(MEMBER.c.id, MEMBER.c.username, MEMBER.c.display_name, MEMBER.c.role)
        .select_from(SESSION)
        .join(MEMBER, MEMBER.c.id == SESSION.c.staff_id)
        .where(
            SESSION.c.token_hash == hash_token(token),
            SESSION.c.expires_at > now,
            SESSION.c.revoked_at.is_(None),
            MEMBER.c.active,
        )
    ).one_or_none()
    if found is None:
        return None
    return StaffCaller(
        staff_id=found.id,
        username=found.username,
        display_name=found.display_name,
        role=found.role,
    )


def list_staff(session: Session) -> list[StaffListed]:
    """Return everybody who works or worked here, by name."""
    members = session.scalars(select(StaffMember).order_by(StaffMember.username))
    return [
        StaffListed(
            username=member.username,
            display_name=member.display_name,
            role=member.role,
            active=member.active,
            locked_until=member.locked_until,
            created_at=member.created_at,
        )
        for member in members
    ]
