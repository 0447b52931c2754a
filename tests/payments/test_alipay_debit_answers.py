"""Agreements and debits of Alipay: what is sent, and what each answer means."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from urllib.parse import unquote

import pytest
from pydantic import ValidationError

from app.domain.ports.mandates import (
    Cycle,
    EndedBy,
    MandateAnswer,
    MandateLimits,
    MandateStanding,
)
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.alipay.debits import AlipayDebits
from config.reason_files import load_reasons
from tests.payments import alipay_hand as hand
from tests.payments.wire import Wire, cut_short, hang_up, open_wire, plain

Node = dict[str, object]
SIGNED_AT = datetime(2026, 11, 24, 1, 29, 59, tzinfo=UTC)


@pytest.fixture(scope="module")
def line() -> Iterator[tuple[Wire, AlipayDebits]]:
    """One server and one channel for all: reading keys takes longer than a call."""
    with open_wire() as wire:
        yield wire, hand.debits(wire.url)


@pytest.fixture
def wire(line: tuple[Wire, AlipayDebits]) -> Wire:
    wire, _ = line
    wire.seen.clear()
    return wire


@pytest.fixture
def channel(line: tuple[Wire, AlipayDebits]) -> AlipayDebits:
    return line[1]


def query(channel: AlipayDebits, reference: str | None = hand.AGREEMENT) -> MandateAnswer:
    return channel.query_mandate(mandate_no=hand.MANDATE, reference=reference)


def end(channel: AlipayDebits, reference: str | None = hand.AGREEMENT) -> MandateAnswer:
    return channel.end_mandate(mandate_no=hand.MANDATE, reference=reference)


# The product


@pytest.mark.parametrize(
    ("product", "contract", "cap_fen_max"),
    [
        ("merchant_deduct", 500_000, 500_000),
        ("cycle_pay", 500_000, 10_000),
        ("cycle_pay", 5_000, 5_000),
        ("cycle_pay", None, 10_000),
    ],
)
def test_a_debit_takes_what_product_and_contract_allow(
    product: str, contract: int | None, cap_fen_max: int
) -> None:
    channel = hand.debits(product=product, mandate_cap_fen_max=contract)

    assert channel.limits == MandateLimits(
        cap_fen_max=cap_fen_max,
        cycles=frozenset({Cycle.MONTH, Cycle.QUARTER}),
        needs_card=False,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sign_scene": ""}, "sign_scene"),
        ({"sign_scene": "DEFAULT|DEFAULT"}, "sign_scene"),
        ({"mandate_cap_fen_max": None}, "mandate_cap_fen_max"),
        ({"mandate_cap_fen_max": 0}, "mandate_cap_fen_max"),
        ({"debit_product": "cycle"}, "debit_product"),
        # There a person has another open_id: nobody could tell who signed.
        ({"op_app_id": "2021000000000009"}, "op_app_id"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: Node, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        hand.debits(**changes)


def test_without_a_product_there_are_no_debits() -> None:
    assert hand.settings(sign_scene="", op_app_id="2021000000000009").debit_product == ""
    with pytest.raises(ValueError, match="no product"):
        hand.debits(product="")


# Signing


def opened(action: dict[str, str]) -> tuple[dict[str, str], Node]:
    """What the wallet reads of a signing: the call, its signature checked, and the content."""
    assert set(action) == {"signStr"}
    sent = hand.read_sent(unquote(action["signStr"]).encode())
    return sent, json.loads(sent.pop("biz_content"))


def test_the_page_that_is_signed_under_merchant_deduct() -> None:
    sent, content = opened(hand.debits().signing_action(hand.MANDATING))

    assert sent == {
        "app_id": hand.APP_ID,
        "method": "alipay.user.agreement.page.sign",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": "2026-11-24 10:00:00",
        "version": "1.0",
        "notify_url": "https://fund.example/callbacks/alipay/mandate",
    }
    assert content == {
        "product_code": "GENERAL_WITHHOLDING",
        "personal_product_code": "GENERAL_WITHHOLDING_P",
        "sign_scene": hand.SCENE,
        "external_agreement_no": hand.MANDATE,
        "external_logon_id": "公积金账户尾号1234",
        "access_params": {"channel": "ALIPAYAPP"},
        "sign_validity_period": "738d",
    }


@pytest.mark.parametrize(("cycle", "period"), [(Cycle.MONTH, 1), (Cycle.QUARTER, 3)])
def test_the_page_that_is_signed_under_cycle_pay(cycle: Cycle, period: int) -> None:
    request = replace(hand.MANDATING, cycle=cycle, cap_fen=9_999)

    _, content = opened(hand.debits(product="cycle_pay").signing_action(request))

    assert content["product_code"] == "CYCLE_PAY_AUTH"
    assert content["personal_product_code"] == "CYCLE_PAY_AUTH_P"
    assert content["period_rule_params"] == {
        "period_type": "MONTH",
        "period": period,
        "execute_time": "2026-12-10",
        "single_amount": "99.99",
    }


def test_a_mandate_of_a_day_lasts_a_day() -> None:
    today = date(2026, 11, 24)
    request = replace(hand.MANDATING, valid_from=today, valid_to=today)

    assert opened(hand.debits().signing_action(request))[1]["sign_validity_period"] == "1d"


def test_the_page_has_no_character_that_alipay_refuses() -> None:
    request = replace(hand.MANDATING, display_name="公积金/尾号=12&34\x00\ud800" + "长" * 300)

    _, content = opened(hand.debits().signing_action(request))

    assert content["external_logon_id"] == ("公积金 尾号 12 34" + "长" * 300)[:256]


def test_starting_needs_no_network(wire: Wire, channel: AlipayDebits) -> None:
    assert channel.start_mandate(hand.MANDATING) == MandateAnswer(
        standing=MandateStanding.AWAITING,
        reason=Reason.PROCESSING,
        mandate_no=hand.MANDATE,
    )
    channel.signing_action(hand.MANDATING)
    assert wire.seen == []


# Asking


def test_the_questions_as_they_are_sent(wire: Wire, channel: AlipayDebits) -> None:
    wire.will(plain(hand.answer(hand.AGREEMENT_QUERY, hand.agreement())))
    query(channel)
    query(channel, None)
    channel.confirm_mandate(mandate_no=hand.MANDATE, start_reference="", code="0000")
    ours = {
        "external_agreement_no": hand.MANDATE,
        "personal_product_code": "GENERAL_WITHHOLDING_P",
        "sign_scene": hand.SCENE,
    }
    assert [hand.read_content(request.body) for request in wire.seen] == [
        {"agreement_no": hand.AGREEMENT},
        ours,
        ours,
    ]
    assert {hand.read_sent(request.body)["method"] for request in wire.seen} == {
        "alipay.user.agreement.query"
    }


@pytest.mark.parametrize("reference", [hand.AGREEMENT, None])
def test_an_agreement_in_force(wire: Wire, channel: AlipayDebits, reference: str | None) -> None:
    wire.will(plain(hand.answer(hand.AGREEMENT_QUERY, hand.agreement())))

    assert query(channel, reference) == MandateAnswer(
        standing=MandateStanding.ACTIVE,
        reason=Reason.OK,
        mandate_no=hand.MANDATE,
        reference=hand.AGREEMENT,
        payer_ref=hand.OPEN_ID,
        occurred_at=SIGNED_AT,
        raw_code="NORMAL",
    )


@pytest.mark.parametrize(
    ("status", "standing", "reason"),
    [
        ("TEMP", MandateStanding.AWAITING, Reason.PROCESSING),
        ("STOP", MandateStanding.SUSPENDED, Reason.OK),
        ("UNSIGN", MandateStanding.ENDED, Reason.CLOSED),
    ],
)
def test_every_other_status(
    wire: Wire, channel: AlipayDebits, status: str, standing: MandateStanding, reason: Reason
) -> None:
    wire.will(plain(hand.answer(hand.AGREEMENT_QUERY, hand.agreement(status=status))))

    answer = query(channel)

    assert (answer.standing, answer.reason, answer.raw_code) == (standing, reason, status)
    assert answer.ended_by is None


@pytest.mark.parametrize("status", ["NORMAL", "STOP", "TEMP"])
@pytest.mark.parametrize(
    ("runs_out", "is_over"), [("2026-11-24 10:00:00", True), ("2026-11-24 10:00:01", False)]
)
def test_one_that_has_run_out_is_over_whatever_its_status(
    wire: Wire, channel: AlipayDebits, status: str, runs_out: str, is_over: bool
) -> None:
    node = hand.agreement(status=status, invalid_time=runs_out)
    wire.will(plain(hand.answer(hand.AGREEMENT_QUERY, node)))

    answer = query(channel)

    assert (answer.standing is MandateStanding.ENDED) == is_over
    if is_over:
        assert (answer.ended_by, answer.occurred_at) == (EndedBy.EXPIRY, hand.NOW)


def test_who_signed_by_every_name_of_it(wire: Wire, channel: AlipayDebits) -> None:
    plainest = hand.without(hand.agreement(), "alipay_open_id")
    for fields, signer in (
        ({"principal_open_id": hand.OPEN_ID, "principal_id": "2088000000000009"}, hand.OPEN_ID),
        ({"alipay_user_id": "2088102146225135"}, "2088102146225135"),
        # It may name the person behind several accounts.
        ({"principal_id": "2088000000000009"}, None),
    ):
        wire.will(plain(hand.answer(hand.AGREEMENT_QUERY, {**plainest, **fields})))
        assert query(channel).payer_ref == signer


@pytest.mark.parametrize(
    "fields",
    [
        {"external_agreement_no": "M" + "9" * 31},
        {"external_agreement_no": ""},
        {"agreement_no": "2" * 20},
        {"agreement_no": ""},
        {"status": "GONE"},
        {"status": ""},
        {"status": ["NORMAL"]},
        {"sign_time": "today"},
        {"invalid_time": "never"},
        {"alipay_open_id": 1},
    ],
)
def test_an_answer_about_something_else_says_nothing(
    wire: Wire, channel: AlipayDebits, fields: Node
) -> None:
    wire.will(plain(hand.answer(hand.AGREEMENT_QUERY, hand.agreement(**fields))))

    answer = query(channel)

    assert (answer.standing, answer.reason) == (MandateStanding.UNKNOWN, Reason.BAD_ANSWER)
    assert (answer.mandate_no, answer.reference) == (hand.MANDATE, None)


def test_an_agreement_asked_for_by_our_number_must_say_its_own(
    wire: Wire, channel: AlipayDebits
) -> None:
    node = hand.without(hand.agreement(), "agreement_no")
    wire.will(plain(hand.answer(hand.AGREEMENT_QUERY, node)))

    assert query(channel, None).standing is MandateStanding.UNKNOWN


GONE = ("USER_AGREEMENT_NOT_EXIST", "ACQ.USER_AGREEMENT_NOT_EXIST")


@pytest.mark.parametrize("code", GONE)
@pytest.mark.parametrize(("ask", "node"), [(query, hand.AGREEMENT_QUERY), (end, hand.UNSIGN)])
def test_none_about_our_number_was_never_signed_about_alipays_own_is_over(
    wire: Wire,
    channel: AlipayDebits,
    code: str,
    ask: Callable[[AlipayDebits, str | None], MandateAnswer],
    node: str,
) -> None:
    wire.will(plain(hand.answer(node, hand.refusal(code))))

    never, over = ask(channel, None), ask(channel, hand.AGREEMENT)

    assert (never.standing, never.reason) == (MandateStanding.NOT_FOUND, Reason.NOT_FOUND)
    assert (over.standing, over.reason) == (MandateStanding.ENDED, Reason.CLOSED)
    # By whom, nobody says.
    assert over.ended_by is None
    assert {never.raw_code, over.raw_code} == {code}


def test_one_that_was_ended_at_alipay_is_over_however_it_was_asked_for(
    wire: Wire, channel: AlipayDebits
) -> None:
    wire.will(plain(hand.answer(hand.AGREEMENT_QUERY, hand.refusal("AGREEMENT_HAS_UNSIGNED"))))

    assert query(channel, None).standing is MandateStanding.ENDED


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("AUTHOREE_IS_NOT_MATCH", Reason.OUR_FAULT),
        ("MERCHANT_STATUS_IS_NOT_NORMAL", Reason.OUR_FAULT),
        ("PRODUCT_CODE_NOT_SUPPORTED_ERROR", Reason.OUR_FAULT),
        ("ACQ.SYSTEM_ERROR", Reason.BUSY),
        ("SOMETHING_NEW", Reason.UNLISTED),
    ],
)
@pytest.mark.parametrize(("ask", "node"), [(query, hand.AGREEMENT_QUERY), (end, hand.UNSIGN)])
def test_no_fault_of_ours_ends_a_mandate(
    wire: Wire,
    channel: AlipayDebits,
    code: str,
    reason: Reason,
    ask: Callable[[AlipayDebits], MandateAnswer],
    node: str,
) -> None:
    wire.will(plain(hand.answer(node, hand.refusal(code))))

    answer = ask(channel)

    assert (answer.standing, answer.reason) == (MandateStanding.UNKNOWN, reason)


# Ending


@pytest.mark.parametrize("reference", [hand.AGREEMENT, None])
def test_ending(wire: Wire, channel: AlipayDebits, reference: str | None) -> None:
    wire.will(plain(hand.answer(hand.UNSIGN, {"code": "10000", "msg": "Success"})))

    assert end(channel, reference) == MandateAnswer(
        standing=MandateStanding.ENDED,
        reason=Reason.CLOSED,
        mandate_no=hand.MANDATE,
        reference=reference,
        ended_by=EndedBy.CENTRE,
        raw_code="10000",
    )
    [request] = wire.seen
    sent = hand.read_sent(request.body)
    assert sent["method"] == "alipay.user.agreement.unsign"
    assert sent["notify_url"] == "https://fund.example/callbacks/alipay/mandate"
    content = hand.read_content(request.body)
    named = (
        {"agreement_no"}
        if reference
        else {*("external_agreement_no", "personal_product_code", "sign_scene")}
    )
    assert set(content) == named


# Debiting


def test_the_debit_as_it_is_sent(wire: Wire, channel: AlipayDebits) -> None:
    wire.will(plain(hand.answer(hand.PAY, hand.debited())))
    channel.submit_debit(replace(hand.DEBITING, description="2026年12月=缴存/" + "长" * 300))

    [request] = wire.seen
    sent = hand.read_sent(request.body)
    assert sent["method"] == "alipay.trade.pay"
    assert sent["notify_url"] == "https://fund.example/callbacks/alipay/payment"
    assert hand.read_content(request.body) == {
        "out_trade_no": hand.ORDER,
        "total_amount": "45.00",
        "subject": ("2026年12月 缴存 " + "长" * 300)[:256],
        "product_code": "GENERAL_WITHHOLDING",
        "agreement_params": {"agreement_no": hand.AGREEMENT},
    }


def test_the_product_of_a_debit_is_that_of_its_agreement(wire: Wire) -> None:
    wire.will(plain(hand.answer(hand.PAY, hand.debited())))
    hand.debits(wire.url, "cycle_pay").submit_debit(hand.DEBITING)

    assert hand.read_content(wire.seen[0].body)["product_code"] == "CYCLE_PAY_AUTH"


@pytest.mark.parametrize("mode", [{}, {"async_payment_mode": "SYNC_DIRECT_PAY"}])
def test_money_that_was_taken(wire: Wire, channel: AlipayDebits, mode: Node) -> None:
    wire.will(plain(hand.answer(hand.PAY, hand.debited(**mode))))

    assert channel.submit_debit(hand.DEBITING) == Outcome(
        kind=OutcomeKind.SUCCEEDED,
        reason=Reason.OK,
        number=hand.ORDER,
        amount_fen=4500,
        reference=hand.TRADE,
        payer_ref=hand.OPEN_ID,
        occurred_at=datetime(2026, 11, 24, 2, 1, 2, tzinfo=UTC),
        raw_code="10000",
    )


@pytest.mark.parametrize(
    "node",
    [
        hand.node(code="10003", msg="order success pay inprocess"),
        *(
            hand.debited(async_payment_mode=mode)
            for mode in ("ASYNC_DELAY_PAY", "ASYNC_REALTIME_PAY", "NORMAL_ASYNC_PAY", "NEW")
        ),
    ],
)
def test_money_that_is_on_its_way(wire: Wire, channel: AlipayDebits, node: Node) -> None:
    wire.will(plain(hand.answer(hand.PAY, node)))

    assert channel.submit_debit(hand.DEBITING) == Outcome(
        kind=OutcomeKind.ACCEPTED,
        reason=Reason.PROCESSING,
        number=hand.ORDER,
        reference=hand.TRADE,
        raw_code=str(node["code"]),
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"total_amount": "45.01"},
        {"total_amount": ""},
        {"total_amount": 45},
        {"gmt_payment": ""},
        {"gmt_payment": "today"},
        {"trade_no": ""},
        {"out_trade_no": "D" + "9" * 31},
        {"code": "10003", "out_trade_no": "D" + "9" * 31},
        {"code": "10003", "trade_no": ""},
        {"buyer_open_id": 1},
        {"async_payment_mode": 1},
    ],
)
def test_a_debit_with_an_odd_answer_is_unknown(
    wire: Wire, channel: AlipayDebits, fields: Node
) -> None:
    wire.will(plain(hand.answer(hand.PAY, hand.debited(**fields))))

    outcome = channel.submit_debit(hand.DEBITING)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.UNKNOWN, Reason.BAD_ANSWER)
    assert (outcome.number, outcome.amount_fen) == (hand.ORDER, None)


FUNDS, LIMIT, PERIOD = Reason.INSUFFICIENT_FUNDS, Reason.AMOUNT_LIMIT, Reason.PERIOD_LIMIT
FAILED = {
    "BUYER_BALANCE_NOT_ENOUGH": FUNDS,
    "BUYER_BANKCARD_BALANCE_NOT_ENOUGH": FUNDS,
    "NO_PAYMENT_INSTRUMENTS_AVAILABLE": FUNDS,
    "BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR": LIMIT,
    "BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR": PERIOD,
    "CYCLE_PAY_SINGLE_FEE_EXCEED": LIMIT,
    "CYCLE_PAY_DATE_NOT_MATCH": PERIOD,
    "CYCLE_PAY_TOTAL_FEE_EXCEED": PERIOD,
    "CYCLE_PAY_TOTAL_TIMES_EXCEED": PERIOD,
    "AGREEMENT_NOT_EXIST": Reason.NO_MANDATE,
    "AGREEMENT_INVALID": Reason.NO_MANDATE,
    "AGREEMENT_STATUS_NOT_NORMAL": Reason.NO_MANDATE,
    "AGREEMENT_ERROR": Reason.NO_MANDATE,
    "PAYMENT_FAIL": Reason.ISSUER_REFUSED,
    "PAYMENT_REQUEST_HAS_RISK": Reason.ISSUER_REFUSED,
    "ERROR_BUYER_CERTIFY_LEVEL_LIMIT": Reason.ISSUER_REFUSED,
    "NOT_CERTIFIED_USER": Reason.ISSUER_REFUSED,
    "ERROR_BALANCE_PAYMENT_DISABLE": Reason.ACCOUNT_FROZEN,
    "MOBILE_PAYMENT_SWITCH_OFF": Reason.ACCOUNT_FROZEN,
    "BUYER_ENABLE_STATUS_FORBID": Reason.ACCOUNT_FROZEN,
    "BUYER_NOT_EXIST": Reason.ACCOUNT_INVALID,
}
"""What proves that nothing was taken, written out from Alipay's own table."""
OPEN = {
    "TRADE_HAS_SUCCESS": Reason.ALREADY_PAID,
    "TRADE_HAS_CLOSE": Reason.CLOSED,
    "CONTEXT_INCONSISTENT": Reason.OUR_FAULT,
    "TRADE_BUYER_NOT_MATCH": Reason.OUR_FAULT,
    "INVALID_PARAMETER": Reason.OUR_FAULT,
    "ACCESS_FORBIDDEN": Reason.OUR_FAULT,
    "MERCHANT_AGREEMENT_INVALID": Reason.OUR_FAULT,
    "MERCHANT_AGREEMENT_NOT_EXIST": Reason.OUR_FAULT,
    "MERCHANT_STATUS_NOT_NORMAL": Reason.OUR_FAULT,
    "SYSTEM_ERROR": Reason.BUSY,
    "SOMETHING_NEW": Reason.UNLISTED,
}


