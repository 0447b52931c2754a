"""Which card can be one, what a cap must be, and what each answer leads to."""

from __future__ import annotations

import pytest

from app.domain.mandates.models import MANDATE_STATES
from app.domain.mandates.rules import (
    CapTooHigh,
    CapTooLow,
    CardInvalid,
    Hearing,
    MandatesNotOffered,
    MandateState,
    check_cap,
    clean_card_no,
    contradicts,
    may_be_believed,
    next_state,
)
from app.domain.ports.mandates import Cycle, MandateLimits, MandateStanding


@pytest.mark.parametrize(
    "written",
    [
        "6222021234567890128",
        "6222 0212 3456 7890 128",
        "6222-0212-3456-7890-128",
        "６２２２021234567890128",
    ],
)
def test_a_card_number_is_cleaned(written: str) -> None:
    assert clean_card_no(written) == "6222021234567890128"


@pytest.mark.parametrize(
    "written",
    [
        "",
        "6222021234567890129",  # the check digit
        "6222021234567980128",  # two digits swapped
        "622202123456",  # too short
        "62220212345678901280",  # too long
        "0000000000000000",
        "4111111111111111",  # of another scheme
        "6222o21234567890128",
        "62220212345678901２8x",
    ],
)
def test_what_cannot_be_a_card_is_refused_without_being_repeated(written: str) -> None:
    with pytest.raises(CardInvalid) as refused:
        clean_card_no(written)
    assert refused.value.detail == {"field": "card.card_no"}
    assert not written or written not in refused.value.message


def caps(cap_fen: int, most: int | None, **changed: object) -> None:
    limits = MandateLimits(cap_fen_max=most, cycles=frozenset({Cycle.MONTH}), needs_card=False)
    arguments = {"cycle": Cycle.MONTH, "yearly_cap_fen": 9_084_960, **changed}
    check_cap(cap_fen, needed_fen=50_000, limits=limits, channel_text="支付宝", **arguments)


def test_a_cap_fits_the_agreement_the_channel_and_the_year() -> None:
    caps(50_000, None)
    caps(50_000, 50_000)
    caps(9_084_960, None)
    with pytest.raises(CapTooLow, match=r"500\.00 元"):
        caps(49_999, None)
    with pytest.raises(CapTooHigh, match=r"支付宝每笔最多扣款 100\.00 元"):
        caps(50_000, 10_000)
    with pytest.raises(CapTooHigh, match=r"年度缴存上限 90,849\.60 元"):
        caps(9_084_961, None)
    with pytest.raises(MandatesNotOffered, match="不支持按季扣款"):
        caps(50_000, None, cycle=Cycle.QUARTER)


def test_the_table_of_answers() -> None:
    """Rows: what the channel says; columns: the state before. «·» changes nothing."""
    columns = ["sending", "awaiting", "unknown", "active", "suspended", "ending", "ended", "failed"]
    table = {
        ("unknown", Hearing.QUERY, False): "unknown · · · · · · ·",
        ("unknown", Hearing.CALL, False): "unknown unknown · · · · · ·",
        ("awaiting", Hearing.QUERY, False): "awaiting · awaiting · · · · ·",
        ("awaiting", Hearing.QUERY, True): "failed failed failed · · · · ·",
        ("not_found", Hearing.QUERY, False): "· · · · · ended · ·",
        ("not_found", Hearing.QUERY, True): "failed failed failed · · ended · ·",
        ("refused", Hearing.QUERY, False): "failed failed failed · · ended · ·",
        ("active", Hearing.QUERY, False): "active active active · active · · active",
        ("active", Hearing.QUERY, True): "active active active · active · · active",
        (
            "suspended",
            Hearing.QUERY,
            False,
        ): "suspended suspended suspended suspended · · · suspended",
        ("ended", Hearing.QUERY, False): "ended ended ended ended ended ended · ·",
    }
    for (standing, hearing, overdue), row in table.items():
        for before, after in zip(columns, row.split(), strict=True):
            expected = before if after == "·" else after
            found = next_state(
                MandateState(before), MandateStanding(standing), hearing=hearing, overdue=overdue
            )
            assert found.value == expected, (standing, hearing, overdue, before)


def test_no_answer_leads_where_the_table_of_moves_does_not() -> None:
    for state in MandateState:
        for standing in MandateStanding:
            for hearing in Hearing:
                for overdue in (False, True):
                    target = next_state(state, standing, hearing=hearing, overdue=overdue)
                    assert target is state or target in MANDATE_STATES.moves[state]


def test_a_notice_alone_revives_nothing_and_changes_nothing_in_force() -> None:
    for state in MandateState:
        for standing in MandateStanding:
            target = next_state(state, standing, hearing=Hearing.NOTICE, overdue=False)
            if may_be_believed(state, standing) and target is not state:
                begins = state.value in {"sending", "awaiting", "unknown"}
                assert begins or target is MandateState.ENDED


def test_what_contradicts() -> None:
    assert contradicts(MandateState.ACTIVE, MandateStanding.NOT_FOUND)
    assert contradicts(MandateState.SUSPENDED, MandateStanding.REFUSED)
    assert contradicts(MandateState.ENDED, MandateStanding.ACTIVE)
    assert not contradicts(MandateState.ENDED, MandateStanding.NOT_FOUND)
    assert not contradicts(MandateState.ACTIVE, MandateStanding.UNKNOWN)
    assert not contradicts(MandateState.FAILED, MandateStanding.ACTIVE)
