"""docs/policy-map.md names every clause, and only what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.domain.policy.baseline import LINES

STATES = {"works", "partly", "not yet"}


@pytest.fixture
def rows(repository_root: Path) -> list[list[str]]:
    text = (repository_root / "docs" / "policy-map.md").read_text(encoding="utf-8")
    clauses = text.split("## Clauses")[1].split("## Figures")[0]
    table = [line for line in clauses.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_every_clause_has_a_row_with_a_state(rows):
    assert {row[0] for row in rows} == {*map(str, range(1, 24)), "组织保障"}
    assert all(len(row) == 6 for row in rows)
    assert {row[4] for row in rows} == STATES


def test_what_works_has_a_module_and_a_test_and_what_does_not_has_none(rows):
    for row in rows:
        assert (row[2] == row[3] == "–") == (row[4] == "not yet"), row[1]


def test_what_is_not_whole_says_what_is_missing(rows):
    assert all(row[5] for row in rows if row[4] == "partly")


def test_every_path_exists(rows, repository_root):
    for row in rows:
        for column, base in ((2, "app/domain"), (3, "tests")):
            for path in re.findall(r"`([^`]+)`", row[column]):
                from_root = path.startswith(("app/", "config/")) and column == 2
                assert (repository_root / ("" if from_root else base) / path).exists(), path


def test_every_figure_that_is_named_is_loaded(repository_root):
    text = (repository_root / "docs" / "policy-map.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z]+\.[a-z_]+)`", text.split("## Figures")[1]))
    assert named
    assert named <= set(LINES)