@pytest.mark.parametrize("code", [*FAILED, *OPEN])
def test_each_refusal_of_a_debit(wire: Wire, channel: AlipayDebits, code: str) -> None:
    wire.will(plain(hand.answer(hand.PAY, hand.refusal(f"ACQ.{code}"))))

    outcome = channel.submit_debit(hand.DEBITING)

    kind = OutcomeKind.FAILED if code in FAILED else OutcomeKind.UNKNOWN
    assert (outcome.kind, outcome.reason) == (kind, {**FAILED, **OPEN}[code])
    assert (outcome.number, outcome.raw_code) == (hand.ORDER, f"ACQ.{code}")


def test_nothing_else_fails_a_debit() -> None:
    rows = load_reasons("alipay")
    failed = {code for code, row in rows["submit_debit"].items() if row[0] == "failed"}
    assert failed == {f"ACQ.{code}" for code in FAILED}
    assert {code for code, row in rows["query_debit"].items() if row[0] == "failed"} == {
        "ACQ.TRADE_NOT_EXIST"
    }
    assert not [row for row in rows["submit_debit"].values() if row[0] == "succeeded"]


@pytest.mark.parametrize("code", ["20000", "40002", "40006", "10003"])
def test_a_code_of_the_gateway_says_nothing_of_a_question(
    wire: Wire, channel: AlipayDebits, code: str
) -> None:
    """Also 10003: only a debit is answered so."""
    wire.will(plain(hand.answer(hand.QUERY, hand.paid(code=code, sub_code="isp.unknow-error"))))
    assert channel.query_debit(hand.ORDER).kind is OutcomeKind.UNKNOWN

    wire.will(plain(hand.answer(hand.AGREEMENT_QUERY, hand.agreement(code=code))))
    assert query(channel).standing is MandateStanding.UNKNOWN


