"""Reading who keeps the timetable, how far each job has come, and what ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.scheduling.models import JobProgress, JobRun, RunState, SchedulerLease
from app.domain.scheduling.operations import NAME, database_now
from app.domain.scheduling.rules import RUNS_KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseView:
    """Who holds the lease (None: given back), and how long ago it was last renewed."""

    holder: str | None
    term: int
    age_seconds: int


def find_lease(session: Session) -> LeaseView | None:
    """Return the lease; None if no scheduler has ever run here."""
    lease = session.get(SchedulerLease, NAME)
    if lease is None:
        return None
    age = database_now(session) - lease.renewed_at
    return LeaseView(
        holder=lease.holder, term=lease.term, age_seconds=max(0, int(age.total_seconds()))
    )


def find_progress(session: Session, *, job: str) -> JobProgress | None:
    """Return how far the timetable has come with a job; None if it never began it."""
    return session.get(JobProgress, job)


def list_progress(session: Session) -> Mapping[str, JobProgress]:
    """Return how far the timetable has come, by job."""
    return {row.job: row for row in session.scalars(select(JobProgress).order_by(JobProgress.job))}


def list_runs(
    session: Session, *, job: str | None = None, state: RunState | None = None, limit: int = 20
) -> Sequence[JobRun]:
    """Return the latest runs, newest first."""
    query = select(JobRun).order_by(JobRun.started_at.desc(), JobRun.id.desc()).limit(limit)
    if job is not None:
        query = query.where(JobRun.job == job)
    if state is not None:
        query = query.where(JobRun.state == state)
    return session.scalars(query).all()


def count_old_runs(session: Session, *, now: datetime) -> int:
    """Return how many runs ended too long ago to be of use."""
    old = select(func.count()).where(JobRun.started_at < now - RUNS_KEPT)
    return session.scalar(old) or 0
