"""Policy files: a mistake in a figure must be refused with its place, never loaded."""

from __future__ import annotations

from datetime import date

import pytest

from config.policy_files import PolicyFileError, load_policy_files, parse_policy

GOOD = """
title: 最低缴存比例
unit: ratio
values:
  2018-04-28:
    value: "0.05"
    source: 试点方案 第二条
    status: assumed
    until: 2026-12-31
  2027-01-01:
    value: "0.10"
    source: 测试
    status: confirmed
"""


def refusal(text: str, name: str = "deposit.minimum_rate") -> str:
    with pytest.raises(PolicyFileError) as refused:
        parse_policy(text, name=name)
    return str(refused.value)


def one_value(unit: str, value: str) -> str:
    line = f"{{value: {value}, source: s, status: assumed}}"
    return f"title: t\nunit: {unit}\nvalues:\n  2026-01-01: {line}"


def test_a_good_file_is_plain_data_oldest_first():
    assert parse_policy(GOOD, name="deposit.minimum_rate") == [
        {
            "name": "deposit.minimum_rate",
            "title": "最低缴存比例",
            "unit": "ratio",
            "value": "0.05",
            "effective_from": date(2018, 4, 28),
            "until": date(2026, 12, 31),
            "source": "试点方案 第二条",
            "status": "assumed",
        },
        {
            "name": "deposit.minimum_rate",
            "title": "最低缴存比例",
            "unit": "ratio",
            "value": "0.10",
            "effective_from": date(2027, 1, 1),
            "until": None,
            "source": "测试",
            "status": "confirmed",
        },
    ]


@pytest.mark.parametrize(
    ("good", "bad", "place"),
    [
        ('"0.05"', "0.05", "line 6: '0.05' must be quoted text"),
        ('"0.05"', "5e-2", "2018-04-28: value: '5e-2' is not a figure in ratio"),
        ('"0.05"', "off", "line 6: 'off' must be quoted text"),
        ('"0.05"', "5", "2018-04-28: value: 5 is not a figure in ratio"),
        ('"0.05"', '"5"', "2018-04-28: value: '5' is not a figure in ratio"),
        ('"0.05"', '"-0.05"', "2018-04-28: value: '-0.05' is not a figure in ratio"),
        ('"0.05"', '"5 %"', "2018-04-28: value: '5 %' is not a figure in ratio"),
        ('"0.05"', '"0.05\\n"', "2018-04-28: value: '0.05\\n' is not a figure in ratio"),
        ('"0.05"', "", "2018-04-28: value: None is not a figure in ratio"),
        ('"0.05"', "{}", "2018-04-28: value: an empty table says nothing"),
        ('"0.05"', "[]", "2018-04-28: value: an empty table says nothing"),
        ('"0.05"', '{a: "0.05", b: 1}', "2018-04-28: value: 1 is not a figure in ratio"),
        ('"0.05"', '{6: "0.05"}', "2018-04-28: value: the key 6 must be quoted text"),
        ('"0.05"', '{a: "0.05", a: "0.06"}', "line 6: 'a' stands twice"),
        ('"0.05"', '{a: {b: "0.05"}}', "2018-04-28: value: {'b': '0.05'} is not a figure in ratio"),
        ("source: 试点方案 第二条", "", "2018-04-28: source is missing"),
        ("source: 试点方案 第二条", "source:", "2018-04-28: source: some words are expected"),
        ("source: 试点方案 第二条", "source: ' '", "2018-04-28: source: some words are expected"),
        ("status: assumed", "", "2018-04-28: status is missing"),
        ("status: assumed", "status: sure", "2018-04-28: status: one of assumed, confirmed"),
        ("status: assumed", "status: [assumed]", "2018-04-28: status: one of"),
        ("status: assumed", "status: assumed\n    note: x", "2018-04-28: note has no meaning here"),
        (
            "until: 2026-12-31",
            "until: 2027-01-01",
            "2027-01-01: the value before is still in force",
        ),
        ("until: 2026-12-31", "until: 2018-04-27", "2018-04-28: until: the last day in force"),
        ("until: 2026-12-31", "until: 2026-12", "2018-04-28: until: the last day in force"),
        ("until: 2026-12-31", "until:", "2018-04-28: until: the last day in force"),
        ("until: 2026-12-31", "until: 2026-02-30", "line 9: '2026-02-30' is not a day"),
        ("2027-01-01:", "2018-04-28:", "line 10: '2018-04-28' stands twice"),
        ("2027-01-01:", "2018-04-27:", "2018-04-27: values stand in the order of their dates"),
        ("2027-01-01:", "2027-01-01 10:00:00:", "line 10: '2027-01-01 10:00:00' is not a day"),
        ("2027-01-01:", "next:", "next: the day from which a value holds is expected"),
        ("unit: ratio", "unit: percent", "unit: one of fen, years"),
        ("unit: ratio", "unit: [ratio]", "unit: one of fen, years"),
        ("unit: ratio", "", "unit is missing"),
        ("title: 最低缴存比例", "title: 1", "title: some words are expected"),
        ("title: 最低缴存比例", "title: a\ntitle: b", "line 3: 'title' stands twice"),
        ("title: 最低缴存比例", "title: a\nmore: b", "more has no meaning here"),
        ("values:", "values: [", "deposit.minimum_rate.yaml"),
    ],
)
def test_every_mistake_is_refused_with_file_and_place(good, bad, place):
    assert GOOD.count(good) == 1
    message = refusal(GOOD.replace(good, bad))
    assert message.startswith("deposit.minimum_rate.yaml: ")
    assert place in message


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("fen", "-1"),
        ("fen", "'100'"),
        ("fen", "1_000"),
        ("fen", "010"),
        ("fen", "0x10"),
        ("fen", "12:30"),
        ("fen", "100.0"),
        ("months", "true"),
        ("days", "'3'"),
        ("factor", "20"),
        ("factor", "'.5'"),
        ("factor", "'1e3'"),
        ("word", "3"),
        ("word", "'a b'"),
        ("month_day", "'13-01'"),
        ("month_day", "06-30x"),
        ("month_day", "'6-30'"),
    ],
)
def test_a_figure_must_be_of_its_unit(unit, value):
    assert value.strip("'") in refusal(one_value(unit, value))


