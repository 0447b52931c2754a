"""The timetable, and the scheduler process that keeps it. APScheduler lives only here.

Jobs are defined in code and kept in memory. Any number of schedulers may run: every job claims
its work row by row, so a second one only finds less to do.
"""

from __future__ import annotations

import logging
import time

from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from app.domain.calendar import SHANGHAI
from app.domain.ports import Ports
from app.jobs import (
    Job,
    apply_callbacks,
    remove_expired,
    resolve_orders,
    resolve_refunds,
    resume_agreements,
    seal_days,
)

JOBS = (
    Job("resolve-orders", "查询未知订单并关闭过期订单", 10, resolve_orders.run),
    Job("resolve-refunds", "发送并查询退款", 10, resolve_refunds.run),
    Job("apply-callbacks", "补处理已存通知", 30, apply_callbacks.run),
    Job("seal-days", "日终封账", 600, seal_days.run),
    Job("resume-agreements", "恢复暂停期满的缴存协议", 3600, resume_agreements.run),
    Job("remove-expired", "清理过期的登录会话与关联码", 3600, remove_expired.run),
)

log = logging.getLogger(__name__)


def run_job(job: Job, ports: Ports) -> dict[str, int]:
    """Run one job and log what it did."""
    started = time.monotonic()
    counts = job.run(ports)
    if any(counts.values()):
        took = round(time.monotonic() - started, 3)
        log.info("job done", extra={"job": job.name, "seconds": took, **counts})
    return counts


def serve(ports: Ports) -> None:
    """Run every job at once, then keep the timetable until the process is stopped."""
    scheduler = BlockingScheduler(
        timezone=SHANGHAI,
        # After a pause one run catches up; a run never overlaps itself.
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 6 * 3600},
    )
    for job in JOBS:
        scheduler.add_job(
            run_job,
            # At once too: a scheduler that is started again and again would never come to seal.
            OrTrigger(
                [
                    DateTrigger(timezone=SHANGHAI),
                    IntervalTrigger(seconds=job.every_seconds, timezone=SHANGHAI),
                ]
            ),
            args=(job, ports),
            id=job.name,
            name=job.title,
        )
    scheduler.start()
