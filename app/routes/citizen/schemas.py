"""Shapes that several of the mini-program's doors share."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.domain.calendar import local_iso
from app.domain.contributors.facts import DegreeLevel
from app.routes.json import In, Query

LARGEST_CURSOR = 2**53 - 1
"""The largest integer that JavaScript keeps exactly."""

_DIGITS = re.compile(r"[0-9]{1,19}")


def read_digits(text: str) -> int:
    """Read a number of the query string, where everything is text."""
    # Left to itself, pydantic takes "1.0", "+1", " 1 " and "1_000" for integers too.
    if not _DIGITS.fullmatch(text):
        raise PydanticCustomError("int_parsing", "not a plain number")
    return int(text)


Instant = Annotated[
    datetime,
    PlainSerializer(local_iso, return_type=str),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "examples": ["2026-11-24T10:00:00+08:00"]}
    ),
]
Fen = Annotated[int, Field(description="人民币，单位：分", examples=[12150])]
AmountIn = Annotated[
    int, Field(ge=1, le=10**12, strict=True, description="人民币，单位：分", examples=[50000])
]
Day = Annotated[date, Field(examples=["2026-11-24"])]
ONE_LINE = (
    "^[^\\x00-\\x1f\\x7f-\\x9f\\u200b-\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]*$"
)
"""One line of text, with nothing in it that cannot be seen or that turns it around."""
Note = Annotated[str, Field(max_length=200, pattern=ONE_LINE, examples=["重复支付"])]
Evidence = Annotated[
    str, Field(max_length=200, description="证明材料名称或编号", examples=["户口簿"])
]


class Page(Query):
    """A cursor page: `cursor` is what the page before gave as `next_cursor`."""

    cursor: Annotated[int | None, BeforeValidator(read_digits)] = Field(
        default=None, ge=1, le=LARGEST_CURSOR, description="上一页的 next_cursor"
    )
    limit: Annotated[int, BeforeValidator(read_digits)] = Field(
        default=20, ge=1, le=100, description="每页条数"
    )


class ChildrenIn(In):
    """Clause 3: children."""

    count: int = Field(ge=0, le=20, description="子女总数")
    minor_count: int = Field(ge=0, le=20, description="其中未成年的")
    evidence: Evidence = ""


class DegreeIn(In):
    """Clause 11: highest full-time degree."""

    level: DegreeLevel = Field(description="全日制最高学历")
    evidence: Evidence = ""


class VeteranIn(In):
    """Clause 16: military service ended."""

    discharged_on: date | None = Field(default=None, description="退役日期")
    evidence: Evidence = ""


class OwnLabourIncomeIn(In):
    """For a person of 16 or 17: lives mainly on their own labour income."""

    declared: bool = Field(description="以自己的劳动收入为主要生活来源")


class FactsIn(In):
    """What a person declares about themselves."""

    children: ChildrenIn | None = None
    degree: DegreeIn | None = None
    veteran: VeteranIn | None = None
    own_labour_income: OwnLabourIncomeIn | None = None
