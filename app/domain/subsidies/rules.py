"""How much subsidy is due. Pure; amounts in fen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol


class SubsidyFigures(Protocol):
    """What the quote needs of the policy in force on the day."""

    @property
    def opening_basic_fen(self) -> int: ...

    @property
    def opening_children_fen(self) -> int: ...

    @property
    def opening_degree_fen(self) -> int: ...

    @property
    def lifetime_cap_fen(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsidyQuote:
    """What is due by the tier, what is paid inside the cap, and how that came about."""

    due_fen: int
    paid_fen: int
    working: dict[str, Any]


def quote_opening_subsidy(
    facts: Mapping[str, Any], *, on: date, policy: SubsidyFigures, paid_before_fen: int
) -> SubsidyQuote:
    """Return the opening subsidy due on the day of the first recorded deposit.

    The highest tier alone: full-time bachelor or above (第十一条), else two children or more with
    one of them a minor (第三条), else the basic one; cut to what the lifetime cap leaves.

    Args:
        facts: what the person declares, see `app/domain/contributors/rules.py`.
        paid_before_fen: subsidies of all kinds already paid to the person.
    """
    tier, due_fen, clause = "basic", policy.opening_basic_fen, "第三条"
    children, degree = facts.get("children") or {}, facts.get("degree") or {}
    if children.get("count", 0) >= 2 and children.get("minor_count", 0) >= 1:
        tier, due_fen, clause = "two_children", policy.opening_children_fen, "第三条"
    if degree.get("level") in {"bachelor", "master", "doctor"}:
        tier, due_fen, clause = "bachelor", policy.opening_degree_fen, "第十一条"
    paid_fen = max(0, min(due_fen, policy.lifetime_cap_fen - paid_before_fen))
    return SubsidyQuote(
        due_fen=due_fen,
        paid_fen=paid_fen,
        working={
            "tier": tier,
            "clause": f"试点方案 {clause}",
            "due_fen": due_fen,
            "paid_before_fen": paid_before_fen,
            "lifetime_cap_fen": policy.lifetime_cap_fen,
            "on": on.isoformat(),
        },
    )
