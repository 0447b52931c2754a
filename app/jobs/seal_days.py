"""Seal every business day that is over (日终封账)."""

from __future__ import annotations

from datetime import timedelta

from app.domain.calendar import business_day
from app.domain.ledger.operations import seal_days
from app.domain.ports import Ports

GRACE = timedelta(minutes=10)
"""Payments confirmed around midnight may still be posted to the day before by a slow clock."""


def run(ports: Ports) -> dict[str, int]:
    """Return how many days were sealed."""
    yesterday = business_day(ports.now() - GRACE) - timedelta(days=1)
    return {"sealed": len(seal_days(ports, through=yesterday))}
