"""What a deposit must satisfy, and which months count."""

from __future__ import annotations

import pytest

from app.domain.deposits.rules import (
    AmountBelowMinimum,
    YearlyCapExceeded,
    check_amount,
    check_room,
    count_months,
    digest_request,
)


def test_the_minimum_itself_is_enough_and_a_fen_less_is_not() -> None:
    check_amount(12_150, minimum_fen=12_150)
    with pytest.raises(AmountBelowMinimum) as refusal:
        check_amount(12_149, minimum_fen=12_150)
    assert refusal.value.detail == {"minimum_fen": 12_150, "clause": "试点方案 第二条"}
    assert "121.50" in refusal.value.message


@pytest.mark.parametrize("amount_fen", [0, -1, -12_150])
def test_nothing_and_less_than_nothing_are_below_the_minimum(amount_fen: int) -> None:
    with pytest.raises(AmountBelowMinimum):
        check_amount(amount_fen, minimum_fen=12_150)


def test_the_room_itself_may_be_filled_and_a_fen_more_is_refused() -> None:
    check_room(50_000, room_fen=50_000, cap_fen=9_084_960)
    with pytest.raises(YearlyCapExceeded) as refusal:
        check_room(50_001, room_fen=50_000, cap_fen=9_084_960)
    assert refusal.value.detail["room_fen"] == 50_000
    assert refusal.value.detail["cap_fen"] == 9_084_960
    assert "500.00" in refusal.value.message


def test_a_room_below_zero_is_shown_as_none() -> None:
    with pytest.raises(YearlyCapExceeded) as refusal:
        check_room(1, room_fen=-300, cap_fen=100)
    assert refusal.value.detail["room_fen"] == 0


def months(**net_fen_by_month: int) -> list[str]:
    named = {
        name.removeprefix("m").replace("_", "-"): fen for name, fen in net_fen_by_month.items()
    }
    return count_months(named, minimum_fen_of=lambda month: 11_300 if month < "2026-01" else 12_150)


def test_a_month_counts_once_however_much_was_paid_in_it() -> None:
    assert months(m2026_11=12 * 12_150) == ["2026-11"]


def test_each_month_is_measured_by_its_own_minimum() -> None:
    assert months(m2025_12=11_300, m2026_01=11_300, m2026_02=12_150) == ["2025-12", "2026-02"]


def test_gaps_do_not_matter_and_the_oldest_comes_first() -> None:
    assert months(m2026_11=20_000, m2026_03=20_000) == ["2026-03", "2026-11"]


def test_a_month_of_which_too_little_is_left_does_not_count() -> None:
    assert months(m2026_10=0, m2026_11=12_149) == []


def test_a_month_without_money_never_counts_even_without_a_minimum() -> None:
    assert count_months({"2026-11": 0}, minimum_fen_of=lambda month: 0) == []


def test_a_digest_tells_contents_apart_and_not_their_order() -> None:
    one = digest_request(channel="wechat", amount_fen=12_150)
    assert one == digest_request(amount_fen=12_150, channel="wechat")
    assert one != digest_request(channel="alipay", amount_fen=12_150)
    assert one != digest_request(channel="wechat", amount_fen=12_151)
    assert len(one) == 32
