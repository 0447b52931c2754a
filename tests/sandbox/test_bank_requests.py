"""The bank's door: merchant, key, signature, time, nonce, JSON; troubles at its answers."""

from __future__ import annotations

import json
import time

import pytest
import requests
from cryptography.exceptions import InvalidSignature

from tests.sandbox.bank_client import BankMerchant
from tests.sandbox.gateways import RunningGateway


def send(bank: BankMerchant, body: bytes = b"{}", call: str = "balance", **headers: str) -> dict:
    """Post with headers signed after the changes, and return the answer, verified."""
    signed = bank.headers(call, body, **headers)
    return json.loads(bank.read(bank.post(call, body, signed), signed["X-Bank-Nonce"]))


def test_a_good_request_is_answered(bank: BankMerchant):
    assert send(bank)["code"] == "00"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("X-Bank-Merchant", "89830000000", "31"),
        ("X-Bank-Key-Id", "M00000000", "11"),
        ("X-Bank-Nonce", "short", "10"),
        ("X-Bank-Nonce", "-" * 32, "10"),
        ("X-Bank-Timestamp", "yesterday", "10"),
    ],
)
def test_a_wrong_header_is_refused_however_well_signed(
    bank: BankMerchant, name: str, value: str, code: str
):
    assert send(bank, **{name: value})["code"] == code


@pytest.mark.parametrize(
    ("seconds", "code"), [(-301, "10"), (-290, "00"), (290, "00"), (310, "10")]
)
def test_the_window_is_five_minutes_of_the_banks_own_time(
    bank: BankMerchant, seconds: int, code: str
):
    bank.gateway.control("clock", set="2027-03-01T08:00:00+08:00")
    now = int(bank.gateway.clock.now().timestamp())
    assert send(bank, **{"X-Bank-Timestamp": str(now + seconds)})["code"] == code


def test_a_request_cannot_be_replayed(bank: BankMerchant):
    headers = bank.headers("balance", b"{}")
    first = bank.post("balance", b"{}", headers)
    again = bank.post("balance", b"{}", headers)
    assert json.loads(bank.read(first, headers["X-Bank-Nonce"]))["code"] == "00"
    assert json.loads(bank.read(again, headers["X-Bank-Nonce"]))["code"] == "10"
    assert send(bank, **{"X-Bank-Nonce": headers["X-Bank-Nonce"]})["code"] == "10"


def test_a_nonce_stays_used_when_the_bank_restarts_its_clock(bank: BankMerchant):
    nonce = "a" * 32
    assert send(bank, **{"X-Bank-Nonce": nonce})["code"] == "00"
    bank.gateway.control("clock", set="2026-11-24T09:00:00+08:00")
    assert send(bank, **{"X-Bank-Nonce": nonce})["code"] == "10"


def test_the_signature_covers_path_headers_and_every_byte(bank: BankMerchant):
    body = b'{"a": 1}'
    good = bank.headers("balance", body)
    for call, sent, headers in (
        ("debit/query", body, good),
        ("balance", body + b" ", good),
        ("balance", body, {**good, "X-Bank-Nonce": "b" * 32}),
        ("balance", body, {**good, "X-Bank-Timestamp": str(int(good["X-Bank-Timestamp"]) + 1)}),
        ("balance", body, {**good, "X-Bank-Signature": ""}),
        ("balance", body, {**good, "X-Bank-Signature": "*"}),
        ("balance", body, {**good, "X-Bank-Signature": bank.sign(body)}),
    ):
        answer = bank.post(call, sent, headers)
        assert json.loads(bank.read(answer, headers["X-Bank-Nonce"]))["code"] == "11"
    # None of them used the nonce up.
    answer = bank.post("balance", body, good)
    assert json.loads(bank.read(answer, good["X-Bank-Nonce"]))["code"] == "00"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a": 1, "a": 2}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(bank: BankMerchant, body: bytes):
    assert send(bank, body)["code"] == "10"


def test_an_answer_is_bound_to_its_question(bank: BankMerchant):
    headers = bank.headers("balance", b"{}")
    answer = bank.post("balance", b"{}", headers)
    with pytest.raises(InvalidSignature):
        bank.read(answer, "c" * 32)


def test_answers_with_a_wrong_signature_or_none(bank: BankMerchant):
    bank.gateway.control("troubles", at="balance", kind="bad_sign")
    with pytest.raises(InvalidSignature):
        send(bank)
    bank.gateway.control("troubles", at="balance", kind="unsigned")
    answer = bank.post("balance", b"{}", bank.headers("balance", b"{}"))
    assert "X-Bank-Signature" not in answer.headers
    assert send(bank)["code"] == "00"


def test_half_an_answer(bank: BankMerchant):
    bank.gateway.control("troubles", at="balance", kind="truncated")
    answer = bank.post("balance", b"{}", bank.headers("balance", b"{}"))
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


@pytest.mark.parametrize(("kind", "is_done"), [("timeout_before", False), ("timeout_after", True)])
def test_silence_before_and_after_the_money_moved(bank: BankMerchant, kind: str, is_done: bool):
    agreement = bank.agree(bank.card())
    bank.gateway.control("troubles", at="debit", kind=kind, seconds=0.2)
    started = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        bank.debit(agreement)
    assert time.monotonic() - started >= 0.2
    assert bank.find()["code"] == ("00" if is_done else "34")
    assert bank.balance() == (50000 if is_done else 0)


@pytest.mark.parametrize(("kind", "is_done"), [("error", False), ("error_after", True)])
def test_an_error_code_before_and_after_the_money_moved(
    bank: BankMerchant, kind: str, is_done: bool
):
    agreement = bank.agree(bank.card())
    bank.gateway.control("troubles", at="debit", kind=kind, code="06")
    assert bank.debit(agreement)["code"] == "06"
    assert bank.balance() == (50000 if is_done else 0)


def test_the_control_api_refuses_nonsense(bank_gateway: RunningGateway):
    for path, content in (
        ("troubles", {"at": "sign/nothing", "kind": "html"}),
        ("troubles", {"at": "debit/outcome", "kind": "html"}),
        ("troubles", {"at": "refund", "kind": "refund_pending"}),
        ("troubles", {"at": "debit/outcome", "kind": "refuse"}),
        ("troubles", {"at": "file/ack", "kind": "partial"}),
        ("troubles", {"at": "file/line", "kind": "refuse"}),
        ("troubles", {"at": "notice", "kind": "refuse", "code": "64"}),
        ("cards", {"name": "测试用户", "id_kind": "01", "id_no": "1", "phone": "13800000001"}),
        ("cards/change", {"card_no": "6217980000000000000", "state": "frozen"}),
        ("mandates/change", {"agreement_no": "A0000000001", "state": "CANCELLED"}),
        ("mandates/change", {"agreement_no": "A0000000001", "state": "GONE"}),
        ("debits/finish", {"order_no": "D0000000001"}),
        ("payouts/finish", {"payout_no": "P0000000001"}),
        ("payouts/return", {"payout_no": "P0000000001"}),
        ("files/finish", {"name": "DK_1.txt"}),
        ("files/release", {"name": "DK_1.txt"}),
        ("merchant/deposit", {"amount_fen": 0}),
        ("notices/forge", {"out_trade_no": "D0000000001", "defect": "none"}),
    ):
        answer = bank_gateway.try_control(path, **content)
        assert answer["ok"] is False, path
        assert answer["error"]
