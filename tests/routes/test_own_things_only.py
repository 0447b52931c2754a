"""Another person's token: their things answer exactly as things that do not exist."""

from __future__ import annotations

import pytest
from werkzeug.test import TestResponse

from tests.mandate_channel import CODE
from tests.routes.callers import API, Caller, Doors
from tests.routes.debited import Debited

NO_SUCH_ORDER = "D" + "9" * 31
NO_SUCH_REFUND = "R" + "9" * 31
REFUND = {"amount_fen": 20_000, "reason": "duplicate"}
ONE_ID = {"X-Request-Id": "the-same-request-id"}


@pytest.fixture
def owner(doors: Doors) -> tuple[Caller, str, str]:
    """A person with a credited deposit and a refund asked for: caller, order_no, refund_no."""
    owner, order_no = doors.with_deposit("owner")
    answer = owner.post(f"{API}/deposits/{order_no}/refunds", json=REFUND)
    assert answer.status_code == 201, answer.text
    return owner, order_no, answer.json["refund_no"]


@pytest.fixture
def other(doors: Doors) -> Caller:
    return doors.enrolled("other")


def test_another_persons_deposit_is_as_one_that_does_not_exist(
    owner: tuple[Caller, str, str], other: Caller
) -> None:
    person, order_no, _ = owner
    assert person.get(f"{API}/deposits/{order_no}").status_code == 200
    same(
        other.get(f"{API}/deposits/{order_no}", headers=ONE_ID),
        other.get(f"{API}/deposits/{NO_SUCH_ORDER}", headers=ONE_ID),
        message="未找到该笔缴存",
    )


def test_another_persons_deposit_cannot_be_refunded(
    owner: tuple[Caller, str, str], other: Caller
) -> None:
    person, order_no, _ = owner
    before = person.get(f"{API}/deposits/{order_no}").json
    same(
        other.post(f"{API}/deposits/{order_no}/refunds", json=REFUND, headers=ONE_ID),
        other.post(f"{API}/deposits/{NO_SUCH_ORDER}/refunds", json=REFUND, headers=ONE_ID),
        message="未找到该笔缴存",
    )
    assert person.get(f"{API}/deposits/{order_no}").json == before


def test_another_persons_idempotency_key_does_not_open_their_refund(
    owner: tuple[Caller, str, str], other: Caller
) -> None:
    person, order_no, _ = owner
    path = f"{API}/deposits/{order_no}/refunds"
    mine = person.post(path, json={**REFUND, "amount_fen": 1_000}, key="shared-key")
    assert mine.status_code == 201
    theirs = other.post(path, json={**REFUND, "amount_fen": 1_000}, key="shared-key")
    assert theirs.status_code == 404


def test_another_persons_refund_is_as_one_that_does_not_exist(
    owner: tuple[Caller, str, str], other: Caller
) -> None:
    person, _, refund_no = owner
    assert person.get(f"{API}/refunds/{refund_no}").status_code == 200
    same(
        other.get(f"{API}/refunds/{refund_no}", headers=ONE_ID),
        other.get(f"{API}/refunds/{NO_SUCH_REFUND}", headers=ONE_ID),
        message="未找到该笔退款",
    )


def test_lists_overview_and_export_hold_only_ones_own(
    owner: tuple[Caller, str, str], other: Caller
) -> None:
    person, order_no, refund_no = owner
    assert other.get(f"{API}/deposits").json == {"items": [], "next_cursor": None}
    assert other.get(f"{API}/account/entries").json == {"items": [], "next_cursor": None}
    assert other.get(f"{API}/account").json["account_no"] == other.account_no
    assert other.get(f"{API}/account").json["balance_fen"] == 0
    exported = other.get(f"{API}/me/export")
    assert exported.status_code == 200
    for foreign in (order_no, refund_no, person.account_no):
        assert foreign not in exported.text
    assert order_no in person.get(f"{API}/me/export").text


def test_another_persons_agreement_is_as_one_that_does_not_exist(doors: Doors) -> None:
    person, other = doors.enrolled("owner"), doors.enrolled("other")
    free = {"frequency": "free"}
    draft = person.call("POST", f"{API}/agreement/preview", json=free).json
    body = {**free, "device": "测试设备", "text_sha256": draft["text_sha256"]}
    signed = person.post(f"{API}/agreement", json=body)
    assert signed.status_code == 201, signed.text
    number = signed.json["agreement_no"]
    for path in ("text", "pdf"):
        same(
            other.get(f"{API}/agreement/{path}?agreement_no={number}", headers=ONE_ID),
            other.get(f"{API}/agreement/{path}?agreement_no=G{'9' * 31}", headers=ONE_ID),
            message="未找到缴存协议",
        )
    for path in ("suspend", "resume", "end"):
        answer = other.call("POST", f"{API}/agreement/{path}", json={"months": 1})
        assert (answer.status_code, answer.json["message"]) == (404, "未找到缴存协议")
    assert other.get(f"{API}/agreement/history").json == {"items": []}
    assert number not in other.get(f"{API}/me/export").text
    assert number in person.get(f"{API}/me/export").text
    assert person.get(f"{API}/agreement").json["state"] == "active"


