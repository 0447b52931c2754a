"""Notices of the bank: believed for a signature over these bytes, fresh, once, for us."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.ports.callbacks import CallbackRejected, RawCallback
from app.domain.ports.outcomes import OutcomeKind
from tests.payments.bank.centre import Centre


def notice(centre: Centre, endpoint: str = "payment") -> RawCallback:
    """A genuine notice of a debit, as it came."""
    request = centre.debit(centre.signed()[1])
    centre.channel.submit_debit(request)
    centre.notice_of(request.order_no)
    return next(raw for raw in centre.raws if request.order_no.encode() in raw.body)


def forged(centre: Centre, defect: str, **fields: str) -> RawCallback:
    number = json.loads(notice(centre).body)["order_no"]
    made = centre.gateway.control(
        "notices/forge", out_trade_no=number, defect=defect, fields=fields, send=False
    )
    return RawCallback(
        endpoint="payment",
        content_type=made["content_type"],
        headers=made["headers"],
        body=base64.b64decode(made["body_base64"]),
    )


def refusal_of(centre: Centre, raw: RawCallback) -> str:
    with pytest.raises(CallbackRejected) as rejected:
        centre.channel.read_callback(raw)
    return rejected.value.reason


def test_a_notice_comes_once(centre: Centre) -> None:
    raw = notice(centre)

    assert refusal_of(centre, raw) == "replayed"
    # In another spelling of the same headers too.
    loud = {name.upper(): value for name, value in raw.headers.items()}
    assert refusal_of(centre, replace(raw, headers=loud)) == "replayed"


def test_the_bank_sends_again_under_a_new_signature(centre: Centre) -> None:
    """Copies of one message are replays, and one of them at most is taken."""
    number = json.loads(notice(centre).body)["order_no"]

    replies = []
    for copies in (1, 5):
        again = centre.gateway.control("notices/resend", out_trade_no=number, copies=copies)
        replies.append(sorted(reply["reply"] for reply in again["replies"]))

    assert replies == [['{"code": "00"}'], ['{"code": "00"}'] + ['{"code": "06"}'] * 4]
    assert len(centre.events_about(number)) == 3


def test_an_old_notice_is_stale_before_its_number_is_forgotten(centre: Centre) -> None:
    raw, start = notice(centre), centre.gateway.clock.now()
    try:
        found = []
        for seconds in (299, 301, 700):
            centre.gateway.clock.set(start + timedelta(seconds=seconds))
            found.append(refusal_of(centre, raw))
        assert found == ["replayed", "stale", "stale"]
    finally:
        centre.gateway.clock.set(start)


@pytest.mark.parametrize(
    ("defect", "reason"),
    [
        ("wrong_key", "signature"),
        ("no_sign", "signature"),
        ("empty_key", "signature"),
        ("tampered_after_signing", "signature"),
        ("other_merchant", "merchant"),
        ("stale", "stale"),
    ],
)
def test_forgeries_are_refused(centre: Centre, defect: str, reason: str) -> None:
    assert refusal_of(centre, forged(centre, defect)) == reason


def test_a_genuine_notice_of_another_amount_is_left_to_settlement(centre: Centre) -> None:
    raw = forged(centre, "none", amount_fen="1", actual_fen="1")

    outcome = centre.channel.read_callback(raw).outcome

    assert (outcome.kind, outcome.amount_fen) == (OutcomeKind.SUCCEEDED, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"actual_fen": "0"},
        {"actual_fen": "50001"},
        {"state": "FAILED"},
        {"state": "PROCESSING"},
        {"state": "DONE"},
        {"orig_code": "64"},
        {"orig_code": "03"},
        {"amount_fen": "-1"},
        {"amount_fen": "500.00"},
        {"bank_ref": ""},
        {"order_no": "a b"},
        {"decided_at": "2026-11-31 10:00:00"},
        {"event": "mandate.changed"},
    ],
)
def test_a_notice_at_odds_with_itself_is_refused(centre: Centre, fields: dict[str, str]) -> None:
    assert refusal_of(centre, forged(centre, "none", **fields)) == "malformed"


def test_an_unlisted_code_is_unknown_whatever_the_state_says(centre: Centre) -> None:
    raw = forged(centre, "none", orig_code="ZZ")

    assert centre.channel.read_callback(raw).outcome.kind is OutcomeKind.UNKNOWN


def test_every_changed_byte_is_noticed(centre: Centre) -> None:
    raw = forged(centre, "none")
    for place in range(len(raw.body)):
        body = raw.body[:place] + bytes([raw.body[place] ^ 1]) + raw.body[place + 1 :]
        assert refusal_of(centre, replace(raw, body=body)) == "signature"
    for name in raw.headers:
        if name.startswith("X-Bank-"):
            changed = {**raw.headers, name: "1" + raw.headers[name][1:]}
            if changed == raw.headers:
                changed[name] = "2" + raw.headers[name][1:]
            assert refusal_of(centre, replace(raw, headers=changed)) in ("signature", "merchant")
            fewer = {each: value for each, value in raw.headers.items() if each != name}
            assert refusal_of(centre, replace(raw, headers=fewer)) in ("signature", "merchant")
    centre.channel.read_callback(raw)


def test_a_notice_for_another_path_is_refused(centre: Centre) -> None:
    raw = forged(centre, "none")

    assert refusal_of(centre, replace(raw, endpoint="mandate")) == "signature"
    assert refusal_of(centre, replace(raw, endpoint="refund")) == "malformed"


def test_an_answer_of_the_bank_is_no_notice(centre: Centre) -> None:
    """Signed by the same key: what is signed says that it is an answer."""
    raw = forged(centre, "none")
    seals = centre.channel._client._seals
    answer = centre.channel._client._session.post(
        centre.settings.bank.gateway_url + "debit/query",
        data=b"{}",
        headers=seals.headers_of("POST /gateway/debit/query", b"{}"),
    )
    body = answer.content

    assert refusal_of(centre, replace(raw, headers=dict(answer.headers), body=body)) == "signature"


def test_a_kept_notice_is_read_again_without_its_headers(centre: Centre) -> None:
    raw = notice(centre)

    event = centre.channel.read_callback(replace(raw, headers={}, is_kept=True))

    [told] = centre.events_about(json.loads(raw.body)["order_no"])
    assert event == told
    assert refusal_of(centre, replace(raw, headers={})) in ("signature", "merchant")


def test_the_accepting_and_the_refusing_word(centre: Centre) -> None:
    words = [json.loads(centre.channel.reply(accepted=each).body)["code"] for each in (True, False)]

    assert words == ["00", "06"]
