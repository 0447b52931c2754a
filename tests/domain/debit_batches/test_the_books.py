"""The invariants check names a batch that is not what its debits are."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from tests.domain.debit_batches.conftest import Batching


def kinds(batching: Batching) -> set[str]:
    return {offence.kind for offence in batching.fund.offences()}


@pytest.mark.usefixtures("unguarded")
def test_each_damage_to_a_batch_has_its_name(batching: Batching) -> None:
    batching.owing(2)
    batching.go_round()
    assert kinds(batching) == set()
    for damage, mend in (
        ("sum_fen = sum_fen + 1", "sum_fen = sum_fen - 1"),
        ("line_count = 3", "line_count = 2"),
    ):
        change(batching, f"UPDATE debit_batch SET {damage}")
        assert kinds(batching) == {"batch_differs_from_debits"}
        change(batching, f"UPDATE debit_batch SET {mend}")
    change(batching, "UPDATE payment_order SET batch_place = 5 WHERE batch_place = 2")
    assert kinds(batching) == {"batch_differs_from_debits"}
    change(batching, "UPDATE payment_order SET batch_place = 2 WHERE batch_place = 5")
    assert kinds(batching) == set()
    # An order that is open again in a closed batch: its money has no cause any more, and its
    # instruction no order that succeeded.
    change(batching, "UPDATE payment_order SET state = 'awaiting_payment' WHERE batch_place = 2")
    assert kinds(batching) == {
        "batch_differs_from_debits",
        "debit_succeeded_without_its_order",
        "deposit_without_cause",
        "open_debits_differ_from_instruction",
    }


def change(batching: Batching, statement: str) -> None:
    batching.ports.transact(lambda session: session.execute(text(statement)))
