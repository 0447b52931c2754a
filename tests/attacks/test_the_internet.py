"""Anybody on the internet, with notices of payments that nobody made, or not so.

A refusal is in the channel's own words, leaves no row, and is logged with its reason. A genuine
notice that does not fit is kept as evidence and told to staff, and credits nobody.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.hashes import MD5, SHA1

from tests.attacks.siege import OPENING_FEN, PAID_FEN, TAKEN, Siege, assert_refused, fields_of
from tests.payments import alipay_hand, wechat_hand
from tests.routes.callers import on_sqlite_only

Fields = dict[str, str]
either_channel = pytest.mark.parametrize("channel", ["wechat", "alipay"])

KEPT = {"channel_callback": (1, 0)}
"""What every genuine notice leaves: the delivery itself, sealed."""
IN_SUSPENSE = {**KEPT, "journal_entry": (1, 0), "journal_line": (2, 0), "settlement_break": (1, 0)}


def applied(
    siege: Siege, channel: str, number: str | None, result: str, *, unlisted: str | None = None
) -> None:
    """Say that a notice was taken as genuine, what it did, and which code nobody has listed."""
    told = {"channel": channel, "number": number, "result": result, "level": "info"}
    code = {"channel": channel, "call": "trade_status", "raw_code": unlisted, "level": "warning"}
    assert siege.witness.events() == [
        *([{"event": "unlisted code", **code}] if unlisted is not None else []),
        {"event": "callback applied", **told},
    ]


# -- Signatures -------------------------------------------------------------------------------


def moved_into_a_value(fields: Fields) -> bytes:
    """The signed text is the same when two fields are sent as one."""
    fields["settlement_total_fee"] = "40000"  # what WeChat has booked for us
    sign = wechat_hand.md5(fields)
    fields["return_msg"] += f"&settlement_total_fee={fields.pop('settlement_total_fee')}"
    assert wechat_hand.md5(fields) == sign
    return wechat_hand.xml({**fields, "sign": sign})


def claimed_hmac(fields: Fields) -> bytes:
    fields["sign_type"] = "HMAC-SHA256"
    return wechat_hand.xml({**fields, "sign": wechat_hand.hmac_sha256(fields)})


WECHAT: dict[str, Callable[[Fields], bytes]] = {
    "no sign": wechat_hand.xml,
    "empty sign": lambda f: wechat_hand.xml({**f, "sign": ""}),
    "another key": lambda f: wechat_hand.signed(f, "0" * 32),
    "empty key": lambda f: wechat_hand.signed(f, ""),
    "HMAC without saying so": lambda f: wechat_hand.xml({**f, "sign": wechat_hand.hmac_sha256(f)}),
    "HMAC as it claims": claimed_hmac,
    "changed afterwards": lambda f: wechat_hand.signed({**f, "total_fee": "1"}).replace(
        b"<total_fee><![CDATA[1]]>", b"<total_fee><![CDATA[50000]]>"
    ),
    "a field added": lambda f: wechat_hand.signed(f).replace(
        b"</xml>", b"<coupon_fee>1</coupon_fee></xml>"
    ),
    "a field moved into a value": moved_into_a_value,
}


@pytest.mark.parametrize("name", WECHAT)
@on_sqlite_only
def test_a_forged_wechat_notice(siege: Siege, name: str) -> None:
    body = WECHAT[name](fields_of("wechat", siege.order()))
    siege.witness.look()
    assert_refused(siege.deliver("wechat", body), siege, "wechat", reason="signature")


def old_md5(fields: Fields) -> bytes:
    """The signature that Alipay's interfaces had before RSA: MD5 with a key, here an empty one."""
    fields["sign_type"] = "MD5"
    told = {name: text for name, text in fields.items() if name != "sign_type"}
    sign = wechat_hand.hashlib.md5(alipay_hand.text_to_sign(told).encode()).hexdigest()
    return alipay_hand.form({**fields, "sign": sign})


