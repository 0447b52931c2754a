"""One person on two platforms (关联账户): a one-time code from the first binds the second."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import case, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.contributors.models import LoginIdentity
from app.domain.contributors.operations import IdentityAlreadyBound
from app.domain.errors import Conflict, FundError, Invalid, NotFound
from app.domain.pii import Vault
from app.domain.ports import Ports
from app.domain.sessions.models import LinkAttempt, LinkCode
from app.domain.sessions.queries import Caller
from app.domain.sessions.rules import (
    LINK_ATTEMPTS_MAX,
    LINK_ATTEMPTS_WINDOW,
    LINK_CODE_ALPHABET,
    LINK_CODE_LENGTH,
    LINK_CODE_LIFETIME,
    clean_link_code,
)

LINK_CODE = table_of(LinkCode)
LINK_ATTEMPT = table_of(LinkAttempt)

RACES_MAX = 8


class NotEnrolled(Conflict):
    """Only who has an account can share it between platforms."""

    code = "not_enrolled"
    default_message = "您尚未开户，请先办理开户"


class LinkCodeRefused(Invalid):
    """Wrong, expired and used codes get the same answer."""

    code = "link_code_refused"
    default_message = "关联码不正确或已失效，请重新获取"


class TooManyLinkAttempts(Conflict):
    """This log-in has typed too many codes lately."""

    code = "too_many_link_attempts"
    default_message = "尝试次数过多，请 10 分钟后再试"


class PlatformAlreadyLinked(Conflict):
    """The account already has a log-in of this platform."""

    code = "platform_already_linked"
    default_message = "该账户已关联本平台的另一个用户，请先到公积金中心窗口解除"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedLinkCode:
    """A code for the person to type on the other platform; shown this once."""

    code: str = field(repr=False)
    expires_at: datetime


def issue_link_code(ports: Ports, *, caller: Caller) -> IssuedLinkCode:
    """Give the caller a code that binds their log-in on another platform; older codes end.

    Raises:
        NotEnrolled: the caller has no account yet.
    """
    contributor_id = caller.contributor_id
    if contributor_id is None:
        raise NotEnrolled
    code = "".join(secrets.choice(LINK_CODE_ALPHABET) for _ in range(LINK_CODE_LENGTH))

    def issue(session: Session) -> IssuedLinkCode:
        expires_at = ports.now() + LINK_CODE_LIFETIME
        rows_changed(session, delete(LINK_CODE).where(LINK_CODE.c.contributor_id == contributor_id))
        session.add(
            LinkCode(
                contributor_id=contributor_id,
                code_index=_index(ports.vault, code),
                expires_at=expires_at,
            )
        )
        return IssuedLinkCode(code=code, expires_at=expires_at)

    try:
        return ports.transact(issue)
    except IntegrityError:
        # The same person asked twice at once: the later code takes the earlier one's place.
        return ports.transact(issue)


def link_identity(ports: Ports, *, identity_id: int, code: str) -> int:
    """Bind a log-in to the account whose owner issued this code.

    Every attempt counts, and is stored even when it is refused.

    Returns: the contributor's id.

    Raises:
        LinkCodeRefused: wrong, expired or used.
        TooManyLinkAttempts: the sixth within ten minutes, whatever the code.
        IdentityAlreadyBound: the log-in has an account.
        PlatformAlreadyLinked: the account has another log-in of this platform.
        NotFound: no such log-in.
    """

    def attempt(session: Session) -> int | FundError:
        return _attempt(session, ports, identity_id, clean_link_code(code))

    result: int | FundError | None = None
    for _ in range(RACES_MAX):
        try:
            result = ports.transact(attempt)
            break
        except IntegrityError:
            # Another attempt of the same log-in took this one's number, or another log-in of the
            # platform was bound meanwhile: look again.
            continue
    if result is None:
        raise TooManyLinkAttempts
    if isinstance(result, FundError):
        raise result
    return result


def _attempt(session: Session, ports: Ports, identity_id: int, code: str) -> int | FundError:
    now = ports.now()
    identity = session.get(LoginIdentity, identity_id, with_for_update=True, populate_existing=True)
    if identity is None:
        raise NotFound
    if identity.contributor_id is not None:
        raise IdentityAlreadyBound
    _count_attempt(session, identity_id, now=now)
    found = session.execute(
        select(LINK_CODE.c.id, LINK_CODE.c.contributor_id).where(
            LINK_CODE.c.code_index == _index(ports.vault, code), LINK_CODE.c.expires_at > now
        )
    ).one_or_none()
    # From here on the refusal is returned and not raised: the attempt must stay counted.
    if found is None:
        return LinkCodeRefused(field="code")
    linked = select(LoginIdentity.id).where(
        LoginIdentity.contributor_id == found.contributor_id,
        LoginIdentity.platform == identity.platform,
    )
    if session.scalar(linked) is not None:
        return PlatformAlreadyLinked()
    if rows_changed(session, delete(LINK_CODE).where(LINK_CODE.c.id == found.id)) != 1:
        return LinkCodeRefused(field="code")
    identity.contributor_id = found.contributor_id
    session.flush()
    return int(found.contributor_id)


def _count_attempt(session: Session, identity_id: int, *, now: datetime) -> None:
    lately = LINK_ATTEMPT.c.attempted_at > now - LINK_ATTEMPTS_WINDOW
    recent, last = session.execute(
        select(
            func.count(case((lately, 1))), func.coalesce(func.max(LINK_ATTEMPT.c.number), 0)
        ).where(LINK_ATTEMPT.c.identity_id == identity_id)
    ).one()
    if recent >= LINK_ATTEMPTS_MAX:
        raise TooManyLinkAttempts
    session.add(LinkAttempt(identity_id=identity_id, number=last + 1, attempted_at=now))
    session.flush()


def _index(vault: Vault, code: str) -> bytes:
    return vault.blind_index(code, context="link_code")
