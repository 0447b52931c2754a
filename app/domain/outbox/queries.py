"""Reading messages: one's own list, one's own export, what waits to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.calendar import local_iso
from app.domain.contributors.models import Platform
from app.domain.outbox.models import OutboxMessage
from app.domain.outbox.rules import MESSAGES_KEPT, MessageState, text_of, title_of
from app.domain.ports.messages import MessageTopic

MESSAGE = table_of(OutboxMessage)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """A message as the person reads it.

    Attributes:
        platform, sent_at: where and when it went to the phone; None while or if it did not.
    """

    id: int
    topic: MessageTopic
    title: str
    text: str
    created_at: datetime
    platform: Platform | None
    sent_at: datetime | None


def list_messages(
    session: Session, *, account_id: int, before_id: int | None = None, limit: int = 20
) -> list[MessageView]:
    """Return an account's messages, newest first, sent or not.

    Args:
        before_id: for the next page, the id of the last message of the page before.
    """
    query = select(OutboxMessage).where(OutboxMessage.account_id == account_id)
    if before_id is not None:
        query = query.where(OutboxMessage.id < before_id)
    query = query.order_by(OutboxMessage.id.desc()).limit(limit)
    return [_view(message) for message in session.scalars(query)]


def export_messages(session: Session, *, account_id: int) -> list[dict[str, Any]]:
    """Return all that was told to a person, for the person alone, as plain JSON."""
    query = select(OutboxMessage).where(OutboxMessage.account_id == account_id)
    messages: Sequence[OutboxMessage] = session.scalars(query.order_by(OutboxMessage.id)).all()
    return [
        {
            "topic": message.topic.value,
            "title": title_of(message.topic),
            "text": text_of(message.topic, message.fields),
            "created_at": local_iso(message.created_at),
            "state": message.state.value,
            "platform": message.platform.value if message.platform else None,
            "sent_at": local_iso(message.sent_at) if message.sent_at else None,
        }
        for message in messages
    ]


def is_due(*, now: datetime) -> ColumnElement[bool]:
    """Return the condition of messages whose next try has come."""
    return MESSAGE.c.next_attempt_at <= now


def is_old(*, now: datetime) -> ColumnElement[bool]:
    """Return the condition of messages that are over and too old to be looked up."""
    over = MESSAGE.c.state.in_((MessageState.SENT, MessageState.GIVEN_UP))
    return over & (MESSAGE.c.created_at < now - MESSAGES_KEPT)


def count_due_messages(session: Session, *, now: datetime) -> int:
    """Return how many messages would be sent."""
    return session.scalar(select(func.count()).where(is_due(now=now))) or 0


def count_old_messages(session: Session, *, now: datetime) -> int:
    """Return how many messages would be removed."""
    return session.scalar(select(func.count()).where(is_old(now=now))) or 0


def _view(message: OutboxMessage) -> MessageView:
    sent = message.state is MessageState.SENT
    return MessageView(
        id=message.id,
        topic=message.topic,
        title=title_of(message.topic),
        text=text_of(message.topic, message.fields),
        created_at=message.created_at,
        platform=message.platform if sent else None,
        sent_at=message.sent_at,
    )
