"""A rider lets the centre debit a bank card: by the API, the bank's gateway and its notices."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.calendar import business_day
from app.domain.mandates.asking import compare_mandates
from tests.sandbox.gateways import RunningGateway
from tests.stories.test_agreements import DAY, agree
from tests.stories.town import ENROLMENT, Phone, Town

MONTHLY = {"frequency": "monthly", "amount_fen": 50_000, "debit_day": 10, "channel": "bank"}
PHONE = "13800000000"


@pytest.fixture
def bank(town_with_bank: Town) -> RunningGateway:
    assert town_with_bank.bank is not None
    return town_with_bank.bank


@pytest.fixture
def rider(town_with_bank: Town) -> Phone:
    """A person with a signed agreement."""
    phone = town_with_bank.phone("wechat")
    phone.enrol()
    agree(phone, MONTHLY)
    return phone


def a_card(bank: RunningGateway) -> dict[str, Any]:
    """Open a card at the bank; return what its holder types."""
    card = bank.control(
        "cards",
        name=ENROLMENT["real_name"],
        id_kind="01",
        id_no=ENROLMENT["document_no"],
        phone=PHONE,
        balance_fen=500_000,
    )
    return {
        "card_no": card["card_no"],
        "holder_name": ENROLMENT["real_name"],
        "phone": PHONE,
    }


def code_of(bank: RunningGateway) -> str:
    return str(bank.control("sms", phone=PHONE)["messages"][-1]["code"])


def sign(rider: Phone, bank: RunningGateway, **wished: object) -> str:
    """Start and confirm; return the mandate's number."""
    wish = {"channel": "bank", "card": a_card(bank), **wished}
    started = rider.call("POST", "mandates", wish, status=201)
    assert started["state"] == "awaiting"
    number = str(started["mandate_no"])
    confirmed = rider.call("POST", f"mandates/{number}/confirm", {"code": code_of(bank)})
    assert confirmed["state"] == "active"
    return number


def booked(bank: RunningGateway, number: str) -> dict[str, Any]:
    [row] = [row for row in bank.look("books")["mandates"] if row["agreement_no"] == number]
    return dict(row)


def test_a_card_is_signed_and_given_up(
    town_with_bank: Town, rider: Phone, bank: RunningGateway
) -> None:
    number = sign(rider, bank)
    at_bank = booked(bank, number)
    assert (at_bank["state"], at_bank["cap_fen"], at_bank["debit_day"]) == ("ACTIVE", 50_000, 10)
    town_with_bank.run_jobs(after=DAY)
    rider.log_in()
    assert rider.call("POST", f"mandates/{number}/end")["state"] == "ended"
    assert booked(bank, number)["state"] == "CANCELLED"


def test_an_end_at_the_bank_reaches_us_by_its_notice(rider: Phone, bank: RunningGateway) -> None:
    number = sign(rider, bank)
    bank.control("mandates/change", agreement_no=number, state="CANCELLED", by="user", reason="")
    bank.until(lambda _log: rider.call("GET", f"mandates/{number}")["state"] == "ended")
    ended = rider.call("GET", f"mandates/{number}")
    assert (ended["ended_by"], ended["end_reason"]) == ("contributor", "ended_at_channel")


def test_an_end_whose_notice_is_lost_is_found_by_the_nightly_comparison(
    town_with_bank: Town, rider: Phone, bank: RunningGateway
) -> None:
    number = sign(rider, bank)
    bank.control("troubles", at="notice", kind="drop", times=0)
    bank.control("mandates/change", agreement_no=number, state="CANCELLED", by="user", reason="")
    assert rider.call("GET", f"mandates/{number}")["state"] == "active"
    compare_mandates(town_with_bank.ports, on=business_day(town_with_bank.clock.now()))
    assert rider.call("GET", f"mandates/{number}")["state"] == "ended"


def test_a_confirmation_whose_answer_is_lost_is_asked_about_and_not_signed_again(
    town_with_bank: Town, rider: Phone, bank: RunningGateway
) -> None:
    started = rider.call("POST", "mandates", {"channel": "bank", "card": a_card(bank)}, status=201)
    number = started["mandate_no"]
    bank.control("troubles", at="notice", kind="drop", times=0)
    bank.control("troubles", at="sign/confirm", kind="timeout_after", seconds=2.0)
    answer = rider.call("POST", f"mandates/{number}/confirm", {"code": code_of(bank)})
    assert answer["state"] == "unknown"
    town_with_bank.run_jobs(after=120)
    assert rider.call("GET", f"mandates/{number}")["state"] == "active"
    assert len(bank.look("books")["mandates"]) == 1
