"""A fixed amount of simulated life, and proof that the simulation sees what goes wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MARIADB
from tests.simulation import Failure, simulate
from tests.simulation import mutations as m
from tests.simulation.database import Template, template

STORM = {"disk full": 20, "crash before COMMIT": 5}


@pytest.fixture(scope="module")
def in_memory() -> Iterator[Template]:
    with template(None) as made:
        yield made


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_books_hold_and_agree_with_the_channels(in_memory: Template, seed: int) -> None:
    result = simulate(in_memory, seed=seed, steps=3_000)
    assert result.entries > 30
    assert result.refunds > 0


def test_the_books_hold_on_mariadb_too() -> None:
    if not MARIADB:
        pytest.skip("LIANJIAO_TEST_MARIADB is not set: no MariaDB to test on")
    with template(MARIADB) as made:
        assert simulate(made, seed=1, steps=600).entries > 5


def test_a_seed_replays_exactly_in_this_process_and_in_another(
    in_memory: Template, repository_root: Path
) -> None:
    digest = simulate(in_memory, seed=5, steps=600).digest
    assert simulate(in_memory, seed=5, steps=600).digest == digest
    command = [sys.executable, "-m", "tests.simulation", "--seed", "5", "--steps", "600"]
    other = subprocess.run(
        command,
        cwd=repository_root,
        env={"PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert digest in other.stdout


def test_a_failure_tells_the_seed_the_story_and_how_to_see_it_again(
    in_memory: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    m.a_repeated_success_credits_again(monkeypatch)
    with pytest.raises(Failure) as failed:
        simulate(in_memory, seed=1, steps=1_200)
    lines = str(failed.value).splitlines()
    assert lines[0].startswith("seed 1 failed at step ")
    assert len(lines) == 42
    assert lines[-1] == "See it again: make simulate SEED=1 STEPS=1200"


@pytest.mark.parametrize(
    ("mutation", "first_seed"),
    [
        (m.a_repeated_success_credits_again, 1),
        (m.the_amount_is_not_checked, 1),
        (m.an_unknown_answer_to_an_order_counts_as_failed, 1),
        (m.an_unknown_answer_to_a_refund_counts_as_failed, 1),
        (m.a_hold_is_not_released, 1),
        (m.a_refund_is_posted_twice, 1),
        (m.a_refund_is_sent_under_a_new_number_each_time, 1),
        (m.half_a_posting_is_committed, 1),
        (m.a_notice_is_acknowledged_but_not_stored, 1),
        (m.an_order_is_closed_without_the_channel, 6),
        (m.a_request_key_is_forgotten, 1),
        (m.open_orders_take_no_room, 4),
        (m.a_subsidy_outlives_the_deposit, 1),
        (m.every_subsidy_is_paid_twofold, 1),
        (m.nobody_asks_about_orders, 1),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_bug_put_in_on_purpose_is_found(
    in_memory: Template, mutation: m.Mutation, first_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a few seeds; the first of them found it when this was written."""
    mutation(monkeypatch)
    for seed in range(first_seed, first_seed + 8):
        try:
            simulate(in_memory, seed=seed, steps=1_200, intensity=STORM)
        except Failure:
            return
    pytest.fail("eight seeds did not find it")