ALIPAY: dict[str, Callable[[Fields], bytes]] = {
    "no sign": alipay_hand.form,
    "empty sign": lambda f: alipay_hand.form({**f, "sign": ""}),
    "another key": lambda f: alipay_hand.signed(f, key=alipay_hand.another_key()),
    "SHA-1 as it claims": lambda f: alipay_hand.signed({**f, "sign_type": "RSA"}, hashed=SHA1),
    "SHA-1 without saying so": lambda f: alipay_hand.signed(f, hashed=SHA1),
    "MD5 inside RSA": lambda f: alipay_hand.signed(f, hashed=MD5),
    "MD5 with an empty key": old_md5,
    "changed afterwards": lambda f: alipay_hand.signed({**f, "total_amount": "0.01"}).replace(
        b"total_amount=0.01", b"total_amount=500.00"
    ),
    "a field added": lambda f: alipay_hand.signed(f) + b"&passback_params=1",
}


@pytest.mark.parametrize("name", ALIPAY)
@on_sqlite_only
def test_a_forged_alipay_notice(siege: Siege, name: str) -> None:
    body = ALIPAY[name](fields_of("alipay", siege.order("alipay")))
    siege.witness.look()
    assert_refused(siege.deliver("alipay", body), siege, "alipay", reason="signature")


@on_sqlite_only
def test_what_tells_a_refund_cannot_be_hidden_in_another_field(siege: Siege) -> None:
    """A refund's notice of Alipay is a payment's with two fields more; the signature still fits."""
    told = fields_of("alipay", siege.order("alipay"), gmt_payment="", refund_fee="100.00")
    told["gmt_refund"] = "2026-11-24 10:05:06.123"
    signed = alipay_hand.signed(told).decode()
    sign = dict(alipay_hand.parse_qsl(signed, keep_blank_values=True))["sign"]
    told["gmt_create"] += f"&gmt_payment=&gmt_refund={told.pop('gmt_refund')}"
    told["receipt_amount"] += f"&refund_fee={told.pop('refund_fee')}"
    del told["gmt_payment"]
    siege.witness.look()
    answer = siege.deliver("alipay", alipay_hand.form({**told, "sign": sign}))
    assert_refused(answer, siege, "alipay", reason="malformed")


# -- True, but not for us ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "fields"),
    [
        ("wechat", {"mch_id": "10000101"}),
        ("wechat", {"appid": "wx0000000000000000"}),
        ("wechat", {"sub_mch_id": "10000102"}),
        ("alipay", {"app_id": "2021000000000002"}),
        ("alipay", {"seller_id": "2088000000000002"}),
    ],
)
@on_sqlite_only
def test_a_true_notice_for_somebody_else(siege: Siege, channel: str, fields: Fields) -> None:
    body = siege.notice(channel, siege.order(channel), **fields)
    siege.witness.look()
    assert_refused(siege.deliver(channel, body), siege, channel, reason="merchant")


@pytest.mark.parametrize(
    ("door", "endpoint", "channel"),
    [
        ("alipay", "payment", "wechat"),
        ("alipay", "gateway", "wechat"),
        ("wechat", "payment", "alipay"),
        ("wechat", "refund", "alipay"),
        ("wechat", "refund", "wechat"),
        ("alipay", "gateway", "alipay"),
        ("alipay", "refund", "alipay"),
        ("wechat", "bill", "wechat"),
    ],
)
@on_sqlite_only
def test_a_true_payment_notice_at_the_wrong_door(
    siege: Siege, door: str, endpoint: str, channel: str
) -> None:
    body = siege.notice(channel, siege.order(channel))
    siege.witness.look()
    answer = siege.deliver(door, body, endpoint=endpoint)
    assert_refused(answer, siege, door, endpoint=endpoint, reason="malformed")


