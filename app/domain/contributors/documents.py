"""Identity documents (身份证件): what a number must look like and what it says. Pure.

The shape, the check digit and the date decide; the region below the province is information only,
because districts come and go and people keep the number that they were born with. Whether a
document was really issued is for the official check, not for arithmetic.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from stdnum.iso7064 import mod_11_2

from app.domain.errors import Ineligible, Invalid

CLAUSE = "试点方案 第一条"
EARLIEST_BIRTH = date(1900, 1, 1)

PROVINCES = frozenset(
    str(code)
    for block in (
        range(11, 16),
        range(21, 24),
        range(31, 38),
        range(41, 47),
        range(50, 55),
        range(61, 66),
        (71,),
    )
    for code in block
)
RESIDENCE_PERMIT_REGIONS = frozenset({"810000", "820000", "830000"})

_EIGHTEEN = re.compile(r"[0-9]{17}[0-9X]")
_FIRST_GENERATION = re.compile(r"[0-9]{15}")
_HK_MO_TRAVEL_PERMIT = re.compile(r"[HM][0-9]{8}")
_TW_TRAVEL_PERMIT = re.compile(r"[0-9]{8}")
_OLD_FOREIGN_CARD = re.compile(r"[A-Z]{3}[0-9]{12}")


class DocumentKind(StrEnum):
    """Identity documents that clause 1 admits."""

    RESIDENT_ID = "resident_id"
    HK_MO_TW_RESIDENCE_PERMIT = "hk_mo_tw_residence_permit"
    HK_MO_TRAVEL_PERMIT = "hk_mo_travel_permit"
    TW_TRAVEL_PERMIT = "tw_travel_permit"
    FOREIGN_PERMANENT_RESIDENT_CARD = "foreign_permanent_resident_card"


class DocumentInvalid(Invalid):
    """The number cannot be one of a document of this kind."""

    code = "document_invalid"
    default_message = "证件号码格式不正确"

    def __init__(self, message: str = "", *, field: str = "document_no") -> None:
        super().__init__(message, clause=CLAUSE, field=field)


class DocumentChecksumWrong(DocumentInvalid):
    """Mistyped: the last character does not follow from the others."""

    code = "document_checksum_wrong"
    default_message = "证件号码校验位不正确，请核对后重新填写"


class DocumentKindMismatch(DocumentInvalid):
    """A well-formed number of another kind of document."""

    code = "document_kind_mismatch"
    default_message = "证件号码与所选证件类型不符"


class BirthDateInvalid(DocumentInvalid):
    """No such day, or a day on which nobody alive can have been born."""

    code = "birth_date_invalid"
    default_message = "出生日期不正确"


class BirthDateRequired(DocumentInvalid):
    """The number of this kind of document does not tell the birth date."""

    code = "birth_date_required"
    default_message = "该类证件号码不含出生日期，请填写出生日期"

    def __init__(self) -> None:
        super().__init__(field="birth_date")


class BirthDateMismatch(DocumentInvalid):
    """The declared birth date is not the one in the number."""

    code = "birth_date_mismatch"
    default_message = "填写的出生日期与证件号码不一致"

    def __init__(self) -> None:
        super().__init__(field="birth_date")


class ExpiryDateRequired(DocumentInvalid):
    """A permanent resident card counts only while it is valid."""

    code = "expiry_date_required"
    default_message = "请填写外国人永久居留身份证的有效期截止日期"

    def __init__(self) -> None:
        super().__init__(field="expires_on")


class DocumentExpired(Ineligible):
    """The document is no longer valid on the day of the application."""

    code = "document_expired"
    default_message = "证件已过有效期，请换领新证后办理"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityDocument:
    """A document as accepted: the number cleaned, the birth date known."""

    kind: DocumentKind
    number: str = field(repr=False)
    birth_date: date = field(repr=False)
    expires_on: date | None = None


def read_document(
    kind: DocumentKind,
    number: str,
    *,
    on: date,
    birth_date: date | None = None,
    expires_on: date | None = None,
) -> IdentityDocument:
    """Return the document that a person presents on a day.

    Args:
        number: as typed; full-width digits, a small x and surrounding blanks are cleaned.
        on: the day of the application, local.
        birth_date: as declared; needed for travel permits and old foreign cards.
        expires_on: last day of validity; needed for foreign permanent resident cards.

    Raises:
        DocumentInvalid: one of its kinds says what is wrong with which field.
        DocumentExpired: not valid any more.
    """
    cleaned = clean_number(number)
    told = _birth_date_told(kind, cleaned)
    if told is None and birth_date is None:
        raise BirthDateRequired
    if told is not None and birth_date is not None and told != birth_date:
        raise BirthDateMismatch
    born = told or birth_date
    assert born is not None
    if not EARLIEST_BIRTH <= born <= on:
        raise BirthDateInvalid(field="document_no" if told else "birth_date")
    _check_validity(kind, expires_on, on=on)
    return IdentityDocument(kind=kind, number=cleaned, birth_date=born, expires_on=expires_on)


def clean_number(number: str) -> str:
    """Return a number as documents print it: half-width, upper case, no surrounding blanks."""
    cleaned = unicodedata.normalize("NFKC", number).strip()
    if not cleaned.isascii():
        raise DocumentInvalid
    return cleaned.upper()


def _birth_date_told(kind: DocumentKind, number: str) -> date | None:
    match kind:
        case DocumentKind.HK_MO_TRAVEL_PERMIT:
            if not _HK_MO_TRAVEL_PERMIT.fullmatch(number):
                raise DocumentInvalid("港澳居民来往内地通行证号码应为字母 H 或 M 加 8 位数字")
            return None
        case DocumentKind.TW_TRAVEL_PERMIT:
            if not _TW_TRAVEL_PERMIT.fullmatch(number):
                raise DocumentInvalid("台湾居民来往大陆通行证号码应为 8 位数字")
            return None
        case DocumentKind.FOREIGN_PERMANENT_RESIDENT_CARD if _OLD_FOREIGN_CARD.fullmatch(number):
            return None
    if kind is DocumentKind.RESIDENT_ID and _FIRST_GENERATION.fullmatch(number):
        raise DocumentInvalid("15 位身份证号码已停止使用，请填写 18 位公民身份号码")
    return _read_eighteen(kind, number)


def _read_eighteen(kind: DocumentKind, number: str) -> date:
    if not _EIGHTEEN.fullmatch(number):
        raise DocumentInvalid
    if not mod_11_2.is_valid(number):
        raise DocumentChecksumWrong
    if _kind_of_eighteen(number) is not kind:
        raise DocumentKindMismatch
    try:
        return date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        raise BirthDateInvalid from None


def _kind_of_eighteen(number: str) -> DocumentKind | None:
    if number[:6] in RESIDENCE_PERMIT_REGIONS:
        return DocumentKind.HK_MO_TW_RESIDENCE_PERMIT
    if number[0] == "9":
        known = number[1:3] in PROVINCES
        return DocumentKind.FOREIGN_PERMANENT_RESIDENT_CARD if known else None
    return DocumentKind.RESIDENT_ID if number[:2] in PROVINCES else None


def _check_validity(kind: DocumentKind, expires_on: date | None, *, on: date) -> None:
    if expires_on is None:
        if kind is DocumentKind.FOREIGN_PERMANENT_RESIDENT_CARD:
            raise ExpiryDateRequired
        return
    if expires_on <= on:
        raise DocumentExpired(clause=CLAUSE, field="expires_on")
