"""Which figure holds on a day (政策参数取值), and figures that follow from others. Pure.

Amounts are fen, rates Decimal. A day without a figure is an error, never "the latest".
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from app.domain.errors import Ineligible, RuleViolation
from app.domain.money import round_to_fen

MONTHS_IN_YEAR = 12


class NoPolicyValue(RuleViolation):
    """No figure is in force on the day: not yet loaded, not yet begun, or over."""

    code = "no_policy_value"


class ProgrammeNotInForce(Ineligible):
    """The pilot has not begun or is over."""

    code = "programme_not_in_force"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLine:
    """One value of one parameter; `value` is JSON, as the table keeps it."""

    name: str
    title: str
    unit: str
    value: str
    effective_from: date
    until: date | None
    source: str
    status: str


class Figures:
    """The lines of every parameter, read on one day."""

    def __init__(self, lines: Mapping[str, Sequence[PolicyLine]], *, day: date) -> None:
        self.lines = lines
        self.day = day

    def line(self, name: str) -> PolicyLine:
        """Return the line of a parameter that is in force on the day.

        Raises:
            NoPolicyValue: none is.
        """
        line = find_in_force(self.lines.get(name, ()), on=self.day)
        if line is None:
            raise self._nothing(name)
        return line

    def value(self, name: str) -> Any:
        """Return the figure in force on the day as JSON has it; raises as `line` does."""
        return json.loads(self.line(name).value)

    def nearest(self, name: str) -> PolicyLine:
        """Return the last line that has begun by the day, or the first if none has.

        Raises:
            NoPolicyValue: the parameter has no line at all.
        """
        history = self.lines.get(name, ())
        if not history:
            raise self._nothing(name)
        begun = [line for line in history if line.effective_from <= self.day]
        return begun[-1] if begun else history[0]

    def _nothing(self, name: str) -> NoPolicyValue:
        history = self.lines.get(name, ())
        title, day = history[0].title if history else name, self.day.isoformat()
        return NoPolicyValue(
            f"{day} 没有有效的政策参数“{title}”，暂不能办理", parameter=name, day=day
        )


def group_by_name(lines: Iterable[PolicyLine]) -> Mapping[str, Sequence[PolicyLine]]:
    """Return the lines of each parameter, oldest first."""
    grouped: dict[str, list[PolicyLine]] = defaultdict(list)
    for line in sorted(lines, key=lambda line: (line.name, line.effective_from)):
        grouped[line.name].append(line)
    return dict(grouped)


def find_in_force(history: Sequence[PolicyLine], *, on: date) -> PolicyLine | None:
    """Return the line that holds on a day: the last begun one, unless its last day is over.

    Args:
        history: the lines of one parameter, oldest first.
    """
    begun = [line for line in history if line.effective_from <= on]
    if not begun or (begun[-1].until is not None and begun[-1].until < on):
        return None
    return begun[-1]


def write_value(value: object) -> str:
    """Return a figure, a list or a table as the JSON text by which it is kept and compared."""
    return json.dumps(value, ensure_ascii=False)


def check_programme(on: date, *, begins_on: date, ends_on: date | None) -> None:
    """Refuse a day outside the pilot; both ends are inside.

    Raises:
        ProgrammeNotInForce: too early or too late.
    """
    if on < begins_on:
        message = f"试点自 {begins_on.isoformat()} 起施行，尚未开始受理"
    elif ends_on is not None and on > ends_on:
        message = f"试点已于 {ends_on.isoformat()} 结束，不再受理"
    else:
        return
    raise ProgrammeNotInForce(
        message,
        clause="试点方案",
        begins_on=begins_on.isoformat(),
        ends_on=ends_on.isoformat() if ends_on else None,
    )


def compute_monthly_minimum(wage_fen: int, *, rate: Decimal) -> int:
    """Return the lowest monthly amount: minimum wage × lowest rate, half-up to the fen.

    Source: 试点方案 第二条.
    """
    return round_to_fen(wage_fen * rate)


def compute_yearly_cap(base_limit_fen: int, *, rate: Decimal) -> int:
    """Return the cap of a calendar year: base limit × highest rate × 12, half-up to the fen."""
    return round_to_fen(base_limit_fen * rate * MONTHS_IN_YEAR)
