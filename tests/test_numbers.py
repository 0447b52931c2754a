"""Numbers of orders: as long as every channel takes, never the same, in the order of time."""

from __future__ import annotations

import re
import time

from app.factory import new_number


def test_a_number_has_32_characters_that_every_channel_takes() -> None:
    for prefix in ("A", "D", "R"):
        assert re.fullmatch(f"{prefix}[0-9A-Z]{{31}}", new_number(prefix))


def test_no_two_numbers_of_one_moment_are_alike() -> None:
    numbers = {new_number("A") for _ in range(5_000)}
    assert len(numbers) == 5_000
    # Every place of the chance varies: none is lost where one draw is written in many digits.
    assert all(len({number[at] for number in numbers}) > 30 for at in range(10, 32))


def test_a_later_number_sorts_after_an_earlier_one() -> None:
    earlier = new_number("A")
    time.sleep(0.005)
    assert earlier < new_number("A")
