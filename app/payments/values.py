"""Strict readers of the values that every channel sends: numbers and Beijing times."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from app.domain.calendar import SHANGHAI

MESSAGE_LENGTH = 256
"""How much of a channel's own words is kept."""

_SPACED_TIME = re.compile(r"2[0-9]{3}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_NUMBER = re.compile(r"[0-9A-Za-z_|*@-]{1,64}")


class Unreadable(ValueError):
    """Not what the channel sends. The message names the trouble and quotes no content."""


def read_number(value: str | None) -> str:
    """Return an order, refund or transaction number.

    Raises:
        Unreadable: absent, or with characters that no such number has.
    """
    if value is None or not _NUMBER.fullmatch(value):
        raise Unreadable("number")
    return value


def read_spaced_time(value: str | None) -> datetime | None:
    """Return the instant of a Beijing time like 2026-11-24 10:00:00, or None where none is said.

    Raises:
        Unreadable: said, but impossible.
    """
    if not value:
        return None
    if not _SPACED_TIME.fullmatch(value):
        raise Unreadable("time")
    return read_time(value, "%Y-%m-%d %H:%M:%S")


def read_time(value: str, layout: str) -> datetime:
    """Return the instant of a Beijing time in this layout.

    Raises:
        Unreadable: impossible.
    """
    try:
        local = datetime.strptime(value, layout).replace(tzinfo=SHANGHAI)
    except ValueError:
        raise Unreadable("time") from None
    return local.astimezone(UTC)
