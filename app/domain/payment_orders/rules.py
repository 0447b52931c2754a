"""When to ask a channel what became of an order. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

PAYABLE_FOR = timedelta(minutes=30)
"""How long a contributor may take to confirm; inside every channel's own limit (2 h, 15 d)."""

FIRST_QUERY_AFTER = timedelta(seconds=20)

BATCH_QUERY_EVERY = timedelta(minutes=30)
"""A debit in a batch file is asked about only when its result is overdue, and then so often."""

UNDECIDED_AFTER = timedelta(days=1)
"""An order without an end so long after its expiry is shown to staff; asking goes on."""

REFUND_UNDECIDED_AFTER = timedelta(days=5)
"""The same for a refund after its release; one to a bank card takes up to three working days."""

_BACKOFF_SECONDS = (20, 40, 60, 120, 300, 600, 1_800, 3_600, 7_200)


def next_query_at(
    now: datetime, *, query_count: int, expires_at: datetime | None = None
) -> datetime:
    """Return when to ask again after `query_count` questions, each wait longer than the last.

    A moment still to come at which the thing expires is not slept through: an order that was not
    paid keeps its room under the yearly cap until it is closed.
    """
    wait = _BACKOFF_SECONDS[min(query_count, len(_BACKOFF_SECONDS) - 1)]
    later = now + timedelta(seconds=wait)
    return expires_at if expires_at is not None and now < expires_at < later else later
