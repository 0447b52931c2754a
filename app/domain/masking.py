"""Personal data as shown on screens, in messages and in exports: enough to know one's own."""

from __future__ import annotations

import unicodedata

LONGEST_PLAIN_NAME = 4
LONG_NUMBER = 15


def mask_name(name: str) -> str:
    """Hide the surname of a Chinese name (``*明``); of a longer or foreign name all but the end."""
    if len(name) <= LONGEST_PLAIN_NAME and all(_is_han(character) for character in name):
        return "*" + name[1:]
    end = len(name) - 1
    while end > 0 and unicodedata.category(name[end]).startswith("M"):
        end -= 1
    return "**" + name[end:]


def mask_document_no(number: str) -> str:
    """Show the first 3 and last 4 of a long identity number, the first 1 and last 2 of a short one.

    A travel permit has 8 or 9 characters: 3 and 4 of them would leave nothing hidden.
    """
    head, tail = (3, 4) if len(number) >= LONG_NUMBER else (1, 2)
    return _keep(number, head, tail)


def mask_phone(phone: str) -> str:
    """Show the first 3 and last 4 digits of a mobile number: ``138****0000``."""
    return _keep(phone, 3, 4)


def _keep(text: str, head: int, tail: int) -> str:
    hidden = len(text) - head - tail
    if hidden <= 0:
        return "*" * len(text)
    return text[:head] + "*" * hidden + text[-tail:]


def _is_han(character: str) -> bool:
    code = ord(character)
    return (
        0x3400 <= code <= 0x4DBF
        or 0x4E00 <= code <= 0x9FFF
        or 0x20000 <= code <= 0x3FFFF
        or character == "〇"
    )
