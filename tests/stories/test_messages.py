"""What happens to a rider's mandate arrives on the phone, and never stands in its way."""

from __future__ import annotations

import pytest
import requests

from app.domain.outbox.operations import send_messages
from tests.sandbox.gateways import RunningGateway
from tests.stories.test_agreements import DAY, agree
from tests.stories.test_mandates import MONTHLY, sign
from tests.stories.town import Phone, Town

SEND = {
    "wechat": "cgi-bin/message/subscribe/send",
    "alipay": "alipay.open.app.mini.templatemessage.send",
}


@pytest.fixture
def bank(town_with_bank: Town) -> RunningGateway:
    assert town_with_bank.bank is not None
    return town_with_bank.bank


@pytest.fixture
def rider(town_with_bank: Town, platform: str) -> Phone:
    """A person with a signed agreement, on either platform."""
    phone = town_with_bank.phone(platform)
    phone.enrol()
    agree(phone, MONTHLY)
    return phone


def texts(message: dict) -> list[str]:
    return [entry["value"] for entry in message["data"].values()]


def listed(rider: Phone) -> list[tuple[str, str | None]]:
    """Return title and platform of every message in the rider's list, newest first."""
    items = rider.call("GET", "messages")["items"]
    return [(item["title"], item["platform"]) for item in items]


def test_a_signed_card_and_its_end_arrive_on_the_phone(
    town_with_bank: Town, rider: Phone, bank: RunningGateway
) -> None:
    rider.agree_to_messages("mandate_active", "mandate_ended")
    number = sign(rider, bank)
    assert rider.inbox() == []
    town_with_bank.run_jobs(after=15)
    [message] = rider.inbox()
    assert message["template_id"] == "T-mandate_active"
    tail = rider.call("GET", f"mandates/{number}")["card_tail"]
    assert texts(message)[0] == f"银行卡（尾号{tail}）"
    assert texts(message)[1].startswith("500.00")

    bank.control("mandates/change", agreement_no=number, state="CANCELLED", by="user", reason="")
    bank.until(lambda _log: rider.call("GET", f"mandates/{number}")["state"] == "ended")
    town_with_bank.run_jobs(after=15)
    town_with_bank.run_jobs(after=15)
    [_, message] = rider.inbox()
    assert message["template_id"] == "T-mandate_ended"
    assert texts(message)[1:] == ["您本人解约", "不再自动扣款，如需继续请重新签约"]
    assert listed(rider) == [
        ("扣款签约终止", rider.platform),
        ("扣款签约生效", rider.platform),
    ]


def test_a_broken_platform_keeps_no_mandate_from_moving(
    town_with_bank: Town, rider: Phone, bank: RunningGateway
) -> None:
    rider.agree_to_messages("mandate_active", "mandate_ended")
    gateway = town_with_bank.gateways[rider.platform]
    gateway.control("troubles", at=SEND[rider.platform], kind="http_500", times=0)
    number = sign(rider, bank)
    town_with_bank.run_jobs(after=15)
    assert rider.call("POST", f"mandates/{number}/end")["state"] == "ended"
    town_with_bank.run_jobs(after=15)
    assert rider.inbox() == []
    assert [platform for _, platform in listed(rider)] == [None, None]
    # It comes back, and everything arrives once.
    requests.delete(f"{gateway.url}_control/troubles", timeout=10).raise_for_status()
    for _ in range(3):
        town_with_bank.run_jobs(after=600)
    assert sorted(message["template_id"] for message in rider.inbox()) == [
        "T-mandate_active",
        "T-mandate_ended",
    ]


def test_a_person_who_declines_has_everything_in_the_list(
    town_with_bank: Town, rider: Phone, bank: RunningGateway
) -> None:
    sign(rider, bank)
    assert send_messages(town_with_bank.ports) == {"given_up": 1}
    town_with_bank.run_jobs(after=DAY)
    rider.log_in()
    assert rider.inbox() == []
    assert listed(rider) == [("扣款签约生效", None)]


def test_who_declines_on_one_platform_is_told_on_the_other(
    town_with_bank: Town, bank: RunningGateway
) -> None:
    rider, other = town_with_bank.phone("wechat"), town_with_bank.phone("alipay")
    rider.enrol()
    code = rider.call("POST", "session/link-code")["code"]
    other.call("POST", "session/link", {"code": code})
    agree(rider, MONTHLY)
    other.agree_to_messages("mandate_active")
    sign(rider, bank)
    assert send_messages(town_with_bank.ports) == {"refused": 1}
    assert send_messages(town_with_bank.ports) == {"sent": 1}
    assert rider.inbox() == []
    assert [message["template_id"] for message in other.inbox()] == ["T-mandate_active"]
    assert listed(rider) == listed(other) == [("扣款签约生效", "alipay")]


def test_a_lost_answer_may_bring_a_message_twice(
    town_with_bank: Town, rider: Phone, bank: RunningGateway
) -> None:
    """At least once: the platform has it, and nothing of ours can know."""
    rider.agree_to_messages("mandate_active")
    gateway = town_with_bank.gateways[rider.platform]
    gateway.control("troubles", at=SEND[rider.platform], kind="empty")
    sign(rider, bank)
    town_with_bank.run_jobs(after=15)
    assert len(rider.inbox()) == 1
    town_with_bank.run_jobs(after=120)
    town_with_bank.run_jobs(after=DAY)
    assert len(rider.inbox()) == 2
