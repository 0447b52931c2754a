"""Who keeps the timetable (the lease), what ran (job_run), and how far each job has come."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import JSON, BigInteger, CheckConstraint, Date, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, BigId, Instant, enum_column
from app.domain.states import StateMachine


class RunState(StrEnum):
    """How a run ended; ABANDONED by a process that died or lost the lease meanwhile."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABANDONED = "abandoned"


RUN_STATES = StateMachine(
    "job_run",
    {
        RunState.RUNNING: frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.ABANDONED}),
        RunState.SUCCEEDED: frozenset(),
        RunState.FAILED: frozenset(),
        RunState.ABANDONED: frozenset(),
    },
)


class Trigger(StrEnum):
    """What began a run: the timetable, or somebody at the command line."""

    SCHEDULE = "schedule"
    MANUAL = "manual"


class SchedulerLease(Base):
    """The one row by which one scheduler at a time is active. Its times are the database's own."""

    __tablename__ = "scheduler_lease"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str | None] = mapped_column(String(120))
    """Machine and process, for people. None: given back."""
    term: Mapped[int] = mapped_column(BigInteger)
    """The fencing number: one more with every holder, never less."""
    taken_at: Mapped[datetime] = mapped_column(Instant)
    renewed_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    """From then on another may take it."""


class JobRun(Base):
    """One run of one job. A run by the timetable that found nothing to do leaves no row."""

    __tablename__ = "job_run"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job: Mapped[str] = mapped_column(String(40))
    on_date: Mapped[date] = mapped_column(Date)
    """The business day for which it ran; `started_at` says when."""
    trigger: Mapped[Trigger] = mapped_column("triggered_by", enum_column(Trigger))
    state: Mapped[RunState] = mapped_column(enum_column(RunState))
    started_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    counts: Mapped[dict[str, int]] = mapped_column(JSON)
    error: Mapped[str | None] = mapped_column(String(200))
    """The kind of error and where it was raised; never its text, which may name a person."""
    holder: Mapped[str] = mapped_column(String(120))
    term: Mapped[int | None] = mapped_column(BigInteger)
    """The fencing number under which it ran; None by hand."""

    __table_args__ = (
        CheckConstraint(
            "(state = 'running') = (ended_at IS NULL)", name="ends_when_it_is_not_running"
        ),
        Index("ix_job_run_job_started_at", "job", "started_at"),
        Index("ix_job_run_started_at", "started_at"),
        Index("ix_job_run_state", "state"),
    )


class JobProgress(Base):
    """How far the timetable has come with one job: the memory that outlives a process."""

    __tablename__ = "job_progress"

    job: Mapped[str] = mapped_column(String(40), primary_key=True)
    known_since: Mapped[datetime] = mapped_column(Instant)
    tried_at: Mapped[datetime] = mapped_column(Instant)
    """When the last run by the timetable began."""
    succeeded_at: Mapped[datetime | None] = mapped_column(Instant)
    """When the last one succeeded, also one that found nothing to do."""
    failures: Mapped[int] = mapped_column(BigInteger)
    """How many have failed since then."""
    done_through: Mapped[date | None] = mapped_column(Date)
    """A daily job: the last day for which it succeeded. The days after it are to be done."""
