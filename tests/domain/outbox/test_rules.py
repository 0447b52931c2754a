"""What messages say, and when they are tried."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from app.domain.outbox.rules import (
    GIVE_UP_AFTER,
    WORDINGS,
    amount_text,
    day_text,
    is_too_old,
    misfit,
    next_attempt_at,
    period_text,
    text_of,
    title_of,
)
from app.domain.periods import Period
from app.domain.ports.messages import MessageTopic

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


def test_every_topic_has_its_wording() -> None:
    assert set(WORDINGS) == set(MessageTopic)
    for topic, wording in WORDINGS.items():
        assert wording.optional < wording.fields
        assert title_of(topic)
        assert text_of(topic, dict.fromkeys(wording.fields, "甲")).endswith("。")


@pytest.mark.parametrize(
    ("topic", "fields", "text"),
    [
        (
            MessageTopic.DEBIT_DUE,
            {"day": "2026年12月10日", "channel": "银行卡（尾号0128）", "amount": "500.00"},
            "将于2026年12月10日通过银行卡（尾号0128）扣划住房公积金缴存款500.00元，请保证余额充足。"
            "如需调整，请在扣款日前办理变更或暂停。",
        ),
        (
            MessageTopic.DEBIT_SUCCEEDED,
            {"period": "2026年12月", "amount": "500.00"},
            "2026年12月缴存款500.00元已扣款成功并计入您的账户。",
        ),
        (
            MessageTopic.DEBIT_SUCCEEDED,
            {"period": "2026年12月", "amount": "500.00", "balance": "1,234.50"},
            "2026年12月缴存款500.00元已扣款成功并计入您的账户。账户余额1,234.50元。",
        ),
        (MessageTopic.DEBIT_FAILED, {"reason": "余额不足"}, "扣款未成功：余额不足。"),
        (
            MessageTopic.DEBIT_FAILED,
            {
                "reason": "余额不足",
                "period": "2026年12月",
                "amount": "500.00",
                "next_try": "2026年12月13日",
            },
            "2026年12月缴存款500.00元扣款未成功：余额不足。"
            "将于2026年12月13日再次扣款，请在此之前备足款项。",
        ),
        (
            MessageTopic.MANDATE_ENDED,
            {"channel": "支付宝", "ended_by": "您本人解约", "what_next": "不再自动扣款"},
            "支付宝扣款签约已终止（您本人解约）。不再自动扣款。",
        ),
    ],
)
def test_what_a_message_says(topic: MessageTopic, fields: dict[str, str], text: str) -> None:
    assert misfit(topic, fields) == ""
    assert text_of(topic, fields) == text


def test_braces_in_a_field_are_text() -> None:
    fields = {"reason": "{next_try}{0}"}
    assert text_of(MessageTopic.DEBIT_FAILED, fields) == "扣款未成功：{next_try}{0}。"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, "without amount, period"),
        ({"amount": "1.00", "period": ""}, "without period"),
        ({"amount": "1.00", "period": "2026年12月", "card": "6222"}, "unknown card"),
        ({"amount": "1.00", "period": "2026年12月", "balance": ""}, ""),
    ],
)
def test_fields_that_do_not_fit_are_named_and_not_shown(fields: dict[str, str], wrong: str) -> None:
    assert misfit(MessageTopic.DEBIT_SUCCEEDED, fields) == wrong


def test_the_waits_grow_from_two_minutes_to_six_hours_for_three_days() -> None:
    waits = [next_attempt_at(NOW, attempts=number) - NOW for number in range(1, 20)]
    assert waits[:3] == [timedelta(minutes=2), timedelta(minutes=5), timedelta(minutes=10)]
    assert waits == sorted(waits)
    assert set(waits[7:]) == {timedelta(hours=6)}
    assert sum(waits[:15], timedelta()) < GIVE_UP_AFTER < sum(waits[:19], timedelta())


def test_what_was_never_tried_is_not_too_old() -> None:
    later = NOW + timedelta(days=3)
    assert is_too_old(NOW, attempts=1, now=later)
    assert not is_too_old(NOW, attempts=1, now=later - timedelta(seconds=1))
    assert not is_too_old(NOW, attempts=0, now=later + timedelta(days=9))


def test_amounts_days_and_periods_as_people_read_them() -> None:
    assert amount_text(123450) == "1,234.50"
    assert day_text(date(2026, 12, 1)) == "2026年12月1日"
    assert period_text(Period.parse("2026-12")) == "2026年12月"
    assert period_text(Period.parse("2026Q1")) == "2026年第1季度"
    assert period_text(Period.parse("2026Q4")) == "2026年第4季度"