@on_sqlite_only
def test_a_true_refund_notice_as_a_payment(siege: Siege) -> None:
    refund_no = siege.sent_back(siege.paid())
    inside = wechat_hand.refund_inside(out_refund_no=refund_no, refund_fee="10000")
    plain = wechat_hand.refund_notice(inside)
    paid = fields_of("wechat", siege.order())
    siege.witness.look()
    for body in (
        wechat_hand.xml(plain),
        wechat_hand.signed(plain),
        wechat_hand.signed({**paid, "req_info": plain["req_info"]}),
        wechat_hand.signed({**paid, "out_refund_no": refund_no}),
    ):
        assert_refused(siege.deliver("wechat", body), siege, "wechat", reason="malformed")
        siege.witness.look()


# -- True, but old, or of another amount or order ---------------------------------------------


@either_channel
def test_a_true_notice_again_and_again(siege: Siege, channel: str) -> None:
    order_no = siege.paid(channel)
    assert siege.balance_fen() == PAID_FEN + OPENING_FEN
    for days in (0, 1, 400):
        siege.clock.advance(days=days)
        siege.witness.look()
        answer = siege.deliver(channel, siege.notice(channel, order_no))
        assert (answer.status_code, answer.text) == (200, TAKEN[channel])
        assert siege.witness.changes() == KEPT
        applied(siege, channel, order_no, "duplicate")


@either_channel
@on_sqlite_only
def test_a_true_notice_after_the_money_went_back(siege: Siege, channel: str) -> None:
    order_no = siege.paid(channel)
    refund_no = siege.sent_back(order_no, PAID_FEN)
    siege.witness.look()
    answer = siege.deliver(channel, siege.notice(channel, order_no))
    assert (answer.status_code, answer.text) == (200, TAKEN[channel])
    assert siege.witness.changes() == KEPT
    applied(siege, channel, order_no, "duplicate")
    assert siege.person().get(f"/api/v1/refunds/{refund_no}").json["state"] == "processing"


@pytest.mark.parametrize("fen", [1, 49_999, 50_001, 10**12])
@either_channel
@on_sqlite_only
def test_a_true_notice_of_another_amount(siege: Siege, channel: str, fen: int) -> None:
    order_no = siege.order(channel)
    yuan = f"{fen // 100}.{fen % 100:02d}"
    amount = {"total_fee": str(fen)} if channel == "wechat" else {"total_amount": yuan}
    if fen == 10**12 and channel == "alipay":
        amount = {"total_amount": "999999999.99"}
    siege.witness.look()
    answer = siege.deliver(channel, siege.notice(channel, order_no, **amount))
    assert (answer.status_code, answer.text) == (200, TAKEN[channel])
    assert siege.witness.changes() == {**KEPT, "settlement_break": (1, 0)}
    applied(siege, channel, order_no, "mismatch")
    assert siege.breaks() == [("amount_mismatch", order_no)]
    assert siege.state_of(order_no) == "awaiting_payment"


@pytest.mark.parametrize("fields", [{"fee_type": "USD"}, {"settlement_total_fee": "40000"}])
@on_sqlite_only
def test_money_that_is_less_than_it_seems(siege: Siege, fields: Fields) -> None:
    """Another currency is no notice of ours; a coupon that nobody pays for is another amount."""
    order_no = siege.order()
    siege.witness.look()
    answer = siege.deliver("wechat", siege.notice("wechat", order_no, **fields))
    if "fee_type" in fields:
        assert_refused(answer, siege, "wechat", reason="malformed")
    else:
        assert siege.witness.changes() == {**KEPT, "settlement_break": (1, 0)}
        applied(siege, "wechat", order_no, "mismatch")


