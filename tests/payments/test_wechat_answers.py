"""Answers of WeChat Pay: what may be believed, and what each one means."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.ports.payments import PaymentRequest, RefundRequest
from app.payments.wechat.channel import WeChatPay
from tests.payments import wechat_hand as hand
from tests.payments.wire import (
    Wire,
    cut_short,
    dripping,
    endless,
    hang_up,
    open_wire,
    plain,
    silent,
)

PAYMENT = PaymentRequest(
    order_no=hand.ORDER,
    amount_fen=4500,
    description="灵活就业人员住房公积金缴存",
    payer_ref="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    expires_at=hand.NOW + timedelta(hours=2),
    client_ip="203.0.113.9",
)
REFUND = RefundRequest(
    order_no=hand.ORDER,
    refund_no=hand.REFUND,
    amount_fen=1500,
    total_fen=4500,
    reason="缴存人申请退回",
)
PREPARED = hand.answer(trade_type="JSAPI", prepay_id="wx201410272009395522657a690389285100")

Call = Callable[[WeChatPay], Outcome]
CALLS: dict[str, tuple[Call, dict[str, str]]] = {
    "prepare_payment": (lambda channel: channel.prepare_payment(PAYMENT), PREPARED),
    "query_payment": (lambda channel: channel.query_payment(hand.ORDER), hand.paid()),
    "close_payment": (lambda channel: channel.close_payment(hand.ORDER), hand.answer()),
    "refund": (lambda channel: channel.refund(REFUND), hand.refund_accepted()),
    "query_refund": (
        lambda channel: channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND),
        hand.refund_found(),
    ),
}


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as wire:
        yield wire


@pytest.fixture
def channel(wire: Wire) -> WeChatPay:
    return hand.channel(wire.url)


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> tuple[Call, dict[str, str]]:
    return CALLS[request.param]


def assert_unknown(outcome: Outcome, reason: Reason = Reason.BAD_ANSWER) -> None:
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert outcome.reason is reason
    assert outcome.number in (hand.ORDER, hand.REFUND)
    assert outcome.amount_fen is None
    assert outcome.reference is None


def test_a_genuine_answer_is_believed(
    wire: Wire, channel: WeChatPay, call: tuple[Call, dict[str, str]]
) -> None:
    make, fields = call
    wire.will(plain(hand.signed(fields)))

    assert make(channel).kind in (OutcomeKind.SUCCEEDED, OutcomeKind.ACCEPTED)


def test_a_genuine_answer_with_fields_of_tomorrow_is_believed(
    wire: Wire, channel: WeChatPay, call: tuple[Call, dict[str, str]]
) -> None:
    make, fields = call
    wire.will(plain(hand.signed({**fields, "added_later": "新", "and-this.too": ""})))

    assert make(channel).kind in (OutcomeKind.SUCCEEDED, OutcomeKind.ACCEPTED)


def without(fields: dict[str, str], name: str) -> dict[str, str]:
    return {key: text for key, text in fields.items() if key != name}


FORGERIES: dict[str, Callable[[dict[str, str]], bytes]] = {
    "unsigned": hand.xml,
    "an empty sign": lambda fields: hand.xml({**fields, "sign": ""}),
    "signed with another key": lambda fields: hand.signed(fields, "0" * 32),
    "signed with no key": lambda fields: hand.signed(fields, ""),
    "lower-case sign": lambda fields: hand.xml({**fields, "sign": hand.md5(fields).lower()}),
    "a sign that is not ASCII": lambda fields: hand.xml({**fields, "sign": "签名"}),
    "changed after signing": lambda fields: hand.xml(
        {**fields, "attach": "x", "sign": hand.md5(fields)}
    ),
    "HMAC as the message claims": lambda fields: hand.xml(
        {
            **fields,
            "sign_type": "HMAC-SHA256",
            "sign": hand.hmac_sha256({**fields, "sign_type": "HMAC-SHA256"}),
        }
    ),
    "another merchant": lambda fields: hand.signed({**fields, "mch_id": "10000101"}),
    "another app": lambda fields: hand.signed({**fields, "appid": "wx0000000000000000"}),
    "no merchant": lambda fields: hand.signed(without(fields, "mch_id")),
    "no app": lambda fields: hand.signed(without(fields, "appid")),
    "another order": lambda fields: hand.signed({**fields, "out_trade_no": "D" + "9" * 31}),
    "no result_code": lambda fields: hand.signed(without(fields, "result_code")),
    "an odd result_code": lambda fields: hand.signed({**fields, "result_code": "MAYBE"}),
    "no return_code": lambda fields: hand.signed(without(fields, "return_code")),
    "raw text": lambda fields: b"SUCCESS",
    "html": lambda fields: b"<html><body>502 Bad Gateway</body></html>",
    "html that is not XML": lambda fields: b"<!DOCTYPE html><p>502<br>",
    "empty": lambda fields: b"",
    "JSON": lambda fields: b'{"return_code": "SUCCESS"}',
    "truncated": lambda fields: hand.signed(fields)[:-20],
    "too long": lambda fields: hand.signed({**fields, "padding": "x" * 70_000}),
    "document type": lambda fields: b"<!DOCTYPE xml [<!ENTITY a 'b'>]>" + hand.signed(fields),
    "an element twice": lambda fields: hand.signed(fields).replace(
        b"<nonce_str>", b"<nonce_str>twice</nonce_str><nonce_str>", 1
    ),
    "not UTF-8": lambda fields: hand.signed(fields).replace(b"OK", b"\xd6\xd0"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_an_answer_that_is_not_proven_says_nothing(
    wire: Wire, channel: WeChatPay, call: tuple[Call, dict[str, str]], forgery: str
) -> None:
    make, fields = call
    wire.will(plain(FORGERIES[forgery](fields)))

    assert_unknown(make(channel))


def test_an_unsigned_refusal_says_nothing(
    wire: Wire, channel: WeChatPay, call: tuple[Call, dict[str, str]]
) -> None:
    make, _ = call
    wire.will(plain(hand.xml(hand.refusal("ORDERNOTEXIST"))))

    assert_unknown(make(channel))


def test_a_transport_refusal_says_nothing_of_the_money(
    wire: Wire, channel: WeChatPay, call: tuple[Call, dict[str, str]]
) -> None:
    make, _ = call
    wire.will(plain(hand.xml({"return_code": "FAIL", "return_msg": "签名失败"})))

    outcome = make(channel)

    assert_unknown(outcome, Reason.OUR_FAULT)
    assert outcome.raw_message == "签名失败"


def test_an_unlisted_code_is_unknown(
    wire: Wire, channel: WeChatPay, call: tuple[Call, dict[str, str]]
) -> None:
    make, _ = call
    wire.will(plain(hand.signed(hand.refusal("NEVER_HEARD_OF"))))

    outcome = make(channel)

    assert_unknown(outcome, Reason.UNLISTED)
    assert (outcome.raw_code, outcome.raw_message) == ("NEVER_HEARD_OF", "不能办理")


def test_a_busy_gateway_is_unknown(
    wire: Wire, channel: WeChatPay, call: tuple[Call, dict[str, str]]
) -> None:
    make, _ = call
    wire.will(plain(hand.signed(hand.refusal("SYSTEMERROR"))))

    assert_unknown(make(channel), Reason.BUSY)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 400, 403, 404, 500, 502, 503])
def test_only_a_plain_200_counts(
    wire: Wire, channel: WeChatPay, call: tuple[Call, dict[str, str]], status: int
) -> None:
    make, fields = call
    body = b"" if status == 204 else hand.signed(fields)
    wire.will(plain(body, status=status))

    assert_unknown(make(channel))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    wire: Wire, channel: WeChatPay, call: tuple[Call, dict[str, str]], status: int
) -> None:
    make, fields = call
    with open_wire() as elsewhere:
        elsewhere.will(plain(hand.signed(fields)))
        wire.will(plain(b"", status=status, headers={"Location": elsewhere.url}))

        assert_unknown(make(channel))

        assert elsewhere.seen == []


def test_a_compressed_answer_is_not_unpacked(
    wire: Wire, channel: WeChatPay, call: tuple[Call, dict[str, str]]
) -> None:
    make, fields = call
    bomb = gzip.compress(hand.signed({**fields, "padding": "x" * 10_000_000}))
    wire.will(plain(bomb, headers={"Content-Encoding": "gzip"}))

    assert_unknown(make(channel))


def test_an_answer_labelled_as_compressed_is_not_read(wire: Wire, channel: WeChatPay) -> None:
    wire.will(plain(hand.signed(hand.paid()), headers={"Content-Encoding": "gzip"}))

    assert_unknown(channel.query_payment(hand.ORDER))


def test_an_endless_answer_is_not_read_to_its_end(wire: Wire, channel: WeChatPay) -> None:
    sent: list[int] = []
    wire.will(endless(b"<xml>" + b" " * 65_536, sent, blocks=2000))

    assert_unknown(channel.query_payment(hand.ORDER))

    # What the sockets' buffers hold, out of 130 MB.
    assert sum(sent) < 16_000_000


def test_silence_is_unknown_and_ends_in_time(wire: Wire, call: tuple[Call, dict[str, str]]) -> None:
    make, _ = call
    wire.will(silent(3))
    started = time.monotonic()

    outcome = make(hand.channel(wire.url, read_timeout=0.2))

    assert_unknown(outcome, Reason.NO_ANSWER)
    assert time.monotonic() - started < 1.5


def test_a_dripping_answer_ends_in_time(wire: Wire) -> None:
    wire.will(dripping(hand.signed(hand.paid()), pause=0.05))
    started = time.monotonic()

    outcome = hand.channel(wire.url, read_timeout=0.3).query_payment(hand.ORDER)

    assert_unknown(outcome, Reason.NO_ANSWER)
    assert time.monotonic() - started < 1.5


def test_a_connection_that_breaks_is_unknown(
    wire: Wire, channel: WeChatPay, call: tuple[Call, dict[str, str]]
) -> None:
    make, fields = call
    wire.will(hang_up)
    assert_unknown(make(channel), Reason.NO_ANSWER)

    wire.will(cut_short(hand.signed(fields)))
    assert_unknown(make(channel), Reason.NO_ANSWER)
    # Asked once each: repeating is for those who know that it is safe.
    assert len(wire.seen) == 2


def test_nobody_listening_is_unknown(call: tuple[Call, dict[str, str]]) -> None:
    make, _ = call

    assert_unknown(make(hand.channel("http://127.0.0.1:1/")), Reason.NO_ANSWER)


ODD_AMOUNTS = ["", "0", "-1", "+4500", "45.00", "4500.0", "4.5e3", " 4500", "４５００", "04500"]


@pytest.mark.parametrize("amount", [*ODD_AMOUNTS, "9" * 16, "true"])
def test_an_odd_amount_is_a_bad_answer(wire: Wire, channel: WeChatPay, amount: str) -> None:
    wire.will(plain(hand.signed(hand.paid(total_fee=amount))))
    assert_unknown(channel.query_payment(hand.ORDER))

    wire.will(plain(hand.signed(hand.refund_accepted(refund_fee=amount))))
    assert_unknown(channel.refund(REFUND))

    wire.will(plain(hand.signed(hand.refund_found(refund_fee_1=amount))))
    assert_unknown(channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND))


# Placing


def test_placing_gives_what_the_phone_needs(wire: Wire, channel: WeChatPay) -> None:
    wire.will(plain(hand.signed(PREPARED)))

    outcome = channel.prepare_payment(PAYMENT)

    assert outcome.kind is OutcomeKind.ACCEPTED
    assert outcome.reason is Reason.NOT_PAID
    assert outcome.number == hand.ORDER
    assert outcome.reference == "wx201410272009395522657a690389285100"


@pytest.mark.parametrize(
    "fields",
    [
        {"prepay_id": ""},
        {"prepay_id": "<script>"},
        {"trade_type": "NATIVE"},
        {"total_fee": "1"},
    ],
)
def test_placing_with_an_odd_answer_is_unknown(
    wire: Wire, channel: WeChatPay, fields: dict[str, str]
) -> None:
    wire.will(plain(hand.signed(PREPARED | fields)))

    assert_unknown(channel.prepare_payment(PAYMENT))


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("ORDERPAID", OutcomeKind.FAILED, Reason.ALREADY_PAID),
        ("ORDERCLOSED", OutcomeKind.FAILED, Reason.CLOSED),
        ("NOTENOUGH", OutcomeKind.FAILED, Reason.PAYER_REFUSED),
        ("NOAUTH", OutcomeKind.FAILED, Reason.OUR_FAULT),
        ("OUT_TRADE_NO_USED", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
        ("INVALID_REQUEST", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
    ],
)
def test_refused_placing(
    wire: Wire, channel: WeChatPay, code: str, kind: OutcomeKind, reason: Reason
) -> None:
    wire.will(plain(hand.signed(hand.refusal(code))))

    outcome = channel.prepare_payment(PAYMENT)

    assert (outcome.kind, outcome.reason, outcome.raw_code) == (kind, reason, code)


# Asking


@pytest.mark.parametrize("state", ["SUCCESS", "REFUND"])
def test_a_paid_order_is_a_payment_even_after_a_refund(
    wire: Wire, channel: WeChatPay, state: str
) -> None:
    wire.will(plain(hand.signed(hand.paid(trade_state=state))))

    assert channel.query_payment(hand.ORDER) == Outcome(
        kind=OutcomeKind.SUCCEEDED,
        reason=Reason.OK,
        number=hand.ORDER,
        amount_fen=4500,
        reference="4200001234202611240000000001",
        payer_ref="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        occurred_at=datetime(2026, 11, 24, 2, 1, 2, tzinfo=UTC),  # 10:01:02 in Beijing
        raw_code=state,
    )


@pytest.mark.parametrize(
    ("state", "kind", "reason"),
    [
        ("NOTPAY", OutcomeKind.ACCEPTED, Reason.NOT_PAID),
        ("USERPAYING", OutcomeKind.ACCEPTED, Reason.NOT_PAID),
        ("PAYERROR", OutcomeKind.ACCEPTED, Reason.NOT_PAID),
        ("ACCEPT", OutcomeKind.ACCEPTED, Reason.PROCESSING),
        ("CLOSED", OutcomeKind.FAILED, Reason.CLOSED),
        ("REVOKED", OutcomeKind.FAILED, Reason.CLOSED),
        ("success", OutcomeKind.UNKNOWN, Reason.UNLISTED),
        ("", OutcomeKind.UNKNOWN, Reason.UNLISTED),
    ],
)
def test_other_states_of_an_order(
    wire: Wire, channel: WeChatPay, state: str, kind: OutcomeKind, reason: Reason
) -> None:
    wire.will(plain(hand.signed(hand.answer(out_trade_no=hand.ORDER, trade_state=state))))

    outcome = channel.query_payment(hand.ORDER)

    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert outcome.amount_fen is None


def test_an_order_that_does_not_exist(wire: Wire, channel: WeChatPay) -> None:
    wire.will(plain(hand.signed(hand.refusal("ORDERNOTEXIST"))))

    outcome = channel.query_payment(hand.ORDER)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.NOT_FOUND)


@pytest.mark.parametrize(
    "code", ["NOAUTH", "SIGNERROR", "PARAM_ERROR", "INVALID_REQUEST", "ORDERPAID", ""]
)
def test_a_refused_question_never_means_that_nothing_was_paid(
    wire: Wire, channel: WeChatPay, code: str
) -> None:
    wire.will(plain(hand.signed(hand.refusal(code))))

    assert channel.query_payment(hand.ORDER).kind is OutcomeKind.UNKNOWN


@pytest.mark.parametrize(
    "fields",
    [
        {"fee_type": "USD"},
        {"transaction_id": ""},
        {"time_end": ""},
        {"time_end": "20261324100102"},
        {"time_end": "00010101000000"},
        {"time_end": "2026-11-24 10:01:02"},
        {"out_trade_no": ""},
        {"trade_type": "NATIVE"},
        {"settlement_total_fee": "44.00"},
    ],
)
def test_a_payment_with_an_odd_field_is_unknown(
    wire: Wire, channel: WeChatPay, fields: dict[str, str]
) -> None:
    wire.will(plain(hand.signed(hand.paid(**fields))))

    assert_unknown(channel.query_payment(hand.ORDER))


def test_the_renminbi_may_go_without_saying(wire: Wire, channel: WeChatPay) -> None:
    wire.will(plain(hand.signed(without(hand.paid(), "fee_type"))))

    assert channel.query_payment(hand.ORDER).amount_fen == 4500


def test_a_coupon_that_brings_no_money_makes_the_amount_smaller(
    wire: Wire, channel: WeChatPay
) -> None:
    wire.will(plain(hand.signed(hand.paid(settlement_total_fee="4000", coupon_fee="500"))))

    assert channel.query_payment(hand.ORDER).amount_fen == 4000  # 4500 − 500


# Closing


def test_a_closed_order(wire: Wire, channel: WeChatPay) -> None:
    wire.will(plain(hand.signed(hand.answer())))

    outcome = channel.close_payment(hand.ORDER)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.SUCCEEDED, Reason.CLOSED)


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("ORDERCLOSED", OutcomeKind.SUCCEEDED, Reason.CLOSED),
        ("ORDERPAID", OutcomeKind.FAILED, Reason.ALREADY_PAID),
        ("ORDERNOTEXIST", OutcomeKind.FAILED, Reason.NOT_FOUND),
        ("SYSTEMERROR", OutcomeKind.UNKNOWN, Reason.BUSY),
        ("SIGNERROR", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
    ],
)
def test_closing_that_was_refused(
    wire: Wire, channel: WeChatPay, code: str, kind: OutcomeKind, reason: Reason
) -> None:
    wire.will(plain(hand.signed(hand.refusal(code))))

    outcome = channel.close_payment(hand.ORDER)

    assert (outcome.kind, outcome.reason, outcome.number) == (kind, reason, hand.ORDER)


# Refunds


def test_an_accepted_refund_is_not_done(wire: Wire, channel: WeChatPay) -> None:
    wire.will(plain(hand.signed(hand.refund_accepted())))

    assert channel.refund(REFUND) == Outcome(
        kind=OutcomeKind.ACCEPTED,
        reason=Reason.PROCESSING,
        number=hand.REFUND,
        amount_fen=1500,
        reference="50000001232026112400000000001",
        raw_code="SUCCESS",
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"refund_fee": "1501"},
        {"total_fee": "4501"},
        {"out_refund_no": "R" + "9" * 31},
        {"refund_id": ""},
    ],
)
def test_a_refund_answer_about_something_else_is_unknown(
    wire: Wire, channel: WeChatPay, fields: dict[str, str]
) -> None:
    wire.will(plain(hand.signed(hand.refund_accepted(**fields))))

    assert_unknown(channel.refund(REFUND))


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("NOTENOUGH", OutcomeKind.FAILED, Reason.MERCHANT_FUNDS_SHORT),
        ("TRADE_OVERDUE", OutcomeKind.FAILED, Reason.CLOSED),
        ("ORDERNOTEXIST", OutcomeKind.FAILED, Reason.NOT_FOUND),
        ("USER_ACCOUNT_ABNORMAL", OutcomeKind.FAILED, Reason.PAYER_REFUSED),
        ("BIZERR_NEED_RETRY", OutcomeKind.UNKNOWN, Reason.BUSY),
        ("FREQUENCY_LIMITED", OutcomeKind.UNKNOWN, Reason.BUSY),
        ("INVALID_REQUEST", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
        ("SIGNERROR", OutcomeKind.UNKNOWN, Reason.OUR_FAULT),
    ],
)
def test_refused_refunds(
    wire: Wire, channel: WeChatPay, code: str, kind: OutcomeKind, reason: Reason
) -> None:
    wire.will(plain(hand.signed(hand.refusal(code))))

    outcome = channel.refund(REFUND)

    assert (outcome.kind, outcome.reason, outcome.number) == (kind, reason, hand.REFUND)


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        ("SUCCESS", OutcomeKind.SUCCEEDED, Reason.OK),
        ("PROCESSING", OutcomeKind.ACCEPTED, Reason.PROCESSING),
        ("REFUNDCLOSE", OutcomeKind.FAILED, Reason.CLOSED),
        ("CHANGE", OutcomeKind.FAILED, Reason.PAYER_REFUSED),
        ("", OutcomeKind.UNKNOWN, Reason.UNLISTED),
    ],
)
def test_our_refund_is_found_among_the_refunds_of_the_order(
    wire: Wire, channel: WeChatPay, status: str, kind: OutcomeKind, reason: Reason
) -> None:
    wire.will(plain(hand.signed(hand.refund_found(status))))

    outcome = channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND)

    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert outcome.number == hand.REFUND
    assert outcome.amount_fen == 1500
    assert outcome.reference == "50000001232026112400000000001"
    assert outcome.occurred_at == datetime(2026, 11, 24, 2, 5, 6, tzinfo=UTC)


def test_a_list_without_our_refund_is_unknown(wire: Wire, channel: WeChatPay) -> None:
    wire.will(plain(hand.signed(hand.refund_found(out_refund_no_1="R" + "7" * 31))))
    assert_unknown(channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND))

    wire.will(plain(hand.signed(hand.refund_found(out_refund_no_0=hand.REFUND))))
    assert_unknown(channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND))


def test_a_refund_that_does_not_exist(wire: Wire, channel: WeChatPay) -> None:
    wire.will(plain(hand.signed(hand.refusal("REFUNDNOTEXIST"))))

    outcome = channel.query_refund(order_no=hand.ORDER, refund_no=hand.REFUND)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.NOT_FOUND)
