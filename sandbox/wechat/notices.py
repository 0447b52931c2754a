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


def payment_fields(trade: sqlite3.Row, debit: sqlite3.Row | None = None) -> dict[str, str]:
    """Return what a query and a notice both say of a paid order, or of a debit that failed."""
    fields = {
        "openid": trade["openid"],
        "is_subscribe": "N",
        "trade_type": "JSAPI" if debit is None else "PAP",
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
        "contract_id": "" if debit is None else debit["contract_id"],
    }
    return {name: value for name, value in fields.items() if value or name == "attach"}


def _unsigned_payment(
    trade: sqlite3.Row, debit: sqlite3.Row | None, merchant: Merchant
) -> dict[str, str]:
    is_failure = debit is not None and debit["code"]
    fields = {
        "return_code": "SUCCESS",
        "result_code": "FAIL" if is_failure else "SUCCESS",
        "appid": merchant.app_id,
        "mch_id": merchant.merchant_id,
        "nonce_str": secrets.token_hex(16),
        **payment_fields(trade, debit),
    }
    if debit is not None:
        fields["trade_state"] = "PAY_FAIL" if is_failure else "SUCCESS"
    if debit is not None and is_failure:
        fields |= {"err_code": debit["code"], "err_code_des": debit["message"]}
    if trade["sign_type"] != MD5:
        fields["sign_type"] = trade["sign_type"]
    return fields


def payment_notice(trade: sqlite3.Row, debit: sqlite3.Row | None, merchant: Merchant) -> bytes:
    """Return the notice of a payment or of a debit's result, signed as the order was."""
    fields = _unsigned_payment(trade, debit, merchant)
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


def _unsigned_contract(
    contract: sqlite3.Row, change_type: str, merchant: Merchant, now: int
) -> dict[str, str]:
    """Return what the notice says; neither appid nor nonce are among it."""
    signed_at, ended_at = contract["signed_at"] or now, contract["ended_at"] or now
    fields = {
        "return_code": "SUCCESS",
        "result_code": "SUCCESS",
        "mch_id": merchant.merchant_id,
        "contract_code": contract["contract_code"],
        "plan_id": contract["plan_id"],
        "openid": contract["openid"],
        "change_type": change_type,
        "contract_id": contract["contract_id"] or "",
        "request_serial": contract["request_serial"],
    }
    if change_type == "ADD":
        fields["operate_time"] = spaced(signed_at)
        fields["contract_expired_time"] = spaced(contract["expires_at"] or now)
    else:
        fields["operate_time"] = spaced(ended_at)
        fields["contract_termination_mode"] = str(contract["mode"])
    return fields


def contract_notice(contract: sqlite3.Row, change_type: str, merchant: Merchant, now: int) -> bytes:
    """Return the notice of a contract signed (ADD) or ended (DELETE), signed as it was."""
    fields = _unsigned_contract(contract, change_type, merchant, now)
    signature = sign(fields, merchant.api_key, contract["sign_type"])
    return write_xml({**fields, "sign": signature})


def forged_payment(
    trade: sqlite3.Row,
    debit: sqlite3.Row | None,
    merchant: Merchant,
    now: int,
    *,
    defect: str,
    changes: Mapping[str, str],
) -> bytes:
    """Return a payment notice with one defect, for an order paid or not.

    Raises:
        ValueError: no such defect.
    """
    fields = _unsigned_payment(trade, debit, merchant)
    fields.setdefault("transaction_id", new_number("42000", now, 28))
    fields.setdefault("time_end", compact(now))
    tampering = changes or {"total_fee": str(trade["amount_fen"] + 1)}
    return _forged(fields, merchant, trade["sign_type"], defect, changes, tampering)


def forged_contract(
    contract: sqlite3.Row, merchant: Merchant, now: int, *, defect: str, changes: Mapping[str, str]
) -> bytes:
    """Return a contract notice with one defect: ADD, unless `changes` says otherwise.

    Raises:
        ValueError: no such defect, or one of a field that the notice does not have.
    """
    if defect == "other_app":
        raise ValueError("签约通知没有 appid")
    change_type = changes.get("change_type", "ADD")
    fields = _unsigned_contract(contract, change_type, merchant, now)
    fields["contract_id"] = fields["contract_id"] or new_number("", now, 18)
    tampering = changes or {"contract_id": new_number("", now, 18)}
    return _forged(fields, merchant, contract["sign_type"], defect, changes, tampering)


def _forged(
    fields: dict[str, str],
    merchant: Merchant,
    sign_type: str,
    defect: str,
    changes: Mapping[str, str],
    tampering: Mapping[str, str],
) -> bytes:
    if defect not in DEFECTS:
        raise ValueError(f"没有这种伪造：{defect}")
    key = merchant.api_key
    if defect == "tampered_after_signing":
        return write_xml({**fields, **tampering, "sign": sign(fields, key, sign_type)})
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
