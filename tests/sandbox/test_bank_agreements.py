"""Agreements at the bank: four elements, the code, limits on guessing, ends of every kind."""

from __future__ import annotations

import pytest
import requests

from tests.sandbox.bank_client import ID_NO, NAME, PHONE, BankMerchant

RARE = "䶮𬱖·测试"


def confirm(bank: BankMerchant, serial: str, code: str, number: str = "A0000000001") -> dict:
    return bank.ask("sign/confirm", agreement_no=number, sms_serial=serial, sms_code=code)


def look(bank: BankMerchant, number: str = "A0000000001") -> dict:
    return bank.ask("sign/query", agreement_no=number)


def test_an_agreement_is_signed_with_four_elements_and_a_code(bank: BankMerchant):
    card = bank.card()
    started = bank.start(card)
    assert started["code"] == "00"
    assert started["phone"] == "138****0001"
    assert look(bank)["state"] == "SMS_SENT"
    assert bank.code() not in str(started)
    signed = confirm(bank, started["sms_serial"], bank.code())
    assert signed["state"] == "ACTIVE"
    assert signed["channel_agreement_no"].startswith("6220261124")
    found = look(bank)
    assert found["channel_agreement_no"] == signed["channel_agreement_no"]
    assert found["card_tail"] == card[-4:]
    assert (found["cap_fen"], found["period_cap_fen"]) == (100000, 150000)
    assert (found["cycle"], found["debit_day"]) == ("MONTH", 10)
    assert (found["valid_from"], found["valid_to"]) == ("20261101", "20281231")
    assert confirm(bank, started["sms_serial"], bank.code()) == signed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "测试用"),
        ("name", f"{NAME} "),
        ("id_no", "32072219900307602X"),
        ("phone", "13800000002"),
        ("card_no", "6217980000000000008"),
    ],
)
def test_whichever_element_is_wrong_the_answer_is_the_same(
    bank: BankMerchant, name: str, value: str
):
    answer = bank.ask("sign/start", **{**bank.terms(bank.card()), name: value})
    assert answer == {"code": "66", "message": "持卡人身份信息或手机号验证失败"}
    assert bank.books()["mandates"] == []


@pytest.mark.parametrize(
    "card_no",
    [
        "6217980000000000005",  # the check digit
        "4111111111111111",  # no card of UnionPay
        "62179800000",
        "62179800000000000000",
        "6217 9800 0000 0000 008",
        "６２１７９８０００００００００００００８",
    ],
)
def test_what_cannot_be_a_card_is_refused_before_anyone_is_asked(bank: BankMerchant, card_no: str):
    assert bank.start(card_no)["code"] == "44"


def test_cards_that_cannot_be_signed(bank: BankMerchant):
    assert bank.start(bank.card(kind="credit"))["code"] == "68"
    for state, code in (("frozen", "63"), ("lost", "63"), ("closed", "61")):
        card = bank.card()
        bank.gateway.control("cards/change", card_no=card, state=state)
        assert bank.start(card)["code"] == code


@pytest.mark.parametrize(
    ("id_kind", "id_no"),
    [
        ("01", "830000199201300022"),
        ("03", "E12345678"),
        ("04", "911124198108030024"),
        ("04", "USA110012345678"),
        ("05", "H12345678"),
        ("06", "12345678"),
    ],
)
def test_every_kind_of_document_and_rare_characters(bank: BankMerchant, id_kind: str, id_no: str):
    holder = {"name": RARE, "id_kind": id_kind, "id_no": id_no}
    assert bank.agree(bank.card(**holder), **holder)
    other = {**holder, "name": RARE.replace("\u00b7", "\u2022")}
    assert bank.start(bank.card(**holder), agreement_no="A0000000002", **other)["code"] == "66"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("id_no", "320722199003076012", "10"),
        ("id_kind", "02", "10"),
        ("phone", "1380000000", "10"),
        ("cap_fen", 0, "10"),
        ("cap_fen", "100000", "10"),
        ("cap_fen", True, "10"),
        ("cap_fen", 150001, "10"),
        ("cap_fen", None, "13"),
        ("cycle", "WEEK", "10"),
        ("debit_day", 0, "10"),
        ("debit_day", 29, "10"),
        ("valid_to", "20261031", "10"),
        ("valid_to", "20280230", "10"),
        ("agreement_no", "A-1", "10"),
        ("purpose", "住房\n公积金", "10"),
        ("name", "", "13"),
        ("notify_url", "ftp://127.0.0.1/", "10"),
    ],
)
def test_bad_terms_are_refused_and_nothing_is_written(
    bank: BankMerchant, name: str, value: object, code: str
):
    assert bank.start(bank.card(), **{name: value})["code"] == code
    assert bank.books()["mandates"] == []


