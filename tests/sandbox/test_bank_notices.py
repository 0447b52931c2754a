"""Back notices of the bank: signed anew at every try, repeated, multiplied, forged."""

from __future__ import annotations

import json

import pytest
from cryptography.exceptions import InvalidSignature

from tests.sandbox.bank_client import BankMerchant


@pytest.fixture
def agreement(bank: BankMerchant) -> str:
    return bank.agree(bank.card())


def test_a_result_is_announced_whatever_it_is(bank: BankMerchant, agreement: str):
    done = bank.debit(agreement)
    bank.debit(agreement, 100001, order_no="D0000000002")
    bank.gateway.until(lambda log: len(log) == 2)
    first, second = bank.read_notice(0), bank.read_notice(1)
    assert first["event"] == second["event"] == "debit.result"
    assert first["merchant_id"] == bank.merchant_id
    assert (first["order_no"], first["state"]) == ("D0000000001", "SUCCEEDED")
    assert first["bank_ref"] == done["bank_ref"]
    assert (second["orig_code"], second["actual_fen"]) == ("33", 0)
    assert first["event_id"] != second["event_id"]


@pytest.mark.parametrize(
    ("status", "reply"), [(200, ""), (200, "[]"), (200, '{"code": "10"}'), (500, '{"code": "00"}')]
)
def test_it_comes_again_until_it_is_accepted_with_a_new_signature(
    bank: BankMerchant, agreement: str, status: int, reply: str
):
    bank.inbox.status, bank.inbox.reply = status, reply
    bank.debit(agreement)
    bank.gateway.until(lambda log: len(log) == 1)
    bank.inbox.status, bank.inbox.reply = 200, '{"code": "00"}'
    bank.gateway.control("clock", advance_seconds=60)
    log = bank.gateway.until(lambda log: len(log) == 2)
    assert [entry["accepted"] for entry in log] == [False, True]
    assert bank.inbox.bodies[0] == bank.inbox.bodies[1]
    assert bank.read_notice(0) == bank.read_notice(1)
    first, second = (int(headers["X-Bank-Timestamp"]) for headers in bank.inbox.headers)
    assert second - first >= 60
    assert bank.inbox.headers[0]["X-Bank-Nonce"] != bank.inbox.headers[1]["X-Bank-Nonce"]


def test_copies_race_and_what_was_dropped_comes_later(bank: BankMerchant, agreement: str):
    bank.gateway.control("troubles", at="notice", kind="drop")
    bank.gateway.control("troubles", at="notice", kind="duplicate", copies=3)
    bank.debit(agreement)
    bank.gateway.until(lambda log: len(log) == 1)
    assert bank.inbox.bodies == []
    bank.gateway.control("clock", advance_seconds=60)
    bank.gateway.until(lambda log: len(log) == 4)
    assert len(set(bank.inbox.bodies)) == 1
    assert len(bank.inbox.bodies) == 3


def test_movements_of_the_account_are_told_to_the_registered_address(bank: BankMerchant):
    bank.gateway.control("merchant/deposit", amount_fen=100)
    bank.gateway.control("merchant/address", url=bank.inbox.url)
    card = bank.card()
    bank.debit(bank.agree(card))
    bank.pay_out(card)
    bank.gateway.control("payouts/return", payout_no="P0000000001", reason="退汇")
    bank.gateway.until(lambda log: len(log) == 6)
    told = [bank.read_notice(place) for place in range(6)]
    moved = [notice for notice in told if notice["event"] == "account.changed"]
    assert [(notice["kind"], notice["amount_fen"]) for notice in moved] == [
        ("DEBIT", 50000),
        ("PAYOUT", -30000),
        ("RETURN", 30000),
    ]
    assert [notice["balance_fen"] for notice in moved] == [50100, 20100, 50100]
    assert [notice["is_reversal"] for notice in moved] == [False, False, True]
    assert {notice["party_card"] for notice in moved} == {card}
    assert {notice["account_no"] for notice in moved} == {bank.issued["LIANJIAO_BANK_ACCOUNT_NO"]}


@pytest.mark.parametrize("defect", ["wrong_key", "no_sign", "empty_key", "tampered_after_signing"])
def test_forgeries_do_not_bear_the_banks_signature(bank: BankMerchant, agreement: str, defect: str):
    bank.gateway.control("troubles", at="debit/outcome", kind="slow")
    bank.debit(agreement)
    forged = bank.gateway.control("notices/forge", out_trade_no="D0000000001", defect=defect)
    assert forged["status"] == 200
    assert json.loads(bank.inbox.bodies[0])["state"] == "SUCCEEDED"
    with pytest.raises((InvalidSignature, KeyError)):
        bank.read_notice(0)
    assert bank.find()["state"] == "PROCESSING"


def test_forgeries_that_are_properly_signed(bank: BankMerchant, agreement: str):
    bank.gateway.control("troubles", at="debit/outcome", kind="slow")
    bank.debit(agreement)

    def forge(number: str, defect: str, **fields: str) -> dict:
        bank.gateway.control("notices/forge", out_trade_no=number, defect=defect, fields=fields)
        return bank.read_notice(-1)

    assert forge("D0000000001", "none", amount_fen="1")["amount_fen"] == 1
    assert forge("D0000000001", "other_merchant")["merchant_id"] != bank.merchant_id
    forge("D0000000001", "stale")
    now = int(bank.gateway.clock.now().timestamp())
    assert now - int(bank.inbox.headers[-1]["X-Bank-Timestamp"]) >= 600
    assert forge("A0000000001", "none")["state"] == "CANCELLED"
    bank.gateway.control("merchant/deposit", amount_fen=30000)
    card = bank.books()["cards"][0]["card_no"]
    bank.pay_out(card)
    assert forge("P0000000001", "none", state="FAILED")["event"] == "payout.result"
    assert bank.gateway.try_control("notices/forge", out_trade_no="D0000000001", defect="x") == {
        "ok": False,
        "error": "没有这种伪造：x",
    }
    for answer in ("sign/query",):
        assert bank.ask(answer, agreement_no="A0000000001")["state"] == "ACTIVE"


def test_a_notice_is_sent_again_on_demand(bank: BankMerchant, agreement: str):
    bank.debit(agreement)
    bank.gateway.until(lambda log: len(log) == 1)
    replies = bank.gateway.control("notices/resend", out_trade_no="D0000000001", copies=2)
    assert [reply["status"] for reply in replies["replies"]] == [200, 200]
    assert [bank.read_notice(place)["order_no"] for place in range(3)] == ["D0000000001"] * 3
