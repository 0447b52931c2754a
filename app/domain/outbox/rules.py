"""What each message says (消息文案), when it is tried again, and when no more. Pure.

A message is stored as its fields: short texts as the person reads them. Title and text are made
from them here; a platform's template takes the same fields, so that phone and list say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from string import Formatter

from app.domain.money import format_yuan
from app.domain.periods import Period
from app.domain.ports.messages import MessageTopic

GIVE_UP_AFTER = timedelta(days=3)
"""What could not be brought to the phone by then is old news; it stays in the person's list."""

MESSAGES_KEPT = timedelta(days=400)
"""A year's messages and a month."""

EVENT_KEY_LENGTH, FIELD_LENGTH = 100, 100

_BACKOFF_SECONDS = (120, 300, 600, 1_800, 3_600, 7_200, 14_400, 21_600)
"""The first one is longer than a try can take, so that no second sender meets the first."""


class MessageState(StrEnum):
    """How far a message has come."""

    WAITING = "waiting"
    SENT = "sent"
    """A platform took it."""
    GIVEN_UP = "given_up"
    """No platform will bring it; the person finds it in their list."""


def _names_in(sentence: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(sentence) if name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What a topic says.

    Attributes:
        sentences: each with `{fields}`; one whose field is empty is left out.
        optional: fields that may be empty or missing.
    """

    title: str
    sentences: tuple[str, ...]
    optional: frozenset[str] = frozenset()

    @property
    def fields(self) -> frozenset[str]:
        """The names of all fields that the sentences show."""
        return frozenset().union(*map(_names_in, self.sentences))


WORDINGS: Mapping[MessageTopic, Wording] = {
    MessageTopic.DEBIT_DUE: Wording(
        title="扣款提醒",
        sentences=(
            "将于{day}通过{channel}扣划住房公积金缴存款{amount}元，请保证余额充足。",
            "如需调整，请在扣款日前办理变更或暂停。",
        ),
    ),
    MessageTopic.DEBIT_SUCCEEDED: Wording(
        title="扣款成功",
        sentences=("{period}缴存款{amount}元已扣款成功并计入您的账户。", "账户余额{balance}元。"),
        optional=frozenset({"balance"}),
    ),
    MessageTopic.DEBIT_FAILED: Wording(
        title="扣款失败",
        sentences=(
            "{period}缴存款",
            "{amount}元",
            "扣款未成功：{reason}。",
            "将于{next_try}再次扣款，请在此之前备足款项。",
        ),
        optional=frozenset({"period", "amount", "next_try"}),
    ),
    MessageTopic.DEBIT_MISSED: Wording(
        title="本期未缴存",
        sentences=("{period}缴存款扣款未成功（{reason}），本期不再扣款。", "{how_to_pay}。"),
    ),
    MessageTopic.AGREEMENT_SUSPENDED: Wording(
        title="缴存协议已暂停",
        sentences=("您已连续{missed}期未缴存，缴存协议暂停，不再自动扣款。", "{what_next}。"),
    ),
    MessageTopic.MANDATE_ACTIVE: Wording(
        title="扣款签约生效",
        sentences=("{channel}扣款签约已生效，每笔最多扣划{cap}元，有效期至{valid_to}。",),
    ),
    MessageTopic.MANDATE_ENDED: Wording(
        title="扣款签约终止",
        sentences=("{channel}扣款签约已终止（{ended_by}）。", "{what_next}。"),
    ),
    MessageTopic.MANDATE_SUSPENDED: Wording(
        title="扣款签约暂停",
        sentences=("{channel}扣款签约已被渠道暂停。", "{what_next}。"),
    ),
}


FIELDS_OF: Mapping[str, frozenset[str]] = {
    topic.value: wording.fields for topic, wording in WORDINGS.items()
}
"""The fields of each topic: what a platform's template may show."""


def misfit(topic: MessageTopic, fields: Mapping[str, str]) -> str:
    """Return what is wrong with the fields of a message, or nothing. Values are never in it."""
    wording = WORDINGS[topic]
    given = {name for name, value in fields.items() if value}
    if missing := wording.fields - wording.optional - given:
        return f"without {', '.join(sorted(missing))}"
    if unknown := set(fields) - wording.fields:
        return f"unknown {', '.join(sorted(unknown))}"
    return ""


def title_of(topic: MessageTopic) -> str:
    """Return the headline of a message."""
    return WORDINGS[topic].title


def text_of(topic: MessageTopic, fields: Mapping[str, str]) -> str:
    """Return what a message says."""
    return "".join(
        sentence.format_map(fields)
        for sentence in WORDINGS[topic].sentences
        if all(fields.get(name) for name in _names_in(sentence))
    )


def next_attempt_at(now: datetime, *, attempts: int) -> datetime:
    """Return when to try again after so many tries, each wait longer than the last."""
    wait = _BACKOFF_SECONDS[min(attempts, len(_BACKOFF_SECONDS)) - 1]
    return now + timedelta(seconds=wait)


def is_too_old(created_at: datetime, *, attempts: int, now: datetime) -> bool:
    """Tell whether a message that was tried in vain is not tried again.

    One that was never tried, because no scheduler ran, has its one try however old it is.
    """
    return attempts > 0 and now >= created_at + GIVE_UP_AFTER


def amount_text(amount_fen: int) -> str:
    """Return an amount as a message shows it, without its unit: ``1,234.50``."""
    return format_yuan(amount_fen)


def day_text(day: date) -> str:
    """Return a day as a message shows it: ``2026年12月1日``."""
    return f"{day.year}年{day.month}月{day.day}日"


def period_text(period: Period) -> str:
    """Return a period as a message shows it: ``2026年12月`` or ``2026年第4季度``."""
    if period.length == 1:
        return f"{period.year}年{period.month}月"
    return f"{period.year}年第{(period.month - 1) // period.length + 1}季度"
