"""A mistaken deposit goes back: asked for by one person, released by another."""

from __future__ import annotations

import pytest

from app.domain.staff.models import Role
from tests.stories.town import Phone, Town

REFUND = {"wechat": "secapi/pay/refund", "alipay": "alipay.trade.refund"}


@pytest.fixture
def phone(town: Town, platform: str) -> Phone:
    phone = town.phone(platform)
    phone.enrol()
    return phone


def ask_back(phone: Phone, order_no: str, amount_fen: int) -> str:
    refund = phone.call(
        "POST", f"deposits/{order_no}/refunds", {"amount_fen": amount_fen, "reason": "duplicate"}
    )
    assert refund["state"] == "requested"
    return str(refund["refund_no"])


def test_a_rider_asks_a_reviewer_releases_and_the_wallet_has_it_back(
    town: Town, platform: str, phone: Phone
) -> None:
    phone.pay_and_wait(50_000)
    second = phone.pay_and_wait(30_000)
    refund_no = ask_back(phone, second, 30_000)
    account = phone.call("GET", "account")
    # 500.00 + 300.00 + 开户补贴 200.00, of which 300.00 wait for a decision
    assert (account["balance_fen"], account["available_fen"]) == (100_000, 70_000)

    clerk, reviewer = town.staff(Role.CLERK), town.staff(Role.REVIEWER)
    refused = clerk("POST", f"refunds/{refund_no}/release", {"note": "同意"})
    assert refused.status_code == 403
    released = reviewer("POST", f"refunds/{refund_no}/release", {"note": "核实为重复缴存"})
    assert released.status_code == 200
    town.run_jobs(after=60)

    assert phone.call("GET", f"refunds/{refund_no}")["state"] == "succeeded"
    assert phone.balance() == 70_000
    assert phone.call("GET", "account")["deposited_this_year_fen"] == 50_000
    refunds = town.gateways[platform].look("books")["refunds"]
    assert [(r["out_refund_no"], r["amount_fen"]) for r in refunds] == [(refund_no, 30_000)]
    again = reviewer("POST", f"refunds/{refund_no}/release", {"note": "再次"})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_a_member_of_staff_cannot_release_what_they_asked_for(
    town: Town, platform: str, phone: Phone
) -> None:
    order_no = phone.pay_and_wait(50_000)
    reviewer = town.staff(Role.REVIEWER)
    content = {
        "order_no": order_no,
        "amount_fen": 10_000,
        "reason": "wrong_amount",
        "note": "缴存人来电",
    }
    asked = reviewer("POST", "refunds", content)
    assert asked.status_code == 201, asked.text
    own = reviewer("POST", f"refunds/{asked.json()['refund_no']}/release", {"note": "同意"})
    assert (own.status_code, own.json()["code"]) == (403, "same_person_twice")
    assert town.gateways[platform].look("books")["refunds"] == []
    assert phone.balance() == 70_000


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after"])
def test_a_refund_whose_answer_was_lost_goes_out_once(
    town: Town, platform: str, phone: Phone, kind: str
) -> None:
    order_no = phone.pay_and_wait(50_000)
    refund_no = ask_back(phone, order_no, 20_000)
    town.gateways[platform].control("troubles", at=REFUND[platform], kind=kind, times=1, seconds=2)
    # Where the money has moved, the notice of it may overtake the silence.
    town.staff(Role.REVIEWER)("POST", f"refunds/{refund_no}/release", {"note": "同意"})
    town.run_jobs(after=60)
    town.run_jobs(after=120)
    assert phone.call("GET", f"refunds/{refund_no}")["state"] == "succeeded"
    assert phone.balance() == 50_000
    refunds = town.gateways[platform].look("books")["refunds"]
    assert [r["amount_fen"] for r in refunds] == [20_000]


def test_a_refund_of_everything_takes_the_opening_subsidy_back(
    town: Town, platform: str, phone: Phone
) -> None:
    order_no = phone.pay_and_wait(50_000)
    refund_no = ask_back(phone, order_no, 50_000)
    town.staff(Role.SUPERVISOR)("POST", f"refunds/{refund_no}/release", {"note": "同意"})
    town.run_jobs(after=60)
    assert phone.balance() == 0
    assert phone.call("GET", "account")["months_counted"] == 0
