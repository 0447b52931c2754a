"""Reads the chart of accounts (会计科目表)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import TypeAdapter

CHART_FILE = Path(__file__).with_name("chart_of_accounts.yaml")


@dataclass(frozen=True, slots=True)
class LedgerAccount:
    """One account of the chart; `side` is where it normally stands."""

    name: str
    side: Literal["debit", "credit"]


@cache
def load_chart() -> dict[str, LedgerAccount]:
    """Return the chart by code."""
    content = yaml.safe_load(CHART_FILE.read_text(encoding="utf-8"))
    return TypeAdapter(dict[str, LedgerAccount]).validate_python(content["accounts"])
