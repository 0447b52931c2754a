"""A rider agrees to pay every month, changes their mind, pauses, and leaves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stories.town import Phone, Town

DAY = 24 * 3600


def agree(phone: Phone, terms: dict[str, Any], *, change: bool = False) -> dict[str, Any]:
    """Read the text and sign it."""
    draft = phone.call("POST", "agreement/preview", terms)
    consent = {"text_sha256": draft["text_sha256"], "device": "测试设备 1.0"}
    path = "agreement/change" if change else "agreement"
    return phone.call("POST", path, {**terms, **consent}, status=201)


@pytest.mark.parametrize("platform", ["wechat"])
def test_a_rider_agrees_changes_pauses_and_leaves(town: Town, platform: str) -> None:
    phone = town.phone(platform)
    phone.enrol()
    monthly = {"frequency": "monthly", "amount_fen": 50_000, "debit_day": 10, "channel": platform}
    assert phone.try_call("POST", "agreement/preview", {**monthly, "amount_fen": 100}).json()[
        "detail"
    ] == {
        "clause": "试点方案 第二条",
        "field": "amount_fen",
        "period": "2026-12",
        "minimum_fen": 12_150,
    }
    signed = agree(phone, monthly)
    assert [(p["period"], p["due_on"]) for p in signed["periods"]] == [("2026-12", "2026-12-10")]

    town.advance(15 * DAY)  # 9 December: the debit of the 10th has been announced
    phone.log_in()
    quarterly = {**monthly, "frequency": "quarterly", "amount_fen": 150_000}
    changed = agree(phone, quarterly, change=True)
    assert [(v["frequency"], v["first_day"], v["last_day"]) for v in changed["versions"]] == [
        ("monthly", "2026-12-01", "2026-12-31"),
        ("quarterly", "2027-01-01", None),
    ]
    assert [(p["period"], p["amount_fen"]) for p in changed["periods"]] == [("2026-12", 50_000)]

    paused = phone.call("POST", "agreement/suspend", {"months": 3})
    assert (paused["suspended_from"], paused["suspended_through"]) == ("2027-01-01", "2027-03-31")
    resumed = phone.call("POST", "agreement/resume")
    assert (resumed["state"], resumed["suspended_from"]) == ("active", None)

    ended = phone.call("POST", "agreement/end")
    # What was announced may still be taken.
    assert [(p["period"], p["frozen"]) for p in ended["periods"]] == [("2026-12", True)]
    exported = phone.call("GET", "me/export")["agreements"]
    assert [version["device"] for version in exported[0]["signed"]] == ["测试设备 1.0"] * 2
    assert phone.balance() == 0