def test_a_confirmation_without_an_answer_is_found_by_asking(bank: BankMerchant):
    serial = bank.start(bank.card())["sms_serial"]
    bank.gateway.control("troubles", at="sign/confirm", kind="timeout_after", seconds=0.1)
    with pytest.raises(requests.ConnectionError):
        confirm(bank, serial, bank.code())
    assert look(bank)["state"] == "ACTIVE"
    assert confirm(bank, serial, bank.code())["channel_agreement_no"] is not None


def test_the_fifth_wrong_code_ends_the_signing(bank: BankMerchant):
    serial = bank.start(bank.card())["sms_serial"]
    code = bank.code()
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    for _ in range(4):
        assert confirm(bank, serial, wrong)["code"] == "71"
    assert look(bank)["state"] == "SMS_SENT"
    assert confirm(bank, serial, wrong)["code"] == "71"
    assert look(bank)["state"] == "FAILED"
    assert confirm(bank, serial, code)["code"] == "35"


def test_a_code_is_good_for_ten_minutes(bank: BankMerchant):
    serial = bank.start(bank.card())["sms_serial"]
    bank.gateway.control("clock", advance_seconds=600)
    assert confirm(bank, serial, bank.code())["code"] == "71"


def test_a_code_belongs_to_its_serial(bank: BankMerchant):
    card = bank.card()
    bank.start(card)
    code = bank.code()
    other = bank.start(card, agreement_no="A0000000002")["sms_serial"]
    assert confirm(bank, other, code)["code"] == "71"


def test_five_checks_a_day_for_one_person(bank: BankMerchant):
    card = bank.card()
    for _ in range(5):
        assert bank.start(card, phone="13800000009")["code"] == "66"
    assert bank.start(card)["code"] == "37"
    bank.gateway.control("clock", set="2026-11-25T00:00:00+08:00")
    assert bank.start(card)["code"] == "00"


def test_starting_again_sends_no_second_code_and_changes_nothing(bank: BankMerchant):
    card = bank.card()
    first = bank.start(card)
    assert bank.start(card) == first
    assert len(bank.gateway.control("sms", phone=PHONE)["messages"]) == 1
    assert bank.start(card, cap_fen=90000)["code"] == "12"
    confirm(bank, first["sms_serial"], bank.code())
    assert bank.start(card)["code"] == "12"


def test_the_merchant_cancels_once(bank: BankMerchant):
    agreement = bank.agree(bank.card())
    ended = bank.ask("sign/cancel", agreement_no="A0000000001", reason="销户")
    assert (ended["state"], ended["ended_by"], ended["reason"]) == ("CANCELLED", "merchant", "销户")
    bank.gateway.control("clock", advance_seconds=60)
    assert bank.ask("sign/cancel", agreement_no="A0000000001") == ended
    assert bank.debit(agreement)["code"] == "89"
    assert bank.ask("sign/cancel", agreement_no="A0000000009")["code"] == "34"


@pytest.mark.parametrize("by", ["user", "bank"])
def test_the_bank_or_the_user_ends_it_and_a_notice_says_so(bank: BankMerchant, by: str):
    agreement = bank.agree(bank.card())
    change = {"agreement_no": "A0000000001", "state": "CANCELLED", "by": by, "reason": "解约"}
    bank.gateway.control("mandates/change", **change)
    bank.gateway.until(lambda log: len(log) == 1)
    notice = bank.read_notice(0)
    assert notice["event"] == "mandate.changed"
    assert (notice["state"], notice["by"]) == ("CANCELLED", by)
    assert notice["channel_agreement_no"] == agreement
    assert look(bank)["ended_by"] == by
    assert bank.debit(agreement)["code"] == "89"


def test_suspended_and_in_force_again(bank: BankMerchant):
    agreement = bank.agree(bank.card())
    bank.gateway.control("mandates/change", agreement_no="A0000000001", state="SUSPENDED")
    assert bank.debit(agreement)["code"] == "77"
    bank.gateway.control("mandates/change", agreement_no="A0000000001", state="ACTIVE")
    assert bank.debit(agreement, order_no="D0000000002")["code"] == "00"


def test_an_agreement_holds_from_its_first_day_to_its_last(bank: BankMerchant):
    card = bank.card()
    agreement = bank.agree(card, valid_from="20261125", valid_to="20261126")
    assert bank.debit(agreement)["code"] == "40"
    bank.gateway.control("clock", set="2026-11-26T22:00:00+08:00")
    assert bank.debit(agreement, order_no="D0000000002")["code"] == "00"
    bank.gateway.control("clock", set="2026-11-27T00:00:00+08:00")
    assert bank.debit(agreement, order_no="D0000000003")["code"] == "80"
    assert look(bank)["state"] == "EXPIRED"
    bank.gateway.until(lambda log: len(log) == 3)
    assert [bank.read_notice(place)["event"] for place in range(3)] == ["debit.result"] * 3


def test_only_the_control_api_tells_codes(bank: BankMerchant):
    bank.start(bank.card())
    assert "sms_code" not in str(look(bank))
    assert bank.code() not in str(look(bank))
    assert ID_NO not in str(look(bank))
