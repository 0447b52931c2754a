"""Sending debits one by one (实时扣划): store a group of attempts, send them, store the answers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial

from sqlalchemy.orm import Session

from app.domain.debit_runs.claiming import Attempt, Claimed, claim_due
from app.domain.debit_runs.limits import Limits
from app.domain.deposits.operations import DESCRIPTION
from app.domain.ports import Ports
from app.domain.ports.debits import DebitRequest
from app.domain.ports.outcomes import Outcome, OutcomeKind
from app.domain.settlement import Effect
from app.domain.settlement.debits import note_submitted
from app.domain.settlement.payments import (
    apply_payment,
    credit_plain_payments,
    fail_plain_debits,
)

GROUP = 100
"""How many attempts share a transaction: so many are asked about after a crash, no more."""

SENDERS = 8
"""A channel answers after a tenth of a second or more: a hundred thousand wait for each other."""

log = logging.getLogger(__name__)


def submit_debits(ports: Ports) -> dict[str, int]:
    """Send every debit whose day has come, at the channels that take them one by one.

    A crash at any moment sends nothing twice: an attempt is stored before it is sent, and one
    without an answer is asked about under its own number.

    Returns: how many were sent with which result, skipped, cancelled, failed or left waiting.
    """
    counts: Counter[str] = Counter()
    waiting: list[int] = []
    limits: Limits | None = None
    with ThreadPoolExecutor(SENDERS, thread_name_prefix="debit") as pool:
        while True:
            claimed = ports.transact(
                partial(_claim, ports=ports, passed_over=waiting, limits=limits)
            )
            if not claimed.steps:
                return dict(counts)
            counts.update({step: n for step, n in claimed.steps.items() if step != "send"})
            waiting += claimed.waiting
            limits = claimed.limits
            outcomes = list(pool.map(partial(_send, ports), claimed.attempts))
            channels = [attempt.channel for attempt in claimed.attempts]
            counts.update(record_answers(ports, list(zip(channels, outcomes, strict=True))))


def single_channels(ports: Ports) -> list[str]:
    """Return the channels that take debits one by one; the others take them by file."""
    return [name for name in ports.channels.debiting if name not in ports.channels.batching]


def record_answers(
    ports: Ports, answers: Sequence[tuple[str, Outcome]], *, ask_at: datetime | None = None
) -> Counter[str]:
    """Store what became of debits, together; if that fails, each by itself.

    Args:
        ask_at: when to ask about those that are still open; by default soon.
    Returns: how many ended in which effect; `open` are still to be decided, `error` are those
        whose answer could not be stored: they will be asked about.
    """
    if not answers:
        return Counter()

    def work(session: Session) -> list[str]:
        return _apply_all(session, answers, now=ports.now(), ask_at=ask_at)

    try:
        return Counter(ports.transact(work))
    except Exception:
        if len(answers) == 1:
            log.exception("debit's answer not stored", extra={"number": answers[0][1].number})
            return Counter(error=1)
        # One of them may be the cause, and the others must not suffer for it.
        log.exception("debits not recorded together", extra={"count": len(answers)})
    return sum((record_answers(ports, [answer], ask_at=ask_at) for answer in answers), Counter())


def _claim(
    session: Session, *, ports: Ports, passed_over: Sequence[int], limits: Limits | None
) -> Claimed:
    ports.fence(session)
    return claim_due(
        session,
        channels=single_channels(ports),
        now=ports.now(),
        limit=GROUP,
        new_number=ports.new_number,
        announcing=ports.channels.announcing,
        passed_over=passed_over,
        limits=limits,
    )


def _send(ports: Ports, attempt: Attempt) -> Outcome:
    return ports.channels.debiting[attempt.channel].submit_debit(
        DebitRequest(
            order_no=attempt.order_no,
            amount_fen=attempt.amount_fen,
            description=DESCRIPTION,
            mandate_reference=attempt.mandate_reference,
        )
    )


def _apply_all(
    session: Session,
    answers: Sequence[tuple[str, Outcome]],
    *,
    now: datetime,
    ask_at: datetime | None,
) -> list[str]:
    together = {
        OutcomeKind.SUCCEEDED: credit_plain_payments,
        OutcomeKind.FAILED: fail_plain_debits,
    }
    effects: list[Effect] = []
    alone: list[tuple[str, Outcome]] = []
    for kind, apply in together.items():
        of_kind = [answer for answer in answers if answer[1].kind is kind]
        found = apply(session, of_kind, now=now) if of_kind else []
        effects += [effect for effect in found if effect is not None]
        alone += [answer for answer, effect in zip(of_kind, found, strict=True) if effect is None]
    effects += [
        apply_payment(session, channel=channel, outcome=outcome, now=now)
        for channel, outcome in alone
    ]
    told = ["open" if effect is Effect.NOTHING else effect.value for effect in effects]
    for _, outcome in answers:
        if outcome.kind not in together:
            note_submitted(session, outcome, now=now, ask_at=ask_at)
            told.append("open")
    return told
