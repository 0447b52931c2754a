"""What a run has read of the policy: gone by for a minute, never past midnight."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.debit_runs.claiming import Claimed, claim_due
from app.domain.debit_runs.limits import Limits
from tests.domain.debits.conftest import Debiting


def limits(read_at: datetime, *, programme_open: bool = True, cap_fen: int | None = 1) -> Limits:
    return Limits(read_at=read_at, programme_open=programme_open, cap_fen=cap_fen)


@pytest.mark.parametrize(
    ("read_at", "later", "hold"),
    [
        ("10:00:00+08:00", 0, True),
        ("10:00:00+08:00", 59, True),
        ("10:00:00+08:00", 60, False),
        # Midnight in Shanghai, where the fund's day ends.
        ("23:59:50+08:00", 9, True),
        ("23:59:50+08:00", 10, False),
    ],
)
def test_they_hold_for_a_minute_of_the_same_day(read_at: str, later: int, hold: bool) -> None:
    instant = datetime.fromisoformat(f"2026-12-10T{read_at}").astimezone(UTC)
    assert limits(instant).still_hold(instant + timedelta(seconds=later)) is hold


def claim(debiting: Debiting, known: Limits | None) -> Claimed:
    return debiting.ports.transact(
        lambda session: claim_due(
            session,
            channels=["wechat"],
            now=debiting.ports.now(),
            limit=10,
            new_number=debiting.ports.new_number,
            limits=known,
        )
    )


@pytest.fixture
def due(debiting: Debiting) -> Debiting:
    debiting.sign()
    debiting.at(12, 9)
    debiting.plan()
    debiting.at(12, 10)
    return debiting


def test_a_claim_goes_by_those_that_hold(due: Debiting) -> None:
    claimed = claim(due, limits(due.ports.now(), programme_open=False))
    assert claimed.steps == {"cancel": 1}
    assert claimed.attempts == []


def test_a_claim_reads_the_policy_where_they_hold_no_more(due: Debiting) -> None:
    yesterday = due.ports.now() - timedelta(days=1)
    claimed = claim(due, limits(yesterday, programme_open=False, cap_fen=None))
    assert claimed.steps == {"send": 1}
    # And hands on what it has read, for the next group of the run.
    assert claimed.limits is not None
    assert (claimed.limits.read_at, claimed.limits.programme_open) == (due.ports.now(), True)
    assert claimed.limits.cap_fen is not None
