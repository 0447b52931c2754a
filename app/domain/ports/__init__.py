"""Everything that the fund needs from the outside world, as small protocols by capability.

A channel (WeChat Pay, Alipay, a bank) implements those that it can. Adapters live in
`app/payments` and `app/connectors`; they translate and never decide: no database, no rules.

Amounts are integer fen; instants are timezone-aware UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol, TypeVar

from sqlalchemy.orm import Session

from app.domain.pii import Vault
from app.domain.ports.callbacks import Callbacks
from app.domain.ports.debits import Announcements, BatchDebits, Debits
from app.domain.ports.documents import DocumentWriter, NoDocumentWriter
from app.domain.ports.logins import LoginPlatform
from app.domain.ports.mandates import Mandates
from app.domain.ports.messages import MessageSender
from app.domain.ports.payments import PhonePayments, Refunds

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """The channels by name and by what they can do."""

    paying: Mapping[str, PhonePayments] = field(default_factory=dict)
    refunding: Mapping[str, Refunds] = field(default_factory=dict)
    calling_back: Mapping[str, Callbacks] = field(default_factory=dict)
    mandating: Mapping[str, Mandates] = field(default_factory=dict)
    debiting: Mapping[str, Debits] = field(default_factory=dict)
    batching: Mapping[str, BatchDebits] = field(default_factory=dict)
    announcing: Mapping[str, Announcements] = field(default_factory=dict)
    """Those alone whose product wants a debit to be announced."""


class Transact(Protocol):
    """Runs a block in one transaction, the whole block again if the database asks for it."""

    def __call__(self, work: Callable[[Session], T], /) -> T: ...


class Together(Protocol):
    """Lets threads that arrive while another one is at work share the next piece of work.

    One of them calls its `work` with the items of all; it returns one result an item, in order.
    A result of None, also for everybody if `work` raises, means: this item is still to be done.
    """

    def __call__(
        self, item: S, work: Callable[[Sequence[S]], Sequence[T | None]], /
    ) -> T | None: ...


def each_alone(item: S, work: Callable[[Sequence[S]], Sequence[T | None]], /) -> T | None:
    """Be the `Together` of a process in which nobody waits for anybody."""
    (result,) = work([item])
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All that an operation may use of the world, built once by the factory.

    Attributes:
        transact: runs a block in one transaction, the whole block again if the database asks.
        read: the same for a block that only reads: one consistent snapshot.
        together: gathers callbacks that arrive at the same time, to share a transaction.
        now: the current instant, UTC.
        new_number: a fresh unguessable number of 32 characters [0-9A-Za-z] with this prefix.
        count_callback: told the channel of each callback and what became of it, for monitoring.
        fence: called in the transaction in which a job takes up its next piece of work; raises to
            end the job there when this process was told to stop or another one has taken over.
        agreement_texts: templates of the agreement, by the day from which each is used.
        documents: makes PDF files.
        messengers: what brings messages to people, by the platform on which they log in.
    """

    transact: Transact
    read: Transact
    now: Callable[[], datetime]
    new_number: Callable[[str], str]
    vault: Vault
    channels: Channels
    logins: Mapping[str, LoginPlatform]
    together: Together = each_alone
    count_callback: Callable[[str, str], None] = lambda _channel, _result: None
    fence: Callable[[Session], None] = lambda _session: None
    agreement_texts: Mapping[date, str] = field(default_factory=dict)
    documents: DocumentWriter = NoDocumentWriter()
    messengers: Mapping[str, MessageSender] = field(default_factory=dict)
