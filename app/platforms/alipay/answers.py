"""The raw JSON of an answer: what is signed are the characters as they stand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NoReturn

Node = Mapping[str, object]
"""The object in which an answer says what it has to say."""

_SPACE = re.compile(r"[ \t\r\n]*")


def _refuse(_constant: str) -> NoReturn:
    # NaN and Infinity, which Python reads and JSON does not have.
    raise ValueError("not a number")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def split_members(text: str) -> dict[str, str]:
    """Return the text of each member of one JSON object, by name, exactly as it stands.

    Raises:
        ValueError: not one JSON object and nothing else, or a name twice.
        RecursionError: nested too deeply.
    """
    members: dict[str, str] = {}
    at = _pass(text, 0, "{")
    while True:
        name, at = _DECODER.raw_decode(text, at)
        if not isinstance(name, str) or name in members:
            raise ValueError("no name, or one twice")
        start = _pass(text, at, ":")
        _, end = _DECODER.raw_decode(text, start)
        members[name] = text[start:end]
        at = _skip(text, end)
        if text.startswith("}", at):
            break
        at = _pass(text, at, ",")
    if _skip(text, at + 1) != len(text):
        raise ValueError("text behind the object")
    return members


def parse_node(text: str) -> Node:
    """Return a JSON object; a name may stand twice only with the same value.

    Raises:
        ValueError: anything else.
        RecursionError: nested too deeply.
    """
    node = json.loads(text, object_pairs_hook=_unambiguous, parse_constant=_refuse)
    if not isinstance(node, dict):
        raise ValueError("no object")
    return node


def read_text(node: Node, name: str) -> str:
    """Return a text of the node, empty where it is absent or null.

    Raises:
        ValueError: something else than text.
    """
    value = node.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    value.encode("utf-8")  # half a character, as an escape can write it, could not be stored
    return value


def _unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object]:
    node: dict[str, object] = {}
    for name, value in pairs:
        if node.setdefault(name, value) != value:
            raise ValueError("a name with two values")
    return node


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _pass(text: str, at: int, mark: str) -> int:
    """Return the place behind `mark` and the space around it."""
    at = _skip(text, at)
    if not text.startswith(mark, at):
        raise ValueError(f"no {mark}")
    return _skip(text, at + 1)
