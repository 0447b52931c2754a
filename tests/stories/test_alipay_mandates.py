"""A rider lets the centre debit their Alipay: signed and given up in the wallet itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from app.domain.calendar import business_day
from app.domain.mandates.asking import compare_mandates
from tests.sandbox.gateways import RunningGateway
from tests.stories.test_agreements import DAY, agree
from tests.stories.town import Phone, Town, open_town

MONTHLY = {"frequency": "monthly", "amount_fen": 50_000, "debit_day": 10, "channel": "alipay"}


@pytest.fixture
def alipay(town: Town) -> RunningGateway:
    return town.gateways["alipay"]


@pytest.fixture
def rider(town: Town) -> Phone:
    """A person with a signed agreement."""
    return rider_of(town)


def rider_of(town: Town) -> Phone:
    phone = town.phone("alipay")
    phone.enrol()
    agree(phone, MONTHLY)
    return phone


def start(rider: Phone) -> dict[str, Any]:
    started = rider.call("POST", "mandates", {"channel": "alipay"}, status=201)
    assert (started["state"], set(started["signing"])) == ("awaiting", {"signStr"})
    return started


def open_page(rider: Phone, started: dict[str, Any], *, payer: str = "") -> dict[str, Any]:
    """Sign in the wallet what the phone was given."""
    gateway = rider.town.gateways["alipay"]
    return gateway.control("agreements/sign", payer=payer or rider.payer, **started["signing"])


def state_of(rider: Phone, number: str) -> str:
    return str(rider.call("GET", f"mandates/{number}")["state"])


def sign(rider: Phone) -> tuple[str, str]:
    """Start and sign; return our number and Alipay's, once the notice has come."""
    started = start(rider)
    number = str(started["mandate_no"])
    reference = str(open_page(rider, started)["agreement_no"])
    rider.town.until_accepted("alipay", reference)
    assert state_of(rider, number) == "active"
    return number, reference


def at_alipay(alipay: RunningGateway, number: str) -> dict[str, Any]:
    rows = alipay.look("books")["agreements"]
    [row] = [row for row in rows if row["external_agreement_no"] == number]
    return dict(row)


def compare(town: Town) -> dict[str, int]:
    return compare_mandates(town.ports, on=business_day(town.clock.now()))


def test_a_mandate_is_signed_in_the_wallet_and_given_up_here(
    town: Town, rider: Phone, alipay: RunningGateway
) -> None:
    number, reference = sign(rider)
    shown = rider.call("GET", f"mandates/{number}")
    assert (shown["cap_fen"], shown["cycle"], shown["signing"]) == (50_000, "month", {})
    assert at_alipay(alipay, number)["product"] == "GENERAL_WITHHOLDING_P"
    assert compare(town) == {"same": 1}
    assert rider.call("POST", f"mandates/{number}/end")["state"] == "ended"
    assert at_alipay(alipay, number)["state"] == "UNSIGN"
    town.until_accepted("alipay", reference, count=2)
    ended = rider.call("GET", f"mandates/{number}")
    assert (ended["ended_by"], ended["end_reason"]) == ("contributor", "asked")
    assert town.breaks() == []


def test_what_the_rider_ends_in_the_wallet_reaches_us_at_the_applications_address(
    town: Town, rider: Phone, alipay: RunningGateway
) -> None:
    number, reference = sign(rider)
    alipay.control("agreements/change", agreement_no=reference, by="user")
    town.until_accepted("alipay", reference, count=2)
    ended = rider.call("GET", f"mandates/{number}")
    assert (ended["state"], ended["ended_by"]) == ("ended", "contributor")
    assert ended["end_reason"] == "ended_at_channel"
    # And the next one can be signed.
    again, _ = sign(rider)
    assert again != number


@pytest.mark.parametrize(
    ("by", "ended_by", "end_reason"),
    [("user", "channel", "ended_at_channel"), ("expiry", "expiry", "expired")],
)
def test_an_end_that_nobody_told_of_is_found_by_the_nightly_comparison(
    town: Town, rider: Phone, alipay: RunningGateway, by: str, ended_by: str, end_reason: str
) -> None:
    number, reference = sign(rider)
    alipay.control("troubles", at="notice", kind="drop", times=0)
    alipay.control("agreements/change", agreement_no=reference, by=by)
    town.advance(60)
    assert state_of(rider, number) == "active"
    assert compare(town) == {"ended": 1}
    ended = rider.call("GET", f"mandates/{number}")
    assert (ended["state"], ended["ended_by"], ended["end_reason"]) == (
        "ended",
        ended_by,
        end_reason,
    )
    assert town.breaks() == []


def test_a_signing_whose_notice_is_lost_is_found_by_asking(
    town: Town, rider: Phone, alipay: RunningGateway
) -> None:
    alipay.control("troubles", at="notice", kind="drop", times=0)
    started = start(rider)
    reference = open_page(rider, started)["agreement_no"]
    town.run_jobs(after=120)
    assert state_of(rider, started["mandate_no"]) == "active"
    assert compare(town) == {"same": 1}
    # The notice that comes after all changes nothing.
    alipay.control("notices/resend", out_trade_no=reference, copies=2)
    assert state_of(rider, started["mandate_no"]) == "active"
    assert town.breaks() == []


