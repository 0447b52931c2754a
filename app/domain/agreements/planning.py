"""What an agreement will debit, period by period, against minimum and yearly cap. Pure; fen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from app.domain.agreements.rules import CLAUSE, DebitChannel, Due, is_frozen, minimum_of
from app.domain.deposits.rules import AmountBelowMinimum, YearlyCapExceeded
from app.domain.money import format_yuan
from app.domain.periods import Period


class CautionKind(StrEnum):
    """What a person should know before it happens."""

    CAP_WOULD_BE_PASSED = "cap_would_be_passed"
    BELOW_MINIMUM = "below_minimum"
    CAP_NOT_PUBLISHED = "cap_not_published"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """A warning with the first period that it is about."""

    kind: CautionKind
    period: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPeriod:
    """One period ahead.

    Attributes:
        minimum_fen: the sum of its months' minimums.
        room_fen: what the cap leaves of its year before this period; None while not published.
        frozen: it was announced: nothing changes it any more.
    """

    period: Period
    due_on: date
    amount_fen: int
    channel: DebitChannel
    version: int
    minimum_fen: int
    room_fen: int | None
    frozen: bool

    @property
    def fits(self) -> bool:
        """Whether the cap leaves room for it, as far as the cap is known."""
        return self.room_fen is None or self.amount_fen <= self.room_fen


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """The days whose debits are left out; both ends are inside.

    One that the system began lasts until the person resumes: `last_day` is `date.max`.
    """

    first_day: date
    last_day: date

    @property
    def is_open_ended(self) -> bool:
        """Whether it ends only when the person resumes."""
        return self.last_day == date.max

    def covers(self, day: date) -> bool:
        """Tell whether a debit of this day is left out."""
        return self.first_day <= day <= self.last_day


def plan_periods(
    dues: Iterable[Due],
    *,
    on: date,
    notice_days: int,
    minimum_fen_of: Callable[[str], int],
    cap_fen_of: Callable[[int], int | None],
    used_fen: Mapping[int, int],
) -> list[PlannedPeriod]:
    """Return the periods ahead, each with the room that those before it leave.

    A period that does not fit will not be debited and takes no room.

    Args:
        dues: in order.
        used_fen: by year, what counts against its cap already.
    """
    used = dict(used_fen)
    planned: list[PlannedPeriod] = []
    for due in dues:
        year = due.period.year
        cap_fen = cap_fen_of(year)
        period = PlannedPeriod(
            period=due.period,
            due_on=due.due_on,
            amount_fen=due.amount_fen,
            channel=due.channel,
            version=due.version,
            minimum_fen=minimum_of(due.period, minimum_fen_of=minimum_fen_of),
            room_fen=None if cap_fen is None else max(0, cap_fen - used.get(year, 0)),
            frozen=is_frozen(due.due_on, on=on, notice_days=notice_days),
        )
        if period.fits:
            used[year] = used.get(year, 0) + due.amount_fen
        planned.append(period)
    return planned


def check_first(planned: PlannedPeriod) -> None:
    """Refuse terms whose very first period is too small, or more than the cap leaves.

    Source: 试点方案 第二条; each month by the figures of its first day.

    Raises:
        AmountBelowMinimum: with the period's minimum in its detail.
        YearlyCapExceeded: with the room in its detail.
    """
    months = len(planned.period.months)
    if planned.amount_fen < planned.minimum_fen:
        least = f"{format_yuan(planned.minimum_fen)} 元"
        raise AmountBelowMinimum(
            f"每期金额不得低于最低月缴存额 {least}"
            if months == 1
            else f"每期金额不得低于 {months} 个月的最低月缴存额之和 {least}",
            clause=CLAUSE,
            field="amount_fen",
            period=planned.period.key,
            minimum_fen=planned.minimum_fen,
        )
    if not planned.fits:
        raise YearlyCapExceeded(
            f"{planned.period.year} 年度还可缴存 {format_yuan(planned.room_fen or 0)} 元，"
            f"{planned.period.key} 期的约定金额已超过",
            clause="年度缴存上限",
            field="amount_fen",
            period=planned.period.key,
            room_fen=planned.room_fen or 0,
        )


def find_cautions(planned: Iterable[PlannedPeriod]) -> list[Caution]:
    """Return the warnings about periods ahead: each kind once a year, at its first period."""
    found: dict[tuple[CautionKind, int], Caution] = {}
    for period in planned:
        key, year = period.period.key, period.period.year
        reasons: list[tuple[CautionKind, str]] = []
        if not period.fits:
            reasons.append(
                (
                    CautionKind.CAP_WOULD_BE_PASSED,
                    f"自 {key} 期起将超过 {year} 年度缴存上限，超过上限的各期不扣款",
                )
            )
        if period.amount_fen < period.minimum_fen:
            reasons.append(
                (
                    CautionKind.BELOW_MINIMUM,
                    f"自 {key} 期起最低缴存额为 {format_yuan(period.minimum_fen)} 元，"
                    "请及时变更金额，否则不足的月份不计入累计月数",
                )
            )
        if period.room_fen is None:
            reasons.append(
                (
                    CautionKind.CAP_NOT_PUBLISHED,
                    f"{year} 年度缴存上限尚未公布，公布前该年度各期不扣款",
                )
            )
        for kind, message in reasons:
            found.setdefault((kind, year), Caution(kind=kind, period=key, message=message))
    return list(found.values())
