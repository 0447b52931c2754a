"""Telling people (消息): stored with the event, sent later by a job. Never in the way of money.

At least once: a platform is asked with no transaction open, and whoever is killed between its
answer and our record leaves the message to be sent again. A message twice is a nuisance; one that
a person never got is a debit that they never heard of.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.contributors.models import Account, LoginIdentity, Platform
from app.domain.outbox.models import MESSAGE_STATES, OutboxMessage
from app.domain.outbox.queries import is_due, is_old
from app.domain.outbox.rules import (
    EVENT_KEY_LENGTH,
    FIELD_LENGTH,
    MessageState,
    is_too_old,
    misfit,
    next_attempt_at,
)
from app.domain.ports import Ports
from app.domain.ports.messages import (
    MessageOutcome,
    MessageReason,
    MessageResult,
    MessageTopic,
)

MESSAGE = table_of(OutboxMessage)
IDENTITY = table_of(LoginIdentity)
ACCOUNT = table_of(Account)

PAGE = 500
PATIENCE = 3
"""So many tries in a row without an answer, and a platform is left in peace for this round."""

# Whoever loses a race for the key does nothing, on either database and without an error that
# would roll the event back. It needs no key of the row either.
_STORE = (
    insert(MESSAGE)
    .inline()
    .prefix_with("IGNORE", dialect="mysql")
    .prefix_with("IGNORE", dialect="mariadb")
    .prefix_with("OR IGNORE", dialect="sqlite")
)

_SILENT = {MessageReason.NO_ANSWER, MessageReason.BAD_ANSWER, MessageReason.BUSY}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a person is told.

    Attributes:
        event_key: which event it is, the same however often that is met; 100 characters at most.
        fields: texts as the person reads them, by the names in `rules.WORDINGS`; no personal data.
    """

    account_id: int
    topic: MessageTopic
    event_key: str
    fields: Mapping[str, str]


def enqueue(
    session: Session,
    *,
    account_id: int,
    topic: MessageTopic,
    event_key: str,
    fields: Mapping[str, str],
    at: datetime,
) -> None:
    """Store one message as `enqueue_all` does."""
    message = Message(account_id=account_id, topic=topic, event_key=event_key, fields=fields)
    enqueue_all(session, [message], at=at)


def enqueue_all(session: Session, messages: Sequence[Message], *, at: datetime) -> None:
    """Store messages in the transaction of their events; one statement, no network.

    Nothing for an event that was told before. A message that cannot be one, for a mistake of ours,
    is logged and left out: it must not undo the event.

    Args:
        at: when it happened, UTC.
    """
    rows = [_row(message, at=at) for message in messages if _is_fit(message)]
    if rows:
        session.execute(_STORE, rows)


def _is_fit(message: Message) -> bool:
    wrong = misfit(message.topic, message.fields)
    if not wrong and not 0 < len(message.event_key) <= EVENT_KEY_LENGTH:
        wrong = "event key of no fit length"
    if wrong:
        log.error("message not stored", extra={"topic": message.topic.value, "flaw": wrong})
    return not wrong


def _row(message: Message, *, at: datetime) -> dict[str, Any]:
    return {
        "account_id": message.account_id,
        "event_key": message.event_key,
        "topic": message.topic,
        "fields": {name: value[:FIELD_LENGTH] for name, value in message.fields.items() if value},
        "created_at": at,
        "state": MessageState.WAITING,
        "attempts": 0,
        "next_attempt_at": at,
        "refused_by": [],
    }


def send_messages(ports: Ports, *, limit: int = PAGE) -> dict[str, int]:
    """Send every message whose time has come, each to one platform at a time.

    A message is claimed by pushing its next try into the future. What a platform refuses for good
    goes to the person's other platform in the next round, if they have one.

    Returns: how many were `sent`, `refused`, to `try_again`, `given_up`; `error` for trouble of
        our own.
    """
    round_ = _Round(ports)
    due = ports.read(
        lambda session: session.execute(
            select(MESSAGE.c.id, MESSAGE.c.next_attempt_at)
            .where(is_due(now=ports.now()))
            .order_by(MESSAGE.c.next_attempt_at, MESSAGE.c.id)
            .limit(limit)
        ).all()
    )
    for row in due:
        try:
            round_.send(row.id, due_at=row.next_attempt_at)
        except Exception:
            # Its claim has put off the next try; the others must not wait for it.
            log.exception("message not sent", extra={"message_id": row.id})
            round_.counts["error"] += 1
    return dict(round_.counts)


def remove_old_messages(ports: Ports, *, batch_size: int = 500) -> int:
    """Remove messages that are over and too old to be looked up; return how many."""
    old = select(MESSAGE.c.id).where(is_old(now=ports.now())).limit(batch_size)

    def remove(session: Session) -> int:
        # MariaDB knows no LIMIT inside IN (SELECT …).
        ids = session.scalars(old).all()
        return rows_changed(session, delete(MESSAGE).where(MESSAGE.c.id.in_(ids)))

    removed = 0
    while count := ports.transact(remove):
        removed += count
    return removed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A message that this process alone may send now, and to whom."""

    message: Row[Any]
    platform: Platform
    subject: bytes = field(repr=False)
    """The person's id there, sealed."""
    has_another: bool
    """Another platform is left to try should this one refuse."""


