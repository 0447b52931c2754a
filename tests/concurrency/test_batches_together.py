"""Several who gather and send at once: each debit in one file, each file handed in once."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest

from app.domain.debit_batches import collecting
from app.domain.debit_batches.answers import fetch_bank_answers
from app.domain.debit_batches.sending import send_debit_batches
from tests.domain.debit_batches.conftest import (
    AMOUNT_FEN,
    SUBSIDY_FEN,
    a_batching,
    issued,  # noqa: F401  a fixture
)
from tests.fund import Fund

PEOPLE, SENDERS = 24, 4


def test_who_gathers_at_once_takes_each_debit_once(
    fund: Fund,
    issued: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collecting, "GROUP", 2)
    data_dir = tmp_path / "bank"
    data_dir.mkdir()
    with a_batching(fund, issued, data_dir) as batching:
        accounts = batching.owing(PEOPLE)
        counts = at_once(lambda: send_debit_batches(batching.ports))
        assert counts["collected"] == PEOPLE
        assert counts["rendered"] == counts["uploaded"] == len(batching.batches())
        uploads = Counter(name for call, name in batching.files.calls if call == "upload")
        assert uploads == {batch.file_name: 1 for batch in batching.batches()}
        assert [len(batching.orders(each)) for each in accounts] == [1] * PEOPLE
        assert fund.offences() == []

        batching.centre.gateway.look("health")
        at_once(lambda: fetch_bank_answers(batching.ports))
        for batch in batching.batches():
            batching.centre.gateway.control("files/finish", name=batch.file_name)
        at_once(lambda: fetch_bank_answers(batching.ports))
        assert {batch.state.value for batch in batching.batches()} == {"settled"}
        paid_fen = AMOUNT_FEN + SUBSIDY_FEN
        assert [batching.balance_fen(each) for each in accounts] == [paid_fen] * PEOPLE
        assert fund.breaks() == []
        batching.check_books()


def at_once(work) -> Counter[str]:
    """Do it in several threads at the same moment; return what they counted together."""
    counts: list[dict[str, int]] = []
    errors: list[BaseException] = []
    barrier = threading.Barrier(SENDERS)

    def run() -> None:
        barrier.wait(30)
        try:
            counts.append(work())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    return sum((Counter(each) for each in counts), Counter())
