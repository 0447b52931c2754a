"""Debits by file (批量代收): batches, their frozen bytes, the bank's answers. Fen."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, BigId, Instant, enum_column
from app.domain.debit_batches.rules import BatchState, FileResult
from app.domain.ports.debits import AnswerKind
from app.domain.states import StateMachine

BATCH_STATES = StateMachine(
    "debit_batch",
    {
        BatchState.COLLECTING: frozenset({BatchState.FROZEN}),
        BatchState.FROZEN: frozenset({BatchState.RENDERED}),
        # Handed in, but stopped before that was noted: its answer comes all the same.
        BatchState.RENDERED: frozenset(
            {BatchState.UPLOADED, BatchState.ACCEPTED, BatchState.REJECTED}
        ),
        BatchState.UPLOADED: frozenset(
            {BatchState.ACCEPTED, BatchState.REJECTED, BatchState.SETTLED}
        ),
        BatchState.ACCEPTED: frozenset({BatchState.SETTLED}),
        BatchState.REJECTED: frozenset(),
        BatchState.SETTLED: frozenset(),
    },
)

UNSENT = (BatchState.COLLECTING, BatchState.FROZEN, BatchState.RENDERED)
AT_BANK = (BatchState.UPLOADED, BatchState.ACCEPTED)


class DebitBatch(Base):
    """One file of debits to one channel; the bank knows it by day and sequence."""

    __tablename__ = "debit_batch"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel: Mapped[str] = mapped_column(String(16))
    bank_day: Mapped[date] = mapped_column(Date)
    sequence: Mapped[int] = mapped_column(SmallInteger)
    state: Mapped[BatchState] = mapped_column(enum_column(BatchState), index=True)
    line_count: Mapped[int] = mapped_column(Integer)
    sum_fen: Mapped[int] = mapped_column(BigInteger)
    results_due_at: Mapped[datetime] = mapped_column(Instant)
    file_name: Mapped[str | None] = mapped_column(String(120))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    digest: Mapped[str | None] = mapped_column(String(64))
    """SM3 in hex of the frozen bytes."""
    signature: Mapped[str | None] = mapped_column(String(1024))
    """Ours, over the frozen bytes; base64."""
    created_at: Mapped[datetime] = mapped_column(Instant)
    frozen_at: Mapped[datetime | None] = mapped_column(Instant)
    rendered_at: Mapped[datetime | None] = mapped_column(Instant)
    next_send_at: Mapped[datetime | None] = mapped_column(Instant)
    """When it may be handed in (again); pushed into the future by whoever does it."""
    uploaded_at: Mapped[datetime | None] = mapped_column(Instant)
    answered_at: Mapped[datetime | None] = mapped_column(Instant)
    """When the bank first said something that is believed."""
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    raw_code: Mapped[str | None] = mapped_column(String(64))
    """The bank's code for the whole file."""

    __table_args__ = (
        UniqueConstraint("channel", "bank_day", "sequence"),
        CheckConstraint("line_count > 0 AND sum_fen > 0", name="something_to_take"),
        CheckConstraint(
            "(state IN ('collecting', 'frozen')) = (digest IS NULL)", name="rendered_has_bytes"
        ),
        CheckConstraint(
            "(state IN ('rejected', 'settled')) = (ended_at IS NOT NULL)", name="ended_when_it_says"
        ),
    )


class DebitBatchPart(Base):
    """A piece of a batch's frozen bytes, so small that any database takes it at once."""

    __tablename__ = "debit_batch_part"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("debit_batch.id"))
    place: Mapped[int] = mapped_column(Integer)
    content: Mapped[bytes] = mapped_column(LargeBinary(100_000))
    """Sealed: names and card numbers stand in it."""
    key_id: Mapped[str] = mapped_column(String(16), index=True)

    __table_args__ = (UniqueConstraint("batch_id", "place"),)


class BankAnswerFile(Base):
    """One file of the bank with one content, and what became of it."""

    __tablename__ = "bank_answer_file"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(120))
    digest: Mapped[str] = mapped_column(String(64))
    """SM3 in hex; empty for one that could not even be fetched."""
    kind: Mapped[AnswerKind] = mapped_column(enum_column(AnswerKind))
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("debit_batch.id"))
    result: Mapped[FileResult] = mapped_column(enum_column(FileResult))
    report: Mapped[str] = mapped_column(String(500))
    """For staff: what it brought, or why nothing of it was used."""
    stamp: Mapped[str] = mapped_column(String(200))
    """Sizes and times on the server by which it was last seen: the same is not fetched again."""
    created_at: Mapped[datetime] = mapped_column(Instant)
    changed_at: Mapped[datetime] = mapped_column(Instant)

    __table_args__ = (
        UniqueConstraint("channel", "name", "digest"),
        Index("ix_bank_answer_file_batch_id", "batch_id"),
    )
