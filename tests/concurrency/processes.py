"""Running a task in several processes at once, each with its own fund on the same database."""

from __future__ import annotations

import multiprocessing
import secrets
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

from sqlalchemy import URL, Engine, create_engine

from app.db import make_read, make_transact, prepare_engine
from app.domain.pii import Vault
from app.domain.ports import Channels, Ports
from config.agreement_text_files import load_agreement_texts
from tests.conftest import MovableClock
from tests.fund import Fund

Task = Callable[[Fund, Any], Any]

LONG_ENOUGH = 180
"""Seconds until a process that does not answer is given up."""


def open_fund(engine: Engine) -> Fund:
    """Return a fund on this engine; its numbers are not foretellable, as in production."""
    clock = MovableClock()
    ports = Ports(
        transact=make_transact(engine),
        read=make_read(engine),
        now=clock.now,
        new_number=lambda prefix: prefix + secrets.token_hex(20).upper()[: 32 - len(prefix)],
        vault=Vault({"k1": bytes(32)}, active="k1", index_key=bytes(32)),
        channels=Channels(),
        logins={},
        agreement_texts=load_agreement_texts(),
    )
    return Fund.around(ports, clock)


def at_once(url: URL, task: Task, arguments: Sequence[Any]) -> list[Any]:
    """Run `task(fund, argument)` in one process an argument, all at the same moment.

    Returns: what each task returned, or the name of the exception that ended it, in order.
    """
    # Not forked from this process, whose threads and connections are its own; but from one that
    # has the imports done.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    barrier = context.Barrier(len(arguments))
    address = url.render_as_string(hide_password=False)
    running = []
    for argument in arguments:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(address, task, argument, barrier, theirs))
        process.start()
        running.append((process, ours))
    results = []
    for process, ours in running:
        assert ours.poll(LONG_ENOUGH), "a process does not answer"
        results.append(ours.recv())
        process.join(LONG_ENOUGH)
        assert process.exitcode == 0
    return results


def _run(address: str, task: Task, argument: Any, barrier: Barrier, answer: Connection) -> None:
    engine = prepare_engine(create_engine(address))
    fund = open_fund(engine)
    barrier.wait(LONG_ENOUGH)
    try:
        result = task(fund, argument)
    except Exception as error:
        result = type(error).__name__
    answer.send(result)
    engine.dispose()
