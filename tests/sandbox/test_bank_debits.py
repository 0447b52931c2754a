"""Debits in real time, and refunds: who may be drawn on, each code, silence, late truth."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sandbox.bank_client import BankMerchant

REASONS = (
    *("01", "02", "06", "30", "33", "38", "39", "40", "44", "60", "61", "62", "63", "64"),
    *("66", "68", "72", "73", "77", "78", "80", "81", "89", "90", "12", "34", "ZZ"),
)


@pytest.fixture
def card(bank: BankMerchant) -> str:
    return bank.card()


@pytest.fixture
def agreement(bank: BankMerchant, card: str) -> str:
    return bank.agree(card)


def card_fen(bank: BankMerchant, card_no: str) -> int:
    [fen] = [card["balance_fen"] for card in bank.books()["cards"] if card["card_no"] == card_no]
    return fen


def test_a_debit_moves_the_money_once(bank: BankMerchant, card: str, agreement: str):
    done = bank.debit(agreement)
    assert (done["code"], done["state"], done["actual_fen"]) == ("00", "SUCCEEDED", 50000)
    assert done["settle_date"] == "20261124"
    assert bank.debit(agreement) == done
    found = bank.find()
    assert (found["code"], found["orig_code"]) == ("00", "00")
    assert found["bank_ref"] == done["bank_ref"]
    assert card_fen(bank, card) == 450000
    assert bank.balance() == 50000
    [entry] = bank.books()["entries"]
    assert (entry["kind"], entry["reference"]) == ("DEBIT", "D0000000001")
    assert (entry["amount_fen"], entry["balance_fen"]) == (50000, 50000)


def test_a_number_is_one_debit_for_ever(bank: BankMerchant, card: str, agreement: str):
    bank.debit(agreement)
    for change in ({"amount_fen": 50001}, {"purpose": "2026-12"}):
        assert bank.debit(agreement, **change)["code"] == "12"
    assert bank.balance() == 50000
    # A number that failed is used up as well.
    bank.gateway.control("cards/change", card_no=card, balance_fen=0)
    assert bank.debit(agreement, order_no="D0000000002")["code"] == "64"
    bank.gateway.control("cards/change", card_no=card, balance_fen=500000)
    assert bank.debit(agreement, order_no="D0000000002")["code"] == "64"
    assert bank.balance() == 50000


def test_what_the_card_does_not_allow(bank: BankMerchant, card: str, agreement: str):
    def try_with(number: int, **change: object) -> str:
        bank.gateway.control("cards/change", card_no=card, **change)
        return bank.debit(agreement, 10000, order_no=f"D000000000{number}")["code"]

    assert try_with(1, balance_fen=9999) == "64"
    assert try_with(2, balance_fen=500000, state="frozen") == "63"
    assert try_with(3, state="lost") == "63"
    assert try_with(4, state="closed") == "61"
    assert try_with(5, state="normal", daily_limit_fen=20000) == "00"
    assert try_with(6, daily_limit_fen=20000) == "00"
    assert try_with(7, daily_limit_fen=20000) == "33"
    bank.gateway.control("clock", set="2026-11-25T00:00:00+08:00")
    assert try_with(8, daily_limit_fen=20000) == "00"
    assert card_fen(bank, card) == 470000


def test_what_the_agreement_does_not_allow(bank: BankMerchant, agreement: str):
    assert bank.debit(agreement, 100001)["code"] == "33"
    assert bank.debit(agreement, 100000, order_no="D0000000002")["code"] == "00"
    assert bank.debit(agreement, 50001, order_no="D0000000003")["code"] == "81"
    assert bank.debit(agreement, 50000, order_no="D0000000004")["code"] == "00"
    assert bank.debit(agreement, 1, order_no="D0000000005")["code"] == "81"
    bank.gateway.control("clock", set="2026-12-01T00:00:00+08:00")
    assert bank.debit(agreement, 100000, order_no="D0000000006")["code"] == "00"
    assert bank.debit("62202611240000009999", order_no="D0000000007")["code"] == "40"
    assert bank.find("D0000000007")["orig_code"] == "40"


def test_a_quarter_is_one_period(bank: BankMerchant, card: str):
    agreement = bank.agree(card, cycle="QUARTER")
    assert bank.debit(agreement, 100000)["code"] == "00"
    bank.gateway.control("clock", set="2026-12-31T22:00:00+08:00")
    assert bank.debit(agreement, 50001, order_no="D0000000002")["code"] == "81"
    bank.gateway.control("clock", set="2027-01-01T00:00:00+08:00")
    assert bank.debit(agreement, 50001, order_no="D0000000003")["code"] == "00"


def test_it_can_be_refused_for_any_reason(bank: BankMerchant, agreement: str):
    for code in REASONS:
        bank.gateway.control("troubles", at="debit/outcome", kind="refuse", code=code)
        answer = bank.debit(agreement, order_no=f"D00000000{code}")
        assert (answer["code"], answer["state"], answer["actual_fen"]) == (code, "FAILED", 0)
        found = bank.find(f"D00000000{code}")
        assert (found["code"], found["orig_code"]) == ("00", code)
    assert bank.balance() == 0


def test_a_trouble_waits_for_a_new_debit(bank: BankMerchant, agreement: str):
    bank.debit(agreement)
    bank.gateway.control("troubles", at="debit/outcome", kind="refuse", code="60")
    assert bank.debit(agreement)["code"] == "00"
    assert bank.debit(agreement, order_no="D-1")["code"] == "10"
    assert bank.debit(agreement, order_no="D0000000002")["code"] == "60"
    assert bank.gateway.look("troubles")["troubles"] == []


@pytest.mark.parametrize("code", ["A6", "42", "74", "75"])
def test_some_codes_other_than_00_mean_that_the_money_moved(
    bank: BankMerchant, agreement: str, code: str
):
    bank.gateway.control("troubles", at="debit/outcome", kind="refuse", code=code)
    answer = bank.debit(agreement)
    assert (answer["code"], answer["state"], answer["actual_fen"]) == (code, "SUCCEEDED", 50000)
    assert bank.balance() == 50000


@pytest.mark.parametrize("code", ["03", "04", "05", "83"])
def test_some_mean_that_there_is_no_result_yet(bank: BankMerchant, agreement: str, code: str):
    bank.gateway.control("troubles", at="debit/outcome", kind="refuse", code=code)
    assert bank.debit(agreement)["code"] == code
    bank.gateway.control("clock", advance_seconds=86400)
    found = bank.find()
    assert (found["orig_code"], found["state"]) == (code, "PROCESSING")
    bank.gateway.control("debits/finish", order_no="D0000000001")
    assert bank.find()["orig_code"] == "00"
    assert bank.balance() == 50000


def test_a_refusal_that_the_bank_takes_back(bank: BankMerchant, card: str, agreement: str):
    bank.gateway.control("troubles", at="debit/outcome", kind="refuse", code="64")
    assert bank.debit(agreement)["state"] == "FAILED"
    bank.gateway.control("debits/correct", order_no="D0000000001")
    found = bank.find()
    assert (found["orig_code"], found["state"], found["actual_fen"]) == ("00", "SUCCEEDED", 50000)
    assert (card_fen(bank, card), bank.balance()) == (450000, 50000)
    notices = bank.gateway.until(lambda log: len({one["id"] for one in log}) == 2)
    assert {one["topic"] for one in notices} == {"debit.result"}
    # What was taken stays taken, and nothing comes of a number that nobody sent.
    for number in ("D0000000001", "D0000000002"):
        answer = bank.gateway.try_control("debits/correct", order_no=number)
        assert answer == {"ok": False, "error": f"没有这一笔被拒绝的代扣：{number}"}
    assert bank.balance() == 50000


def test_a_refusal_taken_back_is_decided_by_the_rules(
    bank: BankMerchant, card: str, agreement: str
):
    bank.gateway.control("troubles", at="debit/outcome", kind="refuse", code="60")
    bank.debit(agreement)
    bank.gateway.control("cards/change", card_no=card, balance_fen=0)
    bank.gateway.control("debits/correct", order_no="D0000000001")
    assert bank.find()["orig_code"] == "64"
    assert bank.balance() == 0


def test_accepted_now_and_decided_later(bank: BankMerchant, card: str, agreement: str):
    bank.gateway.control("troubles", at="debit/outcome", kind="slow", seconds=3600)
    assert bank.debit(agreement)["code"] == "03"
    bank.gateway.control("clock", advance_seconds=3590)
    assert bank.find()["state"] == "PROCESSING"
    assert bank.balance() == 0
    bank.gateway.control("cards/change", card_no=card, balance_fen=49999)
    bank.gateway.control("clock", advance_seconds=10)
    assert bank.find()["orig_code"] == "64"


def test_a_jump_of_the_clock_does_not_change_when_it_was(bank: BankMerchant, agreement: str):
    bank.gateway.control("troubles", at="debit/outcome", kind="slow", seconds=3600)
    bank.debit(agreement)
    bank.gateway.control("clock", set="2027-02-01T09:00:00+08:00")
    found = bank.find()
    assert found["settle_date"] == "20261124"
    assert found["decided_at"].startswith("2026-11-24 11:00")


def test_a_slow_one_is_finished_by_hand(bank: BankMerchant, agreement: str):
    bank.gateway.control("troubles", at="debit/outcome", kind="slow", times=2)
    bank.debit(agreement)
    bank.debit(agreement, order_no="D0000000002")
    bank.gateway.control("debits/finish", order_no="D0000000001")
    bank.gateway.control("debits/finish", order_no="D0000000002", code="60")
    assert bank.find()["orig_code"] == "00"
    assert bank.find("D0000000002")["orig_code"] == "60"
    assert bank.balance() == 50000
    assert not bank.gateway.try_control("debits/finish", order_no="D0000000001")["ok"]


def test_the_money_is_taken_in_silence(bank: BankMerchant, card: str, agreement: str):
    bank.gateway.control("troubles", at="debit/outcome", kind="silent")
    answer = bank.debit(agreement)
    assert (answer["code"], answer["state"], answer["actual_fen"]) == ("03", "PROCESSING", 0)
    assert answer["bank_ref"] is None
    assert card_fen(bank, card) == 450000
    bank.gateway.control("clock", advance_seconds=30 * 86400)
    assert bank.find()["orig_code"] == "03"
    refund = {"refund_no": "R0000000001", "order_no": "D0000000001", "amount_fen": 50000}
    assert bank.ask("refund", **refund)["code"] == "35"
    assert bank.gateway.look("deliveries")["deliveries"] == []
    bank.gateway.control("debits/finish", order_no="D0000000001")
    assert bank.find()["orig_code"] == "00"
    bank.gateway.until(lambda log: len(log) == 1)
    assert bank.read_notice(0)["state"] == "SUCCEEDED"
    assert card_fen(bank, card) == 450000


def test_unknown_and_then_found(bank: BankMerchant, agreement: str):
    bank.gateway.control("troubles", at="debit/outcome", kind="lost", seconds=7200)
    assert bank.debit(agreement)["code"] == "34"
    assert bank.find()["code"] == "34"
    assert bank.balance() == 50000
    assert bank.debit(agreement)["code"] == "34"
    bank.gateway.control("clock", advance_seconds=7200)
    found = bank.find()
    assert (found["code"], found["orig_code"], found["settle_date"]) == ("00", "00", "20261124")
    assert bank.balance() == 50000


def test_many_at_once_under_one_number_are_one_debit(bank: BankMerchant, agreement: str):
    with ThreadPoolExecutor(max_workers=8) as threads:
        sent = [threads.submit(bank.debit, agreement) for _ in range(8)]
    assert {debit.result()["bank_ref"] for debit in sent} == {"202611240000000001"}
    assert bank.balance() == 50000


def test_a_number_never_sent_is_not_found(bank: BankMerchant):
    assert bank.find()["code"] == "34"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("order_no", "D-00000001", "10"),
        ("order_no", "D000001", "10"),
        ("order_no", "D" * 41, "10"),
        ("amount_fen", 0, "10"),
        ("amount_fen", -1, "10"),
        ("amount_fen", 1.5, "10"),
        ("amount_fen", None, "13"),
        ("notify_url", "", "13"),
        ("channel_agreement_no", "", "13"),
    ],
)
def test_a_malformed_debit_is_refused_and_its_number_stays_free(
    bank: BankMerchant, agreement: str, name: str, value: object, code: str
):
    assert bank.debit(agreement, **{name: value})["code"] == code
    assert bank.books()["debits"] == []
    assert bank.debit(agreement)["code"] == "00"


def test_refunds_in_parts_never_exceed_the_debit(bank: BankMerchant, card: str, agreement: str):
    bank.debit(agreement)

    def refund(number: int, amount_fen: int, order_no: str = "D0000000001") -> dict:
        content = {"refund_no": f"R000000000{number}", "order_no": order_no}
        return bank.ask("refund", **content, amount_fen=amount_fen)

    first = refund(1, 20000)
    assert (first["code"], first["amount_fen"], first["settle_date"]) == ("00", 20000, "20261124")
    assert refund(1, 20000) == first
    assert bank.ask("refund/query", refund_no="R0000000001") == first
    assert refund(1, 20001)["code"] == "12"
    assert refund(2, 30001)["code"] == "33"
    assert refund(2, 30000)["code"] == "00"
    assert refund(3, 1)["code"] == "45"
    assert refund(4, 1, "D0000000009")["code"] == "35"
    assert bank.ask("refund/query", refund_no="R0000000004")["code"] == "34"
    assert card_fen(bank, card) == 500000
    assert bank.balance() == 0
    assert bank.find()["refunded_fen"] == 50000


def test_the_account_must_have_what_is_refunded(bank: BankMerchant, card: str, agreement: str):
    bank.debit(agreement)
    assert bank.pay_out(card, 50000)["code"] == "00"
    refund = {"refund_no": "R0000000001", "order_no": "D0000000001", "amount_fen": 50000}
    assert bank.ask("refund", **refund)["code"] == "64"
    bank.gateway.control("merchant/deposit", amount_fen=50000)
    assert bank.ask("refund", **refund)["code"] == "00"
