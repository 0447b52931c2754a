"""Reads `policy/<group>.<name>.yaml`: the dated figures of the policy, one parameter a file.

    title: 最低缴存比例
    unit: ratio
    values:
      2018-04-28:
        value: "0.05"
        source: 试点方案 第二条；建金〔2018〕45号
        status: assumed
        until: 2027-12-31

`value` is one figure, a list of figures or a table of them, all in `unit`; a rate is quoted text,
an amount whole fen. `until` is the last day in force, where the document names one; otherwise a
value holds until the next one begins. A file that breaks a rule is refused as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TypedDict, cast

from config.strict_yaml import StrictYamlError, load_strict

POLICY_FOLDER = Path(__file__).resolve().parent / "policy"

STATUSES = frozenset({"confirmed", "reported", "assumed"})

_NAME = re.compile(r"[a-z]+\.[a-z][a-z_]*")
_KEY = re.compile(r"[A-Za-z0-9_.]+")
_DECIMAL = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?")
_WORD = re.compile(r"[A-Za-z][A-Za-z_]*")
_MONTH_DAY = re.compile(r"(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")


class PolicyFileError(ValueError):
    """A policy file that cannot be trusted: nothing of it may be loaded."""


class PolicyFigure(TypedDict):
    """One value of one parameter, as plain data."""

    name: str
    title: str
    unit: str
    value: object
    effective_from: date
    until: date | None
    source: str
    status: str


def _is_whole(leaf: object) -> bool:
    return type(leaf) is int


def _is_decimal(leaf: object) -> bool:
    return isinstance(leaf, str) and _DECIMAL.fullmatch(leaf) is not None


def _is_ratio(leaf: object) -> bool:
    return _is_decimal(leaf) and Decimal(cast(str, leaf)) <= 1


def _matches(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda leaf: isinstance(leaf, str) and pattern.fullmatch(leaf) is not None


UNITS: Mapping[str, Callable[[object], bool]] = {
    "fen": _is_whole,
    "years": _is_whole,
    "months": _is_whole,
    "days": _is_whole,
    "hours": _is_whole,
    "times": _is_whole,
    "ratio": _is_ratio,
    "factor": _is_decimal,
    "word": _matches(_WORD),
    "month_day": _matches(_MONTH_DAY),
}
"""Each unit with the check of one figure; a ratio is at most 1, a factor may be more."""


def parse_policy(text: str, *, name: str) -> list[PolicyFigure]:
    """Read the text of one parameter's file, oldest value first.

    Raises:
        PolicyFileError: with the file and the key that is wrong.
    """
    where = f"{name}.yaml"
    if not _NAME.fullmatch(name):
        raise PolicyFileError(f"{where}: a file is named <group>.<name>.yaml")
    try:
        top = _mapping(load_strict(text, where=where), {"title", "unit", "values"}, where=where)
    except StrictYamlError as error:
        raise PolicyFileError(str(error)) from error
    title = _text(top["title"], where=f"{where}: title")
    unit = top["unit"]
    if not isinstance(unit, str) or unit not in UNITS:
        raise PolicyFileError(f"{where}: unit: one of {', '.join(UNITS)} is expected")
    values = top["values"]
    if not isinstance(values, dict) or not values:
        raise PolicyFileError(f"{where}: values: at least one dated value is expected")
    figures = [
        _figure(name, title, unit, day, line, where=f"{where}: {day}")
        for day, line in values.items()
    ]
    for earlier, later in pairwise(figures):
        begins = later["effective_from"]
        if begins <= earlier["effective_from"]:
            raise PolicyFileError(f"{where}: {begins}: values stand in the order of their dates")
        if earlier["until"] is not None and begins <= earlier["until"]:
            raise PolicyFileError(f"{where}: {begins}: the value before is still in force")
    return figures


def load_policy_files(folder: Path = POLICY_FOLDER) -> list[PolicyFigure]:
    """Return every value of every parameter, by name and date.

    Raises:
        PolicyFileError: a file cannot be read or is refused, or there is none.
    """
    figures: list[PolicyFigure] = []
    for path in sorted(folder.iterdir()):
        if path.suffix != ".yaml":
            raise PolicyFileError(f"{path.name}: only .yaml files have a place here")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyFileError(f"{path.name}: {error}") from error
        figures += parse_policy(text, name=path.stem)
    if not figures:
        raise PolicyFileError(f"{folder}: no policy files")
    return figures


def _figure(
    name: str, title: str, unit: str, day: object, line: object, *, where: str
) -> PolicyFigure:
    if not isinstance(day, date):
        raise PolicyFileError(f"{where}: the day from which a value holds is expected")
    fields = _mapping(line, {"value", "source", "status"}, {"until"}, where=where)
    until = fields.get("until")
    if "until" in fields and not (isinstance(until, date) and until >= day):
        raise PolicyFileError(f"{where}: until: the last day in force is expected")
    status = fields["status"]
    if not isinstance(status, str) or status not in STATUSES:
        raise PolicyFileError(f"{where}: status: one of {', '.join(sorted(STATUSES))} is expected")
    _check_value(fields["value"], unit, where=f"{where}: value")
    return PolicyFigure(
        name=name,
        title=title,
        unit=unit,
        value=fields["value"],
        effective_from=day,
        until=cast("date | None", until),
        source=_text(fields["source"], where=f"{where}: source"),
        status=status,
    )


def _check_value(value: object, unit: str, *, where: str) -> None:
    leaves: list[object] = [value]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or not _KEY.fullmatch(key):
                raise PolicyFileError(f"{where}: the key {key!r} must be quoted text")
        leaves = list(value.values())
    elif isinstance(value, list):
        leaves = value
    if not leaves:
        raise PolicyFileError(f"{where}: an empty table says nothing")
    for leaf in leaves:
        if not UNITS[unit](leaf):
            raise PolicyFileError(f"{where}: {leaf!r} is not a figure in {unit}")


def _mapping(
    value: object, keys: set[str], optional: frozenset[str] | set[str] = frozenset(), *, where: str
) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise PolicyFileError(f"{where}: a mapping is expected")
    if missing := keys - value.keys():
        raise PolicyFileError(f"{where}: {', '.join(sorted(missing))} is missing")
    if more := value.keys() - keys - optional:
        raise PolicyFileError(f"{where}: {', '.join(sorted(map(str, more)))} has no meaning here")
    return value


def _text(value: object, *, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise PolicyFileError(f"{where}: some words are expected")
    return value.strip()
