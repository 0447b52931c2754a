"""Running a job: by the timetable, by hand, or only saying what it would do. All is recorded."""

from __future__ import annotations

import logging
import time
import traceback
from dataclasses import replace
from datetime import date, datetime

from sqlalchemy.orm import Session

from app.domain.calendar import business_day
from app.domain.ports import Ports
from app.domain.scheduling.operations import (
    Deposed,
    Grip,
    begin_run,
    check_lease,
    record_abandoned,
    record_failure,
    record_success,
)
from app.domain.scheduling.queries import find_progress
from app.domain.scheduling.rules import RETRY_AFTER, days_to_do
from app.jobs import Counts, Daily, Job

log = logging.getLogger(__name__)


class Stopped(BaseException):
    """This process was told to stop: what is under way was finished, nothing more is begun.

    No `Exception`, so that a job's own care for one item's trouble does not swallow it.
    """


class Term:
    """The time for which this process holds the lease, with the ports that its jobs may use."""

    def __init__(self, ports: Ports, grip: Grip) -> None:
        self.grip = grip
        self.ports = replace(ports, fence=self._check)
        self.is_over = False
        """Set once: jobs end before their next piece of work."""

    def _check(self, session: Session) -> None:
        if self.is_over:
            raise Stopped
        check_lease(session, self.grip)


def run_due(job: Job, term: Term) -> None:
    """Run what the timetable has for a job now; whatever goes wrong is logged and recorded.

    A daily job is run for each day that it was not done for, oldest first, each day a run of its
    own under its own date. When one fails, later days wait for it: they may build upon it.
    """
    ports = term.ports
    try:
        for on in _days_due(job, ports):
            if not _attempt(job, term, on=on):
                break
    except Stopped:
        log.info("job ends early, the scheduler stops", extra={"job": job.name})
    except Deposed:
        log.warning("job ends early, another scheduler took over", extra={"job": job.name})
    except Exception:
        # The record itself could not be read or written: the database. Next time.
        log.exception("job not run", extra={"job": job.name})


def run_by_hand(job: Job, ports: Ports, *, on: date, holder: str) -> Counts:
    """Run a job now, beside the timetable, which takes no notice; return what it did.

    Raises:
        Exception: what the job raised; it is recorded.
    """
    run = begin_run(ports, job=job.name, on=on, grip=None, holder=holder)
    try:
        counts = job.run(ports, on=on)
    except Exception as error:
        record_failure(ports, run, error=name_error(error))
        raise
    record_success(ports, run, counts=counts)
    return counts


def count_due(job: Job, ports: Ports, *, on: date) -> Counts:
    """Return what a job would take up now, without doing it."""
    return ports.read(lambda session: job.due(session, on=on, now=ports.now()))


def name_error(error: BaseException) -> str:
    """Return the kind of an error and where it was raised, never its words.

    The words may hold what somebody typed.
    """
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/app/" in frame.filename] or frames
    place = f" @ {ours[-1].filename.rpartition('/app/')[2]}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{place}"


def _days_due(job: Job, ports: Ports) -> list[date]:
    now: datetime = ports.now()
    if not isinstance(job.when, Daily):
        return [business_day(now)]
    progress = ports.read(lambda session: find_progress(session, job=job.name))
    if progress is None:
        return days_to_do(now, at=job.when.at, done_through=None)
    if progress.failures and now < progress.tried_at + RETRY_AFTER:
        return []
    return days_to_do(now, at=job.when.at, done_through=progress.done_through)


def _attempt(job: Job, term: Term, *, on: date) -> bool:
    """Run a job for one day; tell whether it succeeded."""
    ports, began = term.ports, time.monotonic()
    if term.is_over:
        raise Stopped
    run = begin_run(ports, job=job.name, on=on, grip=term.grip, holder=term.grip.holder)
    try:
        counts = job.run(ports, on=on)
    except Stopped:
        record_abandoned(ports, run)
        raise
    except Exception as error:
        log.exception("job failed", extra={"job": job.name, "on": on.isoformat()})
        record_failure(ports, run, error=name_error(error))
        return False
    done_through = on if isinstance(job.when, Daily) else None
    record_success(ports, run, counts=counts, done_through=done_through)
    if any(counts.values()):
        took = round(time.monotonic() - began, 3)
        log.info(
            "job done", extra={"job": job.name, "on": on.isoformat(), "seconds": took, **counts}
        )
    return True
