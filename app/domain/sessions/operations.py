"""Logging in and out. Only hashes of tokens are kept."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Select, Table, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.contributors.models import Account, AccountStatus, LoginIdentity, Platform
from app.domain.errors import Invalid, NotPermitted
from app.domain.pii import Vault
from app.domain.ports import Ports
from app.domain.sessions.models import LinkAttempt, LinkCode, SessionToken
from app.domain.sessions.queries import outdated
from app.domain.sessions.rules import (
    TOKEN_BYTES,
    TOKEN_LIFETIME,
    hash_token,
)

TOKEN = table_of(SessionToken)
IDENTITY = table_of(LoginIdentity)
LINK_CODE = table_of(LinkCode)
LINK_ATTEMPT = table_of(LinkAttempt)


class UnknownPlatform(Invalid):
    """No log-in of this name is configured."""

    code = "unknown_platform"
    default_message = "不支持该登录方式"


class AccountFrozen(NotPermitted):
    """The person's account is frozen: nothing can be done or seen from the phone."""

    code = "account_frozen"
    default_message = "您的个人账户已冻结，请持本人证件到公积金中心窗口办理"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """What the mini-program gets; the token is shown this once."""

    token: str = field(repr=False)
    expires_at: datetime
    enrolled: bool


def log_in(
    ports: Ports, *, platform: str, code: str, lifetime: timedelta = TOKEN_LIFETIME
) -> LoggedIn:
    """Exchange a platform's one-time code for a session of ours.

    The platform is asked before any transaction begins.

    Raises:
        UnknownPlatform: not configured.
        LoginRefused, ChannelTrouble: what the platform says.
        AccountFrozen: the person's account is frozen.
    """
    login = ports.logins.get(platform)
    if login is None or platform not in set(Platform):
        raise UnknownPlatform(field="platform")
    subject = login.subject_of(code)
    token = secrets.token_urlsafe(TOKEN_BYTES)

    def begin(session: Session) -> LoggedIn:
        now = ports.now()
        identity = _find_or_add(session, ports.vault, Platform(platform), subject, now=now)
        _check_not_frozen(session, identity)
        session.add(
            SessionToken(
                token_hash=hash_token(token),
                identity_id=identity.id,
                created_at=now,
                expires_at=now + lifetime,
            )
        )
        return LoggedIn(
            token=token,
            expires_at=now + lifetime,
            enrolled=identity.contributor_id is not None,
        )

    try:
        return ports.transact(begin)
    except IntegrityError:
        # The same person's first two log-ins at once: the other one's identity is there now.
        return ports.transact(begin)


def log_out(ports: Ports, *, token: str) -> None:
    """End the session of this token; a token that is no good is none to end."""
    ports.transact(
        lambda session: rows_changed(
            session,
            update(TOKEN)
            .where(TOKEN.c.token_hash == hash_token(token), TOKEN.c.revoked_at.is_(None))
            .values(revoked_at=ports.now()),
        )
    )


def revoke_all(ports: Ports, *, contributor_id: int) -> int:
    """End every session of a person on every platform, e.g. after a lost phone.

    Returns: how many were still open.
    """
    identities = select(IDENTITY.c.id).where(IDENTITY.c.contributor_id == contributor_id)
    return ports.transact(
        lambda session: rows_changed(
            session,
            update(TOKEN)
            .where(
                TOKEN.c.identity_id.in_(identities),
                TOKEN.c.revoked_at.is_(None),
                TOKEN.c.expires_at > ports.now(),
            )
            .values(revoked_at=ports.now()),
        )
    )


def remove_expired(ports: Ports, *, batch_size: int = 500) -> int:
    """Remove sessions, link codes and link attempts that can no longer matter; for a daily job.

    Returns: how many rows went.
    """
    removed = 0
    for table, condition in outdated(now=ports.now()):
        while True:
            chosen = select(table.c.id).where(condition).limit(batch_size)
            count = ports.transact(partial(_remove, table=table, chosen=chosen))
            removed += count
            if count < batch_size:
                break
    return removed


def _remove(session: Session, *, table: Table, chosen: Select[tuple[int]]) -> int:
    # MariaDB knows no LIMIT inside IN (SELECT …).
    return rows_changed(session, delete(table).where(table.c.id.in_(session.scalars(chosen).all())))


def _find_or_add(
    session: Session, vault: Vault, platform: Platform, subject: str, *, now: datetime
) -> LoginIdentity:
    subject_index = vault.blind_index(subject, context=f"login_identity.{platform.value}")
    identity = session.scalars(
        select(LoginIdentity).where(
            LoginIdentity.platform == platform, LoginIdentity.subject_index == subject_index
        )
    ).one_or_none()
    if identity is None:
        identity = LoginIdentity(
            platform=platform,
            subject_index=subject_index,
            subject=vault.seal(subject, context="login_identity.subject"),
            key_id=vault.active_key_id,
            created_at=now,
        )
        session.add(identity)
        session.flush()
    return identity


def _check_not_frozen(session: Session, identity: LoginIdentity) -> None:
    status = session.scalar(
        select(Account.status).where(Account.contributor_id == identity.contributor_id)
    )
    if status is AccountStatus.FROZEN:
        raise AccountFrozen
