"""The outbox (待发消息): what people are to be told, stored in the transaction of the event.

No amount is kept as a number and no person by name: a message holds what the phone will show.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, BigId, Instant, enum_column
from app.domain.contributors.models import Platform
from app.domain.outbox.rules import EVENT_KEY_LENGTH, MessageState
from app.domain.ports.messages import MessageReason, MessageTopic
from app.domain.states import StateMachine

MESSAGE_STATES = StateMachine(
    "message",
    {
        MessageState.WAITING: frozenset({MessageState.SENT, MessageState.GIVEN_UP}),
        MessageState.SENT: frozenset(),
        MessageState.GIVEN_UP: frozenset(),
    },
)


class OutboxMessage(Base):
    """One message to one person."""

    __tablename__ = "outbox_message"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    event_key: Mapped[str] = mapped_column(String(EVENT_KEY_LENGTH), unique=True)
    """The event that it tells of: told once, however often the event is met."""
    topic: Mapped[MessageTopic] = mapped_column(enum_column(MessageTopic))
    fields: Mapped[dict[str, str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(Instant)
    state: Mapped[MessageState] = mapped_column(enum_column(MessageState))
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    next_attempt_at: Mapped[datetime | None] = mapped_column(Instant, index=True)
    """NULL once nothing more is tried."""
    refused_by: Mapped[list[str]] = mapped_column(JSON)
    """Platforms that will never bring it."""
    platform: Mapped[Platform | None] = mapped_column(enum_column(Platform, 10))
    """Where it was last tried: where it went, once it is sent."""
    reason: Mapped[MessageReason | None] = mapped_column(enum_column(MessageReason))
    """Of the last try, as the raw code is."""
    raw_code: Mapped[str | None] = mapped_column(String(64))
    sent_at: Mapped[datetime | None] = mapped_column(Instant)

    __table_args__ = (
        CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="sent_when_it_says"),
        CheckConstraint(
            "(state = 'waiting') = (next_attempt_at IS NOT NULL)", name="tried_while_waiting"
        ),
        Index("ix_outbox_message_account_id_id", "account_id", "id"),
        Index("ix_outbox_message_state_created_at", "state", "created_at"),
    )
