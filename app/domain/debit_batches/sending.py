"""Debits by file, the way out (批量代收): gather, freeze, write, hand in."""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from tempfile import TemporaryFile
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.breaks.models import BreakKind
from app.domain.debit_batches.collecting import collect_debits
from app.domain.debit_batches.models import DebitBatch
from app.domain.debit_batches.moves import move_batch, number_of, tell_staff
from app.domain.debit_batches.rendering import copy_frozen_bytes, render_batch
from app.domain.debit_batches.rules import SEND_AGAIN_AFTER, BatchState
from app.domain.ports import Ports
from app.domain.ports.debits import (
    BatchAtOdds,
    BatchDebits,
    BatchFile,
    FileServerTrouble,
    LineUnwritable,
)

BATCH = table_of(DebitBatch)

log = logging.getLogger(__name__)


def send_debit_batches(ports: Ports) -> dict[str, int]:
    """Send every debit whose day has come, at the channels that take them by file.

    Whatever step a crash comes after, the next run goes on from there: no second file is ever made
    of a batch, and none of its debits is in another.

    Returns: how many debits were collected, unwritable, skipped, cancelled, failed or left waiting,
        and how many batches were `rendered`, `uploaded`, in `trouble` with the file server, or
        `at_odds` with what was decided.
    """
    counts: Counter[str] = Counter()
    for channel, files in ports.channels.batching.items():
        counts.update(collect_debits(ports, channel=channel, files=files))
        for batch in _in_state(ports, channel, BatchState.FROZEN):
            counts[_render(ports, batch, files)] += 1
        for batch in _in_state(ports, channel, BatchState.RENDERED):
            counts[_hand_in(ports, batch, files)] += 1
    return {what: n for what, n in counts.items() if n and what}


def _in_state(ports: Ports, channel: str, state: BatchState) -> list[Row[Any]]:
    query = select(BATCH).where(BATCH.c.channel == channel, BATCH.c.state == state)
    return ports.read(lambda session: list(session.execute(query.order_by(BATCH.c.id))))


def _render(ports: Ports, batch: Row[Any], files: BatchDebits) -> str:
    try:
        return "rendered" if render_batch(ports, batch, files=files) else ""
    except (LineUnwritable, BatchAtOdds) as error:
        return _at_odds(ports, batch, error)


def _hand_in(ports: Ports, batch: Row[Any], files: BatchDebits) -> str:
    if not ports.transact(partial(_claim, ports=ports, batch_id=batch.id)):
        return ""
    file = BatchFile(
        name=batch.file_name,
        size_bytes=batch.size_bytes,
        digest=batch.digest,
        signature=batch.signature,
    )
    with TemporaryFile() as content:
        copy_frozen_bytes(ports, batch.id, content)
        try:
            files.upload_batch(file, content)
        except FileServerTrouble as trouble:
            # It may be there. The same bytes again, later.
            log.warning(
                "batch not handed in", extra={"batch": number_of(batch), "reason": trouble.code}
            )
            return "trouble"
        except BatchAtOdds as error:
            return _at_odds(ports, batch, error)
    ports.transact(
        lambda session: move_batch(
            session, batch.id, BatchState.UPLOADED, uploaded_at=ports.now(), next_send_at=None
        )
    )
    return "uploaded"


def _claim(session: Session, *, ports: Ports, batch_id: int) -> bool:
    """Take a batch for oneself until the time at which it may be handed in again."""
    ports.fence(session)
    now = ports.now()
    return (
        rows_changed(
            session,
            update(BATCH)
            .where(
                BATCH.c.id == batch_id,
                BATCH.c.state == BatchState.RENDERED,
                BATCH.c.next_send_at <= now,
            )
            .values(next_send_at=now + SEND_AGAIN_AFTER),
        )
        == 1
    )


def _at_odds(ports: Ports, batch: Row[Any], error: LineUnwritable | BatchAtOdds) -> str:
    log.error("batch at odds", extra={"batch": number_of(batch), "reason": error.code})
    ports.transact(
        lambda session: tell_staff(
            session, batch, BreakKind.BATCH_AT_ODDS, message=error.message, now=ports.now()
        )
    )
    return "at_odds"
