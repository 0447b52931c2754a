"""The reviewed figures without a database: what tests of the rules look them up in."""

from __future__ import annotations

from datetime import date

from app.domain.policy.queries import Policy
from app.domain.policy.rules import Figures, PolicyLine, group_by_name, write_value
from config.policy_files import load_policy_files

LINES = group_by_name(
    PolicyLine(**{**figure, "value": write_value(figure["value"])})
    for figure in load_policy_files()
)


def policy_on(day: str) -> Policy:
    """Return the policy of a day written ``2026-11-24``."""
    return Policy(Figures(LINES, day=date.fromisoformat(day)))
