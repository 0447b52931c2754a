"""One error shape, the same headers on every answer, request ids, and nothing personal in logs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from apiflask import APIFlask, HTTPError
from flask import abort
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import TooManyRequests
from werkzeug.test import TestResponse

from app.db import CommitUnconfirmed, db, make_read
from app.domain.errors import BooksBroken, ChannelTrouble
from app.domain.pii import VaultError
from app.domain.ports import Ports
from app.domain.sessions.linking import TooManyLinkAttempts
from app.domain.staff.models import Role
from config.settings import Settings
from tests.routes.callers import API, STAFF, Doors, application_of, on_sqlite_only
from tests.simulated_channel import SimulatedChannel

pytestmark = on_sqlite_only

LOG_IN = {"platform": "wechat", "code": "code-of-a"}


def an_error(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    """Say that this is an error in the one shape, and return its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert list(answer.json) == ["code", "message", "request_id", "detail"]
    assert answer.json["code"] == code
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    assert any("\u4e00" <= character <= "\u9fff" for character in answer.json["message"])
    assert isinstance(answer.json["detail"], dict)
    body: dict[str, Any] = answer.json
    return body


def test_every_kind_of_error_has_the_one_shape(doors: Doors) -> None:
    person, nobody = doors.enrolled("a"), doors.nobody()
    an_error(
        person.post(f"{API}/deposits", data="{", content_type="application/json"),
        400,
        "bad_request",
    )
    an_error(nobody.get(f"{API}/account"), 401, "not_authenticated")
    refused = doors.client.post(f"{API}/session", json={"platform": "wechat", "code": "used"})
    an_error(refused, 401, "login_refused")
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    an_error(doors.staff(Role.AUDITOR).post(f"{STAFF}/refunds"), 403, "not_permitted")
    an_error(person.get(f"{API}/deposits/none"), 404, "not_found")
    an_error(nobody.get("/nowhere"), 404, "not_found")
    an_error(nobody.get("/static/nothing.js"), 404, "not_found")
    answer = person.call("PUT", f"{API}/deposits")
    an_error(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}
    an_error(
        person.call("POST", f"{API}/enrolment", json=application_of("b")),
        409,
        "identity_already_bound",
    )
    an_error(person.post(f"{API}/deposits", data="x" * 65_537), 413, "too_large")
    an_error(person.post(f"{API}/deposits", data="x"), 415, "unsupported_media_type")
    body = an_error(person.deposit(12_149), 422, "amount_below_minimum")
    # 2430 yuan of minimum wage, 5 %.
    assert body["detail"] == {"minimum_fen": 12_150, "clause": "试点方案 第二条"}


def test_six_codes_typed_in_ten_minutes_are_too_many(doors: Doors) -> None:
    guesser = doors.logged_in("a")
    for _ in range(5):
        answer = guesser.call("POST", f"{API}/session/link", json={"code": "22222222"})
        an_error(answer, 422, "link_code_refused")
    answer = guesser.call("POST", f"{API}/session/link", json={"code": "22222222"})
    an_error(answer, 429, "too_many_link_attempts")


class Broken(Exception):
    """Stands for a bug."""


TROUBLE = [
    (Broken("secret 320722199005061972"), 500, "internal_error"),
    (BooksBroken("entry 7 is off", entry_id=7), 500, "internal_error"),
    (VaultError("key k1 does not fit"), 500, "internal_error"),
    (IntegrityError("INSERT …", {"x": "secret"}, Exception("UNIQUE")), 500, "internal_error"),
    (OperationalError("SELECT …", {"x": "secret"}, Exception("gone")), 503, "unavailable"),
    (InterfaceError("SELECT …", {"x": "secret"}, Exception("(0, '')")), 503, "unavailable"),
    (PoolTimeout("QueuePool limit"), 503, "unavailable"),
    (CommitUnconfirmed(), 503, "unconfirmed"),
    (ChannelTrouble(), 503, "channel_trouble"),
    (TooManyLinkAttempts(), 429, "too_many_link_attempts"),
    (TooManyRequests(retry_after=5), 429, "too_many_requests"),
    (HTTPError(404, message="apiflask", detail={"secret": 1}), 404, "not_found"),
]


