"""The scheduler process. APScheduler lives only here, and is only an alarm clock.

Jobs are defined in code and kept in memory. What was done is in the database: any number of
schedulers may run, the one that holds the lease keeps the timetable, the others wait for it.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from threading import Event

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from app.domain.calendar import SHANGHAI
from app.domain.ports import Ports
from app.domain.scheduling.operations import (
    Deposed,
    Grip,
    abandon_runs,
    release_lease,
    renew_lease,
    take_lease,
)
from app.domain.scheduling.rules import LEASE
from app.jobs import Daily, Job
from app.jobs.running import Term, run_due
from app.jobs.timetable import JOBS

BEAT = LEASE / 4
"""How often the holder renews, and the others ask: three beats may fail before it is lost."""

LOOK_AT_DAILY_JOBS = timedelta(seconds=60)

log = logging.getLogger(__name__)


def serve(ports: Ports, *, holder: str, stop: Event) -> None:
    """Keep the timetable whenever this process holds the lease, until `stop` is set."""
    is_waiting = False
    while not stop.is_set():
        try:
            grip = take_lease(ports, holder=holder)
            if grip is not None:
                is_waiting = False
                _keep_timetable(ports, grip, stop)
                continue
            if not is_waiting:
                log.info("another scheduler is active, waiting", extra={"holder": holder})
                is_waiting = True
        except Exception:
            # The database is away. Without it there is nothing to do, but it comes back.
            log.exception("scheduler can't reach its lease", extra={"holder": holder})
        stop.wait(BEAT.total_seconds())


def _keep_timetable(ports: Ports, grip: Grip, stop: Event) -> None:
    """Run the jobs until told to stop or until another has taken over."""
    log.info("scheduler is active", extra={"holder": grip.holder, "term": grip.term})
    term = Term(ports, grip)
    alarm_clock = _alarm_clock(term)
    alarm_clock.start(paused=True)
    try:
        if abandoned := abandon_runs(ports, grip):
            log.warning("runs were left under way by another", extra={"runs": abandoned})
        alarm_clock.resume()
        while not stop.wait(BEAT.total_seconds()):
            try:
                renew_lease(ports, grip)
            except Exception:
                # As long as the database is away nobody else can take it, and no job gets on.
                log.exception("scheduler can't renew its lease", extra={"term": grip.term})
    except Deposed:
        log.warning("another scheduler took over", extra={"term": grip.term})
    finally:
        term.is_over = True
        # Waits for what is under way: each job ends before its next piece of work.
        alarm_clock.shutdown(wait=True)
        release_lease(ports, grip)
        log.info("scheduler is no longer active", extra={"term": grip.term})


def _alarm_clock(term: Term) -> BackgroundScheduler:
    clock = BackgroundScheduler(
        timezone=SHANGHAI,
        # One thread a job: a long one keeps no other waiting.
        executors={"default": ThreadPoolExecutor(len(JOBS))},
        job_defaults={
            # However many alarms were slept through, one run finds everything that is due.
            "coalesce": True,
            # An alarm is never too late: skipping it would only put the work off.
            "misfire_grace_time": None,
            # A job never overlaps itself. The alarm that comes while it still runs is dropped;
            # the next one finds what it would have found.
            "max_instances": 1,
        },
    )
    for job in JOBS:
        clock.add_job(
            run_due,
            # At once too: a scheduler that is started again and again would never come to seal.
            OrTrigger(
                [
                    DateTrigger(timezone=SHANGHAI),
                    IntervalTrigger(seconds=_seconds_between(job), timezone=SHANGHAI),
                ]
            ),
            args=(job, term),
            id=job.name,
            name=job.title,
        )
    return clock


def _seconds_between(job: Job) -> int:
    # Whether a daily job is due, and for which days, the database says: no cron expression that
    # forgets what it slept through.
    when = job.when
    return int(LOOK_AT_DAILY_JOBS.total_seconds()) if isinstance(when, Daily) else when.seconds