# Asking for a debit


@pytest.mark.parametrize(
    ("fields", "kind", "reason", "amount_fen"),
    [
        ({}, OutcomeKind.SUCCEEDED, Reason.OK, 4500),
        ({"trade_status": "TRADE_FINISHED"}, OutcomeKind.SUCCEEDED, Reason.OK, 4500),
        # All of it went back later.
        ({"trade_status": "TRADE_CLOSED"}, OutcomeKind.SUCCEEDED, Reason.OK, 4500),
        (
            {"trade_status": "TRADE_CLOSED", "send_pay_date": ""},
            *(OutcomeKind.FAILED, Reason.CLOSED, None),
        ),
        (
            {"trade_status": "WAIT_BUYER_PAY", "send_pay_date": ""},
            *(OutcomeKind.ACCEPTED, Reason.PROCESSING, None),
        ),
        ({"trade_status": "NEW"}, OutcomeKind.UNKNOWN, Reason.UNLISTED, None),
        ({"out_trade_no": "D" + "9" * 31}, OutcomeKind.UNKNOWN, Reason.BAD_ANSWER, None),
        ({"total_amount": "45"}, OutcomeKind.UNKNOWN, Reason.BAD_ANSWER, None),
    ],
)
def test_what_became_of_a_debit(
    wire: Wire,
    channel: AlipayDebits,
    fields: Node,
    kind: OutcomeKind,
    reason: Reason,
    amount_fen: int | None,
) -> None:
    wire.will(plain(hand.answer(hand.QUERY, hand.paid(**fields))))

    outcome = channel.query_debit(hand.ORDER)

    assert (outcome.kind, outcome.reason, outcome.amount_fen) == (kind, reason, amount_fen)
    assert outcome.number == hand.ORDER


