"""What an agreement (缴存协议) may say, and which terms apply to which period. Pure; fen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from app.domain.errors import Conflict, Invalid, RuleViolation
from app.domain.periods import Period

CLAUSE = "试点方案 第二条"
FIRST_PERIOD_AHEAD_MONTHS = 12
"""An agreement that begins later than this after its signing would rest on figures nobody knows."""


class Frequency(StrEnum):
    """How often money is due; FREE means that the person pays by hand, when and what they like."""

    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    FREE = "free"


class DebitChannel(StrEnum):
    """Where the person wants the money taken from."""

    WECHAT = "wechat"
    ALIPAY = "alipay"
    BANK = "bank"


class TermsIncomplete(Invalid):
    """Amount, debit day and channel go with a fixed frequency, and not with a free one."""

    code = "terms_incomplete"


class DebitDayNotAllowed(RuleViolation):
    """The channels debit on days 1–28 only."""

    code = "debit_day_not_allowed"


class FirstPeriodNotOpen(RuleViolation):
    """The period is frozen, is covered already, or lies too far ahead."""

    code = "first_period_not_open"


class SuspensionTooLong(RuleViolation):
    """A suspension lasts one month to the most that the policy allows."""

    code = "suspension_too_long"


class AgreementExists(Conflict):
    """One live agreement an account."""

    code = "agreement_exists"
    default_message = "您已有生效中的缴存协议，可变更或终止后重新签订"


class AgreementTextChanged(Conflict):
    """What the person read is not what would be signed now."""

    code = "agreement_text_changed"
    default_message = "协议内容已更新，请重新阅读后再签署"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the contributor chooses. A free agreement has nothing but its frequency.

    Attributes:
        amount_fen: per period, not per month.
        debit_day: of the period's first month.
    """

    frequency: Frequency
    amount_fen: int | None = None
    debit_day: int | None = None
    channel: DebitChannel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Terms with the period from which they apply; a higher number overrides a lower one."""

    number: int
    terms: Terms
    first_period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The days over which a version applies; `last_day` is None while nothing follows."""

    version: Version
    first_day: date
    last_day: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A period with what is to be debited for it, and when."""

    period: Period
    due_on: date
    amount_fen: int
    channel: DebitChannel
    version: int


def check_terms(terms: Terms, *, day_max: int) -> None:
    """Refuse terms that are not whole, or a day on which no channel debits.

    Source: 试点方案 第二条.

    Raises:
        TermsIncomplete: names the field.
        DebitDayNotAllowed: not 1 to `day_max`.
    """
    given = {
        "amount_fen": terms.amount_fen,
        "debit_day": terms.debit_day,
        "channel": terms.channel,
    }
    free = terms.frequency is Frequency.FREE
    for field, value in given.items():
        if free and value is not None:
            raise TermsIncomplete("自由缴存不约定金额、扣款日与扣款渠道", field=field)
        if not free and value is None:
            raise TermsIncomplete("按月或按季缴存须约定金额、扣款日与扣款渠道", field=field)
    if terms.debit_day is not None and not 1 <= terms.debit_day <= day_max:
        raise DebitDayNotAllowed(
            f"扣款日应为每期首月的 1 日至 {day_max} 日",
            clause=CLAUSE,
            field="debit_day",
            day_max=day_max,
        )


def period_of(frequency: Frequency, day: date) -> Period:
    """Return the period of a day; a free agreement counts in months."""
    quarterly = frequency is Frequency.QUARTERLY
    return Period.quarter_of(day) if quarterly else Period.month_of(day)


def read_period(written: str, *, frequency: Frequency) -> Period:
    """Read a period that a person named.

    Raises:
        Invalid: no period, or not one of this frequency.
    """
    try:
        period = Period.parse(written)
    except ValueError:
        raise Invalid("起始期应写作 2026-12 或 2026Q4", field="first_period") from None
    if period.length != period_of(frequency, period.first_day).length:
        raise Invalid("起始期与缴存频率不一致", field="first_period")
    return period


def timeline(versions: Iterable[Version]) -> list[Span]:
    """Return when each version applies, oldest first; one that was overridden whole is left out."""
    spans: list[Span] = []
    for version in sorted(versions, key=lambda v: v.number):
        begins = version.first_period.first_day
        before = begins - timedelta(days=1)
        spans = [
            Span(
                version=s.version, first_day=s.first_day, last_day=min(before, s.last_day or before)
            )
            for s in spans
            if s.first_day < begins
        ]
        spans.append(Span(version=version, first_day=begins, last_day=None))
    return spans


def dues_between(spans: Iterable[Span], *, first: date, last: date) -> list[Due]:
    """Return what the spans ask for with a debit day from `first` to `last`, in order."""
    found: list[Due] = []
    for span in spans:
        terms, period = span.version.terms, span.version.first_period
        if terms.amount_fen is None or terms.debit_day is None or terms.channel is None:
            continue
        end = min(last, span.last_day or last)
        while (due_on := period.due_on(terms.debit_day)) <= end:
            if due_on >= first:
                found.append(
                    Due(
                        period=period,
                        due_on=due_on,
                        amount_fen=terms.amount_fen,
                        channel=terms.channel,
                        version=span.version.number,
                    )
                )
            period = period.next()
    return found


def is_frozen(due_on: date, *, on: date, notice_days: int) -> bool:
    """Tell whether a debit stands as announced: from the day of its notice on."""
    return on >= due_on - timedelta(days=notice_days)


def frozen_through(spans: Sequence[Span], *, on: date, notice_days: int) -> date | None:
    """Return the last day that frozen periods cover; None while there is none."""
    if not spans:
        return None
    last = on + timedelta(days=notice_days)
    dues = dues_between(spans, first=spans[0].first_day, last=last)
    return max((due.period.last_day for due in dues), default=None)


def is_open(
    period: Period,
    terms: Terms,
    *,
    on: date,
    notice_days: int,
    spans: Sequence[Span] = (),
    taken_through: date | None = None,
) -> bool:
    """Tell whether new terms may begin with a period.

    It must not be frozen, share no month with a period that is, and split no quarter of the terms
    that it would take over from.

    Args:
        spans: the timeline of the agreement that is to be changed.
        taken_through: last day that periods of an earlier agreement cover.
    """
    covered = [frozen_through(spans, on=on, notice_days=notice_days), taken_through]
    if any(day is not None and period.first_day <= day for day in covered):
        return False
    if terms.debit_day is not None and is_frozen(
        period.due_on(terms.debit_day), on=on, notice_days=notice_days
    ):
        return False
    for span in spans:
        if span.first_day <= period.first_day <= (span.last_day or period.first_day):
            whole = period_of(span.version.terms.frequency, period.first_day)
            if whole.first_day < period.first_day:
                return False
    return True


def next_open_period(
    terms: Terms,
    *,
    on: date,
    notice_days: int,
    spans: Sequence[Span] = (),
    taken_through: date | None = None,
) -> Period:
    """Return the first period with which new terms may begin; arguments as for `is_open`."""
    period = period_of(terms.frequency, on)
    while not is_open(
        period, terms, on=on, notice_days=notice_days, spans=spans, taken_through=taken_through
    ):
        period = period.next()
    return period


def check_first_period(period: Period, *, earliest: Period, latest: date) -> None:
    """Refuse a first period before the next open one, or too far ahead.

    Raises:
        FirstPeriodNotOpen: with the earliest one in its detail.
    """
    if not earliest.first_day <= period.first_day <= latest:
        raise FirstPeriodNotOpen(
            f"起始期最早为 {earliest.key}，且不晚于其后 {FIRST_PERIOD_AHEAD_MONTHS} 个月",
            clause=CLAUSE,
            field="first_period",
            earliest=earliest.key,
        )


def check_suspension(months: int, *, months_max: int) -> None:
    """Refuse a suspension shorter than a month or longer than the policy allows.

    Raises:
        SuspensionTooLong: with the most in its detail.
    """
    if not 1 <= months <= months_max:
        raise SuspensionTooLong(
            f"暂停期为 1 至 {months_max} 个月",
            clause=CLAUSE,
            field="months",
            months_max=months_max,
        )


def minimum_of(period: Period, *, minimum_fen_of: Callable[[str], int]) -> int:
    """Return the least that a period takes: the sum of its months' minimums."""
    return sum(minimum_fen_of(month) for month in period.months)
