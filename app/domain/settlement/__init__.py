"""What a channel's answer does to the books (入账): the one place where it does anything.

A callback, a query and, later, a bill line all end here, inside their caller's transaction. An
answer that was applied before changes nothing. An answer that does not fit becomes a break, which
must be committed: nothing here raises for it.
"""

from __future__ import annotations

from enum import StrEnum


class Effect(StrEnum):
    """What an answer did."""

    CREDITED = "credited"
    DUPLICATE = "duplicate"
    SUSPENSE = "suspense"
    MISMATCH = "mismatch"
    CLOSED = "closed"
    DEBIT_FAILED = "debit_failed"
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"
    NOTHING = "nothing"
