"""Fen, and yuan for people."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.domain.money import format_yuan, round_to_fen


@pytest.mark.parametrize(
    ("amount", "fen"),
    [
        ("0.49", 0),
        ("0.5", 1),
        ("1.5", 2),
        ("2.5", 3),  # half-even would give 2
        ("2.4999999999", 2),
        ("7499.964", 7500),
        ("-0.5", -1),
        ("-2.5", -3),
        ("99999999999999.5", 100_000_000_000_000),
    ],
)
def test_half_a_fen_is_rounded_away_from_zero(amount: str, fen: int) -> None:
    rounded = round_to_fen(Decimal(amount))
    assert rounded == fen
    assert type(rounded) is int


@pytest.mark.parametrize(
    ("fen", "yuan"),
    [
        (0, "0.00"),
        (1, "0.01"),
        (10, "0.10"),
        (100, "1.00"),
        (12_150, "121.50"),
        (123_456_789, "1,234,567.89"),
        (-1, "-0.01"),
        (-100_000, "-1,000.00"),
    ],
)
def test_fen_are_shown_as_yuan(fen: int, yuan: str) -> None:
    assert format_yuan(fen) == yuan
