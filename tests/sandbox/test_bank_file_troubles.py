"""What can happen to the bank's files: lost, late, twice, cut, changed, incomplete, not ours."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature

from tests.sandbox.bank_client import NAME, BankMerchant, debit_file, sm3


@pytest.fixture
def lines(bank: BankMerchant) -> list[str]:
    card = bank.card()
    agreement = bank.agree(card)
    return [f"F000000000{at}|{agreement}|{card}|{NAME}|{at}0000|缴存" for at in (1, 2, 3)]


def answered(
    bank: BankMerchant, lines_sent: list[str], at: str, **trouble: object
) -> dict[str, bytes]:
    """Hand in a file, let a trouble meet its answer, and return what is in the outbox."""
    bank.gateway.control("troubles", at=at, **trouble)
    bank.hand_in(debit_file(bank.merchant_id, lines_sent, 60000))
    bank.gateway.control("files/finish", name=bank.file_name())
    return bank.take_all()


@pytest.mark.parametrize(("at", "kind"), [("file/ack", "DKA"), ("file/result", "DKR")])
def test_dropped_and_released(bank: BankMerchant, lines: list[str], at: str, kind: str):
    files = answered(bank, lines, at, kind="drop")
    name = bank.file_name(kind=kind)
    bank.gateway.control("clock", advance_seconds=30 * 86400)
    assert name not in files
    assert name not in bank.take_all()
    assert bank.balance() == 60000
    assert bank.gateway.control("files/release", name=bank.file_name())["released"] == 1
    assert bank.take(kind)[0][1] == kind
    assert not bank.gateway.try_control("files/release", name=bank.file_name())["ok"]


def test_a_lost_acknowledgement_comes_when_the_same_bytes_are_handed_in(
    bank: BankMerchant, lines: list[str]
):
    bank.gateway.control("troubles", at="file/ack", kind="drop")
    content = debit_file(bank.merchant_id, lines, 60000)
    bank.hand_in(content)
    assert bank.take_all() == {}
    bank.hand_in(content)
    assert bank.take("DKA")[1][3] == "ACCEPTED"
    assert len(bank.books()["debits"]) == 3


def test_late(bank: BankMerchant, lines: list[str]):
    files = answered(bank, lines, "file/result", kind="delay", seconds=86400)
    assert bank.file_name(kind="DKR") not in files
    bank.gateway.control("clock", advance_seconds=86390)
    assert bank.file_name(kind="DKR") not in bank.take_all()
    bank.gateway.control("clock", set="2026-12-24T10:00:00+08:00")
    records = bank.take("DKR")
    assert {record[7] for record in records[1:-1]} == {"20261124"}


def test_twice_under_two_names(bank: BankMerchant, lines: list[str]):
    files = answered(bank, lines, "file/result", kind="duplicate")
    name = bank.file_name(kind="DKR")
    second = name.replace(".txt", "_2.txt")
    assert files[name] == files[second]
    assert files[f"{name}.sig"] == files[f"{second}.sig"]
    assert f"{second}.ok" in files


def test_a_wrong_signature_or_none(bank: BankMerchant, lines: list[str]):
    files = answered(bank, lines, "file/result", kind="bad_sign")
    name = bank.file_name(kind="DKR")
    with pytest.raises(InvalidSignature):
        bank.verify(files[name], files[f"{name}.sig"].decode())
    bank.gateway.control("troubles", at="file/ack", kind="unsigned")
    bank.hand_in(debit_file(bank.merchant_id, lines, 60000, sequence="0002"), "0002")
    files = bank.take_all()
    assert f"{bank.file_name('0002', 'DKA')}.ok" in files
    assert f"{bank.file_name('0002', 'DKA')}.sig" not in files


@pytest.mark.parametrize("kind", ["truncate", "alter"])
@pytest.mark.parametrize("resigned", [False, True])
def test_bytes_changed_on_the_way(bank: BankMerchant, lines: list[str], kind: str, resigned: bool):
    files = answered(bank, lines, "file/result", kind=kind, resigned=resigned)
    name = bank.file_name(kind="DKR")
    content, signature = files[name], files[f"{name}.sig"].decode()
    if resigned:
        bank.verify(content, signature)
    else:
        with pytest.raises(InvalidSignature):
            bank.verify(content, signature)
    if kind == "truncate":
        assert b"\r\nT|" not in content
    else:
        body, trailer = content[: content.rindex(b"T|")], content[content.rindex(b"T|") :]
        assert trailer.decode().strip().split("|")[3] != sm3(body)


def order_numbers(records: list[list[str]]) -> list[str]:
    return [record[2] for record in records[1:-1]]


def test_a_part_of_the_results_and_the_rest_later(bank: BankMerchant, lines: list[str]):
    answered(bank, lines, "file/result", kind="partial", lines=2)
    records = bank.take("DKR")
    assert order_numbers(records) == ["F0000000001"]
    assert records[0][4:6] == ["1", "10000"]
    bank.gateway.control("files/release", name=bank.file_name())
    rest = bank.take_all()[bank.file_name(kind="DKR").replace(".txt", "_2.txt")]
    assert [line.split("|")[2] for line in rest.decode("gb18030").split("\r\n")[1:3]] == [
        "F0000000002",
        "F0000000003",
    ]
    assert bank.balance() == 60000


def test_lines_that_nobody_sent_or_twice_the_same(bank: BankMerchant, lines: list[str]):
    answered(bank, lines, "file/result", kind="foreign")
    assert order_numbers(bank.take("DKR"))[3] == "FOREIGN00000001"
    others = [line.replace("F00", "G00") for line in lines]
    bank.gateway.control("clock", set="2026-12-01T10:00:00+08:00")
    bank.gateway.control("troubles", at="file/result", kind="repeat_line")
    bank.hand_in(debit_file(bank.merchant_id, others, 60000, sequence="0002"), "0002")
    bank.gateway.control("files/finish", name=bank.file_name("0002"))
    numbers = order_numbers(bank.take("DKR", "0002"))
    assert numbers == ["G0000000001", "G0000000002", "G0000000003", "G0000000001"]


def test_less_paid_than_asked(bank: BankMerchant, lines: list[str]):
    answered(bank, lines, "file/result", kind="short_paid")
    records = bank.take("DKR")
    assert [record[5] for record in records[1:-1]] == ["9999", "20000", "30000"]
    assert records[0][5] == "59999"
    assert bank.balance() == 60000


def test_the_header_of_another_batch(bank: BankMerchant, lines: list[str]):
    answered(bank, lines, "file/result", kind="other_batch")
    assert bank.take("DKR")[0][3] == "0002"


def test_single_lines_refused_and_left_open(bank: BankMerchant, lines: list[str]):
    bank.gateway.control("troubles", at="file/line", kind="refuse", code="64")
    bank.gateway.control("troubles", at="file/line", kind="refuse", code="83")
    bank.hand_in(debit_file(bank.merchant_id, lines, 60000))
    bank.gateway.control("files/finish", name=bank.file_name())
    assert [(record[3], record[5]) for record in bank.take("DKR")[1:-1]] == [
        ("64", "0"),
        ("83", "0"),
        ("00", "30000"),
    ]
    assert bank.find("F0000000002")["state"] == "PROCESSING"
    assert bank.balance() == 30000
    bank.gateway.control("debits/finish", order_no="F0000000002")
    assert bank.find("F0000000002")["orig_code"] == "00"
    assert bank.balance() == 50000
    assert bank.gateway.look("deliveries")["deliveries"] == []
