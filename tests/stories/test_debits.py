"""A rider's card is debited by the agreement: on the day, refused, retried, unknown, late, made up.

The bank debits one by one, in real time; after each story its books are compared with ours.
"""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.staff.models import Role
from tests.sandbox.gateways import RunningGateway
from tests.stories.test_agreements import DAY, agree
from tests.stories.test_mandates import MONTHLY, booked, sign
from tests.stories.town import Phone, Town

AMOUNT_FEN = 50_000
SUBSIDY_FEN = 20_000  # of the first deposit
TO_THE_NOTICE = 15 * DAY
"""From 24 November to 9 December, 10:00."""


@pytest.fixture
def town(town_with_debits: Town) -> Town:
    return town_with_debits


@pytest.fixture
def bank(town: Town) -> RunningGateway:
    assert town.bank is not None
    return town.bank


@pytest.fixture
def mandate_no(town: Town, rider: Phone, bank: RunningGateway) -> str:
    """9 December: a card signed in November, and the debit of the 10th announced."""
    number = sign(rider, bank)
    town.run_jobs(after=TO_THE_NOTICE)
    rider.log_in()
    return number


@pytest.fixture
def rider(town: Town) -> Phone:
    phone = town.phone("wechat")
    phone.enrol()
    agree(phone, MONTHLY)
    return phone


def see(rider: Phone, period: str = "2026-12") -> dict[str, Any]:
    return rider.call("GET", f"debits/{period}")


def last_order(rider: Phone) -> str:
    return str(see(rider)["attempts"][-1]["order_no"])


def taken(bank: RunningGateway) -> list[tuple[str, int]]:
    """Return number and fen of what the bank has debited."""
    return [
        (debit["order_no"], debit["amount_fen"])
        for debit in bank.look("books")["debits"]
        if debit["state"] == "SUCCEEDED"
    ]


def refuse(bank: RunningGateway, code: str, *, times: int = 1) -> None:
    bank.control("troubles", at="debit/outcome", kind="refuse", code=code, times=times)


@pytest.mark.usefixtures("mandate_no")
def test_the_day_after_its_notice_the_card_is_debited_once(
    town: Town, rider: Phone, bank: RunningGateway
) -> None:
    coming = rider.call("GET", "debits/next")
    assert (coming["sent_on"], coming["amount_fen"], coming["announced"]) == (
        "2026-12-10",
        AMOUNT_FEN,
        True,
    )
    assert rider.call("GET", "account")["next_debit"] == coming
    assert taken(bank) == []
    town.run_jobs(after=DAY)
    town.run_jobs(after=60)
    done = see(rider)
    assert (done["state"], done["state_text"]) == ("succeeded", "已扣款入账")
    order_no = last_order(rider)
    assert taken(bank) == [(order_no, AMOUNT_FEN)]
    (deposit,) = rider.call("GET", "deposits")["items"]
    assert (deposit["order_no"], deposit["channel"]) == (order_no, "bank")
    assert (deposit["credited_on"], deposit["contribution_month"]) == ("2026-12-10", "2026-12")
    bank.until(lambda log: any(t["out_trade_no"] == order_no and t["accepted"] for t in log))
    again = bank.control("notices/resend", out_trade_no=order_no, copies=8)
    assert {reply["status"] for reply in again["replies"]} == {200}
    account = rider.call("GET", "account")
    assert (account["balance_fen"], account["months"]) == (AMOUNT_FEN + SUBSIDY_FEN, ["2026-12"])
    assert [e["amount_fen"] for e in rider.call("GET", "account/entries")["items"]] == [
        SUBSIDY_FEN,
        AMOUNT_FEN,
    ]
    assert town.breaks() == []


@pytest.mark.usefixtures("mandate_no")
def test_too_little_on_the_card_is_told_and_tried_again_under_another_number(
    town: Town, rider: Phone, bank: RunningGateway
) -> None:
    refuse(bank, "64")
    town.run_jobs(after=DAY)
    refused = see(rider)
    assert (refused["reason_text"], refused["next_attempt_on"]) == ("余额不足", "2026-12-11")
    assert rider.balance() == 0
    town.run_jobs(after=DAY)
    done = see(rider)
    assert [attempt["state"] for attempt in done["attempts"]] == ["failed", "succeeded"]
    assert taken(bank) == [(last_order(rider), AMOUNT_FEN)]
    assert len(bank.look("books")["debits"]) == 2
    assert rider.balance() == AMOUNT_FEN + SUBSIDY_FEN


@pytest.mark.usefixtures("mandate_no")
@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after"])
def test_a_lost_answer_is_asked_about_and_the_card_is_never_debited_twice(
    town: Town, rider: Phone, bank: RunningGateway, kind: str
) -> None:
    bank.control("troubles", at="notice", kind="drop", times=0)
    bank.control("troubles", at="debit", kind=kind, seconds=2.0)
    town.run_jobs(after=DAY)
    assert see(rider)["state"] == "attempting"
    deposit = {"channel": "wechat", "amount_fen": AMOUNT_FEN}
    warned = rider.try_call("POST", "deposits", deposit)
    assert (warned.status_code, warned.json()["code"]) == (409, "debit_under_way")
    town.run_jobs(after=60)
    assert see(rider)["state"] == "succeeded"
    assert len(bank.look("books")["debits"]) == 1
    assert taken(bank) == [(last_order(rider), AMOUNT_FEN)]
    assert rider.balance() == AMOUNT_FEN + SUBSIDY_FEN
    rider.pay_and_wait(AMOUNT_FEN)
    assert rider.balance() == 2 * AMOUNT_FEN + SUBSIDY_FEN


