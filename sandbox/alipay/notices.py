"""通知 Notices of trades and agreements as the platform writes them, and as a forger would.

A refund's notice has the same type and, for a part, the same state as a payment's; only
`refund_fee`, `gmt_refund` and `out_biz_no` tell them apart.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from functools import cache
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.alipay.accounts import Merchant, new_notify_id, refunded_fen, spaced, yuan
from sandbox.alipay.door import CODECS
from sandbox.alipay.signing import notice_text
from sandbox.keys import sign

RETRY_SECONDS = (240, 600, 600, 3600, 7200, 21600, 54000)

SIGNED, ENDED = "dut_user_sign", "dut_user_unsign"

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


def content_type(trade: sqlite3.Row) -> str:
    return f"application/x-www-form-urlencoded; charset={trade['charset']}"


def _unsigned(
    books: sqlite3.Connection,
    trade: sqlite3.Row,
    merchant: Merchant,
    now: int,
    status: str,
) -> dict[str, str]:
    payer = books.execute("SELECT * FROM payer WHERE open_id = ?", (trade["open_id"],)).fetchone()
    amount = yuan(trade["amount_fen"])
    fields = {
        "notify_time": spaced(now),
        "notify_type": "trade_status_sync",
        "notify_id": new_notify_id(books, now),
        "app_id": merchant.app_id,
        "auth_app_id": merchant.app_id,
        "charset": trade["charset"],
        "version": "1.0",
        "sign_type": "RSA2",
        "trade_no": trade["trade_no"],
        "out_trade_no": trade["out_trade_no"],
        "buyer_open_id": trade["open_id"],
        "buyer_logon_id": payer["logon_id"],
        "seller_id": merchant.seller_id,
        "seller_email": "fund***@sandbox.example",
        "trade_status": status,
        "total_amount": amount,
        "subject": trade["subject"],
        "body": trade["body"],
        "gmt_create": spaced(trade["created_at"]),
    }
    if status == "TRADE_SUCCESS" or trade["paid_at"] is not None:
        fund = {"amount": amount, "fundChannel": "ALIPAYACCOUNT"}
        fields |= {
            "receipt_amount": amount,
            "invoice_amount": amount,
            "buyer_pay_amount": amount,
            "point_amount": "0.00",
            "gmt_payment": spaced(now if trade["paid_at"] is None else trade["paid_at"]),
            "fund_bill_list": json.dumps([fund], separators=(",", ":")),
        }
    if trade["closed_at"] is not None:
        fields["gmt_close"] = spaced(trade["closed_at"])
    if trade["passback_params"]:
        fields["passback_params"] = trade["passback_params"]
    return fields


def trade_notice(
    books: sqlite3.Connection,
    trade: sqlite3.Row,
    refund: sqlite3.Row | None,
    merchant: Merchant,
    now: int,
) -> bytes:
    """Return the notice of a trade paid, closed, or refunded by `refund`."""
    fields = _unsigned(books, trade, merchant, now, trade["state"])
    if refund is not None:
        fields |= {
            "out_biz_no": refund["out_request_no"],
            "refund_fee": yuan(refunded_fen(books, trade["trade_no"])),
            "gmt_refund": f"{spaced(refund['finished_at'])}.000",
        }
    return _form({**fields, "sign": _sign(fields, merchant.gateway_key)})


def agreement_notice(
    books: sqlite3.Connection, agreement: sqlite3.Row, merchant: Merchant, now: int
) -> bytes:
    """Return the notice of an agreement signed or ended."""
    fields = _of_agreement(
        books, agreement, merchant, now, is_signed=agreement["state"] == "NORMAL"
    )
    return _form({**fields, "sign": _sign(fields, merchant.gateway_key)})


def _of_agreement(
    books: sqlite3.Connection,
    agreement: sqlite3.Row,
    merchant: Merchant,
    now: int,
    *,
    is_signed: bool,
) -> dict[str, str]:
    fields = {
        "notify_time": spaced(now),
        "notify_type": SIGNED if is_signed else ENDED,
        "notify_id": new_notify_id(books, now),
        "app_id": merchant.app_id,
        "auth_app_id": merchant.app_id,
        "charset": agreement["charset"],
        "version": "1.0",
        "sign_type": "RSA2",
        "agreement_no": agreement["agreement_no"],
        "external_agreement_no": agreement["external_agreement_no"],
        "alipay_open_id": agreement["open_id"],
        "personal_product_code": agreement["product"],
        "sign_scene": agreement["sign_scene"],
        "status": "NORMAL" if is_signed else "UNSIGN",
    }
    if is_signed:
        fields["sign_time"] = fields["valid_time"] = spaced(agreement["signed_at"])
        fields["invalid_time"] = spaced(agreement["expires_at"])
    else:
        fields["unsign_time"] = spaced(
            now if agreement["ended_at"] is None else agreement["ended_at"]
        )
    return fields


def forged_payment(
    books: sqlite3.Connection,
    trade: sqlite3.Row,
    merchant: Merchant,
    now: int,
    *,
    defect: str,
    changes: Mapping[str, str],
) -> bytes:
    """Return a payment notice with one defect, for a trade paid or not.

    Raises:
        ValueError: no such defect.
    """
    fields = _unsigned(books, trade, merchant, now, "TRADE_SUCCESS")
    dearer = {"total_amount": yuan(trade["amount_fen"] + 1)}
    return _forged(fields, merchant, defect=defect, changes=changes, tampering=dearer)


def forged_agreement(
    books: sqlite3.Connection,
    agreement: sqlite3.Row,
    merchant: Merchant,
    now: int,
    *,
    defect: str,
    changes: Mapping[str, str],
) -> bytes:
    """Return a notice with one defect: of an end, or of a signing if `changes` say so.

    Raises:
        ValueError: no such defect; a notice of an agreement does not name the seller.
    """
    if defect == "other_merchant":
        raise ValueError("签约通知中没有 seller_id")
    is_signed = changes.get("notify_type") == SIGNED
    fields = _of_agreement(books, agreement, merchant, now, is_signed=is_signed)
    other = {"external_agreement_no": agreement["external_agreement_no"][::-1]}
    return _forged(fields, merchant, defect=defect, changes=changes, tampering=other)


def _forged(
    fields: dict[str, str],
    merchant: Merchant,
    *,
    defect: str,
    changes: Mapping[str, str],
    tampering: Mapping[str, str],
) -> bytes:
    if defect not in DEFECTS:
        raise ValueError(f"没有这种伪造：{defect}")
    if defect == "tampered_after_signing":
        signature = _sign(fields, merchant.gateway_key)
        return _form({**fields, **(changes or tampering), "sign": signature})
    fields.update(changes)
    if defect == "other_merchant":
        fields["seller_id"] = str(int(merchant.seller_id) + 1)
    elif defect == "other_app":
        fields["app_id"] = fields["auth_app_id"] = str(int(merchant.app_id) + 1)
    elif defect == "no_sign":
        return _form(fields)
    elif defect == "empty_key":
        return _form({**fields, "sign": ""})
    key = _forgers_key() if defect == "wrong_key" else merchant.gateway_key
    return _form({**fields, "sign": _sign(fields, key)})


def _sign(fields: Mapping[str, str], key: rsa.RSAPrivateKey) -> str:
    return sign(notice_text(fields).encode(CODECS[fields["charset"].lower()]), key)


def _form(fields: Mapping[str, str]) -> bytes:
    return urlencode(fields, encoding=CODECS[fields["charset"].lower()]).encode()


@cache
def _forgers_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
