"""How much opening subsidy is due, and what the lifetime cap leaves of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from app.domain.subsidies.rules import SubsidyQuote, quote_opening_subsidy


@dataclass(frozen=True)
class TheFigures:
    opening_basic_fen: int = 20_000
    opening_children_fen: int = 30_000
    opening_degree_fen: int = 40_000
    lifetime_cap_fen: int = 1_000_000


def quote(facts: dict[str, Any], *, paid_before_fen: int = 0) -> SubsidyQuote:
    return quote_opening_subsidy(
        facts, on=date(2026, 11, 24), policy=TheFigures(), paid_before_fen=paid_before_fen
    )


def children(count: int, minor_count: int) -> dict[str, Any]:
    return {"children": {"count": count, "minor_count": minor_count, "evidence": "户口簿"}}


def degree(level: str) -> dict[str, Any]:
    return {"degree": {"level": level, "evidence": "测试"}}


@pytest.mark.parametrize(
    ("facts", "due_fen", "tier"),
    [
        ({}, 20_000, "basic"),
        (children(1, 1), 20_000, "basic"),
        (children(2, 0), 20_000, "basic"),
        (children(2, 1), 30_000, "two_children"),
        (children(3, 1), 30_000, "two_children"),
        (degree("other"), 20_000, "basic"),
        (degree("bachelor"), 40_000, "bachelor"),
        (degree("master"), 40_000, "bachelor"),
        (degree("doctor"), 40_000, "bachelor"),
        # The tiers replace each other, they do not add up.
        ({**children(2, 2), **degree("bachelor")}, 40_000, "bachelor"),
        ({**children(2, 2), **degree("other")}, 30_000, "two_children"),
        ({"veteran": {"discharged_on": None, "evidence": "测试"}}, 20_000, "basic"),
    ],
)
def test_the_highest_tier_alone_is_due(facts: dict[str, Any], due_fen: int, tier: str) -> None:
    found = quote(facts)
    assert (found.due_fen, found.paid_fen) == (due_fen, due_fen)
    assert found.working["tier"] == tier


@pytest.mark.parametrize(
    ("paid_before_fen", "paid_fen"),
    [
        (0, 40_000),
        (960_000, 40_000),
        (960_001, 39_999),
        (999_999, 1),
        (1_000_000, 0),
        (1_000_001, 0),  # a cap that was lowered later never turns into a debt
    ],
)
def test_the_lifetime_cap_cuts_the_last_payment(paid_before_fen: int, paid_fen: int) -> None:
    found = quote(degree("bachelor"), paid_before_fen=paid_before_fen)
    assert (found.due_fen, found.paid_fen) == (40_000, paid_fen)


def test_the_working_explains_tier_clause_cap_and_day() -> None:
    assert quote(children(2, 1), paid_before_fen=980_000).working == {
        "tier": "two_children",
        "clause": "试点方案 第三条",
        "due_fen": 30_000,
        "paid_before_fen": 980_000,
        "lifetime_cap_fen": 1_000_000,
        "on": "2026-11-24",
    }
    assert quote(degree("doctor")).working["clause"] == "试点方案 第十一条"