@pytest.mark.usefixtures("mandate_no")
def test_while_the_bank_is_silent_nothing_is_sent_again_for_days(
    town: Town, rider: Phone, bank: RunningGateway
) -> None:
    bank.control("troubles", at="debit/outcome", kind="silent", seconds=3 * DAY)
    town.run_jobs(after=DAY)
    for _ in range(2):
        town.run_jobs(after=DAY)
        assert see(rider)["state"] == "attempting"
    town.run_jobs(after=DAY + 60)
    rider.log_in()
    bank.until(lambda _log: see(rider)["state"] == "succeeded")
    assert len(bank.look("books")["debits"]) == 1
    assert rider.balance() == AMOUNT_FEN + SUBSIDY_FEN


@pytest.mark.usefixtures("mandate_no")
def test_a_missed_period_is_made_up_in_the_wallet(
    town: Town, rider: Phone, bank: RunningGateway
) -> None:
    refuse(bank, "61")
    town.run_jobs(after=DAY)
    assert see(rider)["state"] == "missed"
    order = rider.call("POST", "debits/2026-12/make-up", {"channel": "wechat"}, status=201)
    assert order["amount_fen"] == AMOUNT_FEN
    rider.pay(order)
    town.until_accepted("wechat", order["order_no"])
    done = see(rider)
    assert (done["state"], done["end_reason_text"]) == ("skipped", "您已自行缴存，本期不再扣款")
    assert rider.call("GET", "account")["months"] == ["2026-12"]
    for _ in range(4):
        town.run_jobs(after=DAY)
    assert taken(bank) == []


def test_a_mandate_that_its_owner_ended_at_the_bank_is_not_debited(
    town: Town, rider: Phone, bank: RunningGateway, mandate_no: str
) -> None:
    bank.control(
        "mandates/change", agreement_no=mandate_no, state="CANCELLED", by="user", reason=""
    )
    bank.until(lambda _log: rider.call("GET", f"mandates/{mandate_no}")["state"] == "ended")
    town.run_jobs(after=DAY)
    missed = see(rider)
    assert (missed["state"], missed["attempts"]) == ("missed", [])
    assert missed["reason_text"] == "没有生效的扣款签约，请重新签约"
    assert bank.look("books")["debits"] == []


def test_the_bank_refuses_what_was_ended_there_unheard_and_we_learn_of_it(
    town: Town, rider: Phone, bank: RunningGateway, mandate_no: str
) -> None:
    bank.control("troubles", at="notice", kind="drop", times=0)
    bank.control(
        "mandates/change", agreement_no=mandate_no, state="CANCELLED", by="user", reason=""
    )
    assert booked(bank, mandate_no)["state"] == "CANCELLED"
    town.run_jobs(after=DAY)
    missed = see(rider)
    assert (missed["state"], missed["reason"]) == ("missed", "no_mandate")
    assert rider.call("GET", f"mandates/{mandate_no}")["state"] == "ended"
    assert taken(bank) == []


@pytest.mark.usefixtures("mandate_no")
def test_a_refusal_that_the_bank_takes_back_is_credited_and_told_to_staff(
    town: Town, rider: Phone, bank: RunningGateway
) -> None:
    refuse(bank, "64")
    town.run_jobs(after=DAY)
    first = last_order(rider)
    bank.control("debits/correct", order_no=first)
    bank.until(lambda _log: see(rider)["state"] == "succeeded")
    (attempt,) = see(rider)["attempts"]
    assert (attempt["state_text"], attempt["reason_text"]) == ("已入账", "")
    assert town.breaks() == [("late_debit", first)]
    for _ in range(4):
        town.run_jobs(after=DAY)
    assert taken(bank) == [(first, AMOUNT_FEN)]
    assert rider.balance() == AMOUNT_FEN + SUBSIDY_FEN


def test_what_was_debited_twice_after_all_goes_back_once_a_reviewer_releases_it(
    town: Town, rider: Phone, bank: RunningGateway
) -> None:
    # With the cap that the agreement needs, the bank itself would refuse a second one.
    sign(rider, bank, cap_fen=2 * AMOUNT_FEN)
    town.run_jobs(after=TO_THE_NOTICE)
    rider.log_in()
    refuse(bank, "64")
    town.run_jobs(after=DAY)
    first = last_order(rider)
    town.run_jobs(after=DAY)
    assert see(rider)["state"] == "succeeded"
    bank.control("debits/correct", order_no=first)
    bank.until(lambda _log: rider.balance() == 2 * AMOUNT_FEN + SUBSIDY_FEN)
    assert town.breaks() == [("debited_twice", first)]
    town.run_jobs(after=60)
    reviewer = town.staff(Role.REVIEWER)
    (refund,) = reviewer("GET", "refunds?state=requested").json()["items"]
    assert (refund["order_no"], refund["amount_fen"]) == (first, AMOUNT_FEN)
    released = reviewer("POST", f"refunds/{refund['refund_no']}/release", {"note": "重复扣款"})
    assert released.status_code == 200, released.text
    town.run_jobs(after=60)
    assert rider.balance() == AMOUNT_FEN + SUBSIDY_FEN
    assert [r["amount_fen"] for r in bank.look("books")["refunds"]] == [AMOUNT_FEN]
