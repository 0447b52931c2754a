"""Payouts to a card, their unknown outcomes, and their coming back."""

from __future__ import annotations

import pytest

from tests.sandbox.bank_client import BankMerchant


@pytest.fixture
def card(bank: BankMerchant) -> str:
    """A card with 5000 yuan; the special account has 1000."""
    bank.gateway.control("merchant/deposit", amount_fen=100000)
    return bank.card()


def find(bank: BankMerchant, number: str = "P0000000001") -> dict:
    return bank.ask("payout/query", payout_no=number)


def card_fen(bank: BankMerchant) -> int:
    [card] = bank.books()["cards"]
    return card["balance_fen"]


def test_a_payout_moves_the_money_once(bank: BankMerchant, card: str):
    done = bank.pay_out(card)
    assert (done["code"], done["state"], done["card_tail"]) == ("00", "SUCCEEDED", card[-4:])
    assert bank.pay_out(card) == done
    assert bank.pay_out(card, 30001)["code"] == "12"
    assert find(bank)["orig_code"] == "00"
    assert bank.balance() == 70000
    assert card_fen(bank) == 530000


def test_whom_the_bank_does_not_pay(bank: BankMerchant, card: str):
    assert bank.pay_out(card, name="测试用户二")["code"] == "66"
    assert bank.pay_out(card, 100001, payout_no="P0000000002")["code"] == "64"
    unknown = bank.pay_out("6217980000000000008", payout_no="P0000000003")
    assert unknown["code"] == "61"
    assert bank.pay_out("6217980000000000009", payout_no="P0000000004")["code"] == "44"
    for number, (state, code) in enumerate(
        (("frozen", "63"), ("lost", "63"), ("closed", "61")), start=5
    ):
        bank.gateway.control("cards/change", card_no=card, state=state)
        assert bank.pay_out(card, payout_no=f"P000000000{number}")["code"] == code
    assert find(bank)["orig_code"] == "66"
    assert find(bank, "P0000000004")["code"] == "34"
    assert bank.balance() == 100000
    assert card_fen(bank) == 500000


@pytest.mark.parametrize(("kind", "code"), [("silent", "03"), ("lost", "34")])
def test_paid_but_not_said(bank: BankMerchant, card: str, kind: str, code: str):
    bank.gateway.control("troubles", at="payout/outcome", kind=kind, seconds=3600)
    assert bank.pay_out(card)["code"] == code
    assert bank.balance() == 70000
    bank.gateway.control("clock", advance_seconds=3600)
    assert find(bank)["orig_code"] == "00"
    assert bank.pay_out(card)["state"] == "SUCCEEDED"
    assert bank.balance() == 70000


def test_slow_and_then_refused(bank: BankMerchant, card: str):
    bank.gateway.control("troubles", at="payout/outcome", kind="slow")
    assert bank.pay_out(card)["code"] == "03"
    assert bank.balance() == 100000
    bank.gateway.control("payouts/finish", payout_no="P0000000001", code="60")
    found = find(bank)
    assert (found["state"], found["orig_code"]) == ("FAILED", "60")
    assert bank.balance() == 100000
    assert not bank.gateway.try_control("payouts/return", payout_no="P0000000001")["ok"]


def test_a_payout_comes_back(bank: BankMerchant, card: str):
    bank.pay_out(card)
    bank.gateway.control("clock", advance_seconds=86400)
    bank.gateway.control("payouts/return", payout_no="P0000000001", reason="账户销户")
    found = find(bank)
    assert (found["state"], found["orig_code"]) == ("RETURNED", "00")
    assert found["return_reason"] == "账户销户"
    assert found["returned_at"].startswith("2026-11-25 10:00")
    assert found["return_ref"] != found["bank_ref"]
    assert bank.balance() == 100000
    assert card_fen(bank) == 500000
    assert not bank.gateway.try_control("payouts/return", payout_no="P0000000001")["ok"]
    last = bank.books()["entries"][-1]
    assert (last["kind"], last["amount_fen"], last["is_reversal"]) == ("RETURN", 30000, True)
    log = bank.gateway.until(lambda log: len(log) == 2)
    assert [entry["topic"] for entry in log] == ["payout.result", "payout.returned"]
    assert bank.read_notice(1)["state"] == "RETURNED"


def test_the_balance_is_that_of_the_special_account(bank: BankMerchant, card: str):
    answer = bank.ask("balance")
    assert answer["account_no"] == bank.issued["LIANJIAO_BANK_ACCOUNT_NO"]
    assert answer["balance_fen"] == 100000