@either_channel
def test_a_true_notice_of_an_order_that_is_not_ours(siege: Siege, channel: str) -> None:
    order_no = siege.paid(channel)
    stranger = order_no[:-1] + "9"
    number = {"wechat": "transaction_id", "alipay": "trade_no"}[channel]
    body = siege.notice(channel, stranger, **{number: "2026112422001400000000000099"})
    siege.witness.look()
    answer = siege.deliver(channel, body)
    assert (answer.status_code, answer.text) == (200, TAKEN[channel])
    assert siege.witness.changes() == IN_SUSPENSE
    applied(siege, channel, stranger, "suspense")
    assert siege.breaks() == [("unknown_order", stranger)]
    assert siege.balance_fen() == PAID_FEN + OPENING_FEN


def test_a_number_in_other_letters_is_another_number(siege: Siege) -> None:
    """MariaDB's usual comparison of text would find `d0…1` where `D0…1` is stored."""
    siege.paid()
    order_no = siege.order()
    body = siege.notice("wechat", order_no.lower(), transaction_id="4200009")
    siege.witness.look()
    assert siege.deliver("wechat", body).status_code == 200
    assert siege.witness.changes() == IN_SUSPENSE
    applied(siege, "wechat", order_no.lower(), "suspense")
    assert siege.state_of(order_no) == "awaiting_payment"


@either_channel
@on_sqlite_only
def test_a_true_notice_of_one_channel_for_an_order_of_the_other(siege: Siege, channel: str) -> None:
    other = {"wechat": "alipay", "alipay": "wechat"}[channel]
    siege.paid(channel)
    order_no = siege.order(other)
    number = {"wechat": "transaction_id", "alipay": "trade_no"}[channel]
    body = siege.notice(channel, order_no, **{number: "2026112422001400000000000099"})
    siege.witness.look()
    answer = siege.deliver(channel, body)
    assert (answer.status_code, answer.text) == (200, TAKEN[channel])
    assert siege.witness.changes() == IN_SUSPENSE
    applied(siege, channel, order_no, "suspense")
    assert siege.state_of(order_no) == "awaiting_payment"
    assert siege.balance_fen() == PAID_FEN + OPENING_FEN


# -- Trades of Alipay that are not paid -------------------------------------------------------


@pytest.mark.parametrize("status", ["TRADE_CLOSED", "WAIT_BUYER_PAY", "TRADE_PENDING", ""])
@on_sqlite_only
def test_a_trade_that_is_not_paid(siege: Siege, status: str) -> None:
    order_no = siege.order("alipay")
    siege.witness.look()
    answer = siege.deliver("alipay", siege.notice("alipay", order_no, trade_status=status))
    assert (answer.status_code, answer.text) == (200, TAKEN["alipay"])
    assert siege.witness.changes() == KEPT
    unlisted = None if status in ("TRADE_CLOSED", "WAIT_BUYER_PAY") else status
    applied(siege, "alipay", None, "ignored", unlisted=unlisted)
    assert siege.state_of(order_no) == "awaiting_payment"


@on_sqlite_only
def test_a_failed_try_in_wechat_is_no_payment(siege: Siege) -> None:
    order_no = siege.order()
    body = siege.notice("wechat", order_no, result_code="FAIL", err_code="BANKERROR")
    siege.witness.look()
    assert siege.deliver("wechat", body).text == TAKEN["wechat"]
    assert siege.witness.changes() == KEPT
    applied(siege, "wechat", order_no, "ignored")


GONE_BACK = {"refund_fee": "100.00", "gmt_refund": "2026-11-24 10:05:06.123"}


@pytest.mark.parametrize("status", ["TRADE_SUCCESS", "TRADE_CLOSED", "TRADE_FINISHED"])
@on_sqlite_only
def test_a_success_told_again_because_a_part_went_back(siege: Siege, status: str) -> None:
    order_no = siege.paid("alipay")
    refund_no = siege.sent_back(order_no)
    told = {**GONE_BACK, "out_biz_no": refund_no, "trade_status": status}
    siege.clock.advance(seconds=5)
    siege.witness.look()
    answer = siege.deliver("alipay", siege.notice("alipay", order_no, **told))
    assert (answer.status_code, answer.text) == (200, TAKEN["alipay"])
    # The refund is asked about at once; no money moves for a notice alone.
    assert siege.witness.changes() == {**KEPT, "refund": (1, 1)}
    applied(siege, "alipay", refund_no, "refund_noted")
    assert siege.balance_fen() == PAID_FEN + OPENING_FEN


