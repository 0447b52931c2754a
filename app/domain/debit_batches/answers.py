"""Debits by file, the way back (批量回盘): list, fetch, check as a whole, apply, keep a report."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from tempfile import TemporaryFile
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.breaks.models import BreakKind
from app.domain.breaks.operations import open_break
from app.domain.debit_batches.models import BankAnswerFile, DebitBatch
from app.domain.debit_batches.moves import head_of
from app.domain.debit_batches.results import (
    Unfinished,
    apply_acknowledgement,
    apply_results,
    settle_batches,
)
from app.domain.debit_batches.rules import BatchState, FileResult
from app.domain.payment_orders.models import PaymentOrder
from app.domain.ports import Ports
from app.domain.ports.debits import (
    AnswerKind,
    AnswerName,
    AskedLine,
    BatchDebits,
    BatchFile,
    BatchFileRefused,
    FileServerTrouble,
)

BATCH = table_of(DebitBatch)
FILE = table_of(BankAnswerFile)
ORDER = table_of(PaymentOrder)

_LONGEST_NUMBER = 64
_LONGEST_REPORT = 500
_TOGETHER = 500
# Of an earlier one no byte has left the house.
_KNOWN_TO_THE_BANK = tuple(
    state for state in BatchState if state not in {BatchState.COLLECTING, BatchState.FROZEN}
)
_IN_ORDER = {AnswerKind.ACKNOWLEDGEMENT: 0, AnswerKind.RESULTS: 1}

log = logging.getLogger(__name__)


def fetch_bank_answers(ports: Ports) -> dict[str, int]:
    """Take in what the banks have answered; close the batches of which everything is known.

    A file is used whole or not at all, and once. One that was refused is kept as such, for staff,
    and looked at again when the bank has replaced it.

    Returns: how many files were `imported`, `refused`, `unfinished` by an error of our own, in
        `trouble` with the server, or `odd`, and how many batches were `settled`.
    """
    counts: Counter[str] = Counter()
    for channel, files in ports.channels.batching.items():
        try:
            listed = files.list_answers()
        except FileServerTrouble as trouble:
            log.warning("answers not listed", extra={"channel": channel, "reason": trouble.code})
            counts["trouble"] += 1
            continue
        for name in listed.odd:
            counts["odd"] += ports.transact(
                partial(_note_odd, ports=ports, channel=channel, name=name)
            )
        for answer in _unread(ports, channel, listed.ready):
            counts[_take_in(ports, channel, files, answer)] += 1
    counts["settled"] += settle_batches(ports)
    return {what: n for what, n in counts.items() if n and what}


def _note_odd(session: Session, *, ports: Ports, channel: str, name: str) -> bool:
    """Tell staff of a name once: the bank may be complaining of a file of ours."""
    ports.fence(session)
    is_new = open_break(
        session,
        kind=BreakKind.ODD_BANK_FILE,
        channel=channel,
        number=name[:_LONGEST_NUMBER],
        name=name,
        now=ports.now(),
    )
    if is_new:
        log.warning("odd file of the bank", extra={"channel": channel, "file": name})
    return is_new


def _unread(ports: Ports, channel: str, ready: Sequence[AnswerName]) -> list[AnswerName]:
    """Return what was not looked at as it is now, acknowledgements first."""
    stamps: dict[str, set[str]] = defaultdict(set)
    for first in range(0, len(ready), _TOGETHER):
        names = [answer.name for answer in ready[first : first + _TOGETHER]]
        for row in ports.read(partial(_read_stamps, channel=channel, names=names)):
            stamps[row.name].add(row.stamp)
    unread = [answer for answer in ready if answer.stamp not in stamps[answer.name]]
    return sorted(unread, key=lambda a: (_IN_ORDER[a.kind], a.day, a.sequence, a.part))


def _read_stamps(session: Session, *, channel: str, names: Sequence[str]) -> list[Row[Any]]:
    query = select(FILE.c.name, FILE.c.stamp).where(
        FILE.c.channel == channel, FILE.c.name.in_(names)
    )
    return list(session.execute(query))


def _take_in(ports: Ports, channel: str, files: BatchDebits, answer: AnswerName) -> str:
    taking = _Taking(ports, channel, answer)
    try:
        report = taking.read(files)
    except FileServerTrouble as trouble:
        log.warning("answer not fetched", extra={"file": answer.name, "reason": trouble.code})
        return "trouble"
    except Unfinished:
        # What went wrong is in the log; nothing is lost by another round.
        return "unfinished"
    except BatchFileRefused as refused:
        taking.keep(FileResult.REFUSED, refused.message)
        log.error("file of the bank refused", extra={"file": answer.name, "line": refused.line})
        return "refused"
    if report is None:
        return ""
    taking.keep(FileResult.IMPORTED, report)
    return "imported"


class _Taking:
    """One file being taken in: what is known of it so far."""

    def __init__(self, ports: Ports, channel: str, answer: AnswerName) -> None:
        self._ports = ports
        self._channel = channel
        self._answer = answer
        self._digest = ""
        self._batch: Row[Any] | None = None

    def read(self, files: BatchDebits) -> str | None:
        """Fetch, check and apply it; return the report, None for what was used before.

        Raises:
            FileServerTrouble, BatchFileRefused, Unfinished: it was not used.
        """
        with TemporaryFile() as content:
            file = files.fetch_answer(self._answer.name, content)
            self._digest = file.digest
            used = self._ports.read(self._find_used)
            if file.digest in used:
                self._ports.transact(self._stamp)
                return None
            if used:
                raise BatchFileRefused(file.name, 0, "同名文件此前已采用，这份内容不同")
            self._batch = self._ports.read(self._find_batch)
            if self._batch is None:
                raise BatchFileRefused(file.name, 0, "本中心没有发出这一批次")
            return self._apply(files, file, content)

    def _apply(self, files: BatchDebits, file: BatchFile, content: Any) -> str:
        assert self._batch is not None
        batch, head = self._batch, head_of(self._batch)
        if self._answer.kind is AnswerKind.ACKNOWLEDGEMENT:
            word = files.read_acknowledgement(file, content, head=head)
            return apply_acknowledgement(self._ports, batch, word, file_name=file.name)
        results = files.read_results(file, content, head=head, find=self._find_lines)
        return apply_results(self._ports, batch, results, file_name=file.name)

    def keep(self, result: FileResult, report: str) -> None:
        """Write down what became of it; a refused one is a break for staff."""

        def work(session: Session) -> None:
            now = self._ports.now()
            values = {
                "kind": self._answer.kind,
                "batch_id": self._batch.id if self._batch else None,
                "result": result,
                "report": report[:_LONGEST_REPORT],
                "stamp": self._answer.stamp,
                "changed_at": now,
            }
            if not rows_changed(session, update(FILE).where(self._is_this).values(**values)):
                session.execute(
                    insert(FILE).values(
                        channel=self._channel,
                        name=self._answer.name,
                        digest=self._digest,
                        created_at=now,
                        **values,
                    )
                )
            if result is FileResult.REFUSED:
                open_break(
                    session,
                    kind=BreakKind.BATCH_FILE_REFUSED,
                    channel=self._channel,
                    number=self._answer.name[:_LONGEST_NUMBER],
                    reference=self._digest[:16] or None,
                    message=report,
                    now=now,
                )

        self._ports.transact(work)

    @property
    def _is_this(self) -> Any:
        return (
            (FILE.c.channel == self._channel)
            & (FILE.c.name == self._answer.name)
            & (FILE.c.digest == self._digest)
        )

    def _find_used(self, session: Session) -> set[str]:
        """Return the contents under this name that were used."""
        return set(
            session.scalars(
                select(FILE.c.digest).where(
                    FILE.c.channel == self._channel,
                    FILE.c.name == self._answer.name,
                    FILE.c.result == FileResult.IMPORTED,
                )
            )
        )

    def _stamp(self, session: Session) -> None:
        session.execute(update(FILE).where(self._is_this).values(stamp=self._answer.stamp))

    def _find_batch(self, session: Session) -> Row[Any] | None:
        return session.execute(
            select(BATCH).where(
                BATCH.c.channel == self._channel,
                BATCH.c.bank_day == self._answer.day,
                BATCH.c.sequence == self._answer.sequence,
                BATCH.c.state.in_(_KNOWN_TO_THE_BANK),
            )
        ).one_or_none()

    def _find_lines(self, numbers: Sequence[str]) -> Mapping[str, AskedLine]:
        """Return which of these are debits of the batch."""
        assert self._batch is not None
        query = select(ORDER.c.order_no, ORDER.c.batch_place, ORDER.c.amount_fen).where(
            ORDER.c.order_no.in_(numbers), ORDER.c.batch_id == self._batch.id
        )
        rows = self._ports.read(lambda session: session.execute(query).all())
        return {
            row.order_no: AskedLine(place=row.batch_place, amount_fen=row.amount_fen)
            for row in rows
        }