def test_a_page_that_nobody_signs_is_over_after_its_time(
    town: Town, rider: Phone, alipay: RunningGateway
) -> None:
    number = start(rider)["mandate_no"]
    town.run_jobs(after=1200)
    assert state_of(rider, number) == "awaiting"
    town.run_jobs(after=1200)
    assert state_of(rider, number) == "failed"
    assert rider.call("GET", f"mandates/{number}")["signing"] == {}
    assert alipay.look("books")["agreements"] == []


def test_somebody_elses_wallet_is_never_debited(
    town: Town, rider: Phone, alipay: RunningGateway
) -> None:
    started = start(rider)
    stranger = alipay.control("payers", balance_fen=100)["payer"]
    reference = open_page(rider, started, payer=stranger)["agreement_no"]
    town.until_accepted("alipay", reference)
    town.run_jobs()
    ended = rider.call("GET", f"mandates/{started['mandate_no']}")
    assert (ended["state"], ended["end_reason"]) == ("ended", "other_signer")
    assert at_alipay(alipay, started["mandate_no"])["state"] == "UNSIGN"
    assert town.breaks() == [("mandate_mismatch", started["mandate_no"])]


@pytest.mark.parametrize(
    "defect", ["wrong_key", "no_sign", "empty_key", "tampered_after_signing", "other_app"]
)
def test_a_forged_end_ends_nothing(
    town: Town, rider: Phone, alipay: RunningGateway, defect: str
) -> None:
    number, reference = sign(rider)
    forged = alipay.control("notices/forge", out_trade_no=reference, defect=defect, fields={})
    assert forged["url"].endswith("/callbacks/alipay/gateway")
    assert (forged["status"], forged["reply"]) == (200, "fail")
    assert state_of(rider, number) == "active"
    assert town.breaks() == []


def test_a_signing_told_again_after_the_end_revives_nothing(
    town: Town, rider: Phone, alipay: RunningGateway
) -> None:
    number, reference = sign(rider)
    alipay.control("agreements/change", agreement_no=reference, by="user")
    town.until_accepted("alipay", reference, count=2)
    late = alipay.control(
        "notices/forge",
        out_trade_no=reference,
        defect="none",
        fields={"notify_type": "dut_user_sign"},
    )
    assert late["reply"] == "success"
    town.run_jobs(after=60)
    assert state_of(rider, number) == "ended"
    assert town.breaks() == []


def test_a_true_signing_of_a_number_that_is_not_ours_is_a_break(
    town: Town, rider: Phone, alipay: RunningGateway
) -> None:
    number, reference = sign(rider)
    other = "M" + "Z" * 31
    alipay.control(
        "notices/forge",
        out_trade_no=reference,
        defect="none",
        fields={"notify_type": "dut_user_sign", "external_agreement_no": other},
    )
    assert town.breaks() == [("unknown_mandate", other)]
    assert state_of(rider, number) == "active"


def test_an_end_that_alipay_does_not_answer_is_told_until_it_does(
    town: Town, rider: Phone, alipay: RunningGateway
) -> None:
    number, _ = sign(rider)
    alipay.control("troubles", at="notice", kind="drop", times=0)
    method = "alipay.user.agreement.unsign"
    alipay.control("troubles", at=method, kind="timeout_before", seconds=2.0)
    assert rider.call("POST", f"mandates/{number}/end")["state"] == "ending"
    assert at_alipay(alipay, number)["state"] == "NORMAL"
    town.run_jobs(after=120)
    assert state_of(rider, number) == "ended"
    assert at_alipay(alipay, number)["state"] == "UNSIGN"


def test_a_mandate_is_over_here_on_the_day_after_its_last(
    town: Town, rider: Phone, alipay: RunningGateway
) -> None:
    number, _ = sign(rider)
    last_day = date.fromisoformat(rider.call("GET", f"mandates/{number}")["valid_to"])
    town.advance((last_day - business_day(town.clock.now())).days * DAY)
    assert compare(town) == {"same": 1}
    town.advance(DAY)
    assert compare(town) == {"expired": 1}
    rider.log_in()
    assert rider.call("GET", f"mandates/{number}")["end_reason"] == "expired"


# 周期扣款


@pytest.fixture
def cycle_town(engine: Engine, tmp_path: Path) -> Iterator[Town]:
    with open_town(engine, tmp_path, debit_product="cycle_pay") as town:
        yield town


def test_cycle_pay_takes_less_than_a_month_needs_and_says_so_at_once(cycle_town: Town) -> None:
    rider = rider_of(cycle_town)

    refused = rider.try_call("POST", "mandates", {"channel": "alipay"})

    assert refused.status_code == 422
    answer = refused.json()
    assert answer["code"] == "cap_too_high"
    assert answer["message"] == (
        "支付宝每笔最多扣款 100.00 元，不足以扣划 500.00 元，请改用其他渠道"
    )
    assert answer["detail"]["cap_fen_max"] == 10_000
    assert rider.call("GET", "mandates")["items"] == []
    assert cycle_town.gateways["alipay"].look("books")["agreements"] == []