def test_another_persons_mandate_is_as_one_that_does_not_exist(doors: Doors) -> None:
    person, other = doors.enrolled("owner"), doors.enrolled("other")
    number = doors.with_mandate(person)
    before = person.get(f"{API}/mandates/{number}").json
    no_such = "M" + "9" * 31
    for method, path, body in (
        ("GET", "", None),
        ("POST", "/confirm", {"code": CODE}),
        ("POST", "/end", None),
    ):
        same(
            other.call(method, f"{API}/mandates/{number}{path}", json=body, headers=ONE_ID),
            other.call(method, f"{API}/mandates/{no_such}{path}", json=body, headers=ONE_ID),
            message="未找到签约记录",
        )
    assert other.get(f"{API}/mandates").json == {"items": []}
    assert number not in other.get(f"{API}/me/export").text
    assert number in person.get(f"{API}/me/export").text
    assert person.get(f"{API}/mandates/{number}").json == before


def test_another_persons_debit_is_as_one_that_does_not_exist(debited: Debited) -> None:
    person = debited.refused("owner")
    other = debited.doors.enrolled("other")
    before = person.get(f"{API}/debits/2026-12").json
    (order_no,) = (attempt["order_no"] for attempt in before["attempts"])
    body = {"channel": "wechat"}
    same(
        other.get(f"{API}/debits/2026-12", headers=ONE_ID),
        other.get(f"{API}/debits/2031-12", headers=ONE_ID),
        message="未找到该期扣款",
    )
    same(
        other.post(f"{API}/debits/2026-12/make-up", json=body, headers=ONE_ID),
        other.post(f"{API}/debits/2031-12/make-up", json=body, headers=ONE_ID),
        message="未找到该期扣款",
    )
    assert other.get(f"{API}/debits").json == {"items": [], "next_cursor": None}
    assert other.get(f"{API}/debits/next").status_code == 404
    assert other.get(f"{API}/account").json["next_debit"] is None
    assert order_no not in other.get(f"{API}/me/export").text
    assert order_no in person.get(f"{API}/me/export").text
    assert person.get(f"{API}/debits/2026-12").json == before


def test_a_text_signed_by_another_names_another_and_cannot_be_signed(doors: Doors) -> None:
    """The text holds the name and account of its party: its hash is of no use to anybody else."""
    person, other = doors.enrolled("owner"), doors.enrolled("other")
    free = {"frequency": "free"}
    draft = person.call("POST", f"{API}/agreement/preview", json=free).json
    body = {**free, "device": "测试设备", "text_sha256": draft["text_sha256"]}
    answer = other.post(f"{API}/agreement", json=body)
    assert (answer.status_code, answer.json["code"]) == (409, "agreement_text_changed")


def test_a_cursor_taken_from_another_person_shows_only_ones_own(
    doors: Doors, owner: tuple[Caller, str, str], other: Caller
) -> None:
    """The cursor is a number of ours, not a key: it only says where to go on."""
    mine = doors.credited(other)
    _, order_no, _ = owner
    page = other.get(f"{API}/deposits?cursor=9007199254740991")
    assert [item["order_no"] for item in page.json["items"]] == [mine]
    assert order_no not in page.text


@pytest.mark.parametrize(
    "field", ["account_id", "contributor_id", "account_no", "state", "balance_fen"]
)
def test_nobody_names_an_account_or_a_state_in_a_deposit(other: Caller, field: str) -> None:
    body = {"channel": "wechat", "amount_fen": 50_000, field: 1}
    answer = other.post(f"{API}/deposits", json=body)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    assert answer.json["detail"] == {"fields": {field: "不支持的字段"}}
    assert other.get(f"{API}/deposits").json["items"] == []


@pytest.mark.parametrize(
    "number",
    ["%00", "..", "%2e%2e%2faccount", "'%20OR%201=1--", "{{7*7}}", "%F0%9F%98%80", "%ED%A0%80"]
    + ["X" * 3000, "%25", "null", "0", "-1", "D*"],
)
def test_a_number_that_cannot_be_one_is_not_found(other: Caller, number: str) -> None:
    answer = other.get(f"{API}/deposits/{number}")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def same(theirs: TestResponse, nothing: TestResponse, *, message: str) -> None:
    """Both answers are one and the same, to the byte."""
    assert nothing.status_code == 404
    assert nothing.json == {
        "code": "not_found",
        "message": message,
        "request_id": ONE_ID["X-Request-Id"],
        "detail": {},
    }
    assert theirs.status_code == nothing.status_code
    assert theirs.data == nothing.data
    assert sorted(theirs.headers.items()) == sorted(nothing.headers.items())
