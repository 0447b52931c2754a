"""Lists by cursor: no gap and no double, also while new rows arrive in between."""

from __future__ import annotations

import re
from collections.abc import Callable

from app.domain.staff.models import Role
from tests.conftest import MovableClock
from tests.routes.callers import API, STAFF, Caller, Doors


def pages(caller: Caller, path: str, *, limit: int, between: Callable[[], object]) -> list[list]:
    """Read a list page by page, with something happening after each page."""
    found, cursor = [], ""
    while True:
        answer = caller.get(f"{path}?limit={limit}{cursor}")
        assert answer.status_code == 200, answer.text
        assert set(answer.json) == {"items", "next_cursor"}
        found.append(answer.json["items"])
        if answer.json["next_cursor"] is None:
            return found
        cursor = f"&cursor={answer.json['next_cursor']}"
        between()


def test_deposits_page_by_page_while_new_ones_arrive(doors: Doors) -> None:
    person = doors.enrolled("a")
    made = [person.deposit(20_000 + n).json["order_no"] for n in range(5)]
    other = doors.enrolled("b")

    def meanwhile() -> None:
        assert person.deposit(30_000).status_code == 201
        assert other.deposit(30_000).status_code == 201

    found = pages(person, f"{API}/deposits", limit=2, between=meanwhile)
    assert [len(page) for page in found] == [2, 2, 1]
    assert [item["order_no"] for page in found for item in page] == made[::-1]


def test_a_page_that_ends_with_the_last_row_has_no_next(doors: Doors) -> None:
    person = doors.enrolled("a")
    assert person.get(f"{API}/deposits").json == {"items": [], "next_cursor": None}
    for n in range(2):
        person.deposit(20_000 + n)
    page = person.get(f"{API}/deposits?limit=2").json
    assert (len(page["items"]), page["next_cursor"]) == (2, None)
    page = person.get(f"{API}/deposits?limit=1").json
    assert (len(page["items"]), page["next_cursor"] is None) == (1, False)


def test_entries_page_by_page_carry_the_running_balance(doors: Doors) -> None:
    person = doors.enrolled("a")
    for n in range(3):
        doors.credited(person, 20_000 + n)
    found = pages(
        person,
        f"{API}/account/entries",
        limit=1,
        between=lambda: doors.credited(person, 40_000),
    )
    entries = [entry for page in found for entry in page]
    # 20000 + 20000 opening subsidy + 20001 + 20002, newest first.
    assert [(e["kind"], e["amount_fen"], e["balance_fen"]) for e in entries] == [
        ("deposit", 20_002, 80_003),
        ("deposit", 20_001, 60_001),
        ("opening_subsidy", 20_000, 40_000),
        ("deposit", 20_000, 20_000),
    ]


def test_entries_of_one_month_keep_the_balance_of_all(doors: Doors, clock: MovableClock) -> None:
    person = doors.enrolled("a")
    doors.credited(person, 20_000)
    # 2026-12-01 00:00:00 in Shanghai is 16:00 UTC of the day before.
    clock.advance(days=6, hours=13, minutes=59, seconds=59)
    doors.credited(person, 21_000)
    clock.advance(seconds=1)
    # The token lives for seven days only.
    person = doors.logged_in("a")
    doors.credited(person, 22_000)
    november = person.get(f"{API}/account/entries?month=2026-11").json["items"]
    december = person.get(f"{API}/account/entries?month=2026-12").json["items"]
    assert [(e["amount_fen"], e["balance_fen"]) for e in november] == [
        (21_000, 61_000),
        (20_000, 40_000),
        (20_000, 20_000),
    ]
    assert [(e["amount_fen"], e["balance_fen"]) for e in december] == [(22_000, 83_000)]
    assert november[0]["posted_at"] == "2026-11-30T23:59:59+08:00"
    assert december[0]["posted_at"] == "2026-12-01T00:00:00+08:00"
    assert december[0]["business_date"] == "2026-12-01"
    assert person.get(f"{API}/account/entries?month=2027-01").json["items"] == []
    overview = person.get(f"{API}/account").json
    assert (overview["months"], overview["months_counted"]) == (["2026-11", "2026-12"], 2)


def test_refunds_and_breaks_page_by_page_for_staff(doors: Doors) -> None:
    person, order_no = doors.with_deposit("a", 90_000)
    asked = [
        person.post(
            f"{API}/deposits/{order_no}/refunds", json={"amount_fen": 100 + n, "reason": "other"}
        ).json["refund_no"]
        for n in range(3)
    ]
    auditor = doors.staff(Role.AUDITOR)
    found = pages(auditor, f"{STAFF}/refunds", limit=2, between=lambda: None)
    assert [item["refund_no"] for page in found for item in page] == asked[::-1]
    waiting = auditor.get(f"{STAFF}/refunds?state=requested&limit=2").json
    assert [item["refund_no"] for item in waiting["items"]] == asked[:0:-1]
    assert auditor.get(f"{STAFF}/refunds?state=succeeded").json["items"] == []
    for wrong in (1, 2, 3):
        body = doors.channel.callback(order_no, amount_fen=wrong)
        assert doors.client.post("/callbacks/wechat/payment", data=body).text == "ok"
    found = pages(auditor, f"{STAFF}/breaks", limit=2, between=lambda: None)
    assert [item["found_fen"] for page in found for item in page] == [3, 2, 1]


INSTANTS = {"created_at", "expires_at", "paid_at", "posted_at", "requested_at", "enrolled_at"} | {
    "decided_at",
    "ended_at",
    "opened_at",
    "closed_at",
}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00")


def test_amounts_are_whole_fen_and_instants_are_shanghai_time(doors: Doors) -> None:
    person, order_no = doors.with_deposit("a")
    person.post(f"{API}/deposits/{order_no}/refunds", json={"amount_fen": 1, "reason": "other"})
    doors.client.post(
        "/callbacks/wechat/payment", data=doors.channel.callback(order_no, amount_fen=1)
    )
    clerk = doors.staff(Role.CLERK)
    seen: set[str] = set()
    for caller, path in (
        (person, f"{API}/me"),
        (person, f"{API}/me/export"),
        (person, f"{API}/account"),
        (person, f"{API}/account/entries"),
        (person, f"{API}/deposits"),
        (person, f"{API}/deposits/{order_no}"),
        (clerk, f"{STAFF}/refunds"),
        (clerk, f"{STAFF}/breaks"),
    ):
        for name, value in leaves(caller.get(path).json):
            if name.endswith("_fen"):
                assert value is None or type(value) is int, (path, name, value)
                seen.add(name)
            if name in INSTANTS:
                assert value is None or INSTANT.fullmatch(value), (path, name, value)
                seen.add(name)
    assert seen >= INSTANTS
    assert {"amount_fen", "balance_fen", "room_fen", "expected_fen"} <= seen


def leaves(value: object, name: str = ""):
    """Every named plain value inside a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, name)
    else:
        yield name, value
