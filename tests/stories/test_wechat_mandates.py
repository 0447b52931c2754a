"""A rider lets the centre debit WeChat: by the API, the wallet's own page and WeChat's notices."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.calendar import business_day
from app.domain.mandates.asking import compare_mandates
from tests.sandbox.gateways import RunningGateway
from tests.stories.test_agreements import DAY, agree
from tests.stories.town import Phone, Town

MONTHLY = {"frequency": "monthly", "amount_fen": 50_000, "debit_day": 10, "channel": "wechat"}


@pytest.fixture
def wechat(town: Town) -> RunningGateway:
    return town.gateways["wechat"]


@pytest.fixture
def rider(town: Town) -> Phone:
    """A person with a signed agreement."""
    phone = town.phone("wechat")
    phone.enrol()
    agree(phone, MONTHLY)
    return phone


def start(rider: Phone) -> dict[str, Any]:
    started = rider.call("POST", "mandates", {"channel": "wechat"}, status=201)
    assert (started["state"], started["code_tries_left"]) == ("awaiting", None)
    return started


def open_page(wechat: RunningGateway, payer: str, started: dict[str, Any]) -> None:
    """The phone hands WeChat the parameters, and the person signs."""
    wechat.control("contracts/sign", payer=payer, extra_data=started["signing"])


def sign(rider: Phone, wechat: RunningGateway) -> str:
    """Start and sign; return the mandate's number once the notice has come."""
    started = start(rider)
    open_page(wechat, rider.payer, started)
    number = str(started["mandate_no"])
    wechat.until(lambda _log: state(rider, number) == "active")
    return number


def state(rider: Phone, number: str) -> str:
    return str(rider.call("GET", f"mandates/{number}")["state"])


def booked(wechat: RunningGateway, number: str) -> dict[str, Any]:
    [row] = [row for row in wechat.look("books")["contracts"] if row["contract_code"] == number]
    return dict(row)


def test_a_contract_is_signed_and_given_up_in_the_wallet(
    rider: Phone, wechat: RunningGateway
) -> None:
    number = sign(rider, wechat)
    signed = rider.call("GET", f"mandates/{number}")
    assert (signed["cap_fen"], signed["cycle"], signed["card_tail"]) == (50_000, "month", None)
    assert signed["signing"] == {}  # nothing to sign any more
    at_wechat = booked(wechat, number)
    assert (at_wechat["state"], at_wechat["payer"]) == ("SIGNED", rider.payer)

    wechat.control("contracts/change", contract_code=number, by="user")
    wechat.until(lambda _log: state(rider, number) == "ended")
    ended = rider.call("GET", f"mandates/{number}")
    assert (ended["ended_by"], ended["end_reason"]) == ("contributor", "ended_at_channel")
    assert ended["end_text"] == "已在渠道侧解约，如需继续自动缴存请重新签约"

    again = sign(rider, wechat)
    assert (again != number, state(rider, again)) == (True, "active")


def test_a_contract_is_given_up_here(town: Town, rider: Phone, wechat: RunningGateway) -> None:
    number = sign(rider, wechat)
    town.run_jobs(after=DAY)
    rider.log_in()
    assert rider.call("POST", f"mandates/{number}/end")["state"] == "ended"
    at_wechat = booked(wechat, number)
    assert (at_wechat["state"], at_wechat["mode"]) == ("TERMINATED", 3)
    # WeChat tells of our own ending too: nothing new in it.
    wechat.until(lambda log: sum(t["accepted"] and t["topic"] == "contract" for t in log) == 2)
    ended = rider.call("GET", f"mandates/{number}")
    assert (ended["state"], ended["end_reason"]) == ("ended", "asked")
    assert town.breaks() == []


def test_an_ending_whose_notice_is_lost_is_found_by_the_nightly_comparison(
    town: Town, rider: Phone, wechat: RunningGateway
) -> None:
    number = sign(rider, wechat)
    wechat.control("troubles", at="notice", kind="drop", times=0)
    wechat.control("contracts/change", contract_code=number, by="user")
    assert state(rider, number) == "active"
    compare_mandates(town.ports, on=business_day(town.clock.now()))
    ended = rider.call("GET", f"mandates/{number}")
    assert (ended["state"], ended["ended_by"]) == ("ended", "contributor")
    assert town.breaks() == []


def test_a_signing_whose_notice_is_lost_is_asked_about(
    town: Town, rider: Phone, wechat: RunningGateway
) -> None:
    wechat.control("troubles", at="notice", kind="drop", times=0)
    started = start(rider)
    number = started["mandate_no"]
    town.run_jobs(after=120)
    assert state(rider, number) == "awaiting"  # nobody has opened the page, which is no answer
    open_page(wechat, rider.payer, started)
    town.run_jobs(after=600)
    assert state(rider, number) == "active"


def test_a_page_that_is_never_opened_fails_in_the_end_and_can_be_tried_again(
    town: Town, rider: Phone, wechat: RunningGateway
) -> None:
    number = start(rider)["mandate_no"]
    town.run_jobs(after=31 * 60)
    town.run_jobs(after=31 * 60)
    rider.log_in()
    assert state(rider, number) == "failed"
    assert sign(rider, wechat) != number


def test_somebody_elses_wallet_does_not_pay_for_the_rider(
    town: Town, rider: Phone, wechat: RunningGateway
) -> None:
    started = start(rider)
    number = started["mandate_no"]
    open_page(wechat, town.phone("wechat").payer, started)
    wechat.until(lambda log: any(t["accepted"] and t["topic"] == "contract" for t in log))
    town.run_jobs(after=60)
    assert state(rider, number) == "ended"
    assert rider.call("GET", f"mandates/{number}")["end_reason"] == "other_signer"
    assert booked(wechat, number)["state"] == "TERMINATED"


def test_more_than_the_plan_allows_is_refused_at_once(rider: Phone, wechat: RunningGateway) -> None:
    wish = {"channel": "wechat", "cap_fen": 500_001}
    refused = rider.try_call("POST", "mandates", wish)
    assert refused.status_code == 422
    assert refused.json()["code"] == "cap_too_high"
    assert refused.json()["detail"]["cap_fen_max"] == 500_000
    assert rider.call("GET", "mandates")["items"] == []
