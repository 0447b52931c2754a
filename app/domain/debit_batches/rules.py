"""When debits are gathered into a file (批量代收), how many, when the results are due. Pure."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from enum import StrEnum

from app.domain.bank_calendar.rules import BankCalendar
from app.domain.calendar import SHANGHAI, business_day
from app.domain.debits.rules import SENDING_FROM

MOST_LINES = 10_000
"""How many debits go into one file: what banks commonly take. What is over begins another file."""

SEND_AGAIN_AFTER = timedelta(minutes=5)
"""The same bytes go out again so long after a try whose end nobody knows; longer than one takes."""

RESULTS_BY = time(12)
"""On the bank day after the file: until then nobody asks what became of its debits."""


class BatchState(StrEnum):
    """Where a batch stands."""

    COLLECTING = "collecting"
    FROZEN = "frozen"
    """Its debits, their order and its totals stand; its file is not written yet."""
    RENDERED = "rendered"
    """Its bytes are stored, and only those ever go out. The bank may have them already."""
    UPLOADED = "uploaded"
    ACCEPTED = "accepted"
    """The bank has said that it took the file, or what became of some of it."""
    REJECTED = "rejected"
    """The bank turned the whole file away: its debits have failed."""
    SETTLED = "settled"
    """Each of its debits has an end."""


class FileResult(StrEnum):
    """What became of a file of the bank."""

    IMPORTED = "imported"
    REFUSED = "refused"


def is_collecting_time(now: datetime, *, cutoff_hour: int, calendar: BankCalendar) -> bool:
    """Tell whether a file of today may still be filled.

    What is due after the cut-off (截止时点) waits for the next bank day. What was frozen before it
    still goes out: the bank takes it or rejects it as a whole.
    """
    clock = now.astimezone(SHANGHAI)
    in_time = clock.time() >= SENDING_FROM and clock.hour < cutoff_hour
    return in_time and calendar.is_bank_day(business_day(now))


def results_due_at(bank_day: date, *, calendar: BankCalendar) -> datetime:
    """Return when the results of a file of this day are overdue."""
    return datetime.combine(calendar.next_bank_day(bank_day), RESULTS_BY, SHANGHAI)