@pytest.mark.parametrize(
    ("trouble", "status", "code"), TROUBLE, ids=[type(row[0]).__name__ for row in TROUBLE]
)
def test_trouble_inside_is_told_without_its_inside(
    app: APIFlask, doors: Doors, trouble: Exception, status: int, code: str
) -> None:
    def view() -> NoReturn:
        raise trouble

    app.add_url_rule("/trouble", view_func=view)
    answer = doors.client.get("/trouble")
    assert an_error(answer, status, code)["detail"] == {}
    for secret in ("secret", "SELECT", "k1", "320722", "Traceback", "entry"):
        assert secret not in answer.text
    if isinstance(trouble, TooManyRequests):
        assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 406, 408, 410, 411, 412, 414, 416, 418, 422]
)
def test_what_flask_itself_raises_has_the_shape_too(
    app: APIFlask, doors: Doors, status: int
) -> None:
    app.add_url_rule("/trouble", view_func=lambda: abort(status, "an English text"))
    answer = doors.client.get("/trouble")
    assert answer.status_code == status
    assert list(answer.json) == ["code", "message", "request_id", "detail"]
    assert "English" not in answer.text


def test_a_lost_database_is_503_at_every_door_and_says_nothing_of_itself(
    build_app: Callable[..., APIFlask], settings: Settings, ports: Ports, tmp_path: Path
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/no/such/folder/database.sqlite")
    client = build_app(settings, replace(ports, read=make_read(engine))).test_client()
    for path in ("/readyz", f"{API}/account", f"{STAFF}/breaks", f"{API}/unknown"):
        answer = client.get(path, headers={"Authorization": "Bearer some-token"})
        assert an_error(answer, 503, "unavailable")["detail"] == {}
        assert "sqlite" not in answer.text
    assert client.get("/healthz").json == {"status": "ok"}
    engine.dispose()


def test_a_ready_process_says_so(doors: Doors) -> None:
    answer = doors.nobody().get("/readyz")
    assert (answer.status_code, answer.json) == (200, {"status": "ready"})


# -- headers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/healthz", f"{API}/account", f"{API}/nothing", f"{STAFF}/breaks", "/nowhere", "/openapi.json"]
    + ["/", "/callbacks/wechat/payment"],
)
def test_every_answer_has_the_safe_headers(doors: Doors, path: str) -> None:
    answer = doors.nobody().get(path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert len(answer.headers["X-Request-Id"]) == 32
    assert "Set-Cookie" not in answer.headers


def test_logging_out_answers_nothing_at_all(doors: Doors) -> None:
    for caller, path in (
        (doors.enrolled("a"), f"{API}/session"),
        (doors.staff(Role.CLERK), f"{STAFF}/session"),
    ):
        answer = caller.call("DELETE", path)
        assert (answer.status_code, answer.data) == (204, b"")
        assert answer.headers["Cache-Control"] == "no-store"
        assert caller.call("DELETE", path).status_code == 401


@pytest.mark.parametrize("given", ["0123abcd", "A-b-3" * 12])
def test_a_proper_request_id_is_taken_over(doors: Doors, given: str) -> None:
    answer = doors.nobody().get("/nowhere", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] == answer.json["request_id"] == given


@pytest.mark.parametrize(
    "given", ["", "short", "x" * 65, "with blank 12", "<script>12", "标识标识标识标识"]
)
def test_any_other_request_id_is_replaced(doors: Doors, given: str) -> None:
    header = given.encode().decode("latin-1")
    answer = doors.nobody().get("/nowhere", headers={"X-Request-Id": header})
    assert answer.headers["X-Request-Id"] == answer.json["request_id"] != given
    assert len(answer.json["request_id"]) == 32


def test_two_requests_never_share_an_id(doors: Doors) -> None:
    ids = {doors.nobody().get("/healthz").headers["X-Request-Id"] for _ in range(20)}
    assert len(ids) == 20


@pytest.mark.parametrize(
    "path", [f"{API}/deposits/", f"{API}//deposits", "//evil.example/docs", "/docs/"]
)
def test_a_path_that_is_almost_one_is_none_and_redirects_nowhere(doors: Doors, path: str) -> None:
    environ = {"PATH_INFO": path, "HTTP_HOST": "evil.example"}
    answer = doors.enrolled("a").get("/", environ_overrides=environ)
    assert answer.status_code == 404
    assert "Location" not in answer.headers


# -- sizes ------------------------------------------------------------------------------------


def test_a_body_of_64_kib_is_read_and_one_byte_more_is_not(doors: Doors) -> None:
    person = doors.enrolled("a")
    padding = " " * (65_536 - len('{"channel":"wechat","amount_fen":50000}'))
    body = '{"channel":"wechat","amount_fen":50000' + padding + "}"
    assert (
        person.post(f"{API}/deposits", data=body, content_type="application/json").status_code
        == 201
    )
    answer = person.post(f"{API}/deposits", data=body + " ", content_type="application/json")
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    "path", [f"{API}/deposits", f"{API}/session", "/callbacks/wechat/payment", "/nowhere"]
)
def test_an_oversize_body_is_refused_before_anything_is_read_of_it(doors: Doors, path: str) -> None:
    class Unread:
        def read(self, *_: object) -> bytes:
            raise AssertionError("the body was read")

        readline = read

    answer = doors.client.post(
        path,
        content_type="application/json",
        environ_overrides={"wsgi.input": Unread(), "CONTENT_LENGTH": "65537"},
    )
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")