@on_sqlite_only
def test_a_refund_that_nobody_here_asked_for(siege: Siege) -> None:
    order_no = siege.paid("alipay")
    told = {**GONE_BACK, "out_biz_no": "R" + "9" * 31}
    siege.witness.look()
    assert siege.deliver("alipay", siege.notice("alipay", order_no, **told)).text == "success"
    assert siege.witness.changes() == {**KEPT, "settlement_break": (1, 0)}
    applied(siege, "alipay", told["out_biz_no"], "mismatch")
    assert siege.breaks() == [("unknown_refund", told["out_biz_no"])]


# -- Refund notices of WeChat -----------------------------------------------------------------


def refund_told(refund_no: str, **fields: str) -> bytes:
    inside = wechat_hand.refund_inside(out_refund_no=refund_no, refund_fee="10000", **fields)
    return wechat_hand.xml(wechat_hand.refund_notice(inside))


@on_sqlite_only
def test_a_refund_told_before_staff_released_it(siege: Siege) -> None:
    refund_no = siege.asked_back(siege.paid())
    siege.witness.look()
    answer = siege.deliver("wechat", refund_told(refund_no), endpoint="refund")
    assert (answer.status_code, answer.text) == (200, TAKEN["wechat"])
    assert siege.witness.changes() == {**KEPT, "settlement_break": (1, 0)}
    applied(siege, "wechat", refund_no, "mismatch")
    assert siege.breaks() == [("late_refund", refund_no)]


@on_sqlite_only
def test_a_refund_of_another_amount(siege: Siege) -> None:
    refund_no = siege.sent_back(siege.paid())
    inside = wechat_hand.refund_inside(out_refund_no=refund_no, refund_fee="1")
    siege.witness.look()
    body = wechat_hand.xml(wechat_hand.refund_notice(inside))
    assert siege.deliver("wechat", body, endpoint="refund").text == TAKEN["wechat"]
    assert siege.witness.changes() == {**KEPT, "settlement_break": (1, 0)}
    applied(siege, "wechat", refund_no, "mismatch")
    assert siege.breaks() == [("amount_mismatch", refund_no)]


def test_a_true_refund_notice_again_and_again(siege: Siege) -> None:
    refund_no = siege.sent_back(siege.paid())
    body = refund_told(refund_no)
    assert siege.deliver("wechat", body, endpoint="refund").text == TAKEN["wechat"]
    assert siege.balance_fen() == PAID_FEN + OPENING_FEN - 10_000
    for days in (0, 400):
        siege.clock.advance(days=days)
        siege.witness.look()
        assert siege.deliver("wechat", body, endpoint="refund").text == TAKEN["wechat"]
        assert siege.witness.changes() == KEPT
        applied(siege, "wechat", refund_no, "duplicate")


@pytest.mark.parametrize("key", ["", "0" * 32, wechat_hand.KEY[::-1]])
@on_sqlite_only
def test_a_refund_notice_sealed_by_somebody_else(siege: Siege, key: str) -> None:
    refund_no = siege.sent_back(siege.paid())
    inside = wechat_hand.refund_inside(out_refund_no=refund_no, refund_fee="10000")
    body = wechat_hand.xml(wechat_hand.refund_notice(inside, key=key))
    siege.witness.look()
    answer = siege.deliver("wechat", body, endpoint="refund")
    [told] = siege.witness.events()
    assert told["reason"] in {"signature", "malformed"}  # as the padding happens to fall
    assert_refused(answer, siege, "wechat", endpoint="refund", reason=told["reason"])
