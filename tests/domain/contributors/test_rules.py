"""Who may enrol, and what may be written down about a person."""

from __future__ import annotations

from datetime import date

import pytest

from app.domain.contributors.facts import (
    Children,
    DeclaredFacts,
    Degree,
    DegreeLevel,
    OwnLabourIncome,
    Veteran,
)
from app.domain.contributors.rules import (
    DeclaredFactInvalid,
    IndustryTag,
    IndustryTagUnknown,
    OwnLabourIncomeRequired,
    PhoneInvalid,
    RealNameInvalid,
    TooYoung,
    check_age,
    check_facts,
    clean_industry_tags,
    clean_phone,
    clean_real_name,
)

BORN = date(1990, 5, 6)
ON = date(2026, 11, 24)


def check(born: date, on: date, *, own: bool = False) -> None:
    check_age(born, on=on, minimum_age=16, full_capacity_age=18, lives_on_own_labour=own)


def test_the_sixteenth_birthday_counts():
    check(date(2010, 11, 24), date(2026, 11, 24), own=True)
    with pytest.raises(TooYoung) as refused:
        check(date(2010, 11, 25), date(2026, 11, 24), own=True)
    assert refused.value.code == "too_young"
    assert refused.value.clause == "试点方案 第一条"
    assert "16" in refused.value.message


def test_between_sixteen_and_eighteen_own_labour_income_must_be_declared():
    with pytest.raises(OwnLabourIncomeRequired) as refused:
        check(date(2008, 11, 25), ON)
    assert refused.value.clause == "民法典 第十八条"
    check(date(2008, 11, 25), ON, own=True)
    check(date(2008, 11, 24), ON)


def test_someone_born_on_29_february():
    leap = date(2008, 2, 29)
    with pytest.raises(TooYoung):
        check(leap, date(2024, 2, 28), own=True)
    check(leap, date(2024, 2, 29), own=True)
    with pytest.raises(OwnLabourIncomeRequired):
        check(leap, date(2026, 2, 28))
    check(leap, date(2026, 3, 1))


def test_there_is_no_upper_age():
    check(date(1926, 1, 1), ON)


def test_the_ages_are_figures_of_the_policy():
    check_age(
        BORN, on=date(2004, 5, 6), minimum_age=14, full_capacity_age=14, lives_on_own_labour=0
    )


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("测试用户", "测试用户"),
        ("  测试\n", "测试"),
        ("䶮𠮷", "䶮𠮷"),
        ("测\U0002ebf0", "测\U0002ebf0"),
        ("测\U000323af", "测\U000323af"),
        ("测〇", "测〇"),
        ("葛\U000e0100试", "葛\U000e0100试"),
        ("古丽·测试", "古丽·测试"),
        ("古丽•测试", "古丽·测试"),
        ("古丽・测试", "古丽·测试"),
        ("古丽･测试", "古丽·测试"),
        ("古丽‧测试", "古丽·测试"),
        ("古丽∙测试", "古丽·测试"),
        ("古丽 ⋅ 测试", "古丽·测试"),
        ("Ｔｅｓｔ　Ｕｓｅｒ", "Test User"),
        ("Test   User", "Test User"),
        ("O'Test-User", "O'Test-User"),
        ("Te\u0301st", "Tést"),
        ("测" * 50, "测" * 50),
    ],
)
def test_names_are_kept_in_one_form(typed, kept):
    assert clean_real_name(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "测",
        " 测 ",
        "测" * 51,
        "测" * 10_000,
        "测3",
        "测\u202e试",
        "测\u200b试",
        "测\u200d试",
        "\ufeff测试",
        "测\x00试",
        "测\n试",
        "测\t试",
        "<script>",
        "测<试",
        "测＞试",
        "=cmd|calc",
        "{{7*7}}",
        "测&试",
        "测\ud800试",
        "测\ue863",
        "测\U0002ffff",
        "测\u3164",
        "\u0301\u0301",
        "·测试",
        "测试·",
        "--",
        "测😀",
    ],
)
def test_what_is_no_name_is_refused(typed):
    with pytest.raises(RealNameInvalid) as refused:
        clean_real_name(typed)
    assert refused.value.code == "real_name_invalid"
    assert refused.value.detail["field"] == "real_name"


