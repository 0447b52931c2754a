"""Reads `agreement_texts/<day>.md`: the wording of the agreement, by the day from which it is used.

A text that was ever in use stays as it is; a new wording is a new file.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from types import MappingProxyType

_FOLDER = Path(__file__).resolve().parent / "agreement_texts"


@cache
def load_agreement_texts(folder: Path = _FOLDER) -> Mapping[date, str]:
    """Return the templates by their first day.

    Raises:
        ValueError: a file whose name is no day, or none at all.
    """
    texts = {
        date.fromisoformat(path.stem): path.read_text(encoding="utf-8")
        for path in sorted(folder.glob("*.md"))
    }
    if not texts:
        raise ValueError(f"{folder} holds no text")
    return MappingProxyType(texts)
