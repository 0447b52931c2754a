"""伪造通知 A notice with one defect: of whatever debit, payout or agreement has the number."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping

from sandbox.bank import notices
from sandbox.bank.accounts import Merchant
from sandbox.bank.signing import SIGNATURE, signing_headers
from sandbox.control import Refused
from sandbox.deliveries import Parcel

_STALE_SECONDS = 600


def forge(
    books: sqlite3.Connection,
    merchant: Merchant,
    now: int,
    number: str,
    defect: str,
    changes: Mapping[str, str],
) -> Parcel:
    """Return a notice that says success, or that the agreement has ended, with one defect.

    Raises:
        ValueError: no such defect.
        Refused: nothing has this number.
    """
    if defect not in notices.DEFECTS:
        raise ValueError(f"没有这种伪造：{defect}")
    event, url, fields = _true_notice(books, number)
    event_id = f"N{secrets.token_hex(6)}"
    body = notices.write_notice(event, event_id, merchant, now, fields)
    changed = notices.tampered(fields, changes)
    if defect == "tampered_after_signing" and not changes:
        changed = {**fields, "amount_fen": 1}
    if defect == "other_merchant":
        changed["merchant_id"] = str(int(merchant.merchant_id) + 1)
    sent = notices.write_notice(event, event_id, merchant, now, changed)
    headers = signing_headers(
        notices.first_line(url),
        body if defect == "tampered_after_signing" else sent,
        merchant_id=merchant.merchant_id,
        now=now - _STALE_SECONDS if defect == "stale" else now,
        key_id=merchant.bank_key_id,
        key=notices.forgers_key() if defect == "wrong_key" else merchant.bank_key,
    )
    if defect == "no_sign":
        del headers[SIGNATURE]
    elif defect == "empty_key":
        headers[SIGNATURE] = ""
    return Parcel(url, sent, notices.CONTENT_TYPE, headers)


def _true_notice(books: sqlite3.Connection, number: str) -> tuple[str, str, notices.Fields]:
    """Return event, address and fields of the notice that a forger starts from."""
    debit = books.execute("SELECT * FROM debit WHERE order_no = ?", (number,)).fetchone()
    if debit is not None and debit["notify_url"]:
        fields = notices.debit_fields(debit)
        success = {"state": "SUCCEEDED", "orig_code": "00", "actual_fen": debit["amount_fen"]}
        return "debit.result", debit["notify_url"], {**fields, **success}
    payout = books.execute("SELECT * FROM payout WHERE payout_no = ?", (number,)).fetchone()
    if payout is not None:
        fields = notices.payout_fields(payout)
        success = {"state": "SUCCEEDED", "orig_code": "00"}
        return "payout.result", payout["notify_url"], {**fields, **success}
    mandate = books.execute("SELECT * FROM mandate WHERE agreement_no = ?", (number,)).fetchone()
    if mandate is not None:
        fields = {
            "agreement_no": number,
            "channel_agreement_no": mandate["channel_agreement_no"],
            "state": "CANCELLED",
            "by": "bank",
        }
        return "mandate.changed", mandate["notify_url"], fields
    raise Refused(f"没有这个号：{number}")
