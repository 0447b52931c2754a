"""Gathering what is due into a batch (组批), some at a time: each group is one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any

from sqlalchemy import Row, Select, func, select, update
from sqlalchemy.orm import Session

from app.domain.bank_calendar.queries import read_bank_calendar
from app.domain.base import rows_changed, table_of
from app.domain.breaks.models import BreakKind
from app.domain.breaks.operations import open_break
from app.domain.calendar import business_day
from app.domain.debit_batches.models import DebitBatch
from app.domain.debit_batches.moves import move_batch
from app.domain.debit_batches.rules import (
    MOST_LINES,
    BatchState,
    is_collecting_time,
    results_due_at,
)
from app.domain.debit_runs.attempts import Candidate, store_attempts
from app.domain.debit_runs.claiming import take_up
from app.domain.debits.moves import Failure, fail
from app.domain.deposits.operations import DESCRIPTION
from app.domain.mandates.models import Mandate
from app.domain.mandates.payers import open_payer
from app.domain.policy.queries import Policy
from app.domain.ports import Ports
from app.domain.ports.debits import BatchDebits, DebitRequest, LineUnwritable
from app.domain.ports.outcomes import Reason

BATCH = table_of(DebitBatch)
MANDATE = table_of(Mandate)

GROUP = 500
"""How many debits are taken up together: what holds their rows is short, whatever is due."""

CheckLine = Callable[[DebitRequest], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """What became of a group, and who waits for a payment by hand."""

    counts: Mapping[str, int]
    waiting: Sequence[int]


def collect_debits(ports: Ports, *, channel: str, files: BatchDebits) -> dict[str, int]:
    """Take up all that is due at this channel, and freeze what was gathered.

    Only until the cut-off of a bank day; what an earlier run left behind is frozen at any time.
    Each instruction is claimed with its order and its line in one transaction, so that however
    many do it at once each is in one batch, and a crash leaves a smaller batch and nothing else.

    Returns: how many were `collected`, could not be written (`unwritable`), skipped, cancelled,
        failed or left waiting.
    """
    counts: Counter[str] = Counter()
    waiting: list[int] = []
    while True:
        taken = ports.transact(
            partial(
                _collect_group,
                ports=ports,
                channel=channel,
                check=files.check_line,
                passed_over=waiting,
            )
        )
        if taken is None:
            break
        counts.update(taken.counts)
        waiting += taken.waiting
    ports.transact(partial(_freeze, ports=ports, channel=channel))
    return dict(counts)


def _collect_group(
    session: Session,
    *,
    ports: Ports,
    channel: str,
    check: CheckLine,
    passed_over: Sequence[int],
) -> _Taken | None:
    """Take up one group; None when nothing is due any more, or nothing may be collected."""
    ports.fence(session)
    now = ports.now()
    today = business_day(now)
    calendar = read_bank_calendar(session, on=today)
    cutoff_hour = Policy.on(session, today).debit.batch_cutoff_hour
    if not is_collecting_time(now, cutoff_hour=cutoff_hour, calendar=calendar):
        return None
    batch = _lock_open_batch(session, channel, today)
    taken = take_up(
        session,
        channels=[channel],
        now=now,
        limit=min(GROUP, MOST_LINES - (batch.line_count if batch else 0)),
        new_number=ports.new_number,
        passed_over=passed_over,
    )
    if not taken.steps:
        return None
    candidates = _only_writable(session, ports, taken.candidates, check=check, now=now)
    if candidates:
        due_at = results_due_at(today, calendar=calendar)
        _add(session, batch, candidates, channel=channel, due_at=due_at, now=now)
    counts = {step: n for step, n in taken.steps.items() if step != "send"}
    counts["collected"] = len(candidates)
    counts["unwritable"] = len(taken.candidates) - len(candidates)
    return _Taken(counts={k: n for k, n in counts.items() if n}, waiting=taken.waiting)


def _lock_open_batch(session: Session, channel: str, today: date) -> Row[Any] | None:
    """Return the batch that is being filled; locked, so that places and totals are one's own."""
    return session.execute(
        select(BATCH)
        .where(
            BATCH.c.channel == channel,
            BATCH.c.state == BatchState.COLLECTING,
            BATCH.c.bank_day == today,
        )
        .order_by(BATCH.c.id)
        .limit(1)
        .with_for_update()
    ).one_or_none()


