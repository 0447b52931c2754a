"""A member of staff who wants to do alone what takes two, or what is for others to do.

What their log says of it names them: every line of the request carries their number.
"""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.domain.ports import Ports
from app.domain.staff.models import Role, StaffMember
from app.domain.staff.operations import add_staff_member
from tests.attacks.siege import Siege
from tests.routes.callers import STAFF, Caller, on_sqlite_only

pytestmark = on_sqlite_only

PASSWORD = "Tongguan-2026"
NOTE = {"note": "属实"}
RELEASE = f"{STAFF}/refunds/<refund_no>/release"


def ask(siege: Siege, maker: Caller, amount_fen: int = 10_000) -> str:
    """Return the number of a refund that a member of staff has registered."""
    body = {"order_no": siege.paid(), "amount_fen": amount_fen, "reason": "other", "note": "x"}
    answer = maker.post(f"{STAFF}/refunds", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json["refund_no"])


def told(siege: Siege) -> list[tuple[Any, ...]]:
    """Return who did what, and how it was refused, as the log has it."""
    return [
        (event.get("staff_id"), event["route"], event["status"], event.get("refused"))
        for event in siege.witness.log()
        if event["event"] == "request"
    ]


def id_of(ports: Ports, username: str) -> int:
    query = select(StaffMember.id).where(StaffMember.username == username)
    return int(ports.read(lambda session: session.scalar(query)) or 0)


@pytest.mark.parametrize("decision", ["release", "reject"])
@pytest.mark.parametrize("role", [Role.REVIEWER, Role.SUPERVISOR])
def test_nobody_decides_what_they_asked_for(
    siege: Siege, ports: Ports, role: Role, decision: str
) -> None:
    maker = siege.staff(role, username="maker")
    refund_no = ask(siege, maker)
    siege.witness.look()
    answer = maker.post(f"{STAFF}/refunds/{refund_no}/{decision}", json=NOTE)
    assert (answer.status_code, answer.json["code"]) == (403, "same_person_twice")
    assert answer.json["message"] == "申请人与复核人不能是同一人"
    assert siege.witness.changes() == {}
    rule = f"{STAFF}/refunds/<refund_no>/{decision}"
    assert told(siege) == [(id_of(ports, "maker"), rule, 403, "same_person_twice")]
    assert siege.channels["wechat"].refunds == {}


def test_a_second_browser_is_the_same_person(siege: Siege, ports: Ports) -> None:
    """Two log-ins by password, two tokens: the person behind them is one."""
    add_staff_member(
        ports, username="boss", display_name="测试用户", role=Role.SUPERVISOR, password=PASSWORD
    )
    browsers = []
    for name in ("boss", " Boss "):
        body = {"username": name, "password": PASSWORD}
        answer = siege.doors.client.post(f"{STAFF}/session", json=body)
        assert answer.status_code == 201
        browsers.append(Caller(siege.doors.client, answer.json["token"]))
    first, second = browsers
    assert first.token != second.token
    siege.witness.secrets += [first.token, second.token, PASSWORD]
    refund_no = ask(siege, first)
    siege.witness.look()
    answer = second.post(f"{STAFF}/refunds/{refund_no}/release", json=NOTE)
    assert (answer.status_code, answer.json["code"]) == (403, "same_person_twice")
    assert siege.witness.changes() == {}
    assert told(siege) == [(id_of(ports, "boss"), RELEASE, 403, "same_person_twice")]


