"""When a channel is asked what became of an order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.domain.payment_orders.rules import PAYABLE_FOR, next_query_at

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


def test_each_wait_is_longer_than_the_last_until_it_is_two_hours() -> None:
    waits = [next_query_at(NOW, query_count=count) - NOW for count in range(12)]
    assert [int(wait.total_seconds()) for wait in waits] == [
        20,
        40,
        60,
        120,
        300,
        600,
        1_800,
        3_600,
        7_200,
        7_200,
        7_200,
        7_200,
    ]


def test_the_moment_of_expiry_is_not_slept_through() -> None:
    expires_at = NOW + timedelta(minutes=10)
    assert next_query_at(NOW, query_count=6, expires_at=expires_at) == expires_at
    assert next_query_at(NOW, query_count=0, expires_at=expires_at) == NOW + timedelta(seconds=20)


def test_after_its_expiry_an_order_is_asked_about_on_schedule() -> None:
    later = NOW + timedelta(seconds=60)
    assert next_query_at(NOW, query_count=2, expires_at=NOW) == later
    assert next_query_at(NOW, query_count=2, expires_at=NOW - timedelta(days=1)) == later


def test_a_contributor_has_half_an_hour_to_confirm() -> None:
    assert timedelta(minutes=30) == PAYABLE_FOR
