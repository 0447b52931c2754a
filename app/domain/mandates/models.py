"""Mandates (授权): a person's permission, kept at a channel, to debit; and every change of state.

Changes of state are append-only by trigger. Amounts in fen.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, BigId, Instant, Sealed, enum_column
from app.domain.mandates.rules import EndReason, MandateState
from app.domain.ports.mandates import Cycle, EndedBy
from app.domain.ports.outcomes import Reason
from app.domain.states import StateMachine

_KNOWN_AT_LAST = frozenset(
    {
        MandateState.ACTIVE,
        MandateState.SUSPENDED,
        MandateState.ENDING,
        MandateState.ENDED,
        MandateState.FAILED,
    }
)

MANDATE_STATES = StateMachine(
    "mandate",
    {
        MandateState.SENDING: _KNOWN_AT_LAST | {MandateState.AWAITING, MandateState.UNKNOWN},
        MandateState.AWAITING: _KNOWN_AT_LAST | {MandateState.UNKNOWN},
        MandateState.UNKNOWN: _KNOWN_AT_LAST | {MandateState.AWAITING},
        MandateState.ACTIVE: frozenset(
            {MandateState.SUSPENDED, MandateState.ENDING, MandateState.ENDED}
        ),
        MandateState.SUSPENDED: frozenset(
            {MandateState.ACTIVE, MandateState.ENDING, MandateState.ENDED}
        ),
        MandateState.ENDING: frozenset({MandateState.ENDED}),
        # Late truth: the person signed after all. ENDING where another mandate took its place.
        MandateState.FAILED: frozenset(
            {MandateState.ACTIVE, MandateState.SUSPENDED, MandateState.ENDING}
        ),
        MandateState.ENDED: frozenset(),
    },
)


class Slot(StrEnum):
    """What a mandate may be the only one of, for its account and channel."""

    SIGNING = "signing"
    ACTIVE = "active"


class Mandate(Base):
    """One mandate of one account at one channel; a debit is sent under an ACTIVE one only."""

    __tablename__ = "mandate"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    mandate_no: Mapped[str] = mapped_column(String(32), unique=True)
    """Ours, unique for ever, stored before anything is sent."""
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    channel: Mapped[str] = mapped_column(String(16))
    state: Mapped[MandateState] = mapped_column(enum_column(MandateState))
    slot: Mapped[Slot | None] = mapped_column(enum_column(Slot))
    """NULLs may repeat: the database itself keeps it to one being signed and one in force."""
    cap_fen: Mapped[int] = mapped_column(BigInteger)
    """The most that one debit may take."""
    period_cap_fen: Mapped[int] = mapped_column(BigInteger)
    cycle: Mapped[Cycle] = mapped_column(enum_column(Cycle))
    first_due_on: Mapped[date] = mapped_column(Date)
    valid_from: Mapped[date] = mapped_column(Date)
    valid_to: Mapped[date] = mapped_column(Date)
    """Last day on which it may debit."""
    payer: Mapped[bytes] = mapped_column(Sealed)
    """Whom the channel debits, sealed: a card with its holder, or the person's id there."""
    key_id: Mapped[str] = mapped_column(String(16), index=True)
    card_tail: Mapped[str | None] = mapped_column(String(4))
    """Last digits of the card, for the person to know it by."""
    reference: Mapped[str | None] = mapped_column(String(64))
    """The channel's own number of the mandate."""
    start_reference: Mapped[str | None] = mapped_column(String(64))
    """Serial of the text message whose code confirms it."""
    confirm_count: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    """Codes shown to the channel, right or wrong."""
    request_key: Mapped[str] = mapped_column(String(64))
    request_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    """Keyed: a plain hash of a card number could be searched by whoever has a copy."""
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    """Until then the person may sign."""
    changed_at: Mapped[datetime] = mapped_column(Instant)
    """Since when it is in its state."""
    activated_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_by: Mapped[EndedBy | None] = mapped_column(enum_column(EndedBy))
    end_reason: Mapped[EndReason | None] = mapped_column(enum_column(EndReason))
    reason: Mapped[Reason | None] = mapped_column(enum_column(Reason))
    """Of the channel's last answer, as its raw code is."""
    raw_code: Mapped[str | None] = mapped_column(String(64))
    move_count: Mapped[int] = mapped_column(SmallInteger, default=0)
    """Changes of state so far; an answer to a question asked before the last one is stale."""
    next_query_at: Mapped[datetime | None] = mapped_column(Instant, index=True)
    """NULL while there is nothing to ask."""
    query_count: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")

    __table_args__ = (
        UniqueConstraint("account_id", "channel", "slot"),
        UniqueConstraint("account_id", "request_key"),
        UniqueConstraint("channel", "reference"),
        CheckConstraint("cap_fen > 0 AND period_cap_fen >= cap_fen", name="caps_positive"),
        CheckConstraint("valid_from <= valid_to", name="valid_for_a_while"),
        # A comparison with NULL is unknown, which a check lets pass: hence each IS NOT NULL.
        CheckConstraint(
            "(slot IS NULL AND state IN ('ending', 'ended', 'failed'))"
            " OR (slot IS NOT NULL AND slot = 'signing'"
            " AND state IN ('sending', 'awaiting', 'unknown'))"
            " OR (slot IS NOT NULL AND slot = 'active' AND state IN ('active', 'suspended')"
            " AND reference IS NOT NULL AND activated_at IS NOT NULL)",
            name="slot_of_its_state",
        ),
        CheckConstraint("(state = 'ended') = (ended_at IS NOT NULL)", name="ended_when_it_says"),
        CheckConstraint(
            "state NOT IN ('ending', 'ended') OR (ended_by IS NOT NULL AND end_reason IS NOT NULL)",
            name="end_has_a_reason",
        ),
        Index("ix_mandate_state_changed_at", "state", "changed_at"),
    )


class MandateStateChange(Base):
    """One move of a mandate's state. Append-only."""

    __tablename__ = "mandate_state_change"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    mandate_id: Mapped[int] = mapped_column(ForeignKey("mandate.id"))
    number: Mapped[int] = mapped_column(SmallInteger)
    from_state: Mapped[MandateState | None] = mapped_column(enum_column(MandateState))
    to_state: Mapped[MandateState] = mapped_column(enum_column(MandateState))
    actor: Mapped[str] = mapped_column(String(40))
    """`contributor:<id>`, `channel:<name>`, or `system` for what rules and the clock do."""
    reason: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(Instant)

    __table_args__ = (UniqueConstraint("mandate_id", "number"),)
