"""Announcing debits (预扣费通知) to channels whose product takes no other: before, and again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, or_, select, update
from sqlalchemy.orm import Session

from app.domain.agreements.models import Agreement, AgreementState
from app.domain.base import rows_changed, table_of
from app.domain.calendar import SHANGHAI, business_day
from app.domain.debits.models import DebitInstruction
from app.domain.debits.moves import Failure, fail
from app.domain.debits.rules import InstructionState
from app.domain.mandates.models import Mandate
from app.domain.mandates.rules import MandateState
from app.domain.ports import Ports
from app.domain.ports.debits import Announcements, DebitNotice, NoticeWindow
from app.domain.ports.outcomes import Outcome, OutcomeKind

AGREEMENT = table_of(Agreement)
INSTRUCTION = table_of(DebitInstruction)
MANDATE = table_of(Mandate)

PAGE = 200
PATIENCE = 3
"""So many in a row without an answer, and a channel is left in peace for this round."""

log = logging.getLogger(__name__)


def announce_debits(ports: Ports) -> dict[str, int]:
    """Announce every debit whose announcement has come due, with its frozen amount.

    An announcement is good for some days and for every try in them; a retry after that is announced
    anew. One without an answer is sent again: the payer is told once, whatever we send.

    Returns: how many were `announced`, `refused` or not answered (`unknown`).
    """
    counts: Counter[str] = Counter()
    for name, channel in ports.channels.announcing.items():
        if _is_open(channel.notice_window, ports.now()):
            counts += _announce_all(ports, name, channel)
    return dict(counts)


def count_unannounced(session: Session, *, now: datetime) -> int:
    """Return how many debits of wallets are not announced; whether a channel wants it, it says."""
    waiting = and_(
        INSTRUCTION.c.state == InstructionState.SCHEDULED,
        INSTRUCTION.c.next_attempt_on <= business_day(now),
        INSTRUCTION.c.announced_from.is_not(None),
        INSTRUCTION.c.announced_until < INSTRUCTION.c.next_attempt_on,
    )
    return session.scalar(select(func.count()).where(waiting)) or 0


def _announce_all(ports: Ports, name: str, channel: Announcements) -> Counter[str]:
    counts: Counter[str] = Counter()
    silent = last_id = 0
    while page := _read_page(ports, name, channel.notice_window, after_id=last_id):
        for row in page:
            ports.transact(ports.fence)
            outcome = channel.announce_debit(
                DebitNotice(
                    order_no=ports.new_number("N"),
                    mandate_reference=row.reference,
                    amount_fen=row.amount_fen,
                    due_on=max(row.next_attempt_on, _first_day(channel.notice_window, ports.now())),
                )
            )
            counts[_record(ports, channel.notice_window, row, outcome)] += 1
            silent = silent + 1 if outcome.kind is OutcomeKind.UNKNOWN else 0
            if silent >= PATIENCE:
                log.warning("channel takes no announcements", extra={"channel": name})
                return counts
        last_id = page[-1].id
    return counts


def _read_page(
    ports: Ports, name: str, window: NoticeWindow, *, after_id: int
) -> Sequence[Row[Any]]:
    last_day = business_day(ports.now()) + timedelta(days=window.earliest_days)
    query = (
        select(INSTRUCTION, MANDATE.c.reference, MANDATE.c.id.label("mandate_id"))
        .join(AGREEMENT, AGREEMENT.c.id == INSTRUCTION.c.agreement_id)
        .join(
            MANDATE,
            (MANDATE.c.account_id == INSTRUCTION.c.account_id)
            & (MANDATE.c.channel == name)
            & (MANDATE.c.state == MandateState.ACTIVE),
        )
        .where(
            INSTRUCTION.c.id > after_id,
            INSTRUCTION.c.state == InstructionState.SCHEDULED,
            INSTRUCTION.c.channel == name,
            INSTRUCTION.c.next_attempt_on <= last_day,
            AGREEMENT.c.state != AgreementState.ENDED,
            _is_uncovered(ports.now()),
        )
        .order_by(INSTRUCTION.c.id)
        .limit(PAGE)
    )
    return ports.read(lambda session: session.execute(query).all())


def _is_uncovered(now: datetime) -> ColumnElement[bool]:
    """No announcement is good for the day of the next attempt, or for any day to come."""
    return or_(
        INSTRUCTION.c.announced_until.is_(None),
        INSTRUCTION.c.announced_until < INSTRUCTION.c.next_attempt_on,
        INSTRUCTION.c.announced_until < business_day(now),
    )


def _record(ports: Ports, window: NoticeWindow, row: Row[Any], outcome: Outcome) -> str:
    if outcome.kind is OutcomeKind.UNKNOWN:
        return "unknown"

    def work(session: Session) -> str:
        now = ports.now()
        if outcome.kind is OutcomeKind.FAILED:
            failure = Failure(
                instruction_id=row.id, reason=outcome.reason, mandate_id=row.mandate_id
            )
            fail(session, [failure], now=now)
            return "refused"
        first = _first_day(window, now)
        rows_changed(
            session,
            update(INSTRUCTION)
            .where(
                INSTRUCTION.c.id == row.id,
                INSTRUCTION.c.state == InstructionState.SCHEDULED,
                INSTRUCTION.c.next_attempt_on == row.next_attempt_on,
            )
            .values(
                announced_from=first,
                announced_until=first + timedelta(days=window.valid_days - 1),
                next_attempt_on=max(first, row.next_attempt_on),
            ),
        )
        return "announced"

    return ports.transact(work)


def _first_day(window: NoticeWindow, now: datetime) -> date:
    """Return the first day on which what is announced now may be debited."""
    return business_day(now) + timedelta(days=window.latest_days)


def _is_open(window: NoticeWindow, now: datetime) -> bool:
    return window.from_hour <= now.astimezone(SHANGHAI).hour < window.until_hour
