"""A contributor with a good token, after what is not theirs or was not meant."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import update
from werkzeug.test import TestResponse

from app.domain.contributors.models import Account, AccountStatus
from app.domain.ports import Ports
from app.domain.staff.models import Role
from app.domain.staff.operations import add_staff_member
from tests.attacks.siege import OPENING_FEN, PAID_FEN, Siege
from tests.routes.callers import API, STAFF, Caller, application_of, on_sqlite_only

pytestmark = on_sqlite_only

ONE_ID = {"X-Request-Id": "the-same-request-id"}
JSON = {"Content-Type": "application/json"}
REFUND = {"amount_fen": 10_000, "reason": "other"}


def refused(answer: TestResponse, status: int, code: str) -> None:
    """Say that the answer is a refusal in the one shape, and no more."""
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    assert set(answer.json) == {"code", "message", "request_id", "detail"}
    assert answer.headers["Content-Type"] == "application/json"


# -- Other people's things --------------------------------------------------------------------


def test_another_persons_things_are_as_things_that_do_not_exist(siege: Siege) -> None:
    order_no = siege.paid(name="victim")
    refund_no = siege.asked_back(order_no, name="victim")
    thief = siege.person("thief")
    attempts: list[tuple[str, str, str, Any]] = [
        ("GET", "/deposits/{}", order_no, None),
        ("POST", "/deposits/{}/refunds", order_no, REFUND),
        ("GET", "/refunds/{}", refund_no, None),
    ]
    for method, path, number, body in attempts:
        siege.witness.look()
        headers = {**ONE_ID, "Idempotency-Key": "key-of-a-thief"}
        theirs, nothing = (
            thief.call(method, API + path.format(each), json=body, headers=headers)
            for each in (number, number[0] + "9" * 31)
        )
        refused(theirs, 404, "not_found")
        assert theirs.data == nothing.data
        assert siege.witness.changes() == {}
        rule = API + path.format({"D": "<order_no>", "R": "<refund_no>"}[number[0]])
        assert siege.witness.requests() == [(rule, 404, "not_found")] * 2


@pytest.mark.parametrize("place", ["query", "cookie", "form", "basic"])
def test_a_token_is_taken_from_its_header_alone(siege: Siege, place: str) -> None:
    """A token in an address ends in logs and histories; one in a cookie is sent by any page."""
    token = siege.person().token
    given: dict[str, Any] = {
        "query": {"query_string": {"token": token, "access_token": token}},
        "cookie": {"headers": {"Cookie": f"token={token}; session={token}"}},
        "form": {"data": {"token": token}},
        "basic": {"headers": {"Authorization": f"Basic {token}"}},
    }[place]
    siege.witness.look()
    refused(siege.doors.client.get(f"{API}/account", **given), 401, "not_authenticated")
    assert siege.witness.changes() == {}
    assert siege.witness.requests() == [(f"{API}/account", 401, "not_authenticated")]


# -- What the body may not say ----------------------------------------------------------------

# fmt: off
AMOUNTS = [
    "0", "-1", "-0", "0.01", "50000.0", "1e3", "1E400", "1e999", '"50000"', '""', "true", "false",
    "null", "[50000]", '{"fen":50000}', "1000000000001", "9223372036854775807",
    "9223372036854775808",
]
# fmt: on
NOT_JSON = ["NaN", "Infinity", "-Infinity", "0x10", "+1", "01", "1_000", "'1'", "9" * 5000]


@pytest.mark.parametrize("door", ["deposit", "refund", "staff"])
def test_an_amount_is_a_whole_number_of_fen_at_every_door(siege: Siege, door: str) -> None:
    order_no = siege.paid()
    path, caller, start = {
        "deposit": (f"{API}/deposits", siege.person(), '"channel":"wechat"'),
        "refund": (f"{API}/deposits/{order_no}/refunds", siege.person(), '"reason":"other"'),
        "staff": (
            f"{STAFF}/refunds",
            siege.staff(Role.CLERK),
            f'"order_no":"{order_no}","reason":"other","note":"x"',
        ),
    }[door]
    siege.witness.look()
    for amount in AMOUNTS:
        answer = caller.post(path, data=f'{{{start},"amount_fen":{amount}}}', headers=JSON)
        refused(answer, 422, "invalid_input")
        assert list(answer.json["detail"]["fields"]) == ["amount_fen"], amount
    for amount in NOT_JSON:
        answer = caller.post(path, data=f'{{{start},"amount_fen":{amount}}}', headers=JSON)
        refused(answer, 400, "bad_request")
    twice = caller.post(path, data=f'{{{start},"amount_fen":1,"amount_fen":2}}', headers=JSON)
    refused(twice, 400, "bad_request")
    assert siege.witness.changes() == {}
    rule = path.replace(order_no, "<order_no>")
    assert siege.witness.requests() == [
        *[(rule, 422, "invalid_input")] * len(AMOUNTS),
        *[(rule, 400, "bad_request")] * (len(NOT_JSON) + 1),
    ]


# fmt: off
UNASKED = [
    "id", "account_id", "contributor_id", "identity_id", "staff_id", "account_no", "refund_no",
    "state", "status", "balance_fen", "held_fen", "refunded_fen", "room_fen", "paid_at",
    "credited_on", "payer_ref", "client_ip", "openid", "maker", "checker", "role", "request_key",
    "__proto__", "constructor", "$ref",
]
# fmt: on


def test_nobody_says_in_a_body_who_they_are_or_what_they_have(siege: Siege) -> None:
    order_no = siege.paid()
    refund_no = siege.asked_back(order_no)
    person, stranger = siege.person(), siege.doors.logged_in("stranger")
    clerk, reviewer = siege.staff(Role.CLERK), siege.staff(Role.REVIEWER)
    doors: list[tuple[Caller, str, str, dict[str, Any]]] = [
        (person, "POST", f"{API}/deposits", {"channel": "wechat", "amount_fen": 50_000}),
        (person, "POST", f"{API}/deposits/{order_no}/refunds", REFUND),
        (person, "PATCH", f"{API}/me/facts", {"degree": {"level": "bachelor"}}),
        (stranger, "POST", f"{API}/enrolment", application_of("stranger")),
        (stranger, "POST", f"{API}/session/link", {"code": "22222222"}),
        (stranger, "POST", f"{API}/session", {"platform": "wechat", "code": "code-of-x"}),
        (clerk, "POST", f"{STAFF}/refunds", {**REFUND, "order_no": order_no, "note": "x"}),
        (reviewer, "POST", f"{STAFF}/refunds/{refund_no}/release", {"note": "x"}),
        (reviewer, "POST", f"{STAFF}/refunds/{refund_no}/reject", {"note": "x"}),
        (clerk, "POST", f"{STAFF}/session", {"username": "clerk", "password": "x"}),
    ]
    siege.witness.look()
    for caller, method, path, body in doors:
        for name in UNASKED:
            answer = caller.call(
                method, path, json={**body, name: 1}, headers={"Idempotency-Key": "key-12345678"}
            )
            refused(answer, 422, "invalid_input")
            assert answer.json["detail"]["fields"] == {name: "不支持的字段"}, (path, name)
    assert siege.witness.changes() == {}
    assert {told[1:] for told in siege.witness.requests()} == {(422, "invalid_input")}


def test_nobody_says_in_a_query_whose_things_to_show(siege: Siege) -> None:
    siege.paid(name="victim")
    thief = siege.person("thief")
    siege.witness.look()
    for path in ("/deposits", "/account/entries"):
        for name in ("account_id", "contributor_id", "account_no", "all", "limit[]", "order_by"):
            answer = thief.get(f"{API}{path}?{name}=1")
            refused(answer, 422, "invalid_input")
            assert list(answer.json["detail"]["fields"]) == [name]
    assert thief.get(f"{API}/account?account_id=1").json["balance_fen"] == 0
    assert siege.witness.changes() == {}


# -- Log-in -----------------------------------------------------------------------------------


def test_a_log_in_code_works_once(siege: Siege) -> None:
    body = {"platform": "wechat", "code": "code-of-rider#used"}
    siege.person()
    assert siege.doors.client.post(f"{API}/session", json=body).status_code == 201
    siege.witness.secrets.append(body["code"])
    siege.witness.look()
    refused(siege.doors.client.post(f"{API}/session", json=body), 401, "login_refused")
    assert siege.witness.changes() == {}
    assert siege.witness.requests() == [(f"{API}/session", 401, "login_refused")]


def test_a_token_ends_with_log_out(siege: Siege) -> None:
    person = siege.person()
    assert person.call("DELETE", f"{API}/session").status_code == 204
    siege.witness.look()
    refused(person.deposit(50_000), 401, "not_authenticated")
    refused(person.call("DELETE", f"{API}/session"), 401, "not_authenticated")
    assert siege.witness.changes() == {}
    assert [told[1:] for told in siege.witness.requests()] == [(401, "not_authenticated")] * 2


def test_a_frozen_account_opens_nothing_and_lets_nothing_out(siege: Siege, ports: Ports) -> None:
    order_no = siege.paid()
    refund_no = siege.asked_back(order_no)
    person, reviewer, clerk = siege.person(), siege.staff(Role.REVIEWER), siege.staff(Role.CLERK)
    ports.transact(lambda s: s.execute(update(Account).values(status=AccountStatus.FROZEN)))
    siege.witness.look()
    refused(person.get(f"{API}/account"), 401, "not_authenticated")
    refused(person.deposit(50_000), 401, "not_authenticated")
    code = {"platform": "wechat", "code": "code-of-rider#frozen"}
    refused(siege.doors.client.post(f"{API}/session", json=code), 403, "account_frozen")
    body = {**REFUND, "order_no": order_no, "note": "x"}
    refused(clerk.post(f"{STAFF}/refunds", json=body), 422, "account_frozen")
    release = f"{STAFF}/refunds/{refund_no}/release"
    refused(reviewer.post(release, json={"note": "x"}), 422, "account_frozen")
    assert siege.witness.changes() == {}
    assert [told[1:] for told in siege.witness.requests()] == [
        (401, "not_authenticated"),
        (401, "not_authenticated"),
        (403, "account_frozen"),
        (422, "account_frozen"),
        (422, "account_frozen"),
    ]
    assert siege.channels["wechat"].refunds == {}


# -- Guessing ---------------------------------------------------------------------------------


def test_guessing_link_codes_ends_after_five(siege: Siege) -> None:
    code = siege.person("victim").call("POST", f"{API}/session/link-code").json["code"]
    guesser = siege.doors.logged_in("guesser", platform="alipay")
    guesses = ["22222222", "33333333", "", "' OR 1=1 --", "%", "_" * 8, code.swapcase()[::-1]]
    siege.witness.secrets += [code, "22222222", "33333333"]
    siege.witness.look()
    link = f"{API}/session/link"
    typed = [guesser.call("POST", link, json={"code": guess}) for guess in guesses]
    # An empty one is not even tried; the sixth that is tried is one too many.
    assert [answer.json["code"] for answer in typed] == [
        "link_code_refused",
        "link_code_refused",
        "invalid_input",
        "link_code_refused",
        "link_code_refused",
        "link_code_refused",
        "too_many_link_attempts",
    ]
    refused(guesser.call("POST", link, json={"code": code}), 429, "too_many_link_attempts")
    assert siege.witness.changes() == {"link_attempt": (5, 0)}
    assert siege.witness.requests()[-1] == (link, 429, "too_many_link_attempts")
    refused(guesser.get(f"{API}/account"), 409, "not_enrolled")


PASSWORD = "Tongguan-2026"


def test_guessing_a_password_locks_the_door_whatever_comes_then(siege: Siege, ports: Ports) -> None:
    add_staff_member(
        ports, username="boss", display_name="测试用户", role=Role.SUPERVISOR, password=PASSWORD
    )
    siege.witness.secrets += [PASSWORD, "boss", "Guess-1234"]
    path = f"{STAFF}/session"
    siege.witness.look()
    typed = ["Guess-12340", "Guess-12341", "", "' OR 1=1 --", "Guess-12343", "Guess-12344"]
    answers = [
        siege.doors.client.post(path, json={"username": "boss", "password": each}, headers=ONE_ID)
        for each in [*typed, PASSWORD]
    ]
    empty = answers.pop(2)
    refused(empty, 422, "invalid_input")
    for answer in answers:
        refused(answer, 401, "staff_login_refused")
    # Nothing tells that the last one was right.
    assert len({answer.data for answer in answers}) == 1
    assert siege.witness.changes() == {"staff_member": (1, 1), "staff_login_attempt": (6, 0)}
    assert [told[1:] for told in siege.witness.requests()].count((401, "staff_login_refused")) == 6
    siege.clock.advance(minutes=15)
    body = {"username": "boss", "password": PASSWORD}
    assert siege.doors.client.post(path, json=body).status_code == 201


def test_one_password_at_many_names_tells_nothing_of_the_names(siege: Siege, ports: Ports) -> None:
    add_staff_member(
        ports, username="boss", display_name="测试用户", role=Role.SUPERVISOR, password=PASSWORD
    )
    siege.witness.look()
    names = ["boss", "nobody", "BOSS", "boss ", "boss\u0000", "' OR 1=1 --", "admin", "{{7*7}}"]
    answers = [
        siege.doors.client.post(
            f"{STAFF}/session", json={"username": name, "password": "Guess-12345"}, headers=ONE_ID
        )
        for name in names
    ]
    for answer in answers:
        refused(answer, 401, "staff_login_refused")
    assert len({answer.data for answer in answers}) == 1
    changes = siege.witness.changes()
    assert changes == {"staff_member": (1, 1), "staff_login_attempt": (len(names), 0)}
    assert not any(name in line for line in siege.witness.log_lines() for name in names[:1])


# -- Texts ------------------------------------------------------------------------------------

TEXTS = {
    "markup": "<script>alert(1)</script>",
    "formula": "=cmd|'/c calc'!A1",
    "template": "{{7*7}}${7*7}<%=7*7%>",
    "SQL": "'; DROP TABLE account; --",
    "NUL": "a\u0000b",
    "turned around": "\u202e倒写",
    "hidden": "看\u200b不见",
    "new line": "两\r\n行",
    "10,000 characters": "测" * 10_000,
    "half a character": "\ud800",
}
SHOWN = {
    ("note", "markup"),
    ("note", "formula"),
    ("note", "template"),
    ("note", "SQL"),
    ("evidence", "formula"),
    ("evidence", "SQL"),
}
"""What may be written: it is kept and answered as the text that it is, and as nothing else."""


def attempts_with(siege: Siege, text: str) -> dict[str, tuple[Caller, str, str, dict[str, Any]]]:
    """Every field into which a person types, with this text in it."""
    order_no = siege.paid()
    person, stranger = siege.person(), siege.doors.logged_in("stranger")
    clerk = siege.staff(Role.CLERK)
    enrolment = f"{API}/enrolment"
    mine = application_of("stranger")
    facts = {"children": {"count": 1, "minor_count": 0, "evidence": text}}
    return {
        "note": (person, "POST", f"{API}/deposits/{order_no}/refunds", {**REFUND, "note": text}),
        "staff note": (
            clerk,
            "POST",
            f"{STAFF}/refunds",
            {**REFUND, "order_no": text, "note": text},
        ),
        "evidence": (person, "PATCH", f"{API}/me/facts", facts),
        "real_name": (stranger, "POST", enrolment, {**mine, "real_name": text}),
        "document_no": (stranger, "POST", enrolment, {**mine, "document_no": text}),
        "phone": (stranger, "POST", enrolment, {**mine, "phone": text}),
        "industry_tags": (stranger, "POST", enrolment, {**mine, "industry_tags": [text]}),
        "employment_form": (stranger, "POST", enrolment, {**mine, "employment_form": text}),
        "birth_date": (stranger, "POST", enrolment, {**mine, "birth_date": text}),
        "channel": (person, "POST", f"{API}/deposits", {"channel": text, "amount_fen": 50_000}),
        "field name": (person, "POST", f"{API}/deposits", {text: 1}),
        "log-in code": (person, "POST", f"{API}/session", {"platform": "wechat", "code": text}),
    }


@pytest.mark.parametrize("kind", TEXTS)
def test_a_hostile_text_is_refused_or_is_text(siege: Siege, kind: str) -> None:
    text = TEXTS[kind]
    attempts = attempts_with(siege, text)
    siege.witness.secrets.append(text)
    for field, (caller, method, path, body) in attempts.items():
        siege.witness.look()
        answer = caller.call(
            method,
            path,
            data=json.dumps(body),
            headers={**JSON, "Idempotency-Key": f"key-{field.replace(' ', '-')}"},
        )
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if (field, kind) in SHOWN:
            assert answer.status_code in {200, 201}, (field, answer.text)
            kept = answer.json["note" if field == "note" else "facts"]
            assert (kept if field == "note" else kept["children"]["evidence"]) == text
            [(_, status, told)] = siege.witness.requests()
            assert (status, told) == (answer.status_code, None)
            continue
        assert answer.status_code in {400, 401, 404, 413, 422}, (field, answer.text)
        assert siege.witness.changes() == {}, field
        [(_, status, told)] = siege.witness.requests()
        assert (status, told) == (answer.status_code, answer.json["code"])


def test_what_may_be_written_comes_out_as_the_text_it_is(siege: Siege) -> None:
    """In the export too, which is JSON: nothing in it is a formula or a page."""
    person = siege.person()
    facts = {"children": {"count": 1, "minor_count": 0, "evidence": TEXTS["formula"]}}
    assert person.call("PATCH", f"{API}/me/facts", json=facts).status_code == 200
    exported = person.get(f"{API}/me/export")
    assert exported.headers["Content-Type"] == "application/json"
    assert exported.headers["Content-Disposition"].startswith("attachment;")
    assert exported.json["contributor"]["declared_facts"] == facts


# -- The wrong moment -------------------------------------------------------------------------


def test_more_than_was_paid_is_never_promised(siege: Siege) -> None:
    order_no = siege.paid()
    siege.asked_back(order_no, 30_000)
    siege.witness.look()
    path = f"{API}/deposits/{order_no}/refunds"
    for amount in (20_001, PAID_FEN, PAID_FEN + OPENING_FEN, 10**12):
        answer = siege.person().post(path, json={**REFUND, "amount_fen": amount})
        refused(answer, 422, "not_refundable")
        assert answer.json["detail"]["refundable_fen"] == 20_000
    assert siege.witness.changes() == {}
    assert [told[1:] for told in siege.witness.requests()] == [(422, "not_refundable")] * 4


def test_what_was_never_paid_is_not_given_back(siege: Siege) -> None:
    order_no = siege.order()
    siege.witness.look()
    answer = siege.person().post(f"{API}/deposits/{order_no}/refunds", json=REFUND)
    refused(answer, 422, "not_refundable")
    assert siege.witness.changes() == {}


def test_an_old_address_of_the_phone_is_not_believed(app: APIFlask, siege: Siege) -> None:
    """Without a proxy in front, a header cannot say where the phone is."""
    asked = siege.channels["wechat"]
    seen: list[str] = []
    place = asked.prepare_payment

    def prepare(request: Any) -> Any:
        seen.append(request.client_ip)
        return place(request)

    asked.prepare_payment = prepare  # type: ignore[method-assign]
    person = replace(siege.person(), client=app.test_client())
    answer = person.post(
        f"{API}/deposits",
        json={"channel": "wechat", "amount_fen": 50_000},
        headers={"X-Forwarded-For": "8.8.8.8", "X-Real-Ip": "8.8.8.8"},
    )
    assert (answer.status_code, seen) == (201, ["127.0.0.1"])
