"""Who may enrol (开户条件), and what may be written down about a person. Pure.

Source: 试点方案 第一条, 第十二条, 第十八条; 民法典 第十七条, 第十八条.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import date
from enum import StrEnum

from app.domain.calendar import full_years
from app.domain.contributors.facts import DeclaredFacts
from app.domain.errors import Ineligible, Invalid

CLAUSE_WHO = "试点方案 第一条"
CLAUSE_INDUSTRY = "试点方案 第十二条、第十八条"
CLAUSE_CHILDREN = "试点方案 第三条"
CLAUSE_VETERAN = "试点方案 第十六条"
CLAUSE_FULL_CAPACITY = "民法典 第十八条"

NAME_LENGTH_MIN, NAME_LENGTH_MAX = 2, 50
EVIDENCE_LENGTH_MAX = 100
CHILDREN_MAX = 20

MIDDLE_DOT = "·"
_MIDDLE_DOTS = str.maketrans(dict.fromkeys("•‧∙⋅・⸱᛫", MIDDLE_DOT))
_NAME_MARKS = frozenset(f" {MIDDLE_DOT}-'’.〇")
# Letters and marks by their category that show nothing at all.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164")
_PHONE = re.compile(r"1[3-9][0-9]{9}")
_MARKUP = frozenset("<>`{}\\")


class EmploymentForm(StrEnum):
    """How the person earns, clause 1: 个体经营、非全日制、新就业形态."""

    SELF_EMPLOYED = "self_employed"
    PART_TIME = "part_time"
    NEW_FORM = "new_form"


class IndustryTag(StrEnum):
    """Industry chains that clauses 12 and 18 name; for statistics and offers only."""

    PETROCHEMICAL = "petrochemical"
    MEDICINE = "medicine"
    E_COMMERCE = "e_commerce"
    FARMING = "farming"
    LIVESTOCK = "livestock"
    HEALTH_TOURISM = "health_tourism"


class RealNameInvalid(Invalid):
    """Not a name as an identity document prints it."""

    code = "real_name_invalid"
    default_message = "姓名应与证件一致：2 至 50 个字，不含数字、符号或不可见字符"


class PhoneInvalid(Invalid):
    """Not a mainland mobile number."""

    code = "phone_invalid"
    default_message = "手机号码应为 11 位，以 13 至 19 开头"


class TooYoung(Ineligible):
    """Not yet of the age at which labour income of one's own counts."""

    code = "too_young"


class OwnLabourIncomeRequired(Ineligible):
    """A minor counts as having full capacity only when living on their own labour."""

    code = "own_labour_income_required"


class IndustryTagUnknown(Invalid):
    """Not one of the industry chains of the plan."""

    code = "industry_tag_unknown"
    default_message = "所选产业不在支持范围内"


class DeclaredFactInvalid(Invalid):
    """A declaration that contradicts itself."""

    code = "declared_fact_invalid"


def clean_real_name(name: str) -> str:
    """Return a real name as it is kept: NFKC, one form of the middle dot, single spaces.

    Rare characters count as letters, also those newer than this Python's character table; what
    cannot be seen or would change the direction of text is refused.

    Raises:
        RealNameInvalid: too short, too long, or with characters that no name has.
    """
    cleaned = unicodedata.normalize("NFKC", name).strip(" \t\r\n").translate(_MIDDLE_DOTS)
    cleaned = re.sub(f" *{MIDDLE_DOT} *", MIDDLE_DOT, re.sub(" +", " ", cleaned))
    if (
        not NAME_LENGTH_MIN <= len(cleaned) <= NAME_LENGTH_MAX
        or not all(_may_stand_in_name(character) for character in cleaned)
        or not (_is_letter(cleaned[0]) and cleaned[-1] != MIDDLE_DOT)
    ):
        raise RealNameInvalid(clause=CLAUSE_WHO, field="real_name")
    return cleaned


def clean_phone(phone: str) -> str:
    """Return a mobile number of 11 ASCII digits.

    Raises:
        PhoneInvalid: anything else, also with blanks or a country code.
    """
    cleaned = unicodedata.normalize("NFKC", phone).strip()
    if not _PHONE.fullmatch(cleaned):
        raise PhoneInvalid(field="phone")
    return cleaned