@pytest.mark.parametrize("role", [Role.CLERK, Role.AUDITOR, Role.ADMINISTRATOR])
def test_a_role_that_does_not_decide_decides_nothing(
    siege: Siege, ports: Ports, role: Role
) -> None:
    refund_no = siege.asked_back(siege.paid())
    caller = siege.staff(role, username="curious")
    siege.witness.look()
    for decision in ("release", "reject"):
        answer = caller.post(f"{STAFF}/refunds/{refund_no}/{decision}", json=NOTE)
        assert (answer.status_code, answer.json["code"]) == (403, "not_permitted")
    assert siege.witness.changes() == {}
    number = id_of(ports, "curious")
    assert told(siege) == [
        (number, f"{STAFF}/refunds/<refund_no>/{decision}", 403, "not_permitted")
        for decision in ("release", "reject")
    ]


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.ADMINISTRATOR])
def test_who_only_looks_asks_for_no_refund(siege: Siege, ports: Ports, role: Role) -> None:
    caller = siege.staff(role, username="curious")
    body = {"order_no": siege.paid(), "amount_fen": 1, "reason": "other", "note": "x"}
    siege.witness.look()
    answer = caller.post(f"{STAFF}/refunds", json=body)
    assert (answer.status_code, answer.json["code"]) == (403, "not_permitted")
    assert siege.witness.changes() == {}
    assert told(siege) == [(id_of(ports, "curious"), f"{STAFF}/refunds", 403, "not_permitted")]


def test_what_is_decided_stays_decided(siege: Siege) -> None:
    """A rejected refund is not released after all, and a released one neither twice nor back."""
    first, second = siege.staff(Role.REVIEWER), siege.staff(Role.SUPERVISOR)
    order_no = siege.paid()
    rejected, released = siege.asked_back(order_no), siege.asked_back(order_no)
    assert first.post(f"{STAFF}/refunds/{rejected}/reject", json=NOTE).status_code == 200
    assert first.post(f"{STAFF}/refunds/{released}/release", json=NOTE).status_code == 200
    siege.witness.look()
    for refund_no in (rejected, released):
        for decision in ("release", "reject"):
            answer = second.post(f"{STAFF}/refunds/{refund_no}/{decision}", json=NOTE)
            assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert siege.witness.changes() == {}
    assert [(status, refused) for *_, status, refused in told(siege)] == [(409, "conflict")] * 4
    assert list(siege.channels["wechat"].refunds) == [released]


def test_a_clerk_comes_in_at_no_contributors_door(siege: Siege) -> None:
    """A supervisor is nobody where contributors are: not even by a contributor's number."""
    order_no = siege.paid()
    boss = siege.staff(Role.SUPERVISOR)
    siege.witness.look()
    for method, path in (
        ("GET", "/api/v1/account"),
        ("GET", "/api/v1/me/export"),
        ("GET", f"/api/v1/deposits/{order_no}"),
        ("POST", "/api/v1/deposits"),
    ):
        answer = boss.call(method, path)
        assert (answer.status_code, answer.json["code"]) == (401, "not_authenticated")
    assert siege.witness.changes() == {}
    assert {told[1:] for told in siege.witness.requests()} == {(401, "not_authenticated")}


def test_nothing_that_staff_see_says_whose_it_is(siege: Siege) -> None:
    """No search by name, and nothing personal in what there is: nobody can be looked up."""
    siege.asked_back(siege.paid())
    person = siege.person()
    profile = person.get("/api/v1/me").json
    boss = siege.staff(Role.SUPERVISOR)
    siege.witness.look()
    shown = boss.get(f"{STAFF}/refunds").text + boss.get(f"{STAFF}/breaks").text
    for personal in ("测试用户", "13800000000", person.account_no, profile["document_no"]):
        assert personal not in shown
    for query in ("name=x", "phone=13800000000", "account_no=1", "document_no=1", "q=x"):
        answer = boss.get(f"{STAFF}/refunds?{query}")
        assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    for path in ("accounts", "contributors", "people?name=x", "policy", "staff", "export"):
        answer = boss.get(f"{STAFF}/{path}")
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert siege.witness.changes() == {}


def test_the_database_refuses_one_person_in_both_roles_too(siege: Siege) -> None:
    """Past every line of code: the table itself knows that it takes two."""
    maker = siege.staff(Role.REVIEWER)
    ask(siege, maker)
    siege.witness.look()
    attempt = pytest.raises(IntegrityError, match="two_people")
    with siege.witness.engine.connect() as connection, attempt:
        connection.exec_driver_sql("UPDATE refund SET checker = maker, state = 'sending'")
    assert siege.witness.changes() == {}
