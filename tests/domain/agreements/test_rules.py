"""Terms, timelines, freezing and plans by example. Amounts in fen."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from app.domain.agreements.planning import (
    CautionKind,
    PlannedPeriod,
    check_first,
    find_cautions,
    plan_periods,
)
from app.domain.agreements.rules import (
    DebitChannel,
    DebitDayNotAllowed,
    FirstPeriodNotOpen,
    Frequency,
    SuspensionTooLong,
    Terms,
    TermsIncomplete,
    Version,
    check_first_period,
    check_suspension,
    check_terms,
    dues_between,
    is_frozen,
    next_open_period,
    read_period,
    timeline,
)
from app.domain.deposits.rules import AmountBelowMinimum, YearlyCapExceeded
from app.domain.errors import Invalid
from app.domain.periods import Period

FREE = Terms(frequency=Frequency.FREE)


def monthly(amount_fen: int = 50_000, *, day: int = 10) -> Terms:
    return Terms(
        frequency=Frequency.MONTHLY,
        amount_fen=amount_fen,
        debit_day=day,
        channel=DebitChannel.WECHAT,
    )


def quarterly(amount_fen: int = 150_000, *, day: int = 10) -> Terms:
    return Terms(
        frequency=Frequency.QUARTERLY,
        amount_fen=amount_fen,
        debit_day=day,
        channel=DebitChannel.ALIPAY,
    )


def versions(*given: tuple[Terms, str]) -> list[Version]:
    return [
        Version(number=number, terms=terms, first_period=Period.parse(first))
        for number, (terms, first) in enumerate(given, start=1)
    ]


# -- terms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", [1, 28])
def test_days_one_to_twenty_eight_are_debit_days(day: int) -> None:
    check_terms(monthly(day=day), day_max=28)


@pytest.mark.parametrize("day", [0, 29, 30, 31])
def test_a_day_that_some_month_lacks_is_refused(day: int) -> None:
    with pytest.raises(DebitDayNotAllowed) as refusal:
        check_terms(monthly(day=day), day_max=28)
    assert refusal.value.message == "扣款日应为每期首月的 1 日至 28 日"
    assert refusal.value.clause == "试点方案 第二条"


@pytest.mark.parametrize("field", ["amount_fen", "debit_day", "channel"])
def test_fixed_terms_are_whole_and_free_ones_empty(field: str) -> None:
    whole: dict[str, Any] = {
        "amount_fen": 50_000,
        "debit_day": 10,
        "channel": DebitChannel.BANK,
    }
    with pytest.raises(TermsIncomplete) as missing:
        check_terms(Terms(frequency=Frequency.QUARTERLY, **{**whole, field: None}), day_max=28)
    assert missing.value.detail["field"] == field
    with pytest.raises(TermsIncomplete) as given:
        check_terms(Terms(frequency=Frequency.FREE, **{field: whole[field]}), day_max=28)
    assert given.value.detail["field"] == field
    check_terms(FREE, day_max=28)


def test_a_first_period_is_one_of_its_frequency() -> None:
    assert read_period("2026Q4", frequency=Frequency.QUARTERLY).key == "2026Q4"
    assert read_period("2026-12", frequency=Frequency.FREE).key == "2026-12"
    for written, frequency in (
        ("2026-12", Frequency.QUARTERLY),
        ("2026Q4", Frequency.MONTHLY),
        ("2026Q4", Frequency.FREE),
        ("soon", Frequency.MONTHLY),
    ):
        with pytest.raises(Invalid):
            read_period(written, frequency=frequency)


def test_a_first_period_is_not_frozen_and_not_years_ahead() -> None:
    earliest = Period.parse("2026-12")
    for key in ("2026-12", "2027-12"):
        check_first_period(Period.parse(key), earliest=earliest, latest=date(2027, 12, 1))
    for key in ("2026-11", "2028-01"):
        with pytest.raises(FirstPeriodNotOpen) as refusal:
            check_first_period(Period.parse(key), earliest=earliest, latest=date(2027, 12, 1))
        assert refusal.value.detail["earliest"] == "2026-12"


def test_a_suspension_is_one_to_twelve_months() -> None:
    for months in (1, 12):
        check_suspension(months, months_max=12)
    for months in (0, 13):
        with pytest.raises(SuspensionTooLong):
            check_suspension(months, months_max=12)


# -- freezing --------------------------------------------------------------------------------------


def test_a_debit_is_frozen_from_the_day_of_its_notice() -> None:
    due = date(2026, 12, 10)
    assert not is_frozen(due, on=date(2026, 12, 8), notice_days=1)
    assert is_frozen(due, on=date(2026, 12, 9), notice_days=1)
    assert is_frozen(due, on=date(2026, 12, 11), notice_days=1)


@pytest.mark.parametrize(
    ("on", "day", "opens"),
    [
        (date(2026, 12, 8), 10, "2026-12"),
        (date(2026, 12, 9), 10, "2027-01"),
        (date(2026, 12, 10), 10, "2027-01"),
        (date(2026, 12, 30), 1, "2027-01"),
        # The notice of 1 January is sent on 31 December.
        (date(2026, 12, 31), 1, "2027-02"),
        (date(2027, 1, 1), 28, "2027-01"),
    ],
)
def test_a_new_monthly_agreement_begins_with_the_next_open_month(
    on: date, day: int, opens: str
) -> None:
    assert next_open_period(monthly(day=day), on=on, notice_days=1).key == opens


@pytest.mark.parametrize(
    ("on", "opens"),
    [
        (date(2026, 10, 8), "2026Q4"),
        (date(2026, 10, 9), "2027Q1"),
        (date(2026, 12, 31), "2027Q1"),
        (date(2027, 1, 8), "2027Q1"),
        (date(2027, 1, 9), "2027Q2"),
    ],
)
def test_a_new_quarterly_agreement_begins_with_the_next_open_quarter(on: date, opens: str) -> None:
    assert next_open_period(quarterly(), on=on, notice_days=1).key == opens


def test_more_days_of_notice_freeze_earlier() -> None:
    assert next_open_period(monthly(), on=date(2026, 12, 7), notice_days=3).key == "2027-01"
    assert next_open_period(monthly(), on=date(2026, 12, 6), notice_days=3).key == "2026-12"


def test_nothing_freezes_a_free_agreement() -> None:
    assert next_open_period(FREE, on=date(2026, 12, 31), notice_days=1).key == "2026-12"


def test_months_that_an_ended_agreement_has_announced_are_not_covered_again() -> None:
    opens = next_open_period(
        monthly(day=28),
        on=date(2026, 11, 24),
        notice_days=1,
        taken_through=date(2026, 12, 31),
    )
    assert opens.key == "2027-01"


# -- changes ---------------------------------------------------------------------------------------


def opening(old: tuple[Terms, str], new: Terms, *, on: date) -> str:
    return next_open_period(new, on=on, notice_days=1, spans=timeline(versions(old))).key


def test_a_change_waits_for_the_period_that_was_announced_under_the_old_terms() -> None:
    old = (monthly(day=10), "2026-11")
    assert opening(old, monthly(80_000, day=28), on=date(2026, 12, 8)) == "2026-12"
    # 12-28 is open, but December was announced for the 10th.
    assert opening(old, monthly(80_000, day=28), on=date(2026, 12, 9)) == "2027-01"


def test_a_month_never_begins_inside_a_quarter_that_was_announced() -> None:
    old = (quarterly(day=10), "2026Q4")
    assert opening(old, monthly(), on=date(2026, 11, 24)) == "2027-01"


def test_a_month_never_splits_a_quarter_that_is_still_open() -> None:
    # On 31 December the first of January is frozen for the new terms, and the quarter, due on the
    # 10th, is not: February would cut it in two.
    old = (quarterly(day=10), "2026Q4")
    assert opening(old, monthly(day=1), on=date(2026, 12, 31)) == "2027-04"


def test_a_quarter_does_not_take_a_month_twice() -> None:
    old = (monthly(day=10), "2026-11")
    # January was announced on the 9th; the quarter, due on the 20th, would cover it again.
    assert opening(old, quarterly(day=20), on=date(2027, 1, 9)) == "2027Q2"
    assert opening(old, quarterly(day=20), on=date(2027, 1, 8)) == "2027Q1"


def test_terms_that_have_not_begun_can_be_changed_for_earlier_ones() -> None:
    old = (quarterly(), "2027Q1")
    assert opening(old, monthly(), on=date(2026, 11, 24)) == "2026-12"


def test_the_timeline_tells_which_terms_apply_when() -> None:
    spans = timeline(
        versions((monthly(), "2026-11"), (quarterly(), "2027Q1"), (monthly(60_000), "2027-07"))
    )
    assert [(s.version.number, s.first_day, s.last_day) for s in spans] == [
        (1, date(2026, 11, 1), date(2026, 12, 31)),
        (2, date(2027, 1, 1), date(2027, 6, 30)),
        (3, date(2027, 7, 1), None),
    ]


def test_terms_changed_again_before_they_began_never_apply() -> None:
    spans = timeline(
        versions((monthly(), "2026-11"), (quarterly(), "2027Q1"), (monthly(60_000), "2026-12"))
    )
    assert [(s.version.number, s.first_day, s.last_day) for s in spans] == [
        (1, date(2026, 11, 1), date(2026, 11, 30)),
        (3, date(2026, 12, 1), None),
    ]


def test_dues_follow_the_timeline_and_cover_no_month_twice() -> None:
    spans = timeline(versions((monthly(), "2026-11"), (quarterly(), "2027Q1"), (FREE, "2027-07")))
    dues = dues_between(spans, first=date(2026, 1, 1), last=date(2028, 12, 31))
    assert [(d.period.key, d.due_on, d.amount_fen) for d in dues] == [
        ("2026-11", date(2026, 11, 10), 50_000),
        ("2026-12", date(2026, 12, 10), 50_000),
        ("2027Q1", date(2027, 1, 10), 150_000),
        ("2027Q2", date(2027, 4, 10), 150_000),
    ]


# -- minimum and cap -------------------------------------------------------------------------------


def minimum_fen_of(month: str) -> int:
    return 11_300 if month < "2026-01" else 12_150


def plan(
    terms: Terms,
    first: str,
    *,
    last: date,
    cap_fen: int | None = 9_084_960,
    used_fen: int = 0,
) -> list[PlannedPeriod]:
    spans = timeline(versions((terms, first)))
    begins = Period.parse(first).first_day
    return plan_periods(
        dues_between(spans, first=begins, last=last),
        on=begins,
        notice_days=1,
        minimum_fen_of=minimum_fen_of,
        cap_fen_of=lambda _year: cap_fen,
        used_fen={begins.year: used_fen},
    )


def test_a_month_is_judged_by_the_minimum_of_its_first_day() -> None:
    planned = plan(monthly(11_300), "2025-12", last=date(2026, 1, 31))
    assert [(p.period.key, p.minimum_fen) for p in planned] == [
        ("2025-12", 11_300),  # 2,260 × 5 %
        ("2026-01", 12_150),  # 2,430 × 5 %
    ]
    check_first(planned[0])
    (caution,) = find_cautions(planned)
    assert (caution.kind, caution.period) == (CautionKind.BELOW_MINIMUM, "2026-01")
    assert "121.50 元" in caution.message
    with pytest.raises(AmountBelowMinimum) as refusal:
        check_first(planned[1])
    assert refusal.value.detail["minimum_fen"] == 12_150
    assert refusal.value.clause == "试点方案 第二条"


def test_a_quarter_takes_the_sum_of_its_months_minimums() -> None:
    (quarter,) = plan(quarterly(36_450), "2026Q1", last=date(2026, 3, 31))
    assert quarter.minimum_fen == 36_450  # 3 × 121.50
    check_first(quarter)
    (short,) = plan(quarterly(36_449), "2026Q1", last=date(2026, 3, 31))
    with pytest.raises(AmountBelowMinimum) as refusal:
        check_first(short)
    assert refusal.value.message == "每期金额不得低于 3 个月的最低月缴存额之和 364.50 元"
    (old,) = plan(quarterly(33_900), "2025Q4", last=date(2025, 12, 31))
    check_first(old)  # 3 × 113.00


def test_a_first_period_that_the_cap_has_no_room_for_is_refused() -> None:
    fits, _ = plan(monthly(84_960), "2026-11", last=date(2026, 12, 31), used_fen=9_000_000)
    check_first(fits)  # 90,849.60 − 90,000.00
    (full, *_) = plan(monthly(84_961), "2026-11", last=date(2026, 12, 31), used_fen=9_000_000)
    with pytest.raises(YearlyCapExceeded) as refusal:
        check_first(full)
    assert refusal.value.detail["room_fen"] == 84_960


def test_the_person_is_told_with_which_period_the_cap_would_be_passed() -> None:
    planned = plan(monthly(4_000_000), "2026-10", last=date(2026, 12, 31))
    assert [(p.period.key, p.room_fen, p.fits) for p in planned] == [
        ("2026-10", 9_084_960, True),
        ("2026-11", 5_084_960, True),
        ("2026-12", 1_084_960, False),
    ]
    (caution,) = find_cautions(planned)
    assert (caution.kind, caution.period) == (CautionKind.CAP_WOULD_BE_PASSED, "2026-12")
    assert caution.message == "自 2026-12 期起将超过 2026 年度缴存上限，超过上限的各期不扣款"


def test_a_new_year_has_the_whole_cap_again() -> None:
    planned = plan(monthly(4_000_000), "2026-12", last=date(2027, 1, 31), used_fen=5_000_000)
    assert [(p.period.key, p.room_fen) for p in planned] == [
        ("2026-12", 4_084_960),
        ("2027-01", 9_084_960),
    ]


def test_a_year_without_a_published_cap_is_named_once() -> None:
    planned = plan(monthly(), "2027-01", last=date(2027, 3, 31), cap_fen=None)
    assert [p.fits for p in planned] == [True, True, True]
    check_first(planned[0])
    (caution,) = find_cautions(planned)
    assert (caution.kind, caution.period) == (CautionKind.CAP_NOT_PUBLISHED, "2027-01")
