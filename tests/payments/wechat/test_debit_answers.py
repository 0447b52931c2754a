"""Answers about contracts and debits, signed by hand: what may be believed, what each one means."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
import wechatpy.pay.api.withhold

from app.domain.ports.debits import DebitRequest
from app.domain.ports.mandates import (
    Cycle,
    EndedBy,
    MandateAnswer,
    MandateRequest,
    MandateStanding,
)
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.wechat.debiting import WeChatDebits
from tests.payments import wechat_hand as hand
from tests.payments.test_wechat_answers import FORGERIES, ODD_AMOUNTS, without
from tests.payments.wire import Wire, cut_short, hang_up, open_wire, plain, silent

REQUEST = MandateRequest(
    mandate_no=hand.MANDATE,
    cap_fen=100_000,
    period_cap_fen=100_000,
    cycle=Cycle.MONTH,
    first_due_on=date(2026, 12, 10),
    valid_from=date(2026, 11, 24),
    valid_to=date(2031, 10, 31),
    display_name="公积金账户尾号1234",
    payer_ref=hand.OPENID,
)
DEBIT = DebitRequest(
    order_no=hand.ORDER,
    amount_fen=4500,
    description="2026-12 缴存",
    mandate_reference=hand.CONTRACT,
)

Answer = Outcome | MandateAnswer
Call = Callable[[WeChatDebits], Answer]
CALLS: dict[str, tuple[Call, dict[str, str]]] = {
    "query_mandate": (
        lambda channel: channel.query_mandate(mandate_no=hand.MANDATE, reference=None),
        hand.contract(),
    ),
    "query_mandate by its reference": (
        lambda channel: channel.query_mandate(mandate_no=hand.MANDATE, reference=hand.CONTRACT),
        hand.contract(),
    ),
    "end_mandate": (
        lambda channel: channel.end_mandate(mandate_no=hand.MANDATE, reference=hand.CONTRACT),
        hand.contract_ended_here(),
    ),
    "submit_debit": (lambda channel: channel.submit_debit(DEBIT), hand.answer()),
    "query_debit": (lambda channel: channel.query_debit(hand.ORDER), hand.debited()),
}


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as wire:
        yield wire


@pytest.fixture
def channel(wire: Wire) -> WeChatDebits:
    return hand.debits(wire.url)


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> tuple[Call, dict[str, str]]:
    return CALLS[request.param]


def assert_unknown(found: Answer, reason: Reason = Reason.BAD_ANSWER) -> None:
    if isinstance(found, Outcome):
        assert found.kind is OutcomeKind.UNKNOWN, found
        assert (found.number, found.amount_fen) == (hand.ORDER, None)
    else:
        assert found.standing is MandateStanding.UNKNOWN, found
        assert (found.mandate_no, found.ended_by) == (hand.MANDATE, None)
    assert (found.reason, found.reference) == (reason, None)


def test_a_genuine_answer_with_fields_of_tomorrow_is_believed(
    wire: Wire, channel: WeChatDebits, call: tuple[Call, dict[str, str]]
) -> None:
    make, fields = call
    for each in (fields, {**fields, "added_later": "新", "and-this.too": ""}):
        wire.will(plain(hand.signed(each)))

        found = make(channel)

        if isinstance(found, Outcome):
            assert found.kind in (OutcomeKind.SUCCEEDED, OutcomeKind.ACCEPTED)
        else:
            assert found.standing in (MandateStanding.ACTIVE, MandateStanding.ENDED)


# An answer about another order is tried below: not every call here is about one.
@pytest.mark.parametrize("forgery", sorted(set(FORGERIES) - {"another order"}))
def test_an_answer_that_is_not_proven_says_nothing(
    wire: Wire, channel: WeChatDebits, call: tuple[Call, dict[str, str]], forgery: str
) -> None:
    make, fields = call
    wire.will(plain(FORGERIES[forgery](fields)))

    assert_unknown(make(channel))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("query_mandate", {"contract_code": "M" + "9" * 31}),
        ("query_mandate", {"contract_code": ""}),
        ("query_mandate by its reference", {"contract_code": "M" + "9" * 31}),
        ("query_mandate by its reference", {"contract_id": "202611240000000009"}),
        ("end_mandate", {"contract_code": "M" + "9" * 31}),
        ("end_mandate", {"contract_id": "202611240000000009"}),
        ("submit_debit", {"out_trade_no": "D" + "9" * 31}),
        ("submit_debit", {"total_fee": "4501"}),
        ("query_debit", {"out_trade_no": "D" + "9" * 31}),
        ("query_debit", {"out_trade_no": ""}),
    ],
)
def test_an_answer_about_something_else_says_nothing(
    wire: Wire, channel: WeChatDebits, name: str, changes: dict[str, str]
) -> None:
    make, fields = CALLS[name]
    wire.will(plain(hand.signed(fields | changes)))

    assert_unknown(make(channel))


def test_refusals_that_prove_nothing(
    wire: Wire, channel: WeChatDebits, call: tuple[Call, dict[str, str]]
) -> None:
    make, _ = call
    for body, reason in (
        (hand.xml(hand.refusal("CONTRACT_NOT_EXIST")), Reason.BAD_ANSWER),
        (hand.xml({"return_code": "FAIL", "return_msg": "签名失败"}), Reason.OUR_FAULT),
        (hand.signed(hand.refusal("SYSTEMERROR")), Reason.BUSY),
        (hand.signed(hand.refusal("NEVER_HEARD_OF")), Reason.UNLISTED),
        (hand.signed(hand.refusal("")), Reason.UNLISTED),
    ):
        wire.will(plain(body))
        assert_unknown(make(channel), reason)


@pytest.mark.parametrize("status", [204, 302, 400, 404, 500, 502])
def test_only_a_plain_200_counts(
    wire: Wire, channel: WeChatDebits, call: tuple[Call, dict[str, str]], status: int
) -> None:
    make, fields = call
    wire.will(plain(b"" if status == 204 else hand.signed(fields), status=status))

    assert_unknown(make(channel))


def test_silence_and_broken_connections_are_unknown(
    wire: Wire, call: tuple[Call, dict[str, str]]
) -> None:
    make, fields = call
    hasty = hand.debits(wire.url, read_timeout=0.2)
    for answer in (silent(1), hang_up, cut_short(hand.signed(fields))):
        wire.will(answer)
        started = time.monotonic()
        assert_unknown(make(hasty), Reason.NO_ANSWER)
        assert time.monotonic() - started < 0.9
    # Asked once each: repeating is for those who know that it is safe.
    assert len(wire.seen) == 3
    assert_unknown(make(hand.debits("http://127.0.0.1:1/")), Reason.NO_ANSWER)


# What is sent


def test_starting_asks_nobody() -> None:
    """Nobody listens there; a question would be UNKNOWN."""
    answer = hand.debits("http://127.0.0.1:1/").start_mandate(REQUEST)

    assert (answer.standing, answer.reference) == (MandateStanding.AWAITING, None)
    assert answer.start_reference is None  # so that no code is asked for


def test_the_parameters_of_the_signing_page() -> None:
    channel = hand.debits()

    first, again = (dict(channel.signing_action(REQUEST)) for _ in range(2))

    for action in (first, again):
        sign, serial = action.pop("sign"), action.pop("request_serial")
        assert sign == hand.md5({**action, "request_serial": serial})
        assert serial.isdigit()
        assert len(serial) <= 18
        assert action == {
            "appid": hand.APP_ID,
            "mch_id": hand.MERCHANT,
            "plan_id": hand.PLAN,
            "contract_code": hand.MANDATE,
            "contract_display_account": "公积金账户尾号1234",
            "notify_url": "https://fund.example/callbacks/wechat/mandate",
            "version": "1.0",
            "timestamp": "1795485600",  # 2026-11-24 10:00:00 in Beijing
        }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("𠮷某", "?某"),
        ("a\x00b\nc]]>", "abc]] "),
        ("公" * 20, "公" * 10),  # 32 bytes hold ten of them and no half one
    ],
)
def test_names_as_the_page_can_show_them(name: str, shown: str) -> None:
    action = hand.debits().signing_action(replace(REQUEST, display_name=name))

    assert action["contract_display_account"] == shown


def test_the_calls_as_they_are_sent(wire: Wire, channel: WeChatDebits) -> None:
    wire.will(plain(b"whatever"))

    for make, _ in CALLS.values():
        make(channel)
    channel.end_mandate(mandate_no=hand.MANDATE, reference=None)

    bodies = [hand.read_sent(request.body) for request in wire.seen]
    nonces = set()
    for sent in bodies:
        assert sent.pop("sign") == hand.md5(sent)
        nonces.add(sent.pop("nonce_str"))
        assert (sent.pop("appid"), sent.pop("mch_id")) == (hand.APP_ID, hand.MERCHANT)
    assert len(nonces) == 6
    by_code = {"plan_id": hand.PLAN, "contract_code": hand.MANDATE, "version": "1.0"}
    by_id = {"contract_id": hand.CONTRACT, "version": "1.0"}
    remark = {"contract_termination_remark": "停止缴存"}
    assert [(request.path, sent) for request, sent in zip(wire.seen, bodies, strict=True)] == [
        ("/papay/querycontract", by_code),
        ("/papay/querycontract", by_id),
        ("/papay/deletecontract", by_id | remark),
        (
            "/pay/pappayapply",
            {
                "body": "2026-12 缴存",
                "out_trade_no": hand.ORDER,
                "total_fee": "4500",
                "fee_type": "CNY",
                "spbill_create_ip": "127.0.0.1",
                "notify_url": "https://fund.example/callbacks/wechat/debit",
                "trade_type": "PAP",
                "contract_id": hand.CONTRACT,
            },
        ),
        ("/pay/paporderquery", {"out_trade_no": hand.ORDER}),
        ("/papay/deletecontract", by_code | remark),
    ]


def test_no_name_is_looked_up_for_a_debit(
    wire: Wire, channel: WeChatDebits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(*_: object) -> str:
        raise AssertionError("a DNS look-up")

    monkeypatch.setattr(socket, "gethostbyname", look_up)
    monkeypatch.setattr(wechatpy.pay.api.withhold, "get_external_ip", look_up)
    wire.will(plain(hand.signed(hand.answer())))

    assert channel.submit_debit(DEBIT).kind is OutcomeKind.ACCEPTED


@pytest.mark.parametrize("text", ["]]></body><total_fee>1", "a\x00b", "公积金" * 100])
def test_a_description_cannot_break_out(wire: Wire, channel: WeChatDebits, text: str) -> None:
    wire.will(plain(hand.signed(hand.answer())))

    assert channel.submit_debit(replace(DEBIT, description=text)).kind is OutcomeKind.ACCEPTED
    sent = hand.read_sent(wire.seen[0].body)
    assert sent["total_fee"] == "4500"
    assert len(sent["body"].encode()) <= 127


def test_a_reference_cannot_break_out(wire: Wire, channel: WeChatDebits) -> None:
    found = channel.submit_debit(replace(DEBIT, mandate_reference="]]></contract_id><a>"))

    assert_unknown(found, Reason.OUR_FAULT)
    assert wire.seen == []


# Contracts


def test_a_contract_in_force(wire: Wire, channel: WeChatDebits) -> None:
    wire.will(plain(hand.signed(hand.contract())))

    assert channel.query_mandate(mandate_no=hand.MANDATE, reference=None) == MandateAnswer(
        standing=MandateStanding.ACTIVE,
        reason=Reason.OK,
        mandate_no=hand.MANDATE,
        reference=hand.CONTRACT,
        payer_ref=hand.OPENID,
        occurred_at=datetime(2026, 11, 24, 2, 0, 30, tzinfo=UTC),
        raw_code="0",
    )


@pytest.mark.parametrize(
    ("mode", "ended_by"),
    [
        ("1", EndedBy.EXPIRY),
        ("2", EndedBy.CONTRIBUTOR),
        ("3", EndedBy.CENTRE),
        ("4", EndedBy.CENTRE),
        ("5", EndedBy.CHANNEL),
        ("6", None),
        ("", None),
    ],
)
def test_a_contract_that_is_over(
    wire: Wire, channel: WeChatDebits, mode: str, ended_by: EndedBy | None
) -> None:
    wire.will(plain(hand.signed(hand.ended_contract(mode))))

    assert channel.query_mandate(mandate_no=hand.MANDATE, reference=hand.CONTRACT) == (
        MandateAnswer(
            standing=MandateStanding.ENDED,
            reason=Reason.CLOSED,
            mandate_no=hand.MANDATE,
            reference=hand.CONTRACT,
            payer_ref=hand.OPENID,
            ended_by=ended_by,
            occurred_at=datetime(2026, 11, 25, 1, 0, tzinfo=UTC),
            raw_code="1",
            raw_message="不再需要",
        )
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"contract_state": ""},
        {"contract_state": "2"},
        {"contract_state": "00"},
        {"contract_id": ""},
        {"contract_id": "a b"},
        {"contract_signed_time": "2026-13-24 10:00:30"},
        {"contract_signed_time": "20261124100030"},
    ],
)
def test_a_contract_with_an_odd_field_is_unknown(
    wire: Wire, channel: WeChatDebits, changes: dict[str, str]
) -> None:
    wire.will(plain(hand.signed(hand.contract(**changes))))

    assert_unknown(channel.query_mandate(mandate_no=hand.MANDATE, reference=None))


@pytest.mark.parametrize(
    ("code", "asked", "ended"),
    [
        ("CONTRACT_NOT_EXIST", MandateStanding.NOT_FOUND, MandateStanding.NOT_FOUND),
        # Said to who ends it: it is over. Said to who asks: nothing.
        ("CONTRACTERROR", MandateStanding.UNKNOWN, MandateStanding.ENDED),
        ("SIGNERROR", MandateStanding.UNKNOWN, MandateStanding.UNKNOWN),
        ("INVALID_REQUEST", MandateStanding.UNKNOWN, MandateStanding.UNKNOWN),
        ("ORDERNOTEXIST", MandateStanding.UNKNOWN, MandateStanding.UNKNOWN),
    ],
)
def test_refused_questions_and_endings(
    wire: Wire,
    channel: WeChatDebits,
    code: str,
    asked: MandateStanding,
    ended: MandateStanding,
) -> None:
    wire.will(plain(hand.signed(hand.refusal(code))))

    question = channel.query_mandate(mandate_no=hand.MANDATE, reference=None)
    ending = channel.end_mandate(mandate_no=hand.MANDATE, reference=hand.CONTRACT)

    assert (question.standing, ending.standing) == (asked, ended)
    assert {question.raw_code, ending.raw_code} == {code}


def test_an_ending_may_be_answered_without_its_names(wire: Wire, channel: WeChatDebits) -> None:
    wire.will(plain(hand.signed(hand.answer())))

    ending = channel.end_mandate(mandate_no=hand.MANDATE, reference=hand.CONTRACT)

    assert (ending.standing, ending.reference) == (MandateStanding.ENDED, hand.CONTRACT)


# Debits


@pytest.mark.parametrize("state", ["SUCCESS", "REFUND"])
def test_a_debit_that_was_taken(wire: Wire, channel: WeChatDebits, state: str) -> None:
    # What the real service adds to a success.
    extra = {"trade_state": state, "err_code": "0", "err_code_des": "SUCCESS"}
    wire.will(plain(hand.signed(hand.debited(**extra))))

    assert channel.query_debit(hand.ORDER) == Outcome(
        kind=OutcomeKind.SUCCEEDED,
        reason=Reason.OK,
        number=hand.ORDER,
        amount_fen=4500,
        reference="4200001234202611240000000001",
        payer_ref=hand.OPENID,
        occurred_at=datetime(2026, 11, 24, 2, 1, 2, tzinfo=UTC),
        raw_code=state,
    )


@pytest.mark.parametrize(
    ("fields", "kind", "reason"),
    [
        ({"trade_state": "ACCEPT"}, OutcomeKind.ACCEPTED, Reason.PROCESSING),
        ({"trade_state": "ACCEPT", "err_code": "0"}, OutcomeKind.ACCEPTED, Reason.PROCESSING),
        ({"trade_state": "NOTPAY"}, OutcomeKind.ACCEPTED, Reason.PROCESSING),
        ({"trade_state": "PAY_FAIL"}, OutcomeKind.FAILED, Reason.PAYER_REFUSED),
        ({"trade_state": "CLOSED"}, OutcomeKind.FAILED, Reason.CLOSED),
        ({"trade_state": "REVOKED"}, OutcomeKind.FAILED, Reason.CLOSED),
        ({"trade_state": "success"}, OutcomeKind.UNKNOWN, Reason.UNLISTED),
        ({"trade_state": ""}, OutcomeKind.UNKNOWN, Reason.UNLISTED),
        # The verdict of a payment by hand, which is none of a debit.
        ({"trade_state": "PAYERROR"}, OutcomeKind.UNKNOWN, Reason.UNLISTED),
    ],
)
def test_other_states_of_a_debit(
    wire: Wire,
    channel: WeChatDebits,
    fields: dict[str, str],
    kind: OutcomeKind,
    reason: Reason,
) -> None:
    wire.will(plain(hand.signed(hand.answer(out_trade_no=hand.ORDER, **fields))))

    outcome = channel.query_debit(hand.ORDER)

    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert (outcome.amount_fen, outcome.reference) == (None, None)


@pytest.mark.parametrize("amount", [*ODD_AMOUNTS, "9" * 16, "true"])
def test_an_odd_amount_is_a_bad_answer(wire: Wire, channel: WeChatDebits, amount: str) -> None:
    wire.will(plain(hand.signed(hand.debited(total_fee=amount))))
    assert_unknown(channel.query_debit(hand.ORDER))

    wire.will(plain(hand.signed(hand.answer(total_fee=amount))))
    assert_unknown(channel.submit_debit(DEBIT))


@pytest.mark.parametrize(
    "changes",
    [
        {"fee_type": "USD"},
        {"transaction_id": ""},
        {"time_end": ""},
        {"time_end": "20261324100102"},
        {"trade_type": "JSAPI"},
        {"trade_type": ""},
        {"settlement_total_fee": "44.00"},
    ],
)
def test_a_debit_with_an_odd_field_is_unknown(
    wire: Wire, channel: WeChatDebits, changes: dict[str, str]
) -> None:
    wire.will(plain(hand.signed(hand.debited(**changes))))

    assert_unknown(channel.query_debit(hand.ORDER))


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("CONTRACT_NOT_EXIST", OutcomeKind.FAILED, Reason.NO_MANDATE),
        ("CONTRACTERROR", OutcomeKind.FAILED, Reason.NO_MANDATE),
        ("ORDER_ACCEPTED", OutcomeKind.ACCEPTED, Reason.PROCESSING),
        ("ORDERPAID", OutcomeKind.UNKNOWN, Reason.ALREADY_PAID),
        ("ORDER_CLOSED", OutcomeKind.UNKNOWN, Reason.CLOSED),
        ("OUT_TRADE_NO_USED", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
        ("RULE_LIMIT", OutcomeKind.UNKNOWN, Reason.AMOUNT_LIMIT),
        ("NOTENOUGH", OutcomeKind.UNKNOWN, Reason.INSUFFICIENT_FUNDS),
        ("USER_ACCOUNT_ABNORMAL", OutcomeKind.UNKNOWN, Reason.ACCOUNT_FROZEN),
        ("BANKERROR", OutcomeKind.UNKNOWN, Reason.BUSY),
        ("FREQUENCY_LIMITED", OutcomeKind.UNKNOWN, Reason.BUSY),
        ("INVALID_REQUEST", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
        ("SIGNERROR", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
    ],
)
def test_refused_debits(
    wire: Wire, channel: WeChatDebits, code: str, kind: OutcomeKind, reason: Reason
) -> None:
    wire.will(plain(hand.signed(hand.refusal(code))))

    outcome = channel.submit_debit(DEBIT)

    assert (outcome.kind, outcome.reason, outcome.raw_code) == (kind, reason, code)
    assert outcome.number == hand.ORDER


@pytest.mark.parametrize(
    "code", ["NOAUTH", "SIGNERROR", "PARAM_ERROR", "INVALID_REQUEST", "ORDERPAID", "CONTRACTERROR"]
)
def test_a_refused_question_never_means_that_nothing_was_taken(
    wire: Wire, channel: WeChatDebits, code: str
) -> None:
    wire.will(plain(hand.signed(hand.refusal(code))))

    assert channel.query_debit(hand.ORDER).kind is OutcomeKind.UNKNOWN


def test_a_debit_that_does_not_exist(wire: Wire, channel: WeChatDebits) -> None:
    wire.will(plain(hand.signed(without(hand.refusal("ORDERNOTEXIST"), "err_code_des"))))

    outcome = channel.query_debit(hand.ORDER)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.NOT_FOUND)
