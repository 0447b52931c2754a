"""Processes that debit at a till and can be killed anywhere: one run, or a whole scheduler.

`python -m tests.crashes.debitor <what> <database> <till's port> <clock's offset in seconds>`
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, create_engine, event

from app.commands.jobs import this_process
from app.db import make_read, make_transact, prepare_engine
from app.domain.calendar import business_day
from app.domain.pii import Vault
from app.domain.ports import Channels, Ports, Transact
from app.jobs.running import run_by_hand
from app.jobs.schedule import serve
from app.jobs.timetable import JOBS
from config.agreement_text_files import load_agreement_texts
from tests.crashes.till import Till

Step = Callable[[str], None]


def ports_on(
    engine: Engine, till: Till, now: Callable[[], datetime], *, transact: Transact | None = None
) -> Ports:
    """Return the ports of a product that debits at a till."""
    return Ports(
        transact=transact or make_transact(engine),
        read=make_read(engine),
        now=now,
        new_number=lambda prefix: prefix + secrets.token_hex(20).upper()[: 32 - len(prefix)],
        vault=Vault({"k1": bytes(32)}, active="k1", index_key=bytes(32)),
        channels=Channels(debiting={"wechat": till}),
        logins={},
        agreement_texts=load_agreement_texts(),
    )


def run_job(name: str, ports: Ports, *, holder: str = "test:1") -> dict[str, int]:
    """Run one job by hand, as `flask jobs run` does."""
    job = next(job for job in JOBS if job.name == name)
    return run_by_hand(job, ports, on=business_day(ports.now()), holder=holder)


class Death:
    """Kills this process with -9 at a step of this number; writes down at which."""

    def __init__(self, at: int) -> None:
        self.at, self.steps = at, 0

    def step(self, _name: str) -> None:
        self.steps += 1
        if self.steps == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, engine: Engine) -> Transact:
        """Count each statement and both sides of each COMMIT."""
        event.listen(
            engine, "before_cursor_execute", lambda *args: self.step(str(args[2]).split("\n")[0])
        )
        event.listen(engine, "commit", lambda _connection: self.step("before COMMIT"))
        real = make_transact(engine)

        def transact(work: Any, /) -> Any:
            result = real(work)
            self.step("after COMMIT")
            return result

        return transact


def submit_and_die(address: str, port: int, instant: datetime, at: int) -> None:
    """Send what is due, and die at a step. To be called in a process of its own."""
    engine = prepare_engine(create_engine(address))
    death = Death(at)
    transact = death.watch(engine)
    ports = ports_on(engine, Till(port, death.step), lambda: instant, transact=transact)
    run_job("submit-debits", ports)
    engine.dispose()


def in_a_process(function: Callable[..., None], *arguments: Any) -> int:
    """Run it in a process of its own; return its exit code, −9 if it was killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=function, args=arguments)
    process.start()
    process.join(120)
    assert process.exitcode is not None, "it does not end"
    return process.exitcode


def main(what: str, address: str, port: str, offset: str) -> None:
    """Run a job once, or the scheduler until told to stop."""
    logging.basicConfig(level=logging.INFO)
    ahead = timedelta(seconds=float(offset))
    engine = prepare_engine(create_engine(address))
    ports = ports_on(engine, Till(int(port)), lambda: datetime.now(UTC) + ahead)
    if what == "scheduler":
        serve(ports, holder=this_process(), stop=threading.Event())
    else:
        sys.stdout.write(json.dumps(run_job(what, ports, holder=this_process())) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
