"""Reads `reasons/<channel>.yaml`: what a channel's codes mean, as plain data.

A file has two keys: `source` (where the codes are published) and `calls`. A call is the name of
the port's method, or of a state that an answer carries; below it stands one line a code:

    calls:
      query_payment:
        ORDERNOTEXIST: [failed, not_found]

What the words mean is checked by `app.payments.reasons.ReasonTable`; config knows nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from config.strict_yaml import StrictYamlError, load_strict

_FOLDER = Path(__file__).resolve().parent / "reasons"
_CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,31}")
_WORD = re.compile(r"[a-z][a-z_]{0,63}")


class ReasonFileError(ValueError):
    """A reason file that cannot be trusted: the process must not start with it."""


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict) or not value:
        raise ReasonFileError(f"{where}: a mapping with at least one line is expected")
    for key in value:
        if not isinstance(key, str) or not key or key != key.strip():
            raise ReasonFileError(f"{where}: the key {key!r} must be quoted text")
    return value


def _row(value: object, where: str) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2:
        raise ReasonFileError(f"{where}: [kind, reason] is expected")
    kind, reason = value
    for word in (kind, reason):
        if not isinstance(word, str) or not _WORD.fullmatch(word):
            raise ReasonFileError(f"{where}: {word!r} is not a word")
    return kind, reason


def parse_reasons(text: str, *, where: str) -> Mapping[str, Mapping[str, tuple[str, str]]]:
    """Read the text of a reason file, refusing everything but the documented shape.

    Raises:
        ReasonFileError: with the place that is wrong.
    """
    try:
        content = load_strict(text, where=where)
    except StrictYamlError as error:
        raise ReasonFileError(str(error)) from error
    top = _mapping(content, where)
    if set(top) != {"source", "calls"}:
        raise ReasonFileError(f"{where}: exactly `source` and `calls` are expected")
    if not isinstance(top["source"], str) or not top["source"].strip():
        raise ReasonFileError(f"{where}: `source` says where the codes are published")
    calls: dict[str, Mapping[str, tuple[str, str]]] = {}
    for call, codes in _mapping(top["calls"], f"{where}: calls").items():
        if not _WORD.fullmatch(call):
            raise ReasonFileError(f"{where}: {call!r} is not the name of a call")
        rows = _mapping(codes, f"{where}: {call}")
        calls[call] = MappingProxyType(
            {code: _row(row, f"{where}: {call}: {code}") for code, row in rows.items()}
        )
    return MappingProxyType(calls)


def load_reasons(channel: str) -> Mapping[str, Mapping[str, tuple[str, str]]]:
    """Return call -> code -> (kind, reason) of `config/reasons/<channel>.yaml`.

    Raises:
        ReasonFileError: no such file, or not the documented shape.
    """
    if not _CHANNEL.fullmatch(channel):
        raise ReasonFileError(f"{channel!r} is not the name of a channel")
    path = _FOLDER / f"{channel}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReasonFileError(f"{path.name}: {error}") from error
    return parse_reasons(text, where=path.name)
