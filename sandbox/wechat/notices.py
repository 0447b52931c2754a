"""通知 Notices as the platform writes them, and as a forger would."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping

from sandbox.wechat.accounts import Merchant, compact, new_number, spaced
from sandbox.wechat.signing import MD5, seal, sign, write_xml

RETRY_SECONDS = (
    *(15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600),
    *(10800, 10800, 10800, 21600, 21600),
)
CONTENT_TYPE = "text/xml; charset=utf-8"

DEFECTS = frozenset(
    {
        "wrong_key",
        "no_sign",
        "tampered_after_signing",
        "empty_key",
        "other_merchant",
        "other_app",
        "none",
    }
)


def payment_fields(trade: sqlite3.Row) -> dict[str, str]:
    """Return what a query and a notice both say of a paid order."""
    fields = {
        "openid": trade["openid"],
        "is_subscribe": "N",
        "trade_type": "JSAPI",
        "bank_type": "OTHERS",
        "total_fee": str(trade["amount_fen"]),
        "fee_type": "CNY",
        "cash_fee": str(trade["amount_fen"]),
        "cash_fee_type": "CNY",
        "transaction_id": trade["transaction_id"] or "",
        "out_trade_no": trade["out_trade_no"],
        "attach": trade["attach"],
        "device_info": trade["device_info"],
        "time_end": compact(trade["paid_at"]) if trade["paid_at"] is not None else "",
    }
    return {name: value for name, value in fields.items() if value or name == "attach"}


def _unsigned_payment(trade: sqlite3.Row, merchant: Merchant) -> dict[str, str]:
    fields = {
        "return_code": "SUCCESS",
        "result_code": "SUCCESS",
        "appid": merchant.app_id,
        "mch_id": merchant.merchant_id,
        "nonce_str": secrets.token_hex(16),
        **payment_fields(trade),
    }
    if trade["sign_type"] != MD5:
        fields["sign_type"] = trade["sign_type"]
    return fields


def payment_notice(trade: sqlite3.Row, merchant: Merchant) -> bytes:
    """Return the notice of a payment, signed as the order was."""
    fields = _unsigned_payment(trade, merchant)
    return write_xml({**fields, "sign": sign(fields, merchant.api_key, trade["sign_type"])})


def refund_notice(refund: sqlite3.Row, trade: sqlite3.Row, merchant: Merchant) -> bytes:
    """Return the notice of a refund's end: sealed, not signed."""
    inside = {
        "out_refund_no": refund["out_refund_no"],
        "out_trade_no": trade["out_trade_no"],
        "refund_account": "REFUND_SOURCE_UNSETTLED_FUNDS",
        "refund_fee": str(refund["amount_fen"]),
        "refund_id": refund["refund_id"],
        "refund_recv_accout": "支付用户零钱",  # The protocol itself spells it so.
        "refund_request_source": "API",
        "refund_status": refund["state"],
        "settlement_refund_fee": str(refund["amount_fen"]),
        "settlement_total_fee": str(trade["amount_fen"]),
        "success_time": spaced(refund["finished_at"]) if refund["state"] == "SUCCESS" else "",
        "total_fee": str(trade["amount_fen"]),
        "transaction_id": trade["transaction_id"],
    }
    return write_xml(
        {
            "return_code": "SUCCESS",
            "appid": merchant.app_id,
            "mch_id": merchant.merchant_id,
            "nonce_str": secrets.token_hex(16),
            "req_info": seal(write_xml(inside, root="root"), merchant.api_key),
        }
    )


def forged_payment(
    trade: sqlite3.Row, merchant: Merchant, now: int, *, defect: str, changes: Mapping[str, str]
) -> bytes:
    """Return a payment notice with one defect, for an order paid or not.

    Raises:
        ValueError: no such defect.
    """
    if defect not in DEFECTS:
        raise ValueError(f"没有这种伪造：{defect}")
    fields = _unsigned_payment(trade, merchant)
    fields.setdefault("transaction_id", new_number("42000", now, 28))
    fields.setdefault("time_end", compact(now))
    key, sign_type = merchant.api_key, trade["sign_type"]
    if defect == "tampered_after_signing":
        signature = sign(fields, key, sign_type)
        tampering = changes or {"total_fee": str(trade["amount_fen"] + 1)}
        return write_xml({**fields, **tampering, "sign": signature})
    fields.update(changes)
    if defect == "other_merchant":
        fields["mch_id"] = str(int(merchant.merchant_id) + 1)
    elif defect == "other_app":
        fields["appid"] = "wx" + secrets.token_hex(8)
    elif defect == "wrong_key":
        key = secrets.token_hex(16)
    elif defect == "empty_key":
        key = ""
    elif defect == "no_sign":
        return write_xml(fields)
    return write_xml({**fields, "sign": sign(fields, key, sign_type)})