class _Round:
    """One pass over what is due; remembers which platform gives no answer."""

    def __init__(self, ports: Ports) -> None:
        self.counts: Counter[str] = Counter()
        self._ports = ports
        self._silences: Counter[Platform] = Counter()

    def send(self, message_id: int, *, due_at: datetime) -> None:
        """Claim one message, send it, record what became of it."""
        claim = self._ports.transact(
            lambda session: self._claim(session, message_id, due_at=due_at)
        )
        if claim is None:
            return
        if isinstance(claim, MessageState):
            self.counts[claim.value] += 1
            return
        outcome = self._ask(claim)
        now = self._ports.now()
        effect = self._ports.transact(lambda session: _record(session, claim, outcome, now=now))
        self.counts[effect] += 1

    def _claim(
        self, session: Session, message_id: int, *, due_at: datetime
    ) -> _Claim | MessageState | None:
        self._ports.fence(session)
        return _claim(session, message_id, due_at=due_at, now=self._ports.now())

    def _ask(self, claim: _Claim) -> MessageOutcome:
        sender = self._ports.messengers.get(claim.platform)
        if sender is None:
            return MessageOutcome(result=MessageResult.REFUSED, reason=MessageReason.NOT_OFFERED)
        if self._silences[claim.platform] >= PATIENCE:
            return MessageOutcome(result=MessageResult.TRY_AGAIN, reason=MessageReason.RESTING)
        recipient = self._ports.vault.open(claim.subject, context="login_identity.subject")
        message = claim.message
        outcome = sender.send(recipient=recipient, topic=message.topic, fields=message.fields)
        silent = outcome.result is MessageResult.TRY_AGAIN and outcome.reason in _SILENT
        self._silences[claim.platform] = self._silences[claim.platform] + 1 if silent else 0
        return outcome


def _claim(
    session: Session, message_id: int, *, due_at: datetime, now: datetime
) -> _Claim | MessageState | None:
    """Return a message that is now this process's; None if it is another's; its end if it ends."""
    message = session.execute(
        select(MESSAGE)
        .where(MESSAGE.c.id == message_id, MESSAGE.c.next_attempt_at == due_at)
        .with_for_update()
    ).one_or_none()
    if message is None:
        return None
    if is_too_old(message.created_at, attempts=message.attempts, now=now):
        return _give_up(session, message)
    left = [
        identity
        for identity in _identities_of(session, message.account_id)
        if identity.platform not in message.refused_by
    ]
    if not left:
        return _give_up(session, message, reason=MessageReason.PERSON_UNKNOWN)
    attempts = message.attempts + 1
    session.execute(
        update(MESSAGE)
        .where(MESSAGE.c.id == message.id)
        .values(
            attempts=attempts,
            next_attempt_at=next_attempt_at(now, attempts=attempts),
            platform=left[0].platform,
        )
    )
    return _Claim(
        message=session.execute(select(MESSAGE).where(MESSAGE.c.id == message.id)).one(),
        platform=left[0].platform,
        subject=left[0].subject,
        has_another=len(left) > 1,
    )


def _record(session: Session, claim: _Claim, outcome: MessageOutcome, *, now: datetime) -> str:
    message = claim.message
    values: dict[str, Any] = {
        "reason": outcome.reason,
        "raw_code": outcome.raw_code[:64] or None,
        "platform": claim.platform,
    }
    # Only a success counts whatever happened since: anything else may be out of date.
    open_still = MESSAGE.c.state.in_(MESSAGE_STATES.sources_of(MessageState.SENT))
    ours = MESSAGE.c.attempts == message.attempts
    this = update(MESSAGE).where(MESSAGE.c.id == message.id, open_still)
    match outcome.result:
        case MessageResult.SENT:
            end = {"state": MessageState.SENT, "sent_at": now, "next_attempt_at": None}
            session.execute(this.values(**values, **end))
        case MessageResult.TRY_AGAIN:
            session.execute(this.where(ours).values(**values))
        case MessageResult.REFUSED:
            values["refused_by"] = [*message.refused_by, claim.platform.value]
            if not claim.has_another:
                end = {"state": MessageState.GIVEN_UP, "next_attempt_at": None}
                session.execute(this.where(ours).values(**values, **end))
                return MessageState.GIVEN_UP.value
            session.execute(this.where(ours).values(**values, next_attempt_at=now))
    return outcome.result.value


def _give_up(
    session: Session, message: Row[Any], *, reason: MessageReason | None = None
) -> MessageState:
    session.execute(
        update(MESSAGE)
        .where(MESSAGE.c.id == message.id)
        .values(
            state=MessageState.GIVEN_UP,
            next_attempt_at=None,
            reason=reason or message.reason,
        )
    )
    return MessageState.GIVEN_UP


def _identities_of(session: Session, account_id: int) -> list[Row[Any]]:
    """Return how the platforms know a person: first the one by which they enrolled."""
    query = (
        select(IDENTITY.c.platform, IDENTITY.c.subject)
        .join(ACCOUNT, ACCOUNT.c.contributor_id == IDENTITY.c.contributor_id)
        .where(ACCOUNT.c.id == account_id)
        .order_by(IDENTITY.c.id)
    )
    return list(session.execute(query))
