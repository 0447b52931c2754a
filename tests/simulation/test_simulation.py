"""A fixed amount of simulated life, and proof that the simulation sees what goes wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MARIADB
from tests.simulation import Failure, simulate
from tests.simulation.database import Template, template
from tests.simulation.mutations import BUGS, Mutation, a_repeated_success_credits_again

ENOUGH_STEPS = 3_000
"""Within so many steps every planted bug was found with every seed that was tried."""


@pytest.fixture(scope="module")
def in_memory() -> Iterator[Template]:
    with template(None) as made:
        yield made


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_books_hold_and_agree_with_the_channels(in_memory: Template, seed: int) -> None:
    result = simulate(in_memory, seed=seed, steps=3_000)
    assert result.entries > 30
    assert result.refunds > 0


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found_whatever_the_seed(
    in_memory: Template, monkeypatch: pytest.MonkeyPatch, bug: Mutation, seed: int
) -> None:
    bug(monkeypatch)
    with pytest.raises(Failure):
        simulate(in_memory, seed=seed, steps=ENOUGH_STEPS)


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
    a_repeated_success_credits_again(monkeypatch)
    with pytest.raises(Failure) as failed:
        simulate(in_memory, seed=1, steps=1_200)
    lines = str(failed.value).splitlines()
    assert lines[0].startswith("seed 1 failed at step ")
    assert len(lines) == 42
    assert lines[-1] == "See it again: make simulate SEED=1 STEPS=1200"
