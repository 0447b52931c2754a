"""A year of debits with two seeds, and proof that a year sees what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.year.mutations import BUGS, Mutation, a_repeated_success_credits_again
from tests.year.run import Failure, live, template

FEW, SPRING = 60, date(2026, 3, 31)
"""So many people until then are enough to find each planted bug."""


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    with template() as path:
        yield path


@pytest.mark.parametrize("seed", [1, 2])
def test_a_year_of_a_hundred_people(made: Path, seed: int) -> None:
    result = live(made, seed=seed, people=100)
    ends = result.ends
    # Everything that can become of a period has become of some.
    assert ends["succeeded"] > 400
    for end in ("missed", "paid_by_hand", "over_cap", "agreement_ended", "cap_not_published"):
        assert ends[end] > 0, end
    assert result.breaks["debited_twice"] > 0
    assert result.breaks["late_debit"] > 0
    assert min(result.faults.values()) > 10


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(made: Path, monkeypatch: pytest.MonkeyPatch, bug: Mutation) -> None:
    bug(monkeypatch)
    with pytest.raises(Failure):
        live(made, seed=1, people=FEW, last_day=SPRING)


def test_a_seed_replays(made: Path) -> None:
    spring = [live(made, seed=3, people=12, last_day=date(2026, 2, 28)) for _ in range(2)]
    assert spring[0] == spring[1]


def test_a_failure_says_how_to_see_it_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_repeated_success_credits_again(monkeypatch)
    with pytest.raises(Failure, match=r"(?s)seed 1: .*See it again: make year SEED=1 PEOPLE=60"):
        live(made, seed=1, people=FEW, last_day=SPRING)
