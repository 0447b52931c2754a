"""A contributor who sends everything at once: one of them counts, and no balance is ever negative.

Each request comes by a client and a thread of its own, on both databases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from apiflask import APIFlask
from werkzeug.test import TestResponse

from app.domain.inquiries.operations import resolve_orders
from app.domain.staff.models import Role
from app.domain.verification import verify_books
from config.chart import load_chart
from tests.attacks.siege import OPENING_FEN, PAID_FEN, TAKEN, Siege
from tests.domain.people import at_once
from tests.routes.callers import API, STAFF, Caller, application_of

REFUND = {"amount_fen": PAID_FEN, "reason": "other"}
ONE_KEY = {"Idempotency-Key": "the-same-key-again"}
NOTE = {"note": "属实"}
COPIES = 8

Request = Callable[[Caller], TestResponse]


@pytest.fixture
def together(app: APIFlask) -> Callable[..., list[TestResponse]]:
    """Sends requests at the same moment, each as its caller; no answer is a bug of ours."""

    def send(*requests: tuple[Caller, Request]) -> list[TestResponse]:
        callers = [replace(caller, client=app.test_client()) for caller, _ in requests]
        answers = at_once(len(requests), lambda n: requests[n][1](callers[n]))
        for answer in answers:
            assert isinstance(answer, TestResponse), repr(answer)
            assert answer.status_code < 500, answer.text
        return answers

    return send


def codes(answers: list[TestResponse]) -> Counter[Any]:
    """Count what was answered: a status, or the word of a refusal."""
    return Counter(
        answer.json["code"] if answer.status_code >= 400 else answer.status_code
        for answer in answers
    )


def check_books(siege: Siege) -> None:
    assert siege.ports.read(lambda s: list(verify_books(s, chart=load_chart()))) == []
    account = siege.person().get(f"{API}/account").json
    assert 0 <= account["held_fen"] <= account["balance_fen"]


def test_a_hundred_refunds_of_everything_at_once_are_one(
    siege: Siege, together: Callable[..., list[TestResponse]]
) -> None:
    order_no = siege.paid()
    path = f"{API}/deposits/{order_no}/refunds"
    siege.witness.look()
    answers = together(*[(siege.person(), lambda c: c.post(path, json=REFUND))] * 100)
    assert codes(answers) == {201: 1, "not_refundable": 99}
    assert siege.witness.changes() == {
        "refund": (1, 0),
        "hold": (1, 0),
        "account": (1, 1),
        "payment_order": (1, 1),
    }
    assert Counter(told[1:] for told in siege.witness.requests()) == {
        (201, None): 1,
        (422, "not_refundable"): 99,
    }
    check_books(siege)


def test_paying_closing_and_asking_back_at_once(
    siege: Siege, app: APIFlask, together: Callable[..., list[TestResponse]]
) -> None:
    paid, open_order = siege.paid(), siege.order()
    refund_no = siege.asked_back(paid, 20_000)
    reviewer = siege.staff(Role.REVIEWER)
    siege.clock.advance(minutes=31)
    siege.channels["wechat"].pay(open_order)
    notice = siege.notice("wechat", open_order, transaction_id="42000002")
    person = siege.person()

    def resolve(_caller: Caller) -> TestResponse:
        resolve_orders(siege.ports)
        return siege.doors.client.get("/healthz")

    answers = together(
        *[(person, lambda c: c.call("POST", "/callbacks/wechat/payment", data=notice))] * COPIES,
        *[(person, resolve)] * 2,
        *[(person, lambda c: c.post(f"{API}/deposits/{paid}/refunds", json=REFUND))] * COPIES,
        *[(reviewer, lambda c: c.post(f"{STAFF}/refunds/{refund_no}/release", json=NOTE))] * 2,
        *[(person, lambda c: c.deposit(PAID_FEN))] * 2,
    )
    assert {answer.text for answer in answers[:COPIES]} == {TAKEN["wechat"]}
    assert codes(answers[COPIES + 2 : 2 * COPIES + 2]) == {"not_refundable": COPIES}
    assert codes(answers[2 * COPIES + 2 : 2 * COPIES + 4]) == {200: 1, "conflict": 1}
    assert codes(answers[2 * COPIES + 4 :]) == {201: 2}
    assert siege.state_of(open_order) == "succeeded"
    assert siege.balance_fen() == 2 * PAID_FEN + OPENING_FEN
    assert len(siege.channels["wechat"].refunds) == 1
    check_books(siege)


def test_a_double_click_on_whatever_takes_a_key(
    siege: Siege, together: Callable[..., list[TestResponse]]
) -> None:
    order_no, person, clerk = siege.paid(), siege.person(), siege.staff(Role.CLERK)
    deposit = {"channel": "wechat", "amount_fen": PAID_FEN}
    part = {"amount_fen": 1_000, "reason": "other"}
    clicks: list[tuple[Caller, str, dict[str, Any], str, str]] = [
        (person, f"{API}/deposits", deposit, "order_no", "payment_order"),
        (person, f"{API}/deposits/{order_no}/refunds", part, "refund_no", "refund"),
        (
            clerk,
            f"{STAFF}/refunds",
            {**part, "order_no": order_no, "note": "x"},
            "refund_no",
            "refund",
        ),
    ]
    for caller, path, body, number, table in clicks:
        siege.witness.look()
        answers = together(
            *[(caller, lambda c, p=path, b=body: c.call("POST", p, json=b, headers=ONE_KEY))]
            * COPIES
        )
        assert codes(answers) == {201: COPIES}
        assert len({answer.json[number] for answer in answers}) == 1
        came, went = siege.witness.changes()[table]
        assert came - went == 1
        assert [told[1:] for told in siege.witness.requests()] == [(201, None)] * COPIES
    check_books(siege)


def test_a_double_click_on_enrolling_and_linking(
    siege: Siege, together: Callable[..., list[TestResponse]]
) -> None:
    new = siege.doors.logged_in("new")
    other = siege.doors.logged_in("new", platform="alipay")
    siege.witness.look()
    answers = together(
        *[(new, lambda c: c.call("POST", f"{API}/enrolment", json=application_of("new")))] * COPIES
    )
    assert codes(answers) == {201: 1, "identity_already_bound": COPIES - 1}
    changes = siege.witness.changes()
    assert changes == {"contributor": (1, 0), "account": (1, 0), "login_identity": (1, 1)}

    siege.witness.look()
    answers = together(*[(new, lambda c: c.call("POST", f"{API}/session/link-code"))] * COPIES)
    assert codes(answers) == {201: COPIES}
    assert siege.witness.changes() == {"link_code": (1, 0)}

    code = {"code": new.call("POST", f"{API}/session/link-code").json["code"]}
    siege.witness.look()
    answers = together(
        *[(other, lambda c: c.call("POST", f"{API}/session/link", json=code))] * COPIES
    )
    assert codes(answers) == {200: 1, "identity_already_bound": COPIES - 1}
    assert siege.witness.changes() == {
        "login_identity": (1, 1),
        "link_code": (0, 1),
        "link_attempt": (1, 0),
    }


@pytest.mark.parametrize("decision", ["release", "reject"])
def test_a_double_click_on_a_decision(
    siege: Siege, decision: str, together: Callable[..., list[TestResponse]]
) -> None:
    refund_no = siege.asked_back(siege.paid(), 20_000)
    reviewer, supervisor = siege.staff(Role.REVIEWER), siege.staff(Role.SUPERVISOR)
    path = f"{STAFF}/refunds/{refund_no}/{decision}"
    answers = together(
        *[(reviewer, lambda c: c.post(path, json=NOTE))] * (COPIES // 2),
        *[(supervisor, lambda c: c.post(path, json=NOTE))] * (COPIES // 2),
    )
    assert codes(answers) == {200: 1, "conflict": COPIES - 1}
    assert len(siege.channels["wechat"].refunds) == (decision == "release")
    check_books(siege)


def test_a_double_click_on_logging_out(
    siege: Siege, together: Callable[..., list[TestResponse]]
) -> None:
    person = siege.doors.logged_in("rider")
    siege.witness.look()
    answers = together(*[(person, lambda c: c.call("DELETE", f"{API}/session"))] * COPIES)
    assert {answer.status_code for answer in answers} <= {204, 401}
    assert siege.witness.changes() == {"session_token": (1, 1)}
