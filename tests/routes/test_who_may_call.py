"""Every door, and who may come in. A route that the table does not name fails the first test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from apiflask import APIFlask
from sqlalchemy import update

from app.domain.contributors.models import Account, AccountStatus
from app.domain.ports import Ports
from app.domain.sessions.operations import revoke_all
from app.domain.staff.models import Role
from app.domain.staff.operations import disable_staff_member
from tests.conftest import MovableClock
from tests.routes.callers import Caller, Doors

ANYONE = frozenset({"anyone"})
CITIZEN = frozenset({"citizen"})
MONITORING = frozenset({"monitoring"})
ALL_STAFF = frozenset(Role)
READERS = frozenset({Role.CLERK, Role.REVIEWER, Role.SUPERVISOR, Role.AUDITOR})
MAKERS = frozenset({Role.CLERK, Role.REVIEWER, Role.SUPERVISOR})
CHECKERS = frozenset({Role.REVIEWER, Role.SUPERVISOR})

WHO_MAY_CALL = {
    ("GET", "/"): ANYONE,
    ("GET", "/docs"): ANYONE,
    ("GET", "/openapi.json"): ANYONE,
    ("GET", "/static/<path:filename>"): ANYONE,
    ("GET", "/healthz"): ANYONE,
    ("GET", "/readyz"): ANYONE,
    ("GET", "/metrics"): MONITORING,
    # The channel's signature guards this one.
    ("POST", "/callbacks/<channel>/<endpoint>"): ANYONE,
    ("POST", "/api/v1/session"): ANYONE,
    ("DELETE", "/api/v1/session"): CITIZEN,
    ("POST", "/api/v1/session/link-code"): CITIZEN,
    ("POST", "/api/v1/session/link"): CITIZEN,
    ("POST", "/api/v1/enrolment"): CITIZEN,
    ("GET", "/api/v1/me"): CITIZEN,
    ("PATCH", "/api/v1/me/facts"): CITIZEN,
    ("GET", "/api/v1/me/export"): CITIZEN,
    ("GET", "/api/v1/account"): CITIZEN,
    ("GET", "/api/v1/account/entries"): CITIZEN,
    ("POST", "/api/v1/agreement/preview"): CITIZEN,
    ("POST", "/api/v1/agreement"): CITIZEN,
    ("GET", "/api/v1/agreement"): CITIZEN,
    ("GET", "/api/v1/agreement/history"): CITIZEN,
    ("POST", "/api/v1/agreement/change"): CITIZEN,
    ("POST", "/api/v1/agreement/suspend"): CITIZEN,
    ("POST", "/api/v1/agreement/resume"): CITIZEN,
    ("POST", "/api/v1/agreement/end"): CITIZEN,
    ("GET", "/api/v1/agreement/text"): CITIZEN,
    ("GET", "/api/v1/agreement/pdf"): CITIZEN,
    ("POST", "/api/v1/mandates"): CITIZEN,
    ("GET", "/api/v1/mandates"): CITIZEN,
    ("GET", "/api/v1/mandates/<mandate_no>"): CITIZEN,
    ("POST", "/api/v1/mandates/<mandate_no>/confirm"): CITIZEN,
    ("POST", "/api/v1/mandates/<mandate_no>/end"): CITIZEN,
    ("GET", "/api/v1/messages"): CITIZEN,
    ("GET", "/api/v1/debits"): CITIZEN,
    ("GET", "/api/v1/debits/next"): CITIZEN,
    ("GET", "/api/v1/debits/<period>"): CITIZEN,
    ("POST", "/api/v1/debits/<period>/make-up"): CITIZEN,
    ("POST", "/api/v1/deposits"): CITIZEN,
    ("GET", "/api/v1/deposits"): CITIZEN,
    ("GET", "/api/v1/deposits/<order_no>"): CITIZEN,
    ("POST", "/api/v1/deposits/<order_no>/refunds"): CITIZEN,
    ("GET", "/api/v1/refunds/<refund_no>"): CITIZEN,
    ("POST", "/staff/api/v1/session"): ANYONE,
    ("DELETE", "/staff/api/v1/session"): ALL_STAFF,
    ("GET", "/staff/api/v1/refunds"): READERS,
    ("POST", "/staff/api/v1/refunds"): MAKERS,
    ("POST", "/staff/api/v1/refunds/<refund_no>/release"): CHECKERS,
    ("POST", "/staff/api/v1/refunds/<refund_no>/reject"): CHECKERS,
    ("GET", "/staff/api/v1/breaks"): READERS,
}


def test_the_table_names_every_route_and_no_other(app: APIFlask) -> None:
    assert set(routes_of(app)) == set(WHO_MAY_CALL)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", "Basic dTpw", "Bearer a=b", "Bearer 令牌"]
)
def test_without_a_valid_token_only_the_open_doors_open(
    app: APIFlask, doors: Doors, authorization: str
) -> None:
    header = authorization.encode().decode("latin-1")
    caller = Caller(doors.client)
    for method, rule in routes_of(app):
        answer = caller.call(method, filled(rule), headers={"Authorization": header})
        check(answer, rule, admitted=WHO_MAY_CALL[method, rule] == ANYONE, refusal=401)


@pytest.mark.parametrize("enrolled", [False, True], ids=["not enrolled", "enrolled"])
def test_a_contributor_comes_in_at_the_contributors_doors_only(
    app: APIFlask, doors: Doors, enrolled: bool
) -> None:
    if enrolled:
        doors.enrolled("a")
    for method, rule in routes_of(app):
        # A fresh log-in each time: one of the doors ends the session.
        answer = doors.logged_in("a").call(method, filled(rule))
        who = WHO_MAY_CALL[method, rule]
        check(answer, rule, admitted=who in (ANYONE, CITIZEN), refusal=401)


@pytest.mark.parametrize("role", list(Role))
def test_staff_come_in_at_the_doors_of_their_role_only(
    app: APIFlask, doors: Doors, role: Role
) -> None:
    for method, rule in routes_of(app):
        who = WHO_MAY_CALL[method, rule]
        answer = doors.staff(role).call(method, filled(rule))
        at_staff_door = who not in (ANYONE, CITIZEN, MONITORING)
        admitted = who == ANYONE or role in who
        check(answer, rule, admitted=admitted, refusal=403 if at_staff_door else 401)


@pytest.mark.parametrize("ended", ["expired", "logged out", "revoked", "frozen"])
def test_a_contributors_ended_session_opens_nothing(
    app: APIFlask, doors: Doors, ports: Ports, clock: MovableClock, ended: str
) -> None:
    caller = doors.enrolled("a")
    person = caller.get("/api/v1/me")
    assert person.status_code == 200
    if ended == "expired":
        clock.advance(days=7)
    elif ended == "logged out":
        assert caller.call("DELETE", "/api/v1/session").status_code == 204
    elif ended == "revoked":
        assert revoke_all(ports, contributor_id=1) == 1
    else:
        ports.transact(lambda s: s.execute(update(Account).values(status=AccountStatus.FROZEN)))
    for method, rule in routes_of(app):
        answer = caller.call(method, filled(rule))
        check(answer, rule, admitted=WHO_MAY_CALL[method, rule] == ANYONE, refusal=401)


@pytest.mark.parametrize("ended", ["expired", "logged out", "disabled"])
def test_a_staff_members_ended_session_opens_nothing(
    app: APIFlask, doors: Doors, ports: Ports, clock: MovableClock, ended: str
) -> None:
    caller = doors.staff(Role.SUPERVISOR, username="boss", lasts=timedelta(hours=8))
    assert caller.get("/staff/api/v1/breaks").status_code == 200
    if ended == "expired":
        clock.advance(hours=8)
    elif ended == "logged out":
        assert caller.call("DELETE", "/staff/api/v1/session").status_code == 204
    else:
        disable_staff_member(ports, username="boss")
    for method, rule in routes_of(app):
        answer = caller.call(method, filled(rule))
        check(answer, rule, admitted=WHO_MAY_CALL[method, rule] == ANYONE, refusal=401)


def test_a_frozen_account_cannot_log_in_again(doors: Doors, ports: Ports) -> None:
    doors.enrolled("a")
    ports.transact(lambda s: s.execute(update(Account).values(status=AccountStatus.FROZEN)))
    body = {"platform": "wechat", "code": "code-of-a#again"}
    answer = doors.client.post("/api/v1/session", json=body)
    assert (answer.status_code, answer.json["code"]) == (403, "account_frozen")
    assert "token" not in answer.json


@pytest.mark.parametrize(
    "path", ["/api/v1/unknown", "/api/v2/account", "/staff/unknown", "/staff/api/v1/accounts/1"]
)
def test_unknown_paths_of_the_guarded_areas_say_nothing_to_strangers(
    doors: Doors, path: str
) -> None:
    stranger = doors.nobody().get(path)
    assert (stranger.status_code, stranger.json["code"]) == (401, "not_authenticated")
    known = doors.enrolled("a") if path.startswith("/api/") else doors.staff(Role.CLERK)
    answer = known.get(path)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_a_token_of_one_kind_is_none_of_the_other(doors: Doors) -> None:
    assert doors.enrolled("a").get("/staff/unknown").status_code == 401
    assert doors.staff(Role.SUPERVISOR).get("/api/v1/unknown").status_code == 401


@pytest.mark.parametrize("path", ["/api/v1/account", "/api/v1/deposits", "/staff/api/v1/refunds"])
def test_head_asks_for_the_same_token_as_get(doors: Doors, path: str) -> None:
    answer = doors.nobody().call("HEAD", path)
    assert (answer.status_code, answer.data) == (401, b"")


@pytest.mark.parametrize("path", ["/api/v1/account", "/staff/api/v1/refunds"])
def test_options_are_refused_and_no_other_origin_is_let_in(doors: Doors, path: str) -> None:
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}
    answer = doors.nobody().call("OPTIONS", path, headers=asked)
    assert answer.status_code == 405
    assert not any(name.startswith("Access-Control") for name, _ in answer.headers)


def routes_of(app: APIFlask) -> Iterator[tuple[str, str]]:
    """Every method and rule of the application."""
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            yield method, rule.rule


def filled(rule: str) -> str:
    """Return a path of this rule."""
    return re.sub(r"<[^>]+>", "X", rule)


def check(answer, rule: str, *, admitted: bool, refusal: int) -> None:
    """Say whether the door opened as it should; what lies behind it is for other tests."""
    if admitted:
        assert answer.status_code not in {401, 403}, (rule, answer.text)
        return
    assert answer.status_code == refusal, (rule, answer.text)
    code, message = {
        401: ("not_authenticated", "请先登录"),
        403: ("not_permitted", "没有权限办理此操作"),
    }[refusal]
    assert answer.json == {
        "code": code,
        "message": message,
        "request_id": answer.headers["X-Request-Id"],
        "detail": {},
    }
    assert answer.headers.get("WWW-Authenticate") == ("Bearer" if refusal == 401 else None)
