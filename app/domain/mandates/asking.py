"""Asking channels about mandates: what is undecided, and every day whether the others still stand.

A question is claimed by pushing the next one into the future, put with no transaction open, and its
answer applied only as far as the mandate has not moved meanwhile.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import date
from functools import partial
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.breaks.models import BreakKind
from app.domain.breaks.operations import open_break
from app.domain.mandates.models import Mandate
from app.domain.mandates.moves import end, lock
from app.domain.mandates.operations import MandateEffect, apply_mandate_answer
from app.domain.mandates.queries import is_due, stands
from app.domain.mandates.rules import (
    SIGNING,
    UNDECIDED,
    UNDECIDED_AFTER,
    EndReason,
    Hearing,
    MandateState,
)
from app.domain.payment_orders.rules import next_query_at
from app.domain.ports import Ports
from app.domain.ports.mandates import EndedBy, MandateAnswer, MandateStanding

MANDATE = table_of(Mandate)
PAGE = 200

log = logging.getLogger(__name__)


def resolve_mandates(ports: Ports, *, limit: int = PAGE) -> dict[str, int]:
    """Ask about every mandate whose time has come, and tell the channel of those that are over.

    Nothing is ever signed again here. Returns: how many had which effect, or `error`.
    """
    counts: Counter[str] = Counter()
    query = select(MANDATE).where(is_due(now=ports.now()))
    due = ports.read(
        lambda session: session.execute(query.order_by(MANDATE.c.next_query_at).limit(limit)).all()
    )
    for row in due:
        try:
            claimed = _claim(ports, row)
            if claimed is not None:
                counts[_resolve(ports, claimed)] += 1
        except Exception:
            # Its claim has put off the next question; the others must not wait for it.
            log.exception("mandate not resolved", extra={"mandate_no": row.mandate_no})
            counts["error"] += 1
    return dict(counts)


def compare_mandates(ports: Ports, *, on: date) -> dict[str, int]:
    """Ask the channels about every mandate in force; for a daily job.

    What the channel ended is ended here; one past its last day is ended there.

    Returns: how many are the `same`, were not answered, or had which effect; `error` for trouble
        of our own.
    """
    counts: Counter[str] = Counter()
    last_id = 0
    while page := ports.read(partial(_page, after_id=last_id)):
        for row in page:
            try:
                counts[_compare(ports, row, on=on)] += 1
            except Exception:
                log.exception("mandate not compared", extra={"mandate_no": row.mandate_no})
                counts["error"] += 1
        last_id = page[-1].id
    return dict(counts)


def _page(session: Session, *, after_id: int) -> list[Row[Any]]:
    query = select(MANDATE).where(stands(), MANDATE.c.id > after_id)
    return list(session.execute(query.order_by(MANDATE.c.id).limit(PAGE)))


def _claim(ports: Ports, row: Row[Any]) -> Row[Any] | None:
    signing = row.state in SIGNING
    later = next_query_at(
        ports.now(),
        query_count=row.query_count + 1,
        expires_at=row.expires_at if signing else None,
    )

    def claim(session: Session) -> Row[Any] | None:
        ports.fence(session)
        claimed = rows_changed(
            session,
            update(MANDATE)
            .where(MANDATE.c.id == row.id, MANDATE.c.next_query_at == row.next_query_at)
            .values(next_query_at=later, query_count=MANDATE.c.query_count + 1),
        )
        if claimed != 1:
            return None
        return session.execute(select(MANDATE).where(MANDATE.c.id == row.id)).one()

    return ports.transact(claim)


def _resolve(ports: Ports, row: Row[Any]) -> str:
    over = row.state is MandateState.ENDING
    effect = _end_there(ports, row) if over else _query(ports, row)
    if effect is MandateEffect.ENDING:
        # In force there and not to be. Its own next question comes if this gets no answer.
        now = ports.read(
            lambda session: session.execute(select(MANDATE).where(MANDATE.c.id == row.id)).one()
        )
        return _end_there(ports, now)
    began = row.changed_at if over else row.expires_at
    undecided = row.state in UNDECIDED
    if effect is MandateEffect.NOTHING and undecided and ports.now() >= began + UNDECIDED_AFTER:
        _tell_staff(ports, row)
    return effect


def _compare(ports: Ports, row: Row[Any], *, on: date) -> str:
    if on > row.valid_to:
        return _expire(ports, row)
    ports.transact(ports.fence)
    answer = _ask(ports, row)
    effect = _apply(ports, row, answer, hearing=Hearing.QUERY)
    if effect is not MandateEffect.NOTHING:
        return effect
    return "no_answer" if answer.standing is MandateStanding.UNKNOWN else "same"


def _expire(ports: Ports, row: Row[Any]) -> str:
    def work(session: Session) -> str:
        ports.fence(session)
        mandate = lock(session, row.mandate_no)
        if mandate is None or mandate.move_count != row.move_count:
            return MandateEffect.NOTHING
        end(
            session,
            mandate,
            ended_by=EndedBy.EXPIRY,
            end_reason=EndReason.EXPIRED,
            by="system",
            because="授权有效期届满",
            at=ports.now(),
        )
        return "expired"

    return ports.transact(work)


def _query(ports: Ports, row: Row[Any]) -> MandateEffect:
    return _apply(ports, row, _ask(ports, row), hearing=Hearing.QUERY)


def _ask(ports: Ports, row: Row[Any]) -> MandateAnswer:
    return ports.channels.mandating[row.channel].query_mandate(
        mandate_no=row.mandate_no, reference=row.reference
    )


def _end_there(ports: Ports, row: Row[Any]) -> MandateEffect:
    answer = ports.channels.mandating[row.channel].end_mandate(
        mandate_no=row.mandate_no, reference=row.reference
    )
    effect = _apply(ports, row, answer, hearing=Hearing.CALL)
    # One that had ended here before does not move, and yet something was done.
    ended = effect is MandateEffect.NOTHING and answer.standing is MandateStanding.ENDED
    return MandateEffect.ENDED if ended else effect


def _apply(
    ports: Ports, row: Row[Any], answer: MandateAnswer, *, hearing: Hearing
) -> MandateEffect:
    return ports.transact(
        lambda session: apply_mandate_answer(
            session,
            ports.vault,
            channel=row.channel,
            answer=answer,
            hearing=hearing,
            asked_at_move=row.move_count,
            now=ports.now(),
        )
    )


def _tell_staff(ports: Ports, row: Row[Any]) -> None:
    ports.transact(
        lambda session: open_break(
            session,
            kind=BreakKind.UNDECIDED,
            channel=row.channel,
            number=row.mandate_no,
            now=ports.now(),
        )
    )
