"""Signing a mandate over the API: at a bank with a code, at a wallet with its page."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.monitoring import take_readings
from app.routes.citizen.mandates import CARD_WISH
from tests.mandate_channel import CODE
from tests.routes.callers import API, Caller, Doors

CARD: dict[str, Any] = CARD_WISH["card"]  # type: ignore[assignment]


@pytest.fixture
def rider(doors: Doors) -> Caller:
    """A person whose agreement debits 500.00 a month."""
    person = doors.enrolled("rider")
    doors.with_agreement(person)
    return person


def test_a_card_is_signed_with_a_code_and_ended(rider: Caller) -> None:
    started = rider.post(f"{API}/mandates", json=CARD_WISH)
    assert started.status_code == 201, started.text
    assert (started.json["state"], started.json["card_tail"]) == ("awaiting", "0128")
    assert started.json["signing"] == {}
    assert CARD["card_no"] not in started.text
    assert CARD["phone"] not in started.text
    path = f"{API}/mandates/{started.json['mandate_no']}"
    wrong = rider.call("POST", f"{path}/confirm", json={"code": "000000"})
    assert (wrong.status_code, wrong.json["code"]) == (422, "wrong_code")
    assert wrong.json["message"] == "验证码不正确，还可尝试 4 次"
    for _ in range(2):
        confirmed = rider.call("POST", f"{path}/confirm", json={"code": CODE})
        assert (confirmed.status_code, confirmed.json["state"]) == (200, "active")
    for _ in range(2):
        ended = rider.call("POST", f"{path}/end")
        assert (ended.status_code, ended.json["state"]) == (200, "ended")
    assert ended.json["end_text"] == "您已解约，不再按此签约扣款"
    assert rider.get(f"{API}/mandates").json == {"items": [ended.json]}


def test_a_wallet_is_signed_on_its_own_page(rider: Caller) -> None:
    started = rider.post(f"{API}/mandates", json={"channel": "wechat"}).json
    assert started["signing"]["contract_code"] == started["mandate_no"]
    assert started["code_tries_left"] is None
    seen = rider.get(f"{API}/mandates/{started['mandate_no']}").json
    assert seen == started
    (listed,) = rider.get(f"{API}/mandates").json["items"]
    assert listed == {**started, "signing": {}}


def test_guessing_codes_ends_with_429(rider: Caller) -> None:
    number = rider.post(f"{API}/mandates", json=CARD_WISH).json["mandate_no"]
    answers = [
        rider.call("POST", f"{API}/mandates/{number}/confirm", json={"code": "000000"})
        for _ in range(7)
    ]
    assert [answer.status_code for answer in answers] == [422] * 4 + [429] * 3
    assert answers[-1].json["code"] == "too_many_codes"


def test_the_same_key_is_the_same_mandate(rider: Caller) -> None:
    first = rider.post(f"{API}/mandates", json=CARD_WISH, key="the-same-key")
    again = rider.post(f"{API}/mandates", json=CARD_WISH, key="the-same-key")
    assert (again.status_code, again.json) == (201, first.json)
    other = {"channel": "bank", "card": {**CARD, "phone": "13900000000"}}
    reused = rider.post(f"{API}/mandates", json=other, key="the-same-key")
    assert (reused.status_code, reused.json["code"]) == (409, "idempotency_key_reused")
    assert rider.post(f"{API}/mandates", json=CARD_WISH, key="").status_code == 422


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"channel": "cash"}, "invalid_input"),
        ({"channel": "bank"}, "card_required"),
        ({"channel": "wechat", "card": CARD}, "card_not_taken"),
        ({"channel": "alipay"}, "mandates_not_offered"),
        ({**CARD_WISH, "cap_fen": 1}, "cap_too_low"),
        ({**CARD_WISH, "cap_fen": 50_000.0}, "invalid_input"),
        ({**CARD_WISH, "cap_fen": 10**12}, "cap_too_high"),
        ({**CARD_WISH, "account_id": 1}, "invalid_input"),
        ({"channel": "bank", "card": {**CARD, "card_no": "6222021234567890129"}}, "card_invalid"),
        ({"channel": "bank", "card": {**CARD, "card_no": 6222021234567890128}}, "invalid_input"),
        ({"channel": "bank", "card": {**CARD, "holder_name": "另一用户"}}, "card_of_another"),
        ({"channel": "bank", "card": {**CARD, "phone": "+8613800000000"}}, "phone_invalid"),
        (
            {
                "channel": "bank",
                "card": {**CARD, "document": {"kind": "resident_id", "number": "1"}},
            },
            "document_invalid",
        ),
    ],
)
def test_bad_input_is_refused_and_nothing_is_begun(
    rider: Caller, body: dict[str, Any], code: str
) -> None:
    answer = rider.post(f"{API}/mandates", json=body)
    assert (answer.status_code, answer.json["code"]) == (422, code)
    assert CARD["card_no"] not in answer.text
    assert rider.get(f"{API}/mandates").json == {"items": []}


@pytest.mark.parametrize("code", ["", "12", "1234567", "12345a", "１２３４５６", 246810])
def test_what_is_no_code_is_no_try(rider: Caller, code: object) -> None:
    number = rider.post(f"{API}/mandates", json=CARD_WISH).json["mandate_no"]
    path = f"{API}/mandates/{number}"
    answer = rider.call("POST", f"{path}/confirm", json={"code": code})
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    assert rider.get(path).json["code_tries_left"] == 5


def test_without_an_agreement_nothing_is_signed(doors: Doors) -> None:
    answer = doors.enrolled("a").post(f"{API}/mandates", json=CARD_WISH)
    assert (answer.status_code, answer.json["code"]) == (422, "nothing_to_debit")
    assert answer.json["message"] == "请先签订按月或按季的缴存协议，再办理自动扣款签约"


def test_card_data_are_in_no_line_of_the_log(rider: Caller, log_lines) -> None:
    rider.post(f"{API}/mandates", json=CARD_WISH)
    rider.post(f"{API}/mandates", json={"channel": "bank", "card": {**CARD, "phone": "1"}})
    written = "\n".join(log_lines())
    assert "/api/v1/mandates" in written
    for secret in CARD.values():
        assert secret not in written


def test_unsettled_mandates_are_counted(doors: Doors, rider: Caller) -> None:
    rider.post(f"{API}/mandates", json=CARD_WISH)
    ports = doors.ports
    readings = ports.read(lambda session: take_readings(session, now=ports.now()))
    assert [(w.kind, w.count) for w in readings.mandates] == [("awaiting", 1)]