# -- logs -------------------------------------------------------------------------------------


def test_a_whole_story_leaves_nothing_personal_in_the_log(
    doors: Doors, channel: SimulatedChannel, log_lines: Callable[[], list[str]]
) -> None:
    person, order_no = doors.with_deposit("openid-of-a")
    application = application_of("openid-of-a")
    person.get(f"{API}/me")
    person.get(f"{API}/me/export")
    person.post(
        f"{API}/deposits/{order_no}/refunds",
        json={"amount_fen": 100, "reason": "other", "note": "致电 13912345678"},
    )
    channel.trouble["prepare_payment"] = ["lost_before"]
    person.deposit(20_000)
    person.post(f"{API}/deposits", data="{")
    doors.client.post("/callbacks/wechat/payment", data=b'{"forged": true, "name": "Eve"}')
    doors.client.post(f"{STAFF}/session", json={"username": "clerk", "password": "Guess-12345"})
    person.call("DELETE", f"{API}/session")
    text = "\n".join(log_lines())
    assert len(log_lines()) > 10
    for secret in (
        application["document_no"],
        application["real_name"],
        application["phone"],
        "13912345678",
        "openid-of-a",
        person.token,
        person.account_no,
        "Guess-12345",
        "Eve",
    ):
        assert secret not in text, secret


def test_every_log_line_is_json_and_those_of_a_request_carry_its_id(
    doors: Doors, log_lines: Callable[[], list[str]]
) -> None:
    doors.nobody().get(f"{API}/account", headers={"X-Request-Id": "request-of-mine"})
    (line,) = [json.loads(line) for line in log_lines()]
    assert line["request_id"] == "request-of-mine"
    assert (line["event"], line["level"], line["logger"]) == (
        "request",
        "info",
        "app.routes.requests",
    )
    assert (line["method"], line["route"], line["status"]) == ("GET", "/api/v1/account", 401)
    assert line["duration_ms"] >= 0


def test_the_log_keeps_the_rule_of_a_path_and_not_what_was_typed(
    doors: Doors, log_lines: Callable[[], list[str]]
) -> None:
    doors.nobody().get(f"{API}/deposits/13800000000?name=x")
    doors.nobody().get("/320722199005061972")
    assert [json.loads(line)["route"] for line in log_lines()] == [
        "/api/v1/deposits/<order_no>",
        None,
    ]


def test_a_bug_is_logged_with_its_traceback_but_without_personal_data(
    app: APIFlask, doors: Doors, log_lines: Callable[[], list[str]]
) -> None:
    def view() -> NoReturn:
        raise Broken("320722199005061972 and 13800000000 and 6222021234567890123")

    app.add_url_rule("/trouble", view_func=view)
    doors.client.get("/trouble")
    error = json.loads(log_lines()[0])
    assert (error["level"], error["event"]) == ("error", "unexpected error")
    assert "Broken: *** and *** and ***" in error["exception"]


def test_the_log_hides_secrets_by_name_however_deep_they_lie(
    app: APIFlask, log_lines: Callable[[], list[str]]
) -> None:
    logging.getLogger("app.test").info(
        "call %s",
        "13800000000",
        extra={
            "token": "t-1",
            "raw_code": "SUCCESS",
            "inner": {"real_name": "测试用户", "list": [{"openid": "o-1"}, "13800000000"]},
        },
    )
    (line,) = [json.loads(line) for line in log_lines()]
    assert line["event"] == "call ***"
    assert line["token"] == "***"
    assert line["raw_code"] == "SUCCESS"
    assert line["inner"] == {"real_name": "***", "list": [{"openid": "***"}, "***"]}


def test_a_statements_values_stay_out_of_errors(app: APIFlask) -> None:
    with app.app_context(), pytest.raises(OperationalError) as raised, db.engine.connect() as c:
        c.exec_driver_sql("SELECT * FROM no_such_table WHERE name = ?", ("测试用户",))
    assert "测试用户" not in str(raised.value)