@pytest.mark.parametrize(
    "typed", ["13000000000", "19912345678", " 13800000000\n", "１３８００００００００"]
)
def test_mainland_mobile_numbers_are_accepted(typed):
    assert clean_phone(typed) in {"13000000000", "19912345678", "13800000000"}


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "12000000000",
        "1380000000",
        "138000000000",
        "23800000000",
        "+8613800000000",
        "138 0000 0000",
        "1380000000\u0660",
        "13800000000;",
    ],
)
def test_other_numbers_are_refused(typed):
    with pytest.raises(PhoneInvalid):
        clean_phone(typed)


def test_industry_tags_come_once_each_in_the_order_of_the_plan():
    assert clean_industry_tags(["farming", "medicine", "farming"]) == (
        IndustryTag.MEDICINE,
        IndustryTag.FARMING,
    )


def test_an_industry_outside_the_plan_is_refused():
    with pytest.raises(IndustryTagUnknown) as refused:
        clean_industry_tags(["farming", "mining"])
    assert "第十二条" in refused.value.clause


ALL_FACTS = DeclaredFacts(
    children=Children(count=2, minor_count=1, evidence="户口簿"),
    degree=Degree(level=DegreeLevel.BACHELOR, evidence="学历证书电子注册备案表"),
    veteran=Veteran(discharged_on=date(2015, 12, 1), evidence="退役证"),
    own_labour_income=OwnLabourIncome(declared=True),
)


@pytest.mark.parametrize(
    "facts",
    [
        DeclaredFacts(),
        ALL_FACTS,
        DeclaredFacts(veteran=Veteran()),
        DeclaredFacts(children=Children(count=0, minor_count=0)),
    ],
)
def test_facts_come_back_from_storage_as_they_were(facts):
    check_facts(facts, birth_date=BORN, on=ON)
    assert DeclaredFacts.from_json(facts.to_json()) == facts


def test_the_stored_form_is_what_the_subsidy_reads():
    stored = ALL_FACTS.to_json()
    assert stored["children"] == {"count": 2, "minor_count": 1, "evidence": "户口簿"}
    assert stored["degree"]["level"] == "bachelor"
    assert stored["veteran"]["discharged_on"] == "2015-12-01"
    assert stored["own_labour_income"] == {"declared": True}
    assert DeclaredFacts().to_json() == {}


def test_newer_facts_take_the_place_of_older_ones_only_where_they_are_given():
    newer = DeclaredFacts(children=Children(count=3, minor_count=3))
    updated = ALL_FACTS.updated_by(newer)
    assert updated.children == newer.children
    assert updated.degree == ALL_FACTS.degree


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        (DeclaredFacts(children=Children(count=1, minor_count=2)), "children"),
        (DeclaredFacts(children=Children(count=-1, minor_count=-1)), "children"),
        (DeclaredFacts(children=Children(count=21, minor_count=0)), "children"),
        (
            DeclaredFacts(children=Children(count=1, minor_count=1, evidence="x" * 101)),
            "children.evidence",
        ),
        (
            DeclaredFacts(degree=Degree(level=DegreeLevel.MASTER, evidence="<b>")),
            "degree.evidence",
        ),
        (
            DeclaredFacts(degree=Degree(level=DegreeLevel.MASTER, evidence="a\u202eb")),
            "degree.evidence",
        ),
        (DeclaredFacts(veteran=Veteran(discharged_on=date(2026, 11, 25))), "veteran.discharged_on"),
        (DeclaredFacts(veteran=Veteran(discharged_on=BORN)), "veteran.discharged_on"),
        (DeclaredFacts(veteran=Veteran(evidence="a\x00")), "veteran.evidence"),
    ],
)
def test_facts_that_cannot_be_true_are_refused(facts, field):
    with pytest.raises(DeclaredFactInvalid) as refused:
        check_facts(facts, birth_date=BORN, on=ON)
    assert refused.value.detail["field"] == field
