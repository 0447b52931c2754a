"""Staff log-in with lock-out, and the staff list itself."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.errors import Conflict, NotAuthenticated, NotFound
from app.domain.ports import Ports
from app.domain.staff.models import (
    LoginResult,
    Role,
    StaffLoginAttempt,
    StaffMember,
    StaffSession,
)
from app.domain.staff.passwords import hash_password, is_outdated, is_password
from app.domain.staff.rules import (
    FAILURES_MAX,
    LOCKED_FOR,
    SESSION_LIFETIME,
    TOKEN_BYTES,
    UsernameInvalid,
    check_password,
    clean_display_name,
    clean_username,
    hash_token,
)

SESSION = table_of(StaffSession)
MEMBER = table_of(StaffMember)


class StaffLoginRefused(NotAuthenticated):
    """Unknown name, wrong password, locked or disabled: the answer is the same."""

    code = "staff_login_refused"
    default_message = (
        f"用户名或密码不正确。连续输错 {FAILURES_MAX} 次将锁定 "
        f"{int(LOCKED_FOR.total_seconds() // 60)} 分钟"
    )


class UsernameTaken(Conflict):
    """Somebody has or had this log-in name."""

    code = "username_taken"
    default_message = "该用户名已被使用"


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffLoggedIn:
    """A console session; the token is shown this once."""

    token: str = field(repr=False)
    expires_at: datetime
    staff_id: int
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """What the password is to be checked against; no id means: whatever it is, refuse."""

    staff_id: int | None = None
    password_hash: str | None = None


def log_in_staff(ports: Ports, *, username: str, password: str) -> StaffLoggedIn:
    """Begin a console session.

    The try is counted before the password is looked at, so that guesses sent side by side get no
    more tries than guesses sent one after another. An unknown name costs the same work: one row
    written, one hash computed.

    Raises:
        StaffLoginRefused: for every reason the same.
    """
    claimed = ports.transact(lambda session: _claim_try(session, username, now=ports.now()))
    right = is_password(password, claimed.password_hash)
    staff_id = claimed.staff_id
    if not right or staff_id is None or claimed.password_hash is None:
        raise StaffLoginRefused
    renewed = hash_password(password) if is_outdated(claimed.password_hash) else None
    token = secrets.token_urlsafe(TOKEN_BYTES)

    def begin(session: Session) -> StaffLoggedIn:
        now = ports.now()
        member = session.get(StaffMember, staff_id, with_for_update=True, populate_existing=True)
        if member is None or not member.active or member.password_hash != claimed.password_hash:
            raise StaffLoginRefused
        member.failed_count = 0
        member.locked_until = None
        if renewed is not None:
            member.password_hash = renewed
        expires_at = now + SESSION_LIFETIME
        session.add(
            StaffSession(
                token_hash=hash_token(token),
                staff_id=member.id,
                created_at=now,
                expires_at=expires_at,
            )
        )
        return StaffLoggedIn(
            token=token, expires_at=expires_at, staff_id=member.id, role=member.role
        )

    return ports.transact(begin)


def log_out_staff(ports: Ports, *, token: str) -> None:
    """End the console session of this token; a token that is no good is none to end."""
    ports.transact(
        lambda session: rows_changed(
            session,
            update(SESSION)
            .where(SESSION.c.token_hash == hash_token(token), SESSION.c.revoked_at.is_(None))
            .values(revoked_at=ports.now()),
        )
    )


def add_staff_member(
    ports: Ports, *, username: str, display_name: str, role: Role, password: str
) -> int:
    """Add a member of staff who can log in at once.

    Returns: their id.

    Raises:
        UsernameInvalid, DisplayNameInvalid, PasswordTooWeak: the rule is in the message.
        UsernameTaken: also when its holder is disabled: names in records stay unambiguous.
    """
    name = clean_username(username)
    shown = clean_display_name(display_name)
    check_password(password, username=name)
    password_hash = hash_password(password)

    def add(session: Session) -> int:
        member = StaffMember(
            username=name,
            display_name=shown,
            role=role,
            password_hash=password_hash,
            created_at=ports.now(),
        )
        session.add(member)
        session.flush()
        return member.id

    try:
        return ports.transact(add)
    except IntegrityError:
        raise UsernameTaken(field="username") from None


def disable_staff_member(ports: Ports, *, username: str) -> None:
    """Bar a member of staff from logging in and end their sessions.

    Raises:
        NotFound: no such name.
    """

    def disable(session: Session) -> None:
        now = ports.now()
        staff_id = session.scalar(select(MEMBER.c.id).where(MEMBER.c.username == username))
        if staff_id is None:
            raise NotFound("没有这个用户名")
        rows_changed(session, update(MEMBER).where(MEMBER.c.id == staff_id).values(active=False))
        rows_changed(
            session,
            update(SESSION)
            .where(SESSION.c.staff_id == staff_id, SESSION.c.revoked_at.is_(None))
            .values(revoked_at=now),
        )

    ports.transact(disable)


def _claim_try(session: Session, username: str, *, now: datetime) -> _Try:
    try:
        name = clean_username(username)
    except UsernameInvalid:
        name = ""
    member = session.scalars(
        select(StaffMember)
        .where(StaffMember.username == name, StaffMember.active)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if member is None:
        result, claimed = LoginResult.UNKNOWN, _Try()
    elif member.locked_until is not None and member.locked_until > now:
        result, claimed = LoginResult.LOCKED, _Try()
    else:
        result = LoginResult.TRIED
        claimed = _Try(staff_id=member.id, password_hash=member.password_hash)
        member.failed_count += 1
        if member.failed_count >= FAILURES_MAX:
            # The lock stands unless this very try turns out right; it also begins a new count.
            member.failed_count = 0
            member.locked_until = now + LOCKED_FOR
    session.add(
        StaffLoginAttempt(staff_id=member.id if member else None, result=result, attempted_at=now)
    )
    session.flush()
    return claimed