def test_a_debit_that_alipay_does_not_know(wire: Wire, channel: AlipayDebits) -> None:
    wire.will(plain(hand.answer(hand.QUERY, hand.refusal("ACQ.TRADE_NOT_EXIST"))))

    outcome = channel.query_debit(hand.ORDER)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.NOT_FOUND)


# Whose word it is

CALLS: dict[str, tuple[Callable[[AlipayDebits], MandateAnswer | Outcome], str, Node]] = {
    "query_mandate": (query, hand.AGREEMENT_QUERY, hand.agreement()),
    "end_mandate": (end, hand.UNSIGN, {"code": "10000", "msg": "Success"}),
    "submit_debit": (lambda channel: channel.submit_debit(hand.DEBITING), hand.PAY, hand.debited()),
    "query_debit": (lambda channel: channel.query_debit(hand.ORDER), hand.QUERY, hand.paid()),
}


def is_unknown(answer: MandateAnswer | Outcome) -> bool:
    if isinstance(answer, Outcome):
        return answer.kind is OutcomeKind.UNKNOWN
    return answer.standing is MandateStanding.UNKNOWN


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("refused", [False, True])
def test_only_alipays_own_word_is_believed(
    wire: Wire, channel: AlipayDebits, call: str, refused: bool
) -> None:
    ask, name, node = CALLS[call]
    codes = {
        "query_mandate": "USER_AGREEMENT_NOT_EXIST",
        "end_mandate": "USER_AGREEMENT_NOT_EXIST",
        "submit_debit": "ACQ.BUYER_BALANCE_NOT_ENOUGH",
        "query_debit": "ACQ.TRADE_NOT_EXIST",
    }
    text = hand.text_of(hand.refusal(codes[call]) if refused else node)
    sign = hand.sign(text.encode())
    wire.will(plain(hand.envelope(name, text, sign)))
    assert not is_unknown(ask(channel))

    for answer in (
        hand.envelope(name, text, None),
        hand.envelope(name, text, hand.sign(text.encode(), hand.another_key())),
        hand.envelope(name, text.replace('"msg"', '"massage"'), sign),
        hand.envelope(hand.CREATE, text, sign),
        hand.envelope("error_response", text, sign),
    ):
        wire.will(plain(answer))
        assert is_unknown(ask(channel)), answer


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "trouble", [plain(b""), plain(b"<html>", status=502), hang_up, cut_short(b'{"a":')]
)
def test_trouble_on_the_way_is_unknown(
    wire: Wire, channel: AlipayDebits, call: str, trouble: Callable[..., None]
) -> None:
    wire.will(trouble)

    assert is_unknown(CALLS[call][0](channel))
