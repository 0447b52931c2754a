"""The files of a day: the items of a settlement date, the statement of the special account."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.sandbox.bank_client import BankMerchant, debit_file


def bill(bank: BankMerchant, kind: str, date: str = "20261124") -> list[list[str]]:
    content = bank.fetch("bill", kind=kind, date=date)
    assert content.endswith(b"\r\n")
    return list(csv.reader(io.StringIO(content.decode("gb18030"), newline="")))


@pytest.fixture
def card(bank: BankMerchant) -> str:
    return bank.card(name="䶮测试")


@pytest.fixture
def agreement(bank: BankMerchant, card: str) -> str:
    return bank.agree(card, name="䶮测试")


def test_the_items_of_a_day(bank: BankMerchant, card: str, agreement: str):
    bank.gateway.control("merchant/deposit", amount_fen=100000)
    bank.gateway.control("troubles", at="debit/outcome", kind="lost")
    hidden = bank.debit(agreement, order_no="D0000000002", amount_fen=10000)
    assert hidden["code"] == "34"
    done = bank.debit(agreement)
    bank.debit(agreement, 100001, order_no="D0000000003")
    bank.ask("refund", refund_no="R0000000001", order_no="D0000000001", amount_fen=20000)
    paid = bank.pay_out(card, name="䶮测试")
    bank.gateway.control("payouts/return", payout_no="P0000000001")
    bank.hand_in(
        debit_file(bank.merchant_id, [f"F0000000001|{agreement}|{card}|䶮测试|700|缴存"], 700)
    )
    name = bank.file_name()
    bank.gateway.control("files/finish", name=name)
    bank.gateway.control("clock", set="2026-11-25T06:00:00+08:00")
    header, *lines, totals = bill(bank, "items")
    assert len(header) == 12
    assert sorted((line[2], line[3], line[4], line[8]) for line in lines) == [
        ("DEBIT", "D0000000001", "", "50000"),
        ("DEBIT", "D0000000002", "", "10000"),
        ("DEBIT", "F0000000001", "", "700"),
        ("PAYOUT", "P0000000001", "", "-30000"),
        ("REFUND", "R0000000001", "D0000000001", "-20000"),
        ("RETURN", "P0000000001", "P0000000001", "30000"),
    ]
    assert totals == ["合计", "6", "90700", "-50000"]
    by_kind = {line[2] + line[3]: line for line in lines}
    assert by_kind["DEBITD0000000001"][5] == done["bank_ref"]
    assert by_kind["DEBITD0000000001"][6:8] == [agreement, card[-4:]]
    assert by_kind["DEBITF0000000001"][11] == name
    assert by_kind["PAYOUTP0000000001"][5] == paid["bank_ref"]
    assert by_kind["RETURNP0000000001"][5] != paid["bank_ref"]


def test_the_statement_of_a_day(bank: BankMerchant, card: str, agreement: str):
    bank.gateway.control("merchant/deposit", amount_fen=100000, summary="转入, 「试」")
    bank.debit(agreement)
    bank.gateway.control("clock", set="2026-11-25T06:00:00+08:00")
    bank.pay_out(card, name="䶮测试")
    header, *lines, totals = bill(bank, "statement")
    assert header[4:6] == ["金额（分）", "余额（分）"]
    assert [(line[2], line[4], line[5]) for line in lines] == [
        ("DEPOSIT", "100000", "100000"),
        ("DEBIT", "50000", "150000"),
    ]
    assert lines[0][9] == "转入, 「试」"
    assert lines[1][6:9] == [card, "䶮测试", "N"]
    assert totals == ["合计", "2", "150000", "0"]
    bank.gateway.control("clock", set="2026-11-26T06:00:00+08:00")
    assert bill(bank, "statement", "20261125")[-1] == ["合计", "1", "0", "-30000"]


def test_from_23_oclock_an_item_belongs_to_the_next_day(bank: BankMerchant, agreement: str):
    bank.gateway.control("clock", set="2026-11-24T22:59:50+08:00")
    assert bank.debit(agreement)["settle_date"] == "20261124"
    bank.gateway.control("clock", set="2026-11-24T23:00:00+08:00")
    assert bank.debit(agreement, order_no="D0000000002")["settle_date"] == "20261125"
    bank.gateway.control("clock", set="2026-11-26T06:00:00+08:00")
    assert [line[3] for line in bill(bank, "items")[1:-1]] == ["D0000000001"]
    assert [line[3] for line in bill(bank, "items", "20261125")[1:-1]] == ["D0000000002"]
    assert [line[3] for line in bill(bank, "statement")[1:-1]] == ["D0000000001", "D0000000002"]


def test_a_day_without_items_has_its_files_all_the_same(bank: BankMerchant):
    bank.gateway.control("clock", set="2026-11-25T06:00:00+08:00")
    assert bill(bank, "items")[1:] == [["合计", "0", "0", "0"]]
    assert bill(bank, "statement")[1:] == [["合计", "0", "0", "0"]]


def test_files_that_cannot_be_had(bank: BankMerchant):
    def code(**content: object) -> str:
        return json.loads(bank.fetch("bill", **content))["code"]

    bank.gateway.control("clock", set="2026-11-25T05:59:50+08:00")
    assert code(kind="items", date="20261124") == "98"
    assert code(kind="statement", date="20261125") == "98"
    assert code(kind="everything", date="20261123") == "10"
    assert code(kind="items", date="2026-11-23") == "10"
    assert code(kind="items", date="20261131") == "10"
    assert code(kind="items") == "13"
