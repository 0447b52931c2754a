"""What is not exactly what we ask for is refused, says which field, and changes nothing."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.staff.models import Role
from tests.routes.callers import API, STAFF, Caller, Doors, application_of, on_sqlite_only

pytestmark = on_sqlite_only

JSON = {"Content-Type": "application/json"}
DEPOSIT = '{"channel":"wechat","amount_fen":50000}'
WHOLE = "应为整数，不能是文本或小数"


@pytest.fixture
def person(doors: Doors) -> Iterator[Caller]:
    """An enrolled person who has no deposit, and must have none afterwards."""
    person = doors.enrolled("a")
    yield person
    assert person.get(f"{API}/deposits").json == {"items": [], "next_cursor": None}


NOT_JSON = {
    "empty": b"",
    "blank": b"   ",
    "half": b'{"channel":"wechat",',
    "two values": DEPOSIT.encode() + b"{}",
    "byte order mark": b"\xef\xbb\xbf" + DEPOSIT.encode(),
    "UTF-16": DEPOSIT.encode("utf-16"),
    "GBK": '{"channel":"微信","amount_fen":50000}'.encode("gbk"),
    "broken UTF-8": b'{"channel":"\xff","amount_fen":50000}',
    "encoded surrogate": b'{"channel":"\xed\xa0\x80","amount_fen":50000}',
    "lone surrogate": b'{"channel":"\\ud800","amount_fen":50000}',
    "raw control character": b'{"channel":"we\x00chat","amount_fen":50000}',
    "single quotes": b"{'channel':'wechat','amount_fen':50000}",
    "comment": b'{"channel":"wechat","amount_fen":50000/*fen*/}',
    "trailing comma": b'{"channel":"wechat","amount_fen":50000,}',
    "duplicate key": b'{"channel":"wechat","amount_fen":50000,"amount_fen":1}',
    "duplicate key, escaped": b'{"channel":"wechat","amount_fen":50000,"amount\\u005ffen":1}',
    "NaN": b'{"channel":"wechat","amount_fen":NaN}',
    "infinity": b'{"channel":"wechat","amount_fen":-Infinity}',
    "leading zero": b'{"channel":"wechat","amount_fen":050000}',
    "plus sign": b'{"channel":"wechat","amount_fen":+50000}',
    "hexadecimal": b'{"channel":"wechat","amount_fen":0xC350}',
    "5000 digits": b'{"channel":"wechat","amount_fen":' + b"9" * 5000 + b"}",
    "nested 20 deep": b"[" * 20 + b"]" * 20,
    "nested 30000 deep": b"[" * 30_000,
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_plain_json_is_refused(person: Caller, body: bytes) -> None:
    answer = person.post(f"{API}/deposits", data=body, headers=JSON)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request"), answer.text
    assert answer.json["message"] == "请求格式不正确，内容应为有效的 JSON"
    assert answer.json["detail"] == {}


WRONG_TYPES = {
    "none": {},
    "text": {"Content-Type": "text/plain"},
    "form": {"Content-Type": "application/x-www-form-urlencoded"},
    "multipart": {"Content-Type": "multipart/form-data; boundary=x"},
    "XML": {"Content-Type": "application/xml"},
    "JSON of another kind": {"Content-Type": "application/merge-patch+json"},
    "GBK": {"Content-Type": "application/json; charset=gbk"},
    "UTF-16": {"Content-Type": "application/json; charset=utf-16"},
    "gzip": {**JSON, "Content-Encoding": "gzip"},
    "brotli": {**JSON, "Content-Encoding": "br"},
}


@pytest.mark.parametrize("headers", WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_what_does_not_come_as_plain_json_is_refused(person: Caller, headers: dict) -> None:
    body = DEPOSIT.encode()
    packed = gzip.compress(body) if "Content-Encoding" in headers else body
    answer = person.post(f"{API}/deposits", data=packed, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_plain_json_may_say_that_it_is_utf8(doors: Doors, content_type: str) -> None:
    answer = doors.enrolled("a").post(
        f"{API}/deposits", data=DEPOSIT, headers={"Content-Type": content_type}
    )
    assert answer.status_code == 201


AMOUNTS = {
    "0": "数值过小（不小于 1）",
    "-1": "数值过小（不小于 1）",
    "-0": "数值过小（不小于 1）",
    "0.01": WHOLE,
    "50000.0": WHOLE,
    "1e3": WHOLE,
    "1E400": WHOLE,
    '"50000"': WHOLE,
    '""': WHOLE,
    "true": WHOLE,
    "null": WHOLE,
    "[50000]": WHOLE,
    '{"fen":50000}': WHOLE,
    "1000000000001": "数值过大（不大于 1000000000000）",
    "9223372036854775808": "数值过大（不大于 1000000000000）",
    "1" + "0" * 300: "数值过大（不大于 1000000000000）",
}


@pytest.mark.parametrize(("written", "complaint"), AMOUNTS.items(), ids=[k[:20] for k in AMOUNTS])
def test_an_amount_is_a_positive_integer_of_fen(
    person: Caller, written: str, complaint: str
) -> None:
    body = f'{{"channel":"wechat","amount_fen":{written}}}'
    answer = person.post(f"{API}/deposits", data=body, headers=JSON)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input"), answer.text
    assert answer.json["message"] == f"amount_fen：{complaint}"
    assert answer.json["detail"] == {"fields": {"amount_fen": complaint}}


BODIES: dict[str, tuple[Any, dict[str, str]]] = {
    "unknown field": (
        {"channel": "wechat", "amount_fen": 50_000, "status": "succeeded"},
        {"status": "不支持的字段"},
    ),
    "field of a prototype": (
        {"channel": "wechat", "amount_fen": 50_000, "__proto__": {}},
        {"__proto__": "不支持的字段"},
    ),
    "other case": (
        {"Channel": "wechat", "amount_fen": 50_000},
        {"channel": "缺少必填项", "Channel": "不支持的字段"},
    ),
    "missing field": ({"channel": "wechat"}, {"amount_fen": "缺少必填项"}),
    "unknown channel": ({"channel": "bank", "amount_fen": 50_000}, {"channel": "不是可选的取值"}),
    "channel of another type": (
        {"channel": 1, "amount_fen": 50_000},
        {"channel": "不是可选的取值"},
    ),
    "list": ([], {"body": "应为 JSON 对象"}),
    "text": ("wechat", {"body": "应为 JSON 对象"}),
    "null": (None, {"body": "应为 JSON 对象"}),
    "number": (1, {"body": "应为 JSON 对象"}),
}


@pytest.mark.parametrize(("body", "fields"), BODIES.values(), ids=BODIES)
def test_a_body_that_does_not_fit_names_its_fields(
    person: Caller, body: Any, fields: dict[str, str]
) -> None:
    answer = person.post(f"{API}/deposits", data=json.dumps(body), headers=JSON)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input"), answer.text
    assert answer.json["detail"] == {"fields": fields}
    name, complaint = next(iter(fields.items()))
    assert answer.json["message"] == f"{name}：{complaint}"


def test_a_thousand_unknown_fields_are_not_listed_all(person: Caller) -> None:
    body = {f"unknown-{number}-{'x' * 40}": 1 for number in range(1000)}
    answer = person.post(f"{API}/deposits", data=json.dumps(body), headers=JSON)
    assert answer.status_code == 422
    assert len(answer.json["detail"]["fields"]) <= 20
    assert len(answer.data) < 4_000


ENROLMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "number as document": ({"document_no": 11010519491231002}, "document_no"),
    "unknown kind": ({"document_kind": "passport"}, "document_kind"),
    "name too long": ({"real_name": "测" * 101}, "real_name"),
    "name with NUL": ({"real_name": "测试\u0000用户"}, "real_name"),
    "name with a direction override": ({"real_name": "测试\u202e用户"}, "real_name"),
    "name with markup": ({"real_name": "<script>alert(1)</script>"}, "real_name"),
    "phone as number": ({"phone": 13800000000}, "phone"),
    "phone with blanks": ({"phone": "138 0000 0000"}, "phone"),
    "date as number": ({"birth_date": 1700000000}, "birth_date"),
    "date and time": ({"birth_date": "1990-05-06T00:00:00"}, "birth_date"),
    "date without dashes": ({"birth_date": "19900506"}, "birth_date"),
    "30 February": ({"birth_date": "1990-02-30"}, "birth_date"),
    "tags as text": ({"industry_tags": "e_commerce"}, "industry_tags"),
    "eleven tags": ({"industry_tags": ["e_commerce"] * 11}, "industry_tags"),
    "unknown tag": ({"industry_tags": ["mining"]}, "industry_tags"),
    "count as text": ({"facts": {"children": {"count": "2", "minor_count": 0}}}, "count"),
    "21 children": ({"facts": {"children": {"count": 21, "minor_count": 0}}}, "count"),
    "truth as text": ({"facts": {"own_labour_income": {"declared": "true"}}}, "declared"),
    "truth as number": ({"facts": {"own_labour_income": {"declared": 1}}}, "declared"),
    "unknown fact": ({"facts": {"income_fen": 1}}, "income_fen"),
    "facts as list": ({"facts": []}, "facts"),
    "unknown level": ({"facts": {"degree": {"level": "professor"}}}, "level"),
    "evidence with NUL": (
        {"facts": {"children": {"count": 1, "minor_count": 0, "evidence": "a\u0000"}}},
        "children.evidence",
    ),
    "contributor of one's choice": ({"contributor_id": 1}, "contributor_id"),
}


@pytest.mark.parametrize(("change", "field"), ENROLMENTS.values(), ids=ENROLMENTS)
def test_an_enrolment_that_does_not_fit_opens_no_account(
    doors: Doors, change: dict[str, Any], field: str
) -> None:
    caller = doors.logged_in("a")
    body = {**application_of("a"), **change}
    answer = caller.call("POST", f"{API}/enrolment", data=json.dumps(body), headers=JSON)
    assert answer.status_code == 422, answer.text
    named = answer.json["detail"].get("field", "") + " ".join(
        answer.json["detail"].get("fields", {})
    )
    assert field in named
    assert caller.get(f"{API}/account").json["code"] == "not_enrolled"


NOTES = ["a\u0000b", "两\n行", "\u202e倒写", "看不见\u200b的", "\ufeff", "x" * 201, "\u0085"]


@pytest.mark.parametrize("note", NOTES, ids=[ascii(note)[:20] for note in NOTES])
def test_a_note_is_one_line_of_plain_text(doors: Doors, note: str) -> None:
    person, order_no = doors.with_deposit("a")
    body = {"amount_fen": 100, "reason": "other", "note": note}
    answer = person.post(f"{API}/deposits/{order_no}/refunds", json=body)
    assert (answer.status_code, list(answer.json["detail"]["fields"])) == (422, ["note"])
    staff = doors.staff(Role.CLERK)
    answer = staff.post(f"{STAFF}/refunds", json={**body, "order_no": order_no})
    assert (answer.status_code, list(answer.json["detail"]["fields"])) == (422, ["note"])
    assert person.get(f"{API}/account").json["held_fen"] == 0


@pytest.mark.parametrize(
    "note", ["<script>alert(1)</script>", "=cmd|'/c calc'!A1", "{{7*7}}", "𠮷野家", "'; DROP TABLE"]
)
def test_a_note_is_kept_and_shown_as_it_was_written(doors: Doors, note: str) -> None:
    person, order_no = doors.with_deposit("a")
    body = {"amount_fen": 100, "reason": "other", "note": note}
    answer = person.post(f"{API}/deposits/{order_no}/refunds", json=body)
    assert (answer.status_code, answer.json["note"]) == (201, note)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


QUERIES = {
    "/deposits?unknown=1": {"unknown": "不支持的字段"},
    "/deposits?limit=0": {"limit": "数值过小（不小于 1）"},
    "/deposits?limit=101": {"limit": "数值过大（不大于 100）"},
    "/deposits?limit=-1": {"limit": "应为整数"},
    "/deposits?limit=": {"limit": "应为整数"},
    "/deposits?limit=ten": {"limit": "应为整数"},
    "/deposits?limit=1.0": {"limit": "应为整数"},
    "/deposits?limit=1e1": {"limit": "应为整数"},
    "/deposits?limit=%2B5": {"limit": "应为整数"},
    "/deposits?limit=+5": {"limit": "应为整数"},
    "/deposits?limit=1_0": {"limit": "应为整数"},
    "/deposits?limit=%EF%BC%95": {"limit": "应为整数"},
    "/deposits?limit=5%00": {"limit": "应为整数"},
    "/deposits?cursor=0": {"cursor": "数值过小（不小于 1）"},
    "/deposits?cursor=null": {"cursor": "应为整数"},
    "/deposits?cursor=9007199254740992": {"cursor": "数值过大（不大于 9007199254740991）"},
    "/deposits?cursor=99999999999999999999": {"cursor": "应为整数"},
    "/account/entries?month=2026-13": {"month": "格式不正确或含有不支持的字符"},
    "/account/entries?month=2026-1": {"month": "格式不正确或含有不支持的字符"},
    "/account/entries?month=": {"month": "格式不正确或含有不支持的字符"},
    "/account/entries?month=2026-11%0A": {"month": "格式不正确或含有不支持的字符"},
    "/account/entries?month=%D9%A2%D9%A0%D9%A2%D9%A6-11": {"month": "格式不正确或含有不支持的字符"},
    "/account/entries?account_id=1": {"account_id": "不支持的字段"},
}


@pytest.mark.parametrize(("path", "fields"), QUERIES.items(), ids=QUERIES)
def test_a_query_string_that_does_not_fit_names_its_field(
    person: Caller, path: str, fields: dict[str, str]
) -> None:
    answer = person.get(API + path)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input"), answer.text
    assert answer.json["detail"] == {"fields": fields}


@pytest.mark.parametrize(
    "query", ["limit=1&limit=2", "limit=1&limit=1", "month=2026-11&month=2026-10"]
)
def test_a_name_given_twice_in_a_query_string_is_refused(person: Caller, query: str) -> None:
    answer = person.get(f"{API}/account/entries?{query}")
    name = query.partition("=")[0]
    assert (answer.status_code, answer.json["message"]) == (422, f"{name}：不能重复")


@pytest.mark.parametrize("query", ["state=paid", "state=", "state=REQUESTED", "kind=1"])
def test_staff_lists_are_as_strict(doors: Doors, query: str) -> None:
    answer = doors.staff(Role.AUDITOR).get(f"{STAFF}/refunds?{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=JSON_VALUES)
def test_no_json_whatever_makes_a_deposit_or_breaks_the_door(person: Caller, body: Any) -> None:
    answer = person.post(f"{API}/deposits", data=json.dumps(body), headers=JSON)
    assert answer.status_code in {400, 422}, answer.text
    assert set(answer.json) == {"code", "message", "request_id", "detail"}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=200))
def test_no_bytes_whatever_make_a_deposit_or_break_the_door(person: Caller, body: bytes) -> None:
    answer = person.post(f"{API}/deposits", data=body, headers=JSON)
    assert answer.status_code in {400, 422}, answer.text


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(amount=st.one_of(st.floats(), st.text(max_size=10), st.booleans(), st.integers(max_value=0)))
def test_nothing_but_a_positive_integer_is_an_amount(person: Caller, amount: Any) -> None:
    body = json.dumps({"channel": "wechat", "amount_fen": amount})
    answer = person.post(f"{API}/deposits", data=body, headers=JSON)
    assert answer.status_code in {400, 422}, answer.text
