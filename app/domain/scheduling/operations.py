"""The scheduler's lease with its fencing number, and the record of what ran.

One row decides who keeps the timetable. Whoever takes it raises the term; whoever held it before
can't renew, claim work or record a run any more, however late it wakes up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, cast

from sqlalchemy import CursorResult, delete, insert, select, text, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.ports import Ports
from app.domain.scheduling.models import (
    RUN_STATES,
    JobProgress,
    JobRun,
    RunState,
    SchedulerLease,
    Trigger,
)
from app.domain.scheduling.rules import LEASE, RUNS_KEPT

LEASES = table_of(SchedulerLease)
RUN = table_of(JobRun)
PROGRESS = table_of(JobProgress)

NAME = "scheduler"


class Deposed(BaseException):
    """The lease is another's: nothing may be begun or recorded under the old term.

    No `Exception`, so that a job's own care for one item's trouble does not swallow it.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Grip:
    """A lease as one process holds it."""

    holder: str
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run under way. `grip` is None for one by hand."""

    id: int
    job: str
    on: date
    grip: Grip | None


def take_lease(ports: Ports, *, holder: str) -> Grip | None:
    """Take the lease if nobody holds it or its holder has not renewed it; None otherwise."""
    return ports.transact(partial(_take, holder=holder))


def _take(session: Session, *, holder: str) -> Grip | None:
    now = database_now(session)
    row = session.execute(select(LEASES).where(LEASES.c.name == NAME)).one_or_none()
    times = {"taken_at": now, "renewed_at": now, "expires_at": now + LEASE}
    if row is None:
        # Two at the very first start: the loser's block runs again and finds the winner's row.
        session.execute(insert(LEASES).values(name=NAME, holder=holder, term=1, **times))
        return Grip(holder=holder, term=1)
    if row.expires_at > now:
        return None
    # Judged by the term too: on a cluster two nodes may read the same expired row at once.
    taken = rows_changed(
        session,
        update(LEASES)
        .where(LEASES.c.name == NAME, LEASES.c.term == row.term, LEASES.c.expires_at <= now)
        .values(holder=holder, term=row.term + 1, **times),
    )
    return Grip(holder=holder, term=row.term + 1) if taken == 1 else None


def renew_lease(ports: Ports, grip: Grip) -> None:
    """Keep the lease for another while; late is all right as long as nobody has taken it.

    Raises:
        Deposed: somebody has.
    """

    def renew(session: Session) -> bool:
        now = database_now(session)
        renewal = {"renewed_at": now, "expires_at": now + LEASE}
        return rows_changed(session, _held(grip).values(**renewal)) == 1

    if not ports.transact(renew):
        raise Deposed


def release_lease(ports: Ports, grip: Grip) -> None:
    """Give the lease back, so that another need not wait; nothing if it is another's already."""

    def release(session: Session) -> None:
        session.execute(_held(grip).values(holder=None, expires_at=database_now(session)))

    ports.transact(release)


def check_lease(session: Session, grip: Grip) -> None:
    """Refuse to go on under a term that is no longer the newest.

    The row stays locked until the end of the transaction where the database has row locks: what
    it holds was written before anybody else took over.

    Raises:
        Deposed: somebody else has taken the lease.
    """
    term = session.scalar(
        select(LEASES.c.term).where(LEASES.c.name == NAME).with_for_update(read=True)
    )
    if term != grip.term:
        raise Deposed


def abandon_runs(ports: Ports, grip: Grip) -> int:
    """End the runs that earlier holders left under way; return how many."""

    def abandon(session: Session) -> int:
        check_lease(session, grip)
        return rows_changed(
            session,
            update(RUN)
            .where(
                RUN.c.state.in_(RUN_STATES.sources_of(RunState.ABANDONED)),
                RUN.c.term < grip.term,
            )
            .values(state=RunState.ABANDONED, ended_at=ports.now()),
        )

    return ports.transact(abandon)


