"""Receiving callbacks: verify, apply, keep the evidence, and only then say «recorded».

The callback's row and what it does to the books share one transaction, and callbacks that arrive at
the same time share it too, as far as they are plain payments. If applying fails for a reason of our
own, the callback alone is stored and a job applies it again; if even that fails, the channel reads
«send it again».
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.callbacks.models import CallbackResult, ChannelCallback
from app.domain.mandates.operations import MandateEffect, apply_mandate_answer
from app.domain.mandates.rules import Hearing
from app.domain.pii import Vault
from app.domain.ports import Ports
from app.domain.ports.callbacks import (
    CallbackRejected,
    CallbackReply,
    ChannelEvent,
    EventTopic,
    RawCallback,
)
from app.domain.ports.outcomes import Outcome, OutcomeKind
from app.domain.refunds.models import IN_FLIGHT, Refund
from app.domain.settlement import Effect
from app.domain.settlement.payments import apply_payment, credit_plain_payments
from app.domain.settlement.refunds import apply_refund

CALLBACK = table_of(ChannelCallback)
REFUND = table_of(Refund)
EVIDENCE = "channel_callback.body"

_KEEP = insert(CALLBACK)

log = logging.getLogger(__name__)

_RESULTS = {
    Effect.CREDITED: CallbackResult.CREDITED,
    Effect.DUPLICATE: CallbackResult.DUPLICATE,
    Effect.SUSPENSE: CallbackResult.SUSPENSE,
    Effect.MISMATCH: CallbackResult.MISMATCH,
    Effect.CLOSED: CallbackResult.NOT_PAID,
    Effect.DEBIT_FAILED: CallbackResult.NOT_PAID,
    Effect.REFUNDED: CallbackResult.REFUND_NOTED,
    Effect.REFUND_FAILED: CallbackResult.REFUND_NOTED,
    Effect.NOTHING: CallbackResult.IGNORED,
}

_MANDATE_RESULTS = {
    MandateEffect.MISMATCH: CallbackResult.MISMATCH,
    MandateEffect.NOTHING: CallbackResult.DUPLICATE,
}


def receive_callback(ports: Ports, *, channel: str, raw: RawCallback) -> CallbackReply:
    """Take a callback of `channel` and answer in the channel's own words.

    A callback that is not genuine, not ours or unreadable changes nothing and is only counted.
    The accepting reply means that it is durably stored.
    """
    adapter = ports.channels.calling_back[channel]
    try:
        event = adapter.read_callback(raw)
    except CallbackRejected as rejected:
        log.warning(
            "callback rejected",
            extra={"channel": channel, "endpoint": raw.endpoint, "reason": rejected.reason},
        )
        ports.count_callback(channel, f"rejected_{rejected.reason}")
        return adapter.reply(accepted=False)
    try:
        result = _apply_and_store(ports, channel=channel, raw=raw, event=event)
    except Exception:
        log.exception("callback not applied", extra={"channel": channel, "endpoint": raw.endpoint})
        stored = _store_pending(ports, channel=channel, raw=raw, event=event)
        ports.count_callback(channel, "pending" if stored else "not_stored")
        return adapter.reply(accepted=stored)
    ports.count_callback(channel, result.value)
    log.info(
        "callback applied",
        extra={
            "channel": channel,
            "number": _number_of(event),
            "result": result.value,
        },
    )
    return adapter.reply(accepted=True)


def apply_pending_callbacks(ports: Ports, *, limit: int = 100) -> tuple[int, int]:
    """Apply stored callbacks whose first application failed, oldest first, each by itself.

    Args:
        limit: how many are read at a time.
    Returns: how many were applied, and how many failed again.
    """
    applied = failed = last_id = 0
    while page := _list_pending(ports, after_id=last_id, limit=limit):
        for row in page:
            try:
                _apply_again(ports, row)
                applied += 1
            except Exception:
                # It stays pending; those behind it must not wait for it.
                log.exception("pending callback failed again", extra={"callback_id": row.id})
                failed += 1
        last_id = page[-1].id
    return applied, failed


def _list_pending(ports: Ports, *, after_id: int, limit: int) -> Sequence[Row[Any]]:
    return ports.read(
        lambda session: session.execute(
            select(CALLBACK)
            .where(CALLBACK.c.result == CallbackResult.PENDING, CALLBACK.c.id > after_id)
            .order_by(CALLBACK.c.id)
            .limit(limit)
        ).all()
    )


def _apply_again(ports: Ports, row: Row[Any]) -> None:
    raw = RawCallback(
        endpoint=row.endpoint,
        content_type=row.content_type,
        headers={},
        body=ports.vault.open_bytes(row.body, context=EVIDENCE),
        is_kept=True,
    )
    event = ports.channels.calling_back[row.channel].read_callback(raw)

    def work(session: Session) -> None:
        result = _apply(
            session, vault=ports.vault, channel=row.channel, event=event, now=ports.now()
        )
        rows_changed(
            session,
            update(CALLBACK)
            # Another process may have applied it meanwhile: its result is the true one.
            .where(CALLBACK.c.id == row.id, CALLBACK.c.result == CallbackResult.PENDING)
            .values(result=result),
        )

    ports.transact(work)


def _apply_and_store(
    ports: Ports, *, channel: str, raw: RawCallback, event: ChannelEvent
) -> CallbackResult:
    evidence = _evidence(ports, channel=channel, raw=raw, event=event)
    outcome = event.outcome
    if event.topic is EventTopic.PAYMENT and outcome and outcome.kind is OutcomeKind.SUCCEEDED:
        payment = (channel, outcome, evidence)
        result = ports.together(payment, lambda payments: _credit_together(ports, payments))
        if result is not None:
            return result

    def work(session: Session) -> CallbackResult:
        result = _apply(
            session, vault=ports.vault, channel=channel, event=event, now=evidence["received_at"]
        )
        session.execute(_KEEP, {**evidence, "result": result})
        return result

    return ports.transact(work)


def _credit_together(
    ports: Ports, payments: Sequence[tuple[str, Outcome, dict[str, Any]]]
) -> Sequence[CallbackResult | None]:
    """Apply and store in one transaction what can be; whatever else goes its own way afterwards."""
    answers = [(channel, outcome) for channel, outcome, _ in payments]

    def work(session: Session) -> list[CallbackResult | None]:
        effects = credit_plain_payments(session, answers, now=ports.now())
        results = [_RESULTS[effect] if effect else None for effect in effects]
        kept = [
            {**evidence, "result": result}
            for (_, _, evidence), result in zip(payments, results, strict=True)
            if result
        ]
        if kept:
            session.execute(_KEEP, kept)
        return results

    try:
        return ports.transact(work)
    except Exception:
        # One of them may be the cause, and the others must not suffer for it.
        log.exception("callbacks not applied together", extra={"count": len(payments)})
        return [None] * len(payments)


def _store_pending(ports: Ports, *, channel: str, raw: RawCallback, event: ChannelEvent) -> bool:
    try:
        evidence = _evidence(ports, channel=channel, raw=raw, event=event)
        pending = {**evidence, "result": CallbackResult.PENDING}
        ports.transact(lambda session: session.execute(_KEEP, pending))
    except Exception:
        log.exception("callback not stored", extra={"channel": channel})
        return False
    return True


def _evidence(
    ports: Ports, *, channel: str, raw: RawCallback, event: ChannelEvent
) -> dict[str, Any]:
    return {
        "channel": channel,
        "endpoint": raw.endpoint,
        "content_type": raw.content_type[:80],
        "number": _number_of(event),
        "body": ports.vault.seal(raw.body, context=EVIDENCE),
        "key_id": ports.vault.active_key_id,
        "received_at": ports.now(),
    }


def _number_of(event: ChannelEvent) -> str | None:
    if event.mandate is not None:
        # A number that is not ours may be longer than any that we give.
        return event.mandate.mandate_no[:64]
    return event.outcome.number if event.outcome else None


def _apply(
    session: Session, *, vault: Vault, channel: str, event: ChannelEvent, now: datetime
) -> CallbackResult:
    if event.topic is EventTopic.MANDATE and event.mandate is not None:
        effect = apply_mandate_answer(
            session,
            vault,
            channel=channel,
            answer=event.mandate,
            hearing=Hearing.NOTICE,
            asked_at_move=None,
            now=now,
        )
        return _MANDATE_RESULTS.get(effect, CallbackResult.MANDATE_NOTED)
    if event.outcome is None:
        return CallbackResult.IGNORED
    if event.topic is EventTopic.PAYMENT:
        return _RESULTS[apply_payment(session, channel=channel, outcome=event.outcome, now=now)]
    if event.outcome.kind is OutcomeKind.ACCEPTED:
        # The channel only says that something happened to the refund: ask at once.
        noted = rows_changed(
            session,
            update(REFUND)
            .where(REFUND.c.refund_no == event.outcome.number, REFUND.c.state.in_(IN_FLIGHT))
            .values(next_query_at=now),
        )
        if noted:
            return CallbackResult.REFUND_NOTED
    return _RESULTS[apply_refund(session, channel=channel, outcome=event.outcome, now=now)]