@pytest.mark.parametrize(
    ("unit", "value", "read"),
    [
        ("fen", "0", 0),
        ("fen", "{I: 266000, II: 243000}", {"I": 266_000, "II": 243_000}),
        ("factor", "'20'", "20"),
        ("ratio", "'1'", "1"),
        ("days", "[1, 3, 5]", [1, 3, 5]),
        ("word", "fifo", "fifo"),
        ("month_day", "'06-30'", "06-30"),
    ],
)
def test_figures_lists_and_tables_of_a_unit(unit, value, read):
    assert parse_policy(one_value(unit, value), name="a.b")[0]["value"] == read


@pytest.mark.parametrize(
    "text", ["", "[]", "title: x\nunit: fen\nvalues: {}", "title: x\nunit: fen\nvalues: 1"]
)
def test_a_file_without_values_is_refused(text):
    refusal(text)


@pytest.mark.parametrize(
    "name", ["minimum_rate", "Deposit.rate", "deposit.", "a.b.c", "a.1", "a.b "]
)
def test_a_file_is_named_by_group_and_parameter(name):
    assert "a file is named <group>.<name>.yaml" in refusal(GOOD, name)


def test_a_folder_is_read_whole_or_not_at_all(tmp_path):
    with pytest.raises(PolicyFileError, match="no policy files"):
        load_policy_files(tmp_path)
    (tmp_path / "deposit.minimum_rate.yaml").write_text(GOOD, encoding="utf-8")
    assert [figure["value"] for figure in load_policy_files(tmp_path)] == ["0.05", "0.10"]
    (tmp_path / "loan.gate_months.yaml").write_bytes(b"title: \xff")
    with pytest.raises(PolicyFileError, match="loan.gate_months.yaml"):
        load_policy_files(tmp_path)


def test_a_file_that_is_not_yaml_has_no_place_in_the_folder(tmp_path):
    (tmp_path / "deposit.minimum_rate.yml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(PolicyFileError, match="only .yaml files"):
        load_policy_files(tmp_path)