def begin_run(ports: Ports, *, job: str, on: date, grip: Grip | None, holder: str) -> Run:
    """Record that a run begins: by the timetable under `grip`, by hand without one.

    Raises:
        Deposed: the lease is another's.
    """
    now = ports.now()

    def begin(session: Session) -> Run:
        if grip is not None:
            check_lease(session, grip)
            _note_try(session, job, now=now)
        row = {
            "job": job,
            "on_date": on,
            "trigger": Trigger.SCHEDULE if grip else Trigger.MANUAL,
            "state": RunState.RUNNING,
            "started_at": now,
            "counts": {},
            "holder": holder,
            "term": grip.term if grip else None,
        }
        inserted = session.execute(insert(JobRun).values(**row))
        (run_id,) = cast("CursorResult[Any]", inserted).inserted_primary_key or (0,)
        return Run(id=run_id, job=job, on=on, grip=grip)

    return ports.transact(begin)


def record_success(
    ports: Ports, run: Run, *, counts: Mapping[str, int], done_through: date | None = None
) -> None:
    """Record that a run came to its end.

    A run by the timetable that found nothing to do and completes no day is taken out again: the
    job's progress says that it ran, and the table holds what happened.

    Args:
        done_through: the day that is done with it, of a daily job.
    Raises:
        Deposed: the lease is another's; the run counts as abandoned.
    """
    now = ports.now()

    def record(session: Session) -> None:
        if run.grip is not None:
            check_lease(session, run.grip)
            progress: dict[str, Any] = {"succeeded_at": now, "failures": 0}
            if done_through is not None:
                progress["done_through"] = done_through
            session.execute(update(PROGRESS).where(PROGRESS.c.job == run.job).values(**progress))
            if done_through is None and not any(counts.values()):
                session.execute(delete(RUN).where(RUN.c.id == run.id))
                return
        _end(session, run, RunState.SUCCEEDED, counts=dict(counts), ended_at=now)

    ports.transact(record)


def record_failure(ports: Ports, run: Run, *, error: str) -> None:
    """Record that a run failed, and why in words without personal data.

    Raises:
        Deposed: the lease is another's; the run counts as abandoned.
    """
    now = ports.now()

    def record(session: Session) -> None:
        if run.grip is not None:
            check_lease(session, run.grip)
            session.execute(
                update(PROGRESS)
                .where(PROGRESS.c.job == run.job)
                .values(failures=PROGRESS.c.failures + 1)
            )
        _end(session, run, RunState.FAILED, error=error[:200], ended_at=now)

    ports.transact(record)


def record_abandoned(ports: Ports, run: Run) -> None:
    """Record that a run was broken off in good order, to be done again by the next holder."""
    ports.transact(lambda session: _end(session, run, RunState.ABANDONED, ended_at=ports.now()))


def remove_old_runs(ports: Ports, *, batch_size: int = 500) -> int:
    """Remove runs that ended too long ago to be of use; return how many."""
    old = select(RUN.c.id).where(RUN.c.started_at < ports.now() - RUNS_KEPT).limit(batch_size)

    def remove(session: Session) -> int:
        # MariaDB knows no LIMIT inside IN (SELECT …).
        ids = session.scalars(old).all()
        return rows_changed(session, delete(RUN).where(RUN.c.id.in_(ids)))

    removed = 0
    while count := ports.transact(remove):
        removed += count
    return removed


def database_now(session: Session) -> datetime:
    """Return the database's own clock: the one that every process sees the same.

    The lease must not depend on whether two machines agree about the time.
    """
    if session.get_bind().dialect.name == "sqlite":
        said = session.scalar(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"))
        return datetime.fromisoformat(str(said)).replace(tzinfo=UTC)
    said = session.scalar(text("SELECT UTC_TIMESTAMP(6)"))
    return cast(datetime, said).replace(tzinfo=UTC)


def _held(grip: Grip) -> Any:
    return update(LEASES).where(LEASES.c.name == NAME, LEASES.c.term == grip.term)


def _note_try(session: Session, job: str, *, now: datetime) -> None:
    noted = rows_changed(
        session, update(PROGRESS).where(PROGRESS.c.job == job).values(tried_at=now)
    )
    if not noted:
        session.execute(insert(PROGRESS).values(job=job, known_since=now, tried_at=now, failures=0))


def _end(session: Session, run: Run, state: RunState, **values: Any) -> None:
    session.execute(
        update(RUN)
        .where(RUN.c.id == run.id, RUN.c.state.in_(RUN_STATES.sources_of(state)))
        .values(state=state, **values)
    )
