"""Reads `bank_layouts/<name>.yaml`: how a bank's files are laid out, as plain data.

What the words mean is checked by `app.payments.bank.files.layouts`; config knows nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from config.strict_yaml import StrictYamlError, load_strict

_FOLDER = Path(__file__).resolve().parent / "bank_layouts"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


class BankLayoutError(ValueError):
    """A layout file that cannot be used: the process must not start with it."""


def parse_bank_layout(text: str, *, where: str) -> Mapping[str, object]:
    """Return the content of a layout file.

    Raises:
        BankLayoutError: no mapping, or YAML that could be misread.
    """
    try:
        content = load_strict(text, where=where)
    except StrictYamlError as error:
        raise BankLayoutError(str(error)) from error
    if not isinstance(content, dict):
        raise BankLayoutError(f"{where}: a mapping is expected")
    return content


def load_bank_layout(name: str) -> Mapping[str, object]:
    """Return the content of `config/bank_layouts/<name>.yaml`.

    Raises:
        BankLayoutError: no such file, or not the documented shape.
    """
    if not _NAME.fullmatch(name):
        raise BankLayoutError(f"{name!r} is not the name of a layout")
    path = _FOLDER / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BankLayoutError(f"{path.name}: {error}") from error
    return parse_bank_layout(text, where=path.name)
