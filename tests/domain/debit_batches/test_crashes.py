"""The process dies before or after any of its steps; the next one goes on, nothing is doubled."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from app.domain.debit_batches.answers import fetch_bank_answers
from app.domain.debit_batches.sending import send_debit_batches
from tests.domain.debit_batches.conftest import AMOUNT_FEN, Batching

OUTSIDE = ("upload_batch", "list_answers", "fetch_answer")
MOST_STEPS = 60


class Crash(BaseException):
    """As if the process were gone: nothing in the product catches it."""


class Doomed:
    """Ports whose process ends at a step: a transaction, or a call to the file server."""

    def __init__(self, batching: Batching, *, at: int, after: bool) -> None:
        self._left = at
        self._after = after
        self._files: Any = batching.files
        transact = batching.ports.transact
        self.ports = replace(
            batching.ports,
            transact=lambda work: self._step(lambda: transact(work)),
            channels=replace(batching.ports.channels, batching={"bank": self}),
        )

    @property
    def survived(self) -> bool:
        return self._left > 0

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._files, name)
        if name not in OUTSIDE:
            return call
        return lambda *args, **kwargs: self._step(lambda: call(*args, **kwargs))

    def _step(self, do: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Crash
        done = do()
        if self._left == 0:
            raise Crash
        return done


def live(batching: Batching, ports: Any) -> None:
    """What the two jobs do until everything is known."""
    send_debit_batches(ports)
    batching.centre.gateway.look("health")
    fetch_bank_answers(ports)
    for batch in batching.batches():
        if batch.ended_at is None:
            # Refused for one whose results are out already.
            batching.centre.gateway.try_control("files/finish", name=batch.file_name)
    fetch_bank_answers(ports)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_whatever_step_it_dies_at_each_is_debited_once(batching: Batching, after: bool) -> None:
    accounts = [batching.person() for _ in range(2)]
    rounds = 0
    while True:
        rounds += 1
        assert rounds < MOST_STEPS
        batching.owe(*accounts)
        doomed = Doomed(batching, at=rounds, after=after)
        try:
            live(batching, doomed.ports)
        except Crash:
            # Whoever had claimed the upload is gone.
            batching.fund.clock.advance(minutes=5)
            live(batching, batching.ports)
        check(batching, rounds)
        if doomed.survived:
            break
    assert rounds > 15, "the steps were not counted"
    uploads = Counter(name for call, name in batching.files.calls if call == "upload")
    assert len(uploads) == len(batching.batches())
    batching.check_books()


def check(batching: Batching, rounds: int) -> None:
    """Each debit of all rounds has ended well, in one file, and the bank took it once."""
    orders = batching.orders()
    assert [order.state.value for order in orders] == ["succeeded"] * (2 * rounds)
    assert {batch.state.value for batch in batching.batches()} == {"settled"}
    assert batching.taken_by_file_fen() == 2 * rounds * AMOUNT_FEN
    assert batching.fund.breaks() == []