def check_age(
    birth_date: date,
    *,
    on: date,
    minimum_age: int,
    full_capacity_age: int,
    lives_on_own_labour: bool,
) -> None:
    """Refuse a person without full civil capacity on the day of the application.

    The birthday itself counts; somebody born on 29 February has it on 1 March in other years.

    Raises:
        TooYoung: under `minimum_age` completed years.
        OwnLabourIncomeRequired: between the two ages without that declaration.
    """
    age = full_years(birth_date, on)
    if age < minimum_age:
        raise TooYoung(
            f"未满 {minimum_age} 周岁，不能开户", clause=CLAUSE_WHO, minimum_age=minimum_age
        )
    if age < full_capacity_age and not lives_on_own_labour:
        raise OwnLabourIncomeRequired(
            f"未满 {full_capacity_age} 周岁的，须声明以自己的劳动收入为主要生活来源",
            clause=CLAUSE_FULL_CAPACITY,
            field="own_labour_income",
        )


def clean_industry_tags(tags: Iterable[str]) -> tuple[IndustryTag, ...]:
    """Return the tags once each, in the order of the plan.

    Raises:
        IndustryTagUnknown: one of them is not in the closed list.
    """
    asked = set(tags)
    if not asked <= set(IndustryTag):
        raise IndustryTagUnknown(clause=CLAUSE_INDUSTRY, field="industry_tags")
    return tuple(tag for tag in IndustryTag if tag in asked)


def check_facts(facts: DeclaredFacts, *, birth_date: date, on: date) -> None:
    """Refuse declarations that cannot be true; whether they are is for the evidence.

    Raises:
        DeclaredFactInvalid: names the field and, where one decides, the clause.
    """
    if (children := facts.children) is not None:
        _check_evidence(children.evidence, "children")
        if not 0 <= children.minor_count <= children.count <= CHILDREN_MAX:
            raise DeclaredFactInvalid(
                "未成年子女数不能多于子女总数", clause=CLAUSE_CHILDREN, field="children"
            )
    if facts.degree is not None:
        _check_evidence(facts.degree.evidence, "degree")
    if (veteran := facts.veteran) is not None:
        _check_evidence(veteran.evidence, "veteran")
        discharged_on = veteran.discharged_on
        if discharged_on is not None and not birth_date < discharged_on <= on:
            raise DeclaredFactInvalid(
                "退役日期不正确", clause=CLAUSE_VETERAN, field="veteran.discharged_on"
            )


def _check_evidence(evidence: str, subject: str) -> None:
    if len(evidence) > EVIDENCE_LENGTH_MAX or not all(map(_may_stand_in_text, evidence)):
        raise DeclaredFactInvalid(
            f"证明材料说明不得超过 {EVIDENCE_LENGTH_MAX} 字，且不含特殊字符",
            field=f"{subject}.evidence",
        )


def _may_stand_in_text(character: str) -> bool:
    """Letters, digits, punctuation and plain spaces; no markup, control or hidden characters."""
    if character in _MARKUP or character in _INVISIBLE:
        return False
    group = unicodedata.category(character)[0]
    return character == " " or group in "LMNPS" or _is_new_ideograph(character)


def _may_stand_in_name(character: str) -> bool:
    if character in _INVISIBLE:
        return False
    mark = unicodedata.category(character).startswith("M")
    return _is_letter(character) or mark or character in _NAME_MARKS


def _is_letter(character: str) -> bool:
    if character in _INVISIBLE:
        return False
    letter = unicodedata.category(character).startswith("L")
    return letter or character == "〇" or _is_new_ideograph(character)


def _is_new_ideograph(character: str) -> bool:
    # Planes 2 and 3 hold ideographs only; the extension made for names in Chinese registers is
    # younger than the character table of Python 3.11, which calls its characters unassigned.
    code = ord(character)
    return 0x20000 <= code <= 0x3FFFF and code & 0xFFFF < 0xFFFE
