"""Two people's phones, and platforms in memory that take, refuse or lose messages."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import Row, select

from app.domain.base import table_of
from app.domain.contributors.models import Account, LoginIdentity, Platform
from app.domain.outbox.models import OutboxMessage
from app.domain.outbox.operations import enqueue, send_messages
from app.domain.ports import Ports
from app.domain.ports.messages import (
    MessageOutcome,
    MessageReason,
    MessageResult,
    MessageTopic,
)
from tests.builders import an_account
from tests.conftest import MovableClock

MESSAGE = table_of(OutboxMessage)
FIELDS = {"channel": "银行卡（尾号0128）", "cap": "500.00", "valid_to": "2031年10月31日"}

SENT = MessageOutcome(result=MessageResult.SENT, reason=MessageReason.OK)
REFUSED = MessageOutcome(
    result=MessageResult.REFUSED, reason=MessageReason.PERSON_REFUSED, raw_code="43101"
)
BUSY = MessageOutcome(result=MessageResult.TRY_AGAIN, reason=MessageReason.BUSY, raw_code="-1")
LOST = MessageOutcome(result=MessageResult.TRY_AGAIN, reason=MessageReason.NO_ANSWER)


@dataclass
class Messenger:
    """One platform: what it says, the last outcome again and again, and what it was given."""

    outcomes: list[MessageOutcome | Exception] = field(default_factory=lambda: [SENT])
    taken: list[tuple[str, MessageTopic, Mapping[str, str]]] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def will(self, *outcomes: MessageOutcome | Exception) -> None:
        self.outcomes = list(outcomes)

    def send(
        self, *, recipient: str, topic: MessageTopic, fields: Mapping[str, str]
    ) -> MessageOutcome:
        self.taken.append((recipient, topic, dict(fields)))
        self.meanwhile()
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@dataclass
class Post:
    """An account at the post office: what is stored for it, and what the platforms got."""

    ports: Ports
    clock: MovableClock
    wechat: Messenger
    alipay: Messenger
    account_id: int
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def store(self, key: str = "", **changed: Any) -> None:
        """Enqueue a message in a transaction of its own; a fresh event unless a key is given."""
        self.ports.transact(lambda session: self.enqueue(session, key, **changed))

    def enqueue(self, session: Any, key: str = "", **changed: Any) -> None:
        given = {
            "account_id": self.account_id,
            "topic": MessageTopic.MANDATE_ACTIVE,
            "event_key": key or f"event:{next(self._serial)}",
            "fields": FIELDS,
            "at": self.ports.now(),
        }
        enqueue(session, **{**given, **changed})

    def send(self, **later: float) -> dict[str, int]:
        self.clock.advance(**later)
        return send_messages(self.ports)

    def rows(self) -> list[Row[Any]]:
        query = select(MESSAGE).order_by(MESSAGE.c.id)
        return self.ports.read(lambda session: list(session.execute(query)))

    def row(self) -> Row[Any]:
        [row] = self.rows()
        return row

    def link(self, platform: Platform, *, account_id: int | None = None) -> None:
        """Let the person log in on one more platform."""
        own = self.account_id if account_id is None else account_id

        def add(session: Any) -> None:
            account = session.get(Account, own)
            subject = f"{platform.value}-of-{own}"
            seal = self.ports.vault.seal(subject, context="login_identity.subject")
            session.add(
                LoginIdentity(
                    platform=platform,
                    subject_index=self.ports.vault.blind_index(subject, context=platform.value),
                    subject=seal,
                    key_id=self.ports.vault.active_key_id,
                    contributor_id=account.contributor_id,
                    created_at=self.ports.now(),
                )
            )

        self.ports.transact(add)


@pytest.fixture
def post(ports: Ports, clock: MovableClock) -> Post:
    """A person who logs in by WeChat alone."""
    wechat, alipay = Messenger(), Messenger()
    ports = replace(ports, messengers={"wechat": wechat, "alipay": alipay})
    post = Post(ports, clock, wechat, alipay, an_account(ports))
    post.link(Platform.WECHAT)
    return post
