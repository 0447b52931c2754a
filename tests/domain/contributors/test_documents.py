"""Identity documents: which numbers are accepted, and what they say."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.contributors.documents import (
    BirthDateInvalid,
    BirthDateMismatch,
    BirthDateRequired,
    DocumentChecksumWrong,
    DocumentExpired,
    DocumentInvalid,
    DocumentKind,
    DocumentKindMismatch,
    ExpiryDateRequired,
    read_document,
)
from app.domain.errors import Ineligible, Invalid
from tests.domain.people import CHECK_DIGITS, eighteen

ON = date(2026, 11, 24)
RESIDENT = DocumentKind.RESIDENT_ID
PERMIT = DocumentKind.HK_MO_TW_RESIDENCE_PERMIT
HK_MO = DocumentKind.HK_MO_TRAVEL_PERMIT
TW = DocumentKind.TW_TRAVEL_PERMIT
FOREIGN = DocumentKind.FOREIGN_PERMANENT_RESIDENT_CARD


def read(kind, number, **more):
    return read_document(kind, number, on=ON, **more)


@pytest.mark.parametrize(
    "region", ["320722", "320723", "320703", "320721", "320701", "320705", "320706", "320724"]
)
@pytest.mark.parametrize("year", [1946, 1956, 1966, 1976, 1984, 1990])
def test_old_and_abolished_districts_are_accepted(region, year):
    number = eighteen(region, date(year, 3, 4))
    assert read(RESIDENT, number).birth_date == date(year, 3, 4)


def test_a_district_younger_than_the_person_is_accepted():
    # 赣榆 became a district in 2014.
    assert read(RESIDENT, eighteen("320707", date(2008, 1, 2))).birth_date == date(2008, 1, 2)


def test_an_unknown_district_of_a_known_province_is_accepted():
    assert read(RESIDENT, eighteen("329999", date(1990, 1, 2))).kind is RESIDENT


@pytest.mark.parametrize("region", ["000000", "160722", "660101", "470101", "990101"])
def test_an_unknown_province_is_refused(region):
    with pytest.raises(DocumentKindMismatch):
        read(RESIDENT, eighteen(region, date(1990, 1, 2)))


@pytest.mark.parametrize(
    ("region", "year"),
    [("810000", 1990), ("810000", 1994), ("810000", 1998), ("820000", 1990), ("820000", 2000)],
)
def test_residence_permits_of_any_year_are_accepted(region, year):
    assert read(PERMIT, eighteen(region, date(year, 8, 23))).birth_date == date(year, 8, 23)


@pytest.mark.parametrize("number", ["810000199408230021", "830000199201300022"])
def test_published_specimens_of_residence_permits_are_accepted(number):
    assert read(PERMIT, number).number == number


def test_the_card_of_2023_for_foreigners_is_accepted():
    document = read(FOREIGN, "911124198108030024", expires_on=date(2033, 8, 3))
    assert document.birth_date == date(1981, 8, 3)
    assert document.expires_on == date(2033, 8, 3)


def test_the_card_of_2023_with_an_unknown_province_is_refused():
    with pytest.raises(DocumentKindMismatch):
        read(FOREIGN, eighteen("999124", date(1981, 8, 3)), expires_on=date(2033, 8, 3))


def test_the_old_card_for_foreigners_needs_a_birth_date():
    with pytest.raises(BirthDateRequired):
        read(FOREIGN, "CAN110081080310", expires_on=date(2030, 1, 1))
    document = read(
        FOREIGN, "can110081080310", birth_date=date(1981, 8, 3), expires_on=date(2030, 1, 1)
    )
    assert document.number == "CAN110081080310"
    assert document.birth_date == date(1981, 8, 3)


@pytest.mark.parametrize("number", ["CAN11008108031", "CA1100810803100", "CAN1100810803100"])
def test_the_old_card_of_another_length_is_refused(number):
    with pytest.raises(DocumentInvalid):
        read(FOREIGN, number, birth_date=date(1981, 8, 3), expires_on=date(2030, 1, 1))


@pytest.mark.parametrize("number", ["911124198108030024", "CAN110081080310"])
def test_a_foreign_card_needs_an_expiry_date_that_is_still_to_come(number):
    with pytest.raises(ExpiryDateRequired):
        read(FOREIGN, number, birth_date=date(1981, 8, 3))
    for expires_on in (date(2026, 11, 23), ON):
        with pytest.raises(DocumentExpired) as refused:
            read(FOREIGN, number, birth_date=date(1981, 8, 3), expires_on=expires_on)
        assert isinstance(refused.value, Ineligible)
    read(FOREIGN, number, birth_date=date(1981, 8, 3), expires_on=date(2026, 11, 25))


def test_another_document_that_is_declared_expired_is_refused():
    with pytest.raises(DocumentExpired):
        read(RESIDENT, eighteen("320722", date(1990, 1, 2)), expires_on=date(2026, 1, 1))


@pytest.mark.parametrize("number", ["H12345678", "M12345678", "h12345678"])
def test_hong_kong_and_macao_travel_permits_are_accepted(number):
    assert read(HK_MO, number, birth_date=date(1990, 1, 2)).number == number.upper()


@pytest.mark.parametrize(
    "number", ["H1234567", "H123456789", "A12345678", "12345678", "H1234567X", "H1234567８９"]
)
def test_other_shapes_of_hong_kong_travel_permits_are_refused(number):
    with pytest.raises(DocumentInvalid):
        read(HK_MO, number, birth_date=date(1990, 1, 2))


def test_taiwan_travel_permits_have_eight_digits():
    assert read(TW, "12345678", birth_date=date(1990, 1, 2)).number == "12345678"
    for number in ("1234567", "123456789", "H2345678"):
        with pytest.raises(DocumentInvalid):
            read(TW, number, birth_date=date(1990, 1, 2))


@pytest.mark.parametrize(("kind", "number"), [(HK_MO, "H12345678"), (TW, "12345678")])
def test_travel_permits_need_a_possible_birth_date(kind, number):
    with pytest.raises(BirthDateRequired):
        read(kind, number)
    for born in (date(1899, 12, 31), date(2026, 11, 25)):
        with pytest.raises(BirthDateInvalid):
            read(kind, number, birth_date=born)


def test_a_first_generation_number_is_refused_with_its_own_message():
    with pytest.raises(DocumentInvalid) as refused:
        read(RESIDENT, "320722900102002")
    assert "15 位" in refused.value.message


@pytest.mark.parametrize(
    "born", ["20990101", "20261125", "19900230", "19901301", "19900100", "18991231", "18500101"]
)
def test_impossible_birth_dates_are_refused(born):
    with pytest.raises(BirthDateInvalid):
        read(RESIDENT, eighteen("320722", born))


def test_the_edges_of_possible_birth_dates_are_accepted():
    assert read(RESIDENT, eighteen("320722", "19000101")).birth_date == date(1900, 1, 1)
    assert read(RESIDENT, eighteen("320722", "20261124")).birth_date == ON
    assert read(RESIDENT, eighteen("320722", "20080229")).birth_date == date(2008, 2, 29)


def with_check_digit_x() -> str:
    return next(
        number
        for serial in range(1, 1000)
        if (number := eighteen("320722", date(1990, 1, 2), f"{serial:03d}")).endswith("X")
    )


def test_full_width_blanks_and_small_x_are_cleaned():
    number = with_check_digit_x()
    wide = "".join(chr(ord(character) + 0xFEE0) for character in number)
    for typed in (number.lower(), f" {number}\n", f"\t{number}", wide, f"\u3000{wide}\u3000"):
        assert read(RESIDENT, typed).number == number


@pytest.mark.parametrize(
    "spoil",
    [
        lambda number: f"{number[:6]} {number[6:]}",
        lambda number: f"{number[:6]}-{number[6:]}",
        lambda number: number[:17],
        lambda number: number + "0",
        lambda number: "X" + number[1:],
        lambda number: number[:16] + "\u0662" + number[17],
        lambda number: number[:6] + "\u200b" + number[6:],
        lambda number: number[:6] + "\x00" + number[6:],
        lambda _: "",
    ],
)
def test_other_spoilt_numbers_are_refused(spoil):
    with pytest.raises(DocumentInvalid):
        read(RESIDENT, spoil(eighteen("320722", date(1990, 1, 2))))


def test_every_other_check_digit_is_refused():
    number = eighteen("320722", date(1990, 1, 2))
    for digit in set(CHECK_DIGITS) - {number[-1]}:
        with pytest.raises(DocumentChecksumWrong):
            read(RESIDENT, number[:17] + digit)


@given(st.integers(0, 16), st.integers(1, 9))
def test_every_single_mistyped_digit_is_refused(position, shift):
    number = eighteen("320722", date(1990, 1, 2))
    wrong = str((int(number[position]) + shift) % 10)
    with pytest.raises(DocumentChecksumWrong):
        read(RESIDENT, number[:position] + wrong + number[position + 1 :])


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (PERMIT, eighteen("320722", date(1990, 1, 2))),
        (FOREIGN, eighteen("320722", date(1990, 1, 2))),
        (RESIDENT, eighteen("810000", date(1990, 1, 2))),
        (RESIDENT, eighteen("810101", date(1990, 1, 2))),
        (PERMIT, eighteen("830001", date(1990, 1, 2))),
        (RESIDENT, "911124198108030024"),
    ],
)
def test_a_number_of_another_kind_is_refused(kind, number):
    with pytest.raises(DocumentKindMismatch):
        read(kind, number, expires_on=date(2033, 1, 1))


def test_a_declared_birth_date_must_be_the_one_in_the_number():
    number = eighteen("320722", date(1990, 1, 2))
    assert read(RESIDENT, number, birth_date=date(1990, 1, 2)).birth_date == date(1990, 1, 2)
    with pytest.raises(BirthDateMismatch):
        read(RESIDENT, number, birth_date=date(1990, 1, 3))


def test_a_refusal_names_clause_and_field_and_never_the_number():
    with pytest.raises(Invalid) as refused:
        read(RESIDENT, "320722199001020020X")
    assert refused.value.clause == "试点方案 第一条"
    assert refused.value.detail["field"] == "document_no"
    assert "320722" not in str(refused.value) + str(dict(refused.value.detail))


def test_a_document_shows_no_personal_data_in_its_repr():
    document = read(RESIDENT, eighteen("320722", date(1990, 1, 2)))
    assert "1990" not in repr(document)
