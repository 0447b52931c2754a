"""What screens show of personal data."""

from __future__ import annotations

import pytest

from app.domain.masking import mask_document_no, mask_name, mask_phone


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("小明", "*明"),
        ("测试用户", "*试用户"),
        ("𠮷䶮", "*䶮"),
        ("刘〇", "*〇"),
        ("古丽·买买提", "**提"),
        ("John Smith", "**h"),
        ("Jose\u0301", "**e\u0301"),
        ("一二三四五", "**五"),
    ],
)
def test_a_name_hides_its_surname(name, shown):
    assert mask_name(name) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("32072219900506002X", "320***********002X"),
        ("ABC123456789012", "ABC********9012"),
        ("H12345678", "H******78"),
        ("12345678", "1*****78"),
    ],
)
def test_a_document_number_shows_its_ends(number, shown):
    assert mask_document_no(number) == shown


def test_a_phone_number_shows_its_ends():
    assert mask_phone("13812345678") == "138****5678"


def test_what_is_too_short_shows_nothing():
    assert mask_phone("1381234") == "*******"
