"""The agreement over HTTP: read, sign, change, suspend, resume, end, and take along."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.domain.ports import Ports
from app.domain.ports.documents import Document, NoDocumentWriter
from tests.conftest import MovableClock
from tests.routes.callers import API, Caller, Doors, on_sqlite_only

TERMS: dict[str, Any] = {
    "frequency": "monthly",
    "amount_fen": 50_000,
    "debit_day": 10,
    "channel": "wechat",
}
QUARTERLY = {**TERMS, "frequency": "quarterly", "amount_fen": 150_000}
FREE = {"frequency": "free"}
DEVICE = {"device": "测试设备 1.0"}
PATH = f"{API}/agreement"


class PaperForTests:
    """Writes «PDF» that tests can read."""

    def write_pdf(self, document: Document) -> bytes:
        return "\n".join(["%PDF-", document.text, *document.footer]).encode()


@pytest.fixture
def ports(ports: Ports) -> Ports:
    return replace(ports, documents=PaperForTests())


def read(person: Caller, terms: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = person.call("POST", f"{PATH}/preview", json={**terms, **more})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json
    return body


def sign(person: Caller, terms: dict[str, Any] = TERMS, **kwargs: Any) -> TestResponse:
    body = {**terms, **DEVICE, "text_sha256": read(person, terms)["text_sha256"]}
    return person.post(PATH, json=body, **kwargs)


def change(person: Caller, terms: dict[str, Any], **kwargs: Any) -> TestResponse:
    body = {**terms, **DEVICE, "text_sha256": read(person, terms)["text_sha256"]}
    return person.post(f"{PATH}/change", json=body, **kwargs)


def test_the_preview_shows_text_hash_periods_and_warnings_and_keeps_nothing(doors: Doors) -> None:
    person = doors.enrolled("a")
    draft = read(person, TERMS)
    assert draft["first_period"] == "2026-12"
    assert draft["changes_agreement_no"] is None
    assert draft["text_sha256"] == hashlib.sha256(draft["text"].encode()).hexdigest()
    assert draft["periods"] == [
        {
            "period": "2026-12",
            "due_on": "2026-12-10",
            "amount_fen": 50_000,
            "channel": "wechat",
            "minimum_fen": 12_150,
            "within_cap": True,
            "frozen": False,
        }
    ]
    assert [w["kind"] for w in draft["warnings"]] == ["cap_not_published"]
    assert person.get(PATH).status_code == 404
    assert person.get(f"{PATH}/history").json == {"items": []}


def test_an_agreement_is_signed_and_read_again(doors: Doors) -> None:
    person = doors.enrolled("a")
    answer = sign(person)
    assert answer.status_code == 201, answer.text
    signed = answer.json
    assert (signed["state"], signed["state_text"]) == ("active", "生效中")
    assert signed["versions"][0] == {
        **TERMS,
        "version": 1,
        "first_period": "2026-12",
        "first_day": "2026-12-01",
        "last_day": None,
        "text_sha256": signed["versions"][0]["text_sha256"],
        "signed_at": "2026-11-24T10:00:00+08:00",
    }
    assert person.get(PATH).json == signed
    assert person.get(f"{PATH}/history").json == {"items": [signed]}
    text = person.get(f"{PATH}/text").json
    assert (text["platform"], text["device"], text["client_ip"]) == (
        "wechat",
        "测试设备 1.0",
        "127.0.0.1",
    )
    assert text["text"] == read(doors.enrolled("b"), TERMS)["text"].replace(
        doors.logged_in("b").get(f"{API}/me").json["account_no"], person.account_no
    )


def test_the_same_key_signs_once(doors: Doors) -> None:
    person = doors.enrolled("a")
    body = {**TERMS, **DEVICE, "text_sha256": read(person, TERMS)["text_sha256"]}
    first = person.post(PATH, json=body, key="phone-1234")
    again = person.post(PATH, json=body, key="phone-1234")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json == again.json
    other = person.post(PATH, json={**body, "amount_fen": 60_000}, key="phone-1234")
    assert (other.status_code, other.json["code"]) == (409, "idempotency_key_reused")
    second = person.post(PATH, json=body, key="phone-5678")
    assert (second.status_code, second.json["code"]) == (409, "agreement_exists")


def test_what_was_not_read_is_not_signed(doors: Doors) -> None:
    person = doors.enrolled("a")
    answer = person.post(PATH, json={**TERMS, **DEVICE, "text_sha256": "0" * 64})
    assert (answer.status_code, answer.json["code"]) == (409, "agreement_text_changed")
    assert answer.json["message"] == "协议内容已更新，请重新阅读后再签署"
    assert person.get(PATH).status_code == 404


def test_a_change_is_previewed_signed_and_shown_with_both_terms(
    doors: Doors, clock: MovableClock
) -> None:
    person = doors.enrolled("a")
    number = sign(person).json["agreement_no"]
    clock.advance(days=15)  # 9 December: that of the 10th is announced
    person = doors.logged_in("a")
    draft = read(person, QUARTERLY)
    assert (draft["changes_agreement_no"], draft["first_period"]) == (number, "2027Q1")
    answer = change(person, QUARTERLY)
    assert answer.status_code == 201, answer.text
    assert [
        (v["version"], v["frequency"], v["first_day"], v["last_day"])
        for v in answer.json["versions"]
    ] == [
        (1, "monthly", "2026-12-01", "2026-12-31"),
        (2, "quarterly", "2027-01-01", None),
    ]
    assert [(p["period"], p["frozen"]) for p in answer.json["periods"]] == [("2026-12", True)]
    texts = [person.get(f"{PATH}/text?version={version}").json["text"] for version in (1, 2)]
    assert ["按月" in texts[0], "按季" in texts[1]] == [True, True]


def test_a_suspension_a_resumption_and_the_end(doors: Doors) -> None:
    person = doors.enrolled("a")
    number = sign(person).json["agreement_no"]
    suspended = person.call("POST", f"{PATH}/suspend", json={"months": 2})
    assert (suspended.status_code, suspended.json["state"]) == (200, "suspended")
    assert (suspended.json["suspended_from"], suspended.json["suspended_through"]) == (
        "2026-12-01",
        "2027-01-31",
    )
    assert suspended.json["periods"] == []
    again = person.call("POST", f"{PATH}/suspend", json={"months": 2})
    assert (again.status_code, again.json["code"]) == (409, "illegal_move")
    resumed = person.call("POST", f"{PATH}/resume")
    assert (resumed.status_code, resumed.json["state"]) == (200, "active")
    assert [p["period"] for p in resumed.json["periods"]] == ["2026-12"]
    ended = person.call("POST", f"{PATH}/end")
    assert (ended.status_code, ended.json["state"]) == (200, "ended")
    for method, path in (("GET", ""), ("POST", "/end"), ("POST", "/resume"), ("GET", "/text")):
        answer = person.call(method, PATH + path)
        assert (answer.status_code, answer.json["message"]) == (404, "未找到缴存协议")
    assert person.get(f"{PATH}/text?agreement_no={number}").status_code == 200
    assert [item["state"] for item in person.get(f"{PATH}/history").json["items"]] == ["ended"]


# -- what is refused -------------------------------------------------------------------------------


@on_sqlite_only
@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"amount_fen": 12_149}, "amount_below_minimum", "每期金额不得低于最低月缴存额 121.50 元"),
        (
            {"amount_fen": 9_084_961},
            "yearly_cap_exceeded",
            "2026 年度还可缴存 90,849.60 元，2026-12 期的约定金额已超过",
        ),
        ({"debit_day": 29}, "debit_day_not_allowed", "扣款日应为每期首月的 1 日至 28 日"),
        ({"debit_day": 31}, "debit_day_not_allowed", "扣款日应为每期首月的 1 日至 28 日"),
        ({"debit_day": None}, "terms_incomplete", "按月或按季缴存须约定金额、扣款日与扣款渠道"),
        ({"frequency": "free"}, "terms_incomplete", "自由缴存不约定金额、扣款日与扣款渠道"),
        (
            {"first_period": "2026-11"},
            "first_period_not_open",
            "起始期最早为 2026-12，且不晚于其后 12 个月",
        ),
        ({"first_period": "2026Q4"}, "invalid", "起始期与缴存频率不一致"),
        ({"debit_day": 0}, "invalid_input", "debit_day：数值过小（不小于 1）"),
        ({"debit_day": 32}, "invalid_input", "debit_day：数值过大（不大于 31）"),
        ({"debit_day": "10"}, "invalid_input", "debit_day：应为整数，不能是文本或小数"),
        ({"amount_fen": 500.0}, "invalid_input", "amount_fen：应为整数，不能是文本或小数"),
        ({"amount_fen": 0}, "invalid_input", "amount_fen：数值过小（不小于 1）"),
        ({"frequency": "weekly"}, "invalid_input", "frequency：不是可选的取值"),
        ({"channel": "cash"}, "invalid_input", "channel：不是可选的取值"),
        (
            {"first_period": "2026-13"},
            "invalid_input",
            "first_period：格式不正确或含有不支持的字符",
        ),
        ({"account_id": 1}, "invalid_input", "account_id：不支持的字段"),
    ],
)
def test_bad_terms_are_refused_with_the_reason(
    doors: Doors, changes: dict[str, Any], code: str, message: str
) -> None:
    person = doors.enrolled("a")
    wish = {**TERMS, **changes}
    consent = {**DEVICE, "text_sha256": "0" * 64}
    for answer in (
        person.call("POST", f"{PATH}/preview", json=wish),
        person.post(PATH, json={**wish, **consent}),
    ):
        assert (answer.status_code, answer.json["code"]) == (422, code)
        assert answer.json["message"] == message
    assert person.get(f"{PATH}/history").json == {"items": []}


@on_sqlite_only
@pytest.mark.parametrize("code", ["amount_below_minimum", "debit_day_not_allowed"])
def test_a_refusal_names_the_clause(doors: Doors, code: str) -> None:
    wish = {"amount_below_minimum": {"amount_fen": 1}, "debit_day_not_allowed": {"debit_day": 30}}
    answer = doors.enrolled("a").call("POST", f"{PATH}/preview", json={**TERMS, **wish[code]})
    assert (answer.json["code"], answer.json["detail"]["clause"]) == (code, "试点方案 第二条")


@on_sqlite_only
@pytest.mark.parametrize(
    ("consent", "field"),
    [
        ({"device": "测试"}, "text_sha256"),
        ({"device": "测试", "text_sha256": "A" * 64}, "text_sha256"),
        ({"device": "", "text_sha256": "0" * 64}, "device"),
        ({"device": "a\nb", "text_sha256": "0" * 64}, "device"),
        ({"device": "x" * 201, "text_sha256": "0" * 64}, "device"),
    ],
)
def test_a_consent_is_whole(doors: Doors, consent: dict[str, Any], field: str) -> None:
    person = doors.enrolled("a")
    answer = person.post(PATH, json={**TERMS, **consent})
    assert (answer.status_code, list(answer.json["detail"]["fields"])) == (422, [field])


@on_sqlite_only
@pytest.mark.parametrize("path", ["", "/change"])
def test_signing_needs_an_idempotency_key(doors: Doors, path: str) -> None:
    person = doors.enrolled("a")
    body = {**TERMS, **DEVICE, "text_sha256": "0" * 64}
    answer = person.post(PATH + path, json=body, key="")
    assert (answer.status_code, answer.json["message"]) == (422, "Idempotency-Key：缺少必填项")


@on_sqlite_only
@pytest.mark.parametrize(("months", "status"), [(0, 422), (12, 200), (13, 422), (121, 422)])
def test_a_suspension_lasts_one_to_twelve_months(doors: Doors, months: int, status: int) -> None:
    person = doors.enrolled("a")
    sign(person)
    answer = person.call("POST", f"{PATH}/suspend", json={"months": months})
    assert answer.status_code == status
    assert person.get(PATH).json["state"] == ("suspended" if status == 200 else "active")


# -- on paper --------------------------------------------------------------------------------------


def test_the_signed_text_is_taken_along_as_a_file(doors: Doors) -> None:
    person = doors.enrolled("a")
    signed = sign(person).json
    answer = person.get(f"{PATH}/pdf")
    assert (answer.status_code, answer.content_type) == (200, "application/pdf")
    assert answer.headers["Content-Disposition"] == (
        'attachment; filename="lianjiao-agreement.pdf"'
    )
    assert answer.data.startswith(b"%PDF-")
    for words in (
        signed["agreement_no"],
        signed["versions"][0]["text_sha256"],
        "签署时间：2026-11-24T10:00:00+08:00",
        "微信小程序",
        "测试设备 1.0",
        "500.00 元",
    ):
        assert words in answer.text
    assert person.get(f"{PATH}/pdf?version=2").status_code == 404


@on_sqlite_only
def test_without_a_chinese_font_the_text_is_still_read_on_the_screen(
    build_app: Any, settings: Any, ports: Ports, doors: Doors
) -> None:
    person = doors.enrolled("a")
    sign(person)
    bare = build_app(settings, replace(ports, documents=NoDocumentWriter()))
    elsewhere = Caller(bare.test_client(), person.token)
    answer = elsewhere.get(f"{PATH}/pdf")
    assert (answer.status_code, answer.json["code"]) == (503, "documents_unavailable")
    assert answer.json["message"] == "系统未安装中文字体，暂时不能生成 PDF 文件，请先在线查看"
    assert elsewhere.get(f"{PATH}/text").status_code == 200