def _only_writable(
    session: Session,
    ports: Ports,
    candidates: Sequence[Candidate],
    *,
    check: CheckLine,
    now: datetime,
) -> list[Candidate]:
    """Return those that the bank's file can hold; fail the others, and tell staff of each."""
    mandates = _mandates_of(session, candidates)
    writable: list[Candidate] = []
    failures: list[Failure] = []
    for candidate in candidates:
        mandate = mandates[candidate.mandate.id]
        request = DebitRequest(
            order_no=candidate.order_no,
            amount_fen=candidate.instruction.amount_fen,
            description=DESCRIPTION,
            mandate_reference=candidate.mandate.reference,
            card=open_payer(ports.vault, mandate.payer).card,
        )
        try:
            check(request)
        except LineUnwritable as unwritable:
            failures.append(
                Failure(instruction_id=candidate.instruction.id, reason=Reason.NOT_SUPPORTED)
            )
            # The order that would have been sent does not exist: the mandate says whose it is.
            open_break(
                session,
                kind=BreakKind.LINE_UNWRITABLE,
                channel=candidate.instruction.channel,
                number=mandate.mandate_no,
                expected_fen=request.amount_fen,
                reference=candidate.instruction.period,
                message=unwritable.message,
                now=now,
            )
            continue
        writable.append(candidate)
    if failures:
        fail(session, failures, now=now)
    return writable


def _mandates_of(session: Session, candidates: Sequence[Candidate]) -> Mapping[int, Row[Any]]:
    ids = [candidate.mandate.id for candidate in candidates]
    query: Select[Any] = select(MANDATE.c.id, MANDATE.c.mandate_no, MANDATE.c.payer)
    return {row.id: row for row in session.execute(query.where(MANDATE.c.id.in_(ids)))}


def _add(
    session: Session,
    batch: Row[Any] | None,
    candidates: Sequence[Candidate],
    *,
    channel: str,
    due_at: datetime,
    now: datetime,
) -> None:
    """Store the attempts at the end of the batch, or of a new one; a full one is frozen."""
    added = len(candidates)
    added_fen = sum(candidate.instruction.amount_fen for candidate in candidates)
    if batch is None:
        before = 0
        batch_id = _begin(
            session,
            channel=channel,
            today=business_day(now),
            line_count=added,
            sum_fen=added_fen,
            due_at=due_at,
            now=now,
        )
    else:
        before, batch_id = batch.line_count, batch.id
        changed = rows_changed(
            session,
            update(BATCH)
            .where(BATCH.c.id == batch_id, BATCH.c.state == BatchState.COLLECTING)
            .values(line_count=before + added, sum_fen=batch.sum_fen + added_fen),
        )
        assert changed == 1, f"locked batch {batch_id} was not being filled"
    store_attempts(
        session,
        candidates,
        now=now,
        expires_at=due_at,
        ask_at=due_at,
        batch_id=batch_id,
        first_place=before + 1,
    )
    if before + added == MOST_LINES:
        move_batch(session, batch_id, BatchState.FROZEN, frozen_at=now)


def _begin(
    session: Session,
    *,
    channel: str,
    today: date,
    line_count: int,
    sum_fen: int,
    due_at: datetime,
    now: datetime,
) -> int:
    """Begin the next batch of the day; of two who begin the same, the database refuses one."""
    last = session.scalar(
        select(func.max(BATCH.c.sequence)).where(
            BATCH.c.channel == channel, BATCH.c.bank_day == today
        )
    )
    batch = DebitBatch(
        channel=channel,
        bank_day=today,
        sequence=(last or 0) + 1,
        state=BatchState.COLLECTING,
        line_count=line_count,
        sum_fen=sum_fen,
        results_due_at=due_at,
        created_at=now,
    )
    session.add(batch)
    session.flush()
    return batch.id


def _freeze(session: Session, *, ports: Ports, channel: str) -> None:
    ports.fence(session)
    ids = session.scalars(
        select(BATCH.c.id)
        .where(BATCH.c.channel == channel, BATCH.c.state == BatchState.COLLECTING)
        .with_for_update()
    ).all()
    for batch_id in ids:
        move_batch(session, batch_id, BatchState.FROZEN, frozen_at=ports.now())
