"""The formats once more, character by character and without a library: what may be accepted.

Each reader returns what a text says, or raises `No`. They are written from the rules and not from
the product; where the product accepts what they refuse, one of the two is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


class No(Exception):
    """Not such a text."""


# -- One flat XML element ---------------------------------------------------------------------

_NAME = r"[A-Za-z_][A-Za-z0-9_.$-]{0,63}"
_DECLARATION = re.compile(
    r"<\?xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:'[^']*'|\"[^\"]*\")"
    r"(?:[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(?:'utf-8'|\"utf-8\"))?"
    r"(?:[ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(?:'(?:yes|no)'|\"(?:yes|no)\"))?"
    r"[ \t\r\n]*\?>",
    re.IGNORECASE,
)
_PIECE = re.compile(
    r"<!\[CDATA\[(?P<cdata>.*?)\]\]>|&(?P<entity>[a-z]+|#[0-9]+|#x[0-9a-fA-F]+);|(?P<text>[^<&]+)",
    re.DOTALL,
)
_ENTITIES = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}


def read_xml(data: bytes, root: str = "xml") -> dict[str, str]:
    """Return the children of one element that holds nothing but text in its children."""
    text = _decoded(data).removeprefix("\ufeff")
    if not all(map(_is_xml_character, text)):
        raise No
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    declaration = _DECLARATION.match(text)
    at = declaration.end() if declaration else 0
    at = _skip(text, at)
    opened = re.compile(rf"<{root}[ \t\n]*(/?)>").match(text, at)
    if opened is None:
        raise No
    fields: dict[str, str] = {}
    at = opened.end()
    if not opened[1]:
        at = _read_children(text, at, root, fields)
    if _skip(text, at) != len(text):
        raise No
    return fields


def _read_children(text: str, at: int, root: str, fields: dict[str, str]) -> int:
    start = re.compile(rf"<({_NAME})[ \t\n]*(/?)>")
    end = re.compile(rf"</{root}[ \t\n]*>")
    while True:
        between, at = _read_text(text, at)
        if between.strip(" \t\r\n"):
            raise No
        ended = end.match(text, at)
        if ended:
            return ended.end()
        began = start.match(text, at)
        if began is None or began[1] in fields:
            raise No
        at, value = began.end(), ""
        if not began[2]:
            value, at = _read_text(text, at)
            closed = re.compile(rf"</{re.escape(began[1])}[ \t\n]*>").match(text, at)
            if closed is None:
                raise No
            at = closed.end()
        fields[began[1]] = value


def _read_text(text: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while piece := _PIECE.match(text, at):
        if piece["cdata"] is not None:
            parts.append(piece["cdata"])
        elif piece["text"] is not None:
            if "]]>" in piece["text"]:
                raise No
            parts.append(piece["text"])
        else:
            parts.append(_of_entity(piece["entity"]))
        at = piece.end()
    return "".join(parts), at


def _of_entity(name: str) -> str:
    if not name.startswith("#"):
        if name not in _ENTITIES:
            raise No
        return _ENTITIES[name]
    code = int(name[2:], 16) if name.startswith("#x") else int(name[1:])
    if code > 0x10FFFF or not _is_xml_character(chr(code)):
        raise No
    return chr(code)


def _is_xml_character(character: str) -> bool:
    code = ord(character)
    return (
        code in {0x9, 0xA, 0xD}
        or 0x20 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or 0x10000 <= code <= 0x10FFFF
    )


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise No from None


# -- A form -----------------------------------------------------------------------------------


def read_form(data: bytes) -> dict[str, bytes]:
    """Return the fields of application/x-www-form-urlencoded, as bytes, each name once."""
    fields: dict[str, bytes] = {}
    for pair in data.split(b"&"):
        name, equals, value = pair.partition(b"=")
        key = _unescaped(name).decode("latin-1")
        if not equals or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", key) or key in fields:
            raise No
        fields[key] = _unescaped(value)
    return fields


def _unescaped(part: bytes) -> bytes:
    out, at = bytearray(), 0
    while at < len(part):
        digits = part[at + 1 : at + 3]
        if part[at] >= 0x80:
            raise No
        if part[at] == ord("%") and re.fullmatch(rb"[0-9a-fA-F]{2}", digits):
            out.append(int(digits, 16))
            at += 3
            continue
        out.append(ord(" ") if part[at] == ord("+") else part[at])
        at += 1
    return bytes(out)


# -- JSON -------------------------------------------------------------------------------------

_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None}
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

Pairs = list[tuple[str, str, Any]]
"""The members of an object in order: name, text as it stands, value."""


def read_json(text: str, members: Callable[[Pairs], Any]) -> Any:
    """Return what a JSON text says; `members` makes a value of an object's members."""
    value, at = _value(text, _skip(text, 0), members)
    if _skip(text, at) != len(text):
        raise No
    return value


def decode_json(data: bytes) -> str:
    """Return the text, which has no byte order mark."""
    return _decoded(data)


def depth_of(value: Any) -> int:
    """Return how many values lie one in another."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(inner, list) or not inner:
        return 1
    return 1 + max(depth_of(each) for each in inner)


def _value(text: str, at: int, members: Callable[[Pairs], Any]) -> tuple[Any, int]:
    if text.startswith("{", at):
        return _object(text, at, members)
    if text.startswith("[", at):
        return _array(text, at, members)
    if text.startswith('"', at):
        return _string(text, at)
    for word, value in _WORDS.items():
        if text.startswith(word, at):
            return value, at + len(word)
    number = _NUMBER.match(text, at)
    if number is None:
        raise No
    whole = not set(number[0]) & set(".eE")
    if whole and len(number[0].lstrip("-")) > 4300:
        raise No  # as long as Python reads them
    return int(number[0]) if whole else float(number[0]), number.end()


def _object(text: str, at: int, members: Callable[[Pairs], Any]) -> tuple[Any, int]:
    pairs: Pairs = []
    at = _skip(text, at + 1)
    if text.startswith("}", at):
        return members(pairs), at + 1
    while True:
        name, at = _string(text, at)
        at = _skip(text, at)
        if not text.startswith(":", at):
            raise No
        start = _skip(text, at + 1)
        value, at = _value(text, start, members)
        pairs.append((name, text[start:at], value))
        at = _skip(text, at)
        if text.startswith("}", at):
            return members(pairs), at + 1
        if not text.startswith(",", at):
            raise No
        at = _skip(text, at + 1)


def _array(text: str, at: int, members: Callable[[Pairs], Any]) -> tuple[Any, int]:
    found: list[Any] = []
    at = _skip(text, at + 1)
    if text.startswith("]", at):
        return found, at + 1
    while True:
        value, at = _value(text, at, members)
        found.append(value)
        at = _skip(text, at)
        if text.startswith("]", at):
            return found, at + 1
        if not text.startswith(",", at):
            raise No
        at = _skip(text, at + 1)


def _string(text: str, at: int) -> tuple[str, int]:
    match = _STRING.match(text, at)
    if match is None:
        raise No
    inner = match[0][1:-1]
    units = re.sub(
        r"\\(u[0-9a-fA-F]{4}|.)",
        lambda m: chr(int(m[1][1:], 16)) if m[1][0] == "u" else _ESCAPES.get(m[1], m[1]),
        inner,
    )
    # Two halves that were escaped side by side are one character.
    joined = units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return joined, match.end()
