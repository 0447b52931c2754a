"""Business time: instants are UTC, the fund's days and months are Asia/Shanghai."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")


def business_day(instant: datetime) -> date:
    """Return the fund's day of a UTC instant."""
    return instant.astimezone(SHANGHAI).date()


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """Return the UTC instants at which `day` begins (inclusive) and ends (exclusive)."""
    return _midnight(day), _midnight(day + timedelta(days=1))


def month_of(day: date) -> str:
    """Return the contribution month (缴存年月) of a day, e.g. ``2026-11``."""
    return f"{day.year:04d}-{day.month:02d}"


def month_bounds(month: str) -> tuple[date, date]:
    """Return the first and the last day of a month written ``2026-11``.

    Raises:
        ValueError: not a month.
    """
    first = date.fromisoformat(f"{month}-01")
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def local_iso(instant: datetime) -> str:
    """Return an instant as people and the API read it: ISO 8601, +08:00, whole seconds."""
    return instant.astimezone(SHANGHAI).isoformat(timespec="seconds")


def full_years(born: date, on: date) -> int:
    """Return completed years of age; someone born on 29 February ages on 1 March."""
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, SHANGHAI).astimezone(UTC)
