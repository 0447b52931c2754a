"""Agreements in the database: signed once, changed from the next open period, suspended, ended."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.domain.agreements import signing
from app.domain.agreements.models import (
    Agreement,
    AgreementConsent,
    AgreementState,
    AgreementStateChange,
    AgreementTerms,
)
from app.domain.agreements.operations import NothingToSuspend, resume_expired
from app.domain.agreements.planning import CautionKind
from app.domain.agreements.queries import export_agreements, get_agreement, get_signed_text
from app.domain.agreements.rules import (
    AgreementExists,
    AgreementTextChanged,
    FirstPeriodNotOpen,
    Frequency,
    SuspensionTooLong,
    Terms,
)
from app.domain.contributors.models import AccountStatus
from app.domain.deposits.rules import (
    AccountNotUsable,
    AmountBelowMinimum,
    IdempotencyKeyReused,
    YearlyCapExceeded,
)
from app.domain.errors import BooksBroken, Invalid, NotFound
from app.domain.policy.rules import ProgrammeNotInForce
from app.domain.states import IllegalMove
from tests.builders import an_account
from tests.domain.agreements.conftest import Desk, terms
from tests.domain.people import at_once
from tests.fund import Fund, in_shanghai

FREE = Terms(frequency=Frequency.FREE)

# The clock stands at 2026-11-24 10:00 in Shanghai.


# -- signing ---------------------------------------------------------------------------------------


def test_an_agreement_is_signed_and_begins_with_the_next_open_period(desk: Desk) -> None:
    number = desk.sign(terms())
    view = desk.see(number)
    assert view.state is AgreementState.ACTIVE
    assert [(v.version, v.first_period, v.first_day, v.last_day) for v in view.versions] == [
        (1, "2026-12", date(2026, 12, 1), None)
    ]
    assert [(p.period.key, p.due_on, p.amount_fen, p.minimum_fen) for p in view.periods] == [
        ("2026-12", date(2026, 12, 10), 50_000, 12_150)
    ]
    assert [(c.from_state, c.to_state) for c in view.history] == [
        (None, AgreementState.DRAFT),
        (AgreementState.DRAFT, AgreementState.ACTIVE),
    ]
    assert [(c.kind, c.period) for c in view.cautions] == [
        (CautionKind.CAP_NOT_PUBLISHED, "2027-01")
    ]


def test_what_was_read_is_what_is_kept_with_time_device_and_address(desk: Desk) -> None:
    draft = desk.read(terms())
    number = desk.sign(terms())
    ports = desk.fund.ports
    signed = ports.read(lambda s: get_signed_text(s, ports.vault, account_id=desk.account_id))
    assert signed.agreement_no == number
    assert signed.text == draft.wording.text
    assert signed.signed_at == datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    assert (signed.platform, signed.device, signed.client_ip) == (
        "wechat",
        "测试设备 1.0",
        "203.0.113.7",
    )
    for words in (
        "测试用户",
        "500.00 元",
        "每月 10 日",
        "微信支付",
        "起始期：2026-12",
        "先存先取",
        "年度结息日",
        "1.2%",
        "10,000.00 元",
        "缴存满 6 个月",
        "121.50 元",
        "90,849.60 元",
        "不补缴",
    ):
        assert words in signed.text, words


def test_personal_data_are_sealed_at_rest(desk: Desk) -> None:
    desk.sign(terms())
    row = desk.fund.ports.read(lambda s: s.scalars(select(AgreementConsent)).one())
    for sealed in (row.text, row.device, row.client_ip):
        for plain in ("测试", "203.0.113.7", "3207"):
            assert plain.encode() not in sealed


def test_a_text_that_was_not_read_cannot_be_signed(desk: Desk) -> None:
    other = desk.read(terms(amount_fen=50_001)).wording.sha256.hex()
    with pytest.raises(AgreementTextChanged):
        desk.sign(terms(), text_sha256=other)
    assert desk.count() == 0


def test_a_text_that_was_read_before_its_period_froze_is_read_again(desk: Desk) -> None:
    desk.at(in_shanghai(2026, 12, 8, 23, 59))
    read = desk.read(terms()).wording.sha256.hex()
    desk.at(in_shanghai(2026, 12, 9, 0, 0))
    with pytest.raises(AgreementTextChanged):
        desk.sign(terms(), text_sha256=read)
    desk.sign(terms())
    assert desk.see().versions[0].first_period == "2027-01"


def test_the_text_does_not_change_at_midnight_by_itself(desk: Desk) -> None:
    desk.at(in_shanghai(2026, 11, 24, 23, 59))
    read = desk.read(terms()).wording.sha256.hex()
    desk.at(in_shanghai(2026, 11, 25, 0, 1))
    desk.sign(terms(), text_sha256=read)


def test_the_same_key_again_is_the_same_agreement(desk: Desk) -> None:
    number = desk.sign(terms(), key="the-same-key")
    read = desk.see().versions[0].text_sha256
    assert desk.sign(terms(), key="the-same-key", text_sha256=read) == number
    with pytest.raises(IdempotencyKeyReused):
        desk.sign(terms(amount_fen=60_000), key="the-same-key", text_sha256=read)
    assert desk.count() == 1


def test_one_live_agreement_an_account(desk: Desk) -> None:
    desk.sign(terms())
    with pytest.raises(AgreementExists):
        desk.sign(terms(amount_fen=60_000))
    Desk(desk.fund, an_account(desk.fund.ports)).sign(terms())
    assert desk.count() == 1


def test_of_two_signings_at_once_one_holds(desk: Desk) -> None:
    read = desk.read(terms()).wording.sha256.hex()
    results = at_once(2, lambda n: desk.sign(terms(), text_sha256=read, key=f"at-once-{n}"))
    assert sorted(type(result).__name__ for result in results) == ["AgreementExists", "str"]
    assert desk.count() == 1


def test_the_same_signing_twice_at_once_is_one_agreement(desk: Desk) -> None:
    read = desk.read(terms()).wording.sha256.hex()
    results = at_once(2, lambda _: desk.sign(terms(), text_sha256=read, key="the-same-key"))
    assert len(set(results)) == 1
    assert desk.count() == 1


def test_a_twin_that_commits_between_two_readings_is_the_same_agreement(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = desk.sign(terms(), key="the-same-key")
    read = desk.see().versions[0].text_sha256
    real, readings = signing._find_earlier, []

    def too_early_at_first(*args: Any) -> str | None:
        readings.append(args)
        return None if len(readings) == 1 else real(*args)

    monkeypatch.setattr(signing, "_find_earlier", too_early_at_first)
    assert desk.sign(terms(), key="the-same-key", text_sha256=read) == number
    assert desk.count() == 1


def test_the_database_itself_keeps_it_to_one(desk: Desk) -> None:
    desk.sign(terms())

    def second(session):  # type: ignore[no-untyped-def]
        session.add(
            Agreement(
                agreement_no="G-second",
                account_id=desk.account_id,
                live_account_id=desk.account_id,
                state=AgreementState.ACTIVE,
                created_at=desk.fund.ports.now(),
            )
        )

    with pytest.raises(IntegrityError):
        desk.fund.ports.transact(second)


@pytest.mark.parametrize("live", [None, 999])
def test_the_database_lets_no_live_agreement_hide(desk: Desk, live: int | None) -> None:
    desk.sign(terms())
    with pytest.raises(DBAPIError):
        desk.fund.ports.transact(
            lambda s: s.execute(update(Agreement).values(live_account_id=live))
        )


@pytest.mark.parametrize("column", ["amount_fen", "debit_day", "channel"])
def test_the_database_takes_no_terms_that_are_not_whole(desk: Desk, column: str) -> None:
    number = desk.sign(terms())

    def half(session):  # type: ignore[no-untyped-def]
        signed = session.scalars(select(AgreementTerms)).one()
        whole = {c.key: getattr(signed, c.key) for c in AgreementTerms.__table__.columns}
        changes = {"id": None, "version": 2, "request_key": "another-key", column: None}
        session.add(AgreementTerms(**{**whole, **changes}))

    with pytest.raises(DBAPIError):
        desk.fund.ports.transact(half)
    assert len(desk.see(number).versions) == 1


@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id + 100", "DELETE FROM {}"])
@pytest.mark.parametrize("table", ["agreement_terms", "agreement_state_change"])
def test_terms_and_history_are_never_rewritten(desk: Desk, table: str, statement: str) -> None:
    desk.sign(terms())
    with pytest.raises(DBAPIError, match="append-only"):
        desk.fund.ports.transact(lambda s: s.execute(text(statement.format(table))))


def test_a_stored_text_that_is_not_the_signed_one_is_noticed(desk: Desk) -> None:
    desk.sign(terms())
    ports = desk.fund.ports
    other = ports.vault.seal("另一份文本", context="agreement_consent.text")
    ports.transact(lambda s: s.execute(update(AgreementConsent).values(text=other)))
    with pytest.raises(BooksBroken):
        ports.read(lambda s: get_signed_text(s, ports.vault, account_id=desk.account_id))


# -- what is refused -------------------------------------------------------------------------------


def test_the_first_period_takes_its_minimum_by_the_figures_of_its_own_days(desk: Desk) -> None:
    desk.at(in_shanghai(2025, 12, 20, 10))
    desk.sign(terms(amount_fen=11_300, day=28))  # 2025-12: 2,260 × 5 %
    assert [(c.kind.value, c.period) for c in desk.see().cautions] == [
        ("cap_not_published", "2025-12"),
        ("below_minimum", "2026-01"),
    ]
    other = Desk(desk.fund, an_account(desk.fund.ports))
    with pytest.raises(AmountBelowMinimum) as refusal:
        other.sign(terms(amount_fen=12_149, day=28), first_period="2026-01")
    assert refusal.value.detail["minimum_fen"] == 12_150  # 2,430 × 5 %
    with pytest.raises(AmountBelowMinimum) as quarter:
        other.sign(terms("quarterly", 36_449))
    assert quarter.value.detail["minimum_fen"] == 36_450
    other.sign(terms("quarterly", 36_450))
    assert other.see().versions[0].first_period == "2026Q1"


def test_what_was_paid_in_by_hand_takes_room_under_the_cap(desk: Desk) -> None:
    desk.fund.deposit(desk.account_id, 9_000_000)
    with pytest.raises(YearlyCapExceeded) as refusal:
        desk.sign(terms(amount_fen=84_961))
    assert refusal.value.detail["room_fen"] == 84_960  # 90,849.60 − 90,000.00
    desk.sign(terms(amount_fen=84_961), first_period="2027-01")


def test_the_period_that_would_pass_the_cap_is_named_before_signing(desk: Desk) -> None:
    desk.at(in_shanghai(2026, 9, 20, 10))
    desk.fund.deposit(desk.account_id, 1_000_000)
    draft = desk.read(terms(amount_fen=4_000_000))
    # 90,849.60 − 10,000.00 = 80,849.60, and 40,000.00 fit twice.
    assert [(p.period.key, p.room_fen, p.fits) for p in draft.periods] == [
        ("2026-10", 8_084_960, True),
        ("2026-11", 4_084_960, True),
        ("2026-12", 84_960, False),
    ]
    assert (draft.cautions[0].kind, draft.cautions[0].period) == (
        CautionKind.CAP_WOULD_BE_PASSED,
        "2026-12",
    )


def test_a_first_period_is_open_and_not_too_far_ahead(desk: Desk) -> None:
    for first_period in ("2026-11", "2028-01"):
        with pytest.raises(FirstPeriodNotOpen):
            desk.sign(terms(), first_period=first_period)
    assert desk.count() == 0
    desk.sign(terms(), first_period="2027-12")
    assert desk.ahead() == []
    assert desk.see().versions[0].first_day == date(2027, 12, 1)


@pytest.mark.parametrize("status", [AccountStatus.SEALED, AccountStatus.CLOSED])
def test_an_account_out_of_use_signs_nothing(fund: Fund, status: AccountStatus) -> None:
    desk = Desk(fund, an_account(fund.ports, status=status))
    with pytest.raises(AccountNotUsable):
        desk.sign(terms())


def test_outside_the_programme_nothing_is_signed(desk: Desk) -> None:
    for instant in (in_shanghai(2025, 6, 8, 23, 59), in_shanghai(2028, 1, 1, 0)):
        desk.at(instant)
        with pytest.raises(ProgrammeNotInForce):
            desk.sign(terms())


# -- changing --------------------------------------------------------------------------------------


def test_a_change_applies_from_the_next_open_period_and_both_are_shown(desk: Desk) -> None:
    number = desk.sign(terms())
    desk.at(in_shanghai(2026, 12, 9, 10))
    assert desk.change(terms(amount_fen=80_000, day=20)) == number
    view = desk.see()
    assert [
        (v.version, v.terms.amount_fen, v.first_period, v.first_day, v.last_day)
        for v in view.versions
    ] == [
        (1, 50_000, "2026-12", date(2026, 12, 1), date(2026, 12, 31)),
        (2, 80_000, "2027-01", date(2027, 1, 1), None),
    ]
    assert [(p.period.key, p.amount_fen, p.frozen) for p in view.periods] == [
        ("2026-12", 50_000, True)
    ]


def test_a_change_before_the_notice_still_reaches_the_period(desk: Desk) -> None:
    desk.sign(terms())
    desk.at(in_shanghai(2026, 12, 8, 23, 59))
    desk.change(terms(amount_fen=80_000))
    view = desk.see()
    assert [(v.version, v.first_day) for v in view.versions] == [(1, None), (2, date(2026, 12, 1))]
    assert [(p.period.key, p.amount_fen) for p in view.periods] == [("2026-12", 80_000)]


def test_from_months_to_quarters_and_back_no_month_is_covered_twice(desk: Desk) -> None:
    desk.sign(terms())
    desk.at(in_shanghai(2026, 12, 15, 10))
    desk.change(terms("quarterly", 150_000))
    desk.at(in_shanghai(2027, 1, 9, 10))
    desk.change(terms(amount_fen=60_000))
    assert [(v.first_period, v.last_day) for v in desk.see().versions] == [
        ("2026-12", date(2026, 12, 31)),
        ("2027Q1", date(2027, 3, 31)),
        ("2027-04", None),
    ]


def test_a_change_cannot_name_its_period_and_needs_an_agreement(desk: Desk) -> None:
    read = desk.read(terms()).wording.sha256.hex()
    with pytest.raises(NotFound):
        desk.change(terms(), text_sha256=read)
    desk.sign(terms())
    with pytest.raises(Invalid) as refusal:
        desk.read(terms(amount_fen=60_000), first_period="2027-02")
    assert refusal.value.detail["field"] == "first_period"


def test_the_same_change_again_changes_once(desk: Desk) -> None:
    desk.sign(terms())
    read = desk.read(terms(amount_fen=60_000)).wording.sha256.hex()
    for _ in range(2):
        desk.change(terms(amount_fen=60_000), key="change-key", text_sha256=read)
    assert len(desk.see().versions) == 2


def test_two_changes_at_once_are_two_versions(desk: Desk) -> None:
    desk.sign(terms())
    reads = {
        amount: desk.read(terms(amount_fen=amount)).wording.sha256.hex()
        for amount in (60_000, 70_000)
    }
    amounts = list(reads)
    at_once(
        2,
        lambda n: desk.change(
            terms(amount_fen=amounts[n]), text_sha256=reads[amounts[n]], key=f"at-once-{n}"
        ),
    )
    versions = desk.see().versions
    assert [v.version for v in versions] == [1, 2, 3]
    assert {v.terms.amount_fen for v in versions[1:]} == {60_000, 70_000}


def test_a_free_agreement_debits_nothing_and_can_become_a_fixed_one(desk: Desk) -> None:
    desk.sign(FREE)
    assert desk.see().periods == []
    assert desk.see().versions[0].first_period == "2026-11"
    with pytest.raises(NothingToSuspend):
        desk.suspend(1)
    desk.change(terms(day=28))
    assert desk.ahead() == ["2026-11", "2026-12"]


# -- suspending and ending -------------------------------------------------------------------------


def test_a_suspension_leaves_out_what_is_not_frozen(desk: Desk) -> None:
    desk.sign(terms())
    desk.at(in_shanghai(2026, 12, 9, 10))
    desk.suspend(2)
    view = desk.see()
    assert view.state is AgreementState.SUSPENDED
    assert view.suspension is not None
    assert (view.suspension.first_day, view.suspension.last_day) == (
        date(2027, 1, 1),
        date(2027, 2, 28),
    )
    assert desk.ahead() == ["2026-12*"]
    desk.at(in_shanghai(2026, 12, 11, 10))
    assert desk.ahead() == []
    desk.at(in_shanghai(2027, 1, 5, 10))
    assert desk.ahead()[0] == "2027-03"


def test_a_suspended_agreement_is_resumed_from_the_next_open_period(desk: Desk) -> None:
    desk.sign(terms())
    desk.suspend(12)
    assert desk.ahead() == []
    desk.at(in_shanghai(2027, 1, 9, 10))
    desk.resume()
    view = desk.see()
    assert view.state is AgreementState.ACTIVE
    # January's notice day has come without a notice: it stays left out.
    assert desk.ahead()[0] == "2027-02"
    assert [c.to_state.value for c in view.history] == ["draft", "active", "suspended", "active"]


def test_a_period_left_out_is_not_brought_back_by_suspending_again(desk: Desk) -> None:
    desk.sign(terms())
    desk.suspend(3)
    desk.at(in_shanghai(2026, 12, 9, 10))
    desk.resume()
    desk.suspend(1)
    suspension = desk.see().suspension
    assert suspension is not None
    assert (suspension.first_day, suspension.last_day) == (date(2026, 12, 1), date(2027, 1, 31))
    assert desk.ahead() == []


def test_resuming_at_once_leaves_nothing_out(desk: Desk) -> None:
    desk.sign(terms())
    desk.suspend(3)
    desk.resume()
    assert desk.see().suspension is None
    assert desk.ahead() == ["2026-12"]


def test_a_suspension_that_is_over_ends_by_itself(desk: Desk) -> None:
    desk.sign(terms())
    desk.suspend(1)  # December 2026
    desk.at(in_shanghai(2026, 12, 31, 23, 59))
    assert resume_expired(desk.fund.ports, on=date(2026, 12, 31)) == 0
    desk.at(in_shanghai(2027, 1, 1, 0, 0))
    assert resume_expired(desk.fund.ports, on=date(2027, 1, 1)) == 1
    assert resume_expired(desk.fund.ports, on=date(2027, 1, 1)) == 0
    assert desk.see().state is AgreementState.ACTIVE
    assert desk.see().history[-1].reason == "暂停期满"
    assert desk.ahead()[0] == "2027-01"


def test_only_what_the_table_of_states_allows_is_done(desk: Desk) -> None:
    for act in (desk.resume, desk.end, lambda: desk.suspend(1)):
        with pytest.raises(NotFound):
            act()
    desk.sign(terms())
    with pytest.raises(IllegalMove):
        desk.resume()
    with pytest.raises(SuspensionTooLong):
        desk.suspend(13)
    desk.suspend(1)
    with pytest.raises(IllegalMove):
        desk.suspend(1)
    assert len(desk.see().history) == 3


def test_an_ended_agreement_makes_room_for_another(desk: Desk) -> None:
    first = desk.sign(terms())
    assert desk.end() == first
    view = desk.see(first)
    assert (view.state, view.periods) == (AgreementState.ENDED, [])
    assert view.ended_at == datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    second = desk.sign(terms())
    assert second != first
    assert desk.see().agreement_no == second


def test_what_was_announced_before_the_end_is_shown_and_not_covered_again(desk: Desk) -> None:
    first = desk.sign(terms())
    desk.at(in_shanghai(2026, 12, 9, 10))
    desk.end()
    assert [(p.period.key, p.frozen) for p in desk.see(first).periods] == [("2026-12", True)]
    desk.sign(terms(day=28))
    assert desk.see().versions[0].first_period == "2027-01"


# -- whose, and what for ---------------------------------------------------------------------------


def test_somebody_elses_agreement_is_not_found(desk: Desk) -> None:
    number = desk.sign(terms())
    ports = desk.fund.ports
    stranger = an_account(ports)
    with pytest.raises(NotFound):
        ports.read(
            lambda s: get_agreement(s, account_id=stranger, agreement_no=number, now=ports.now())
        )
    for version in (None, 1):
        with pytest.raises(NotFound):
            ports.read(
                lambda s, v=version: get_signed_text(
                    s, ports.vault, account_id=stranger, agreement_no=number, version=v
                )
            )


def test_the_export_holds_every_text_and_consent(desk: Desk) -> None:
    number = desk.sign(terms())
    desk.change(terms(amount_fen=60_000))
    ports = desk.fund.ports
    (exported,) = ports.read(
        lambda s: export_agreements(s, ports.vault, account_id=desk.account_id)
    )
    assert (exported["agreement_no"], exported["state"]) == (number, "active")
    assert [(v["version"], v["device"], v["client_ip"]) for v in exported["signed"]] == [
        (1, "测试设备 1.0", "203.0.113.7"),
        (2, "测试设备 1.0", "203.0.113.7"),
    ]
    assert "600.00 元" in exported["signed"][1]["text"]
    assert [change["state"] for change in exported["history"]] == ["draft", "active"]


def test_a_refusal_leaves_nothing_behind(desk: Desk) -> None:
    with pytest.raises(AmountBelowMinimum):
        desk.sign(terms(amount_fen=12_149))
    for model in (Agreement, AgreementTerms, AgreementConsent, AgreementStateChange):
        assert desk.fund.count(model) == 0
