"""What the policy says of every debit of a day, read once for many."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.domain.agreements.timelines import yearly_cap_of
from app.domain.calendar import business_day
from app.domain.policy.queries import Policy
from app.domain.policy.rules import ProgrammeNotInForce

HOLD_FOR = timedelta(minutes=1)
"""So soon a run obeys a figure that is loaded while it goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What was read at a moment; `cap_fen` is None while the year's cap is not published."""

    read_at: datetime
    programme_open: bool
    cap_fen: int | None

    def still_hold(self, now: datetime) -> bool:
        """Tell whether they may be gone by: for a little while, and never past midnight."""
        is_same_day = business_day(now) == business_day(self.read_at)
        return is_same_day and now - self.read_at < HOLD_FOR


def read_limits(session: Session, *, now: datetime) -> Limits:
    """Return the limits of the business day of `now`."""
    today = business_day(now)
    try:
        Policy.on(session, today).programme.check_open()
        programme_open = True
    except ProgrammeNotInForce:
        programme_open = False
    return Limits(
        read_at=now,
        programme_open=programme_open,
        cap_fen=yearly_cap_of(session, today.year),
    )
