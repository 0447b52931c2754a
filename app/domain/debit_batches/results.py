"""What the bank's word does to a batch: taken, turned away, or the end of each of its debits.

All of it can be done again from its beginning: what was applied before changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.breaks.models import BreakKind
from app.domain.calendar import business_day, day_bounds
from app.domain.debit_batches.models import BATCH_STATES, DebitBatch
from app.domain.debit_batches.moves import move_batch, tell_staff
from app.domain.debit_batches.rules import BatchState
from app.domain.debit_runs.submitting import record_answers
from app.domain.money import format_yuan
from app.domain.payment_orders.models import OPEN_STATES, OrderState, PaymentOrder
from app.domain.payment_orders.rules import BATCH_QUERY_EVERY
from app.domain.ports import Ports
from app.domain.ports.debits import Acknowledgement, BatchFileRefused, BatchResults, LineResult
from app.domain.ports.outcomes import Outcome, OutcomeKind
from app.domain.settlement.debits import fail_debits

BATCH = table_of(DebitBatch)
ORDER = table_of(PaymentOrder)

GROUP = 500

_NOT_TURNED_AWAY = (*BATCH_STATES.sources_of(BatchState.REJECTED), BatchState.REJECTED)


class Unfinished(Exception):
    """Some answers could not be stored, by an error of our own: the whole file once more."""


def apply_acknowledgement(
    ports: Ports, batch: Row[Any], word: Acknowledgement, *, file_name: str
) -> str:
    """Do what the bank's word on a whole batch says; return the report for staff.

    Raises:
        BatchFileRefused: it contradicts what the bank has said before.
    """
    totals = f"{batch.line_count} 笔 {format_yuan(batch.sum_fen)} 元"
    if word.kind is OutcomeKind.ACCEPTED:
        if batch.state is BatchState.REJECTED:
            raise BatchFileRefused(file_name, 0, "与此前的拒绝回执矛盾")
        _accept(ports, batch, raw_code=word.raw_code)
        return f"银行已受理，{totals}"
    place = f"，第 {word.wrong_line} 行" if word.wrong_line else ""
    why = f"{word.raw_code} {word.raw_message}{place}"
    if word.kind is OutcomeKind.FAILED:
        _reject(ports, batch, word, file_name=file_name)
        return f"银行整批拒绝，{totals}均未扣款：{why}"
    ports.transact(
        lambda session: tell_staff(
            session, batch, BreakKind.BATCH_DOUBTFUL, message=why, now=ports.now()
        )
    )
    return f"银行拒绝，但其中可能有已扣款的，{totals}待查：{why}"


def apply_results(ports: Ports, batch: Row[Any], results: BatchResults, *, file_name: str) -> str:
    """Apply a result file that was checked as a whole, in groups; return the report for staff.

    Each line goes the way of an answer in real time. One that says nothing final leaves its debit
    open, and so does one that is missing.

    Raises:
        BatchFileRefused: a day on which the bank cannot have taken the money; nothing is applied.
        Unfinished: apply the file again.
    """
    _check_days(batch, results.lines(), today=business_day(ports.now()), file_name=file_name)
    if batch.state in BATCH_STATES.sources_of(BatchState.ACCEPTED):
        # The acknowledgement was lost, or is late.
        _accept(ports, batch, raw_code=None)
    ask_at = max(batch.results_due_at, ports.now() + BATCH_QUERY_EVERY)
    counts: Counter[OutcomeKind] = Counter()
    fen: Counter[OutcomeKind] = Counter()
    errors = 0
    for group in _groups(results.lines()):
        ports.transact(ports.fence)
        answers = [(batch.channel, _outcome_of(line)) for line in group]
        for _, outcome in answers:
            kind = OutcomeKind.UNKNOWN if outcome.kind is OutcomeKind.ACCEPTED else outcome.kind
            counts[kind] += 1
            fen[kind] += outcome.amount_fen or 0
        errors += record_answers(ports, answers, ask_at=ask_at)["error"]
    if errors:
        raise Unfinished(f"{errors} of {results.count} answers not stored")
    return (
        f"结果 {results.count} 笔：成功 {counts[OutcomeKind.SUCCEEDED]} 笔"
        f" {format_yuan(fen[OutcomeKind.SUCCEEDED])} 元，失败 {counts[OutcomeKind.FAILED]} 笔，"
        f"待定 {counts[OutcomeKind.UNKNOWN]} 笔 {format_yuan(fen[OutcomeKind.UNKNOWN])} 元；"
        f"批次中未提及 {results.missing} 笔"
    )


def settle_batches(ports: Ports) -> int:
    """Close the batches at the bank of which every debit has an end; return how many."""
    at_bank = select(BATCH.c.id).where(
        BATCH.c.state.in_(BATCH_STATES.sources_of(BatchState.SETTLED))
    )
    ids = ports.read(lambda session: session.scalars(at_bank.order_by(BATCH.c.id)).all())
    return sum(ports.transact(partial(_settle, ports=ports, batch_id=each)) for each in ids)


def _settle(session: Session, *, ports: Ports, batch_id: int) -> bool:
    ports.fence(session)
    still_open = select(ORDER.c.id).where(
        ORDER.c.batch_id == batch_id, ORDER.c.state.in_(OPEN_STATES)
    )
    if session.scalar(still_open.limit(1)) is not None:
        return False
    return move_batch(session, batch_id, BatchState.SETTLED, ended_at=ports.now())


def _accept(ports: Ports, batch: Row[Any], *, raw_code: str | None) -> None:
    if batch.state not in BATCH_STATES.sources_of(BatchState.ACCEPTED):
        return
    for first in range(1, batch.line_count + 1, GROUP):
        ports.transact(
            partial(_note_taken, ports=ports, batch_id=batch.id, first=first, raw_code=raw_code)
        )
    ports.transact(
        lambda session: move_batch(
            session,
            batch.id,
            BatchState.ACCEPTED,
            answered_at=ports.now(),
            raw_code=raw_code,
        )
    )


def _note_taken(
    session: Session, *, ports: Ports, batch_id: int, first: int, raw_code: str | None
) -> None:
    ports.fence(session)
    session.execute(
        update(ORDER)
        .where(
            ORDER.c.batch_id == batch_id,
            ORDER.c.batch_place.between(first, first + GROUP - 1),
            ORDER.c.state == OrderState.SENDING,
        )
        .values(state=OrderState.AWAITING_PAYMENT, raw_code=raw_code)
    )


def _reject(ports: Ports, batch: Row[Any], word: Acknowledgement, *, file_name: str) -> None:
    """Fail every debit that is open, then the batch; each is put to its next day, or is missed."""
    for first in range(1, batch.line_count + 1, GROUP):
        ports.transact(
            partial(
                _fail_group, ports=ports, batch_id=batch.id, first=first, word=word, name=file_name
            )
        )
    ports.transact(
        lambda session: move_batch(
            session,
            batch.id,
            BatchState.REJECTED,
            answered_at=ports.now(),
            ended_at=ports.now(),
            raw_code=word.raw_code,
        )
    )


def _fail_group(
    session: Session, *, ports: Ports, batch_id: int, first: int, word: Acknowledgement, name: str
) -> None:
    ports.fence(session)
    # Locked, so that nobody believes the contrary meanwhile.
    state = session.scalar(select(BATCH.c.state).where(BATCH.c.id == batch_id).with_for_update())
    if state not in _NOT_TURNED_AWAY:
        raise BatchFileRefused(name, 0, "与此前的受理回执或结果矛盾")
    orders = session.execute(
        select(ORDER)
        .where(
            ORDER.c.batch_id == batch_id,
            ORDER.c.batch_place.between(first, first + GROUP - 1),
            ORDER.c.state.in_(OPEN_STATES),
        )
        .order_by(ORDER.c.id)
        .with_for_update()
    ).all()
    refusals = [
        (
            order,
            Outcome(
                kind=OutcomeKind.FAILED,
                reason=word.reason,
                number=order.order_no,
                raw_code=word.raw_code,
            ),
        )
        for order in orders
    ]
    if refusals:
        fail_debits(session, refusals, now=ports.now())


def _check_days(
    batch: Row[Any], lines: Iterable[LineResult], *, today: Any, file_name: str
) -> None:
    """The day is the one from which the money counts for interest."""
    for line in lines:
        if not batch.bank_day <= line.bank_date <= today:
            number = line.outcome.number
            raise BatchFileRefused(
                file_name, 0, f"订单 {number} 的扣款日期 {line.bank_date} 不可能"
            )


def _outcome_of(line: LineResult) -> Outcome:
    if line.outcome.kind is not OutcomeKind.SUCCEEDED:
        return line.outcome
    # The file says the day and no hour.
    return replace(line.outcome, occurred_at=day_bounds(line.bank_date)[0])


def _groups(lines: Iterator[LineResult]) -> Iterator[list[LineResult]]:
    while group := list(islice(lines, GROUP)):
        yield group
