"""Who is calling, and how a platform knows a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Table, func, or_, select
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.contributors.models import Account, AccountStatus, LoginIdentity, Platform
from app.domain.errors import Conflict
from app.domain.pii import Vault
from app.domain.sessions.models import LinkAttempt, LinkCode, SessionToken
from app.domain.sessions.rules import LINK_ATTEMPTS_WINDOW, TOKEN_LENGTH_MAX, hash_token

TOKEN = table_of(SessionToken)
IDENTITY = table_of(LoginIdentity)
ACCOUNT = table_of(Account)

_CALLER = (
    select(
        IDENTITY.c.id,
        IDENTITY.c.platform,
        IDENTITY.c.contributor_id,
        ACCOUNT.c.id.label("account_id"),
    )
    .select_from(TOKEN)
    .join(IDENTITY, IDENTITY.c.id == TOKEN.c.identity_id)
    .outerjoin(ACCOUNT, ACCOUNT.c.contributor_id == IDENTITY.c.contributor_id)
    .where(
        TOKEN.c.revoked_at.is_(None),
        or_(ACCOUNT.c.id.is_(None), ACCOUNT.c.status != AccountStatus.FROZEN),
    )
)


class PlatformNotLinked(Conflict):
    """The person has never logged in on that platform, so it cannot ask them to pay."""

    code = "platform_not_linked"
    default_message = "您尚未在该平台登录并关联账户，不能使用该支付方式"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The person behind a valid token; without contributor and account until they enrol."""

    identity_id: int
    platform: Platform
    contributor_id: int | None
    account_id: int | None


def authenticate(session: Session, token: str, *, now: datetime) -> Caller | None:
    """Return who holds this token; None if it is wrong, expired or revoked, or the account frozen.

    One SELECT by unique index: every request of the mini-program begins here.
    """
    if len(token) > TOKEN_LENGTH_MAX:
        return None
    found = session.execute(
        _CALLER.where(TOKEN.c.token_hash == hash_token(token), TOKEN.c.expires_at > now)
    ).one_or_none()
    if found is None:
        return None
    return Caller(
        identity_id=found.id,
        platform=found.platform,
        contributor_id=found.contributor_id,
        account_id=found.account_id,
    )


def openid_of(session: Session, vault: Vault, contributor_id: int, platform: str) -> str:
    """Return the person's id at a platform, for placing orders there.

    Raises:
        PlatformNotLinked: none of their log-ins is of this platform.
    """
    subject = session.scalar(
        select(LoginIdentity.subject).where(
            LoginIdentity.contributor_id == contributor_id, LoginIdentity.platform == platform
        )
    )
    if subject is None:
        raise PlatformNotLinked(platform=platform)
    return vault.open(subject, context="login_identity.subject")


def outdated(*, now: datetime) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Yield each table of this subject with the condition of rows that can no longer matter."""
    code, attempt = table_of(LinkCode), table_of(LinkAttempt)
    yield TOKEN, or_(TOKEN.c.expires_at <= now, TOKEN.c.revoked_at <= now)
    yield code, code.c.expires_at <= now
    yield attempt, attempt.c.attempted_at <= now - LINK_ATTEMPTS_WINDOW


def count_outdated(session: Session, *, now: datetime) -> int:
    """Return how many sessions, link codes and link attempts can no longer matter."""
    return sum(
        session.scalar(select(func.count()).select_from(table).where(condition)) or 0
        for table, condition in outdated(now=now)
    )
