"""通知 Back notices of results, agreements and the account, and what a forger makes of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from functools import cache
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.bank.accounts import Merchant, spaced

RETRY_SECONDS = (60, 300, 900, 3600, 7200, 21600, 43200)
CONTENT_TYPE = "application/json; charset=utf-8"

DEFECTS = frozenset(
    {
        "wrong_key",
        "no_sign",
        "tampered_after_signing",
        "empty_key",
        "other_merchant",
        "stale",
        "none",
    }
)

Fields = dict[str, object]

Announce = Callable[[sqlite3.Connection, str, str, str, Fields], None]
"""Queue a notice: books, event, the merchant's number, address, fields."""


def write_notice(event: str, event_id: str, merchant: Merchant, now: int, fields: Fields) -> bytes:
    """Return the body of a notice."""
    content = {
        "event": event,
        "event_id": event_id,
        "merchant_id": merchant.merchant_id,
        "sent_at": spaced(now),
        **fields,
    }
    return json.dumps(content, ensure_ascii=False).encode()


def debit_fields(debit: sqlite3.Row) -> Fields:
    """Return a debit as queries and notices tell of it."""
    taken = debit["state"] == "SUCCEEDED"
    return {
        "order_no": debit["order_no"],
        "channel_agreement_no": debit["channel_agreement_no"],
        "amount_fen": debit["amount_fen"],
        "actual_fen": debit["amount_fen"] if taken else 0,
        "state": debit["state"],
        "orig_code": debit["code"],
        "orig_message": debit["message"],
        "bank_ref": debit["bank_ref"],
        "settle_date": debit["settle_date"],
        "decided_at": debit["decided_at"] and spaced(debit["decided_at"]),
    }


def payout_fields(payout: sqlite3.Row) -> Fields:
    """Return a payout as queries and notices tell of it."""
    return {
        "payout_no": payout["payout_no"],
        "amount_fen": payout["amount_fen"],
        "card_tail": payout["card_no"][-4:],
        "state": payout["state"],
        "orig_code": payout["code"],
        "orig_message": payout["message"],
        "bank_ref": payout["bank_ref"],
        "settle_date": payout["settle_date"],
        "decided_at": payout["decided_at"] and spaced(payout["decided_at"]),
        "returned_at": payout["returned_at"] and spaced(payout["returned_at"]),
        "return_ref": payout["return_ref"],
        "return_reason": payout["return_reason"],
    }


def entry_fields(entry: sqlite3.Row, merchant: Merchant) -> Fields:
    """Return a movement of the special account as its notice tells of it."""
    return {
        "account_no": merchant.account_no,
        "serial": entry["serial"],
        "kind": entry["kind"],
        "reference": entry["reference"],
        "amount_fen": entry["amount_fen"],
        "balance_fen": entry["balance_fen"],
        "party_card": entry["party_card"],
        "party_name": entry["party_name"],
        "is_reversal": bool(entry["is_reversal"]),
        "summary": entry["summary"],
        "booked_at": spaced(entry["at"]),
    }


def tampered(fields: Mapping[str, object], changes: Mapping[str, str]) -> Fields:
    """Return fields with others put in; a number stays a number."""
    changed = dict(fields)
    for name, value in changes.items():
        is_number = isinstance(fields.get(name), int) and value.lstrip("-").isdigit()
        changed[name] = int(value) if is_number else value
    return changed


@cache
def forgers_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def first_line(url: str) -> str:
    """Return the first of the lines that a notice to this address signs."""
    return f"POST {urlsplit(url).path or '/'}"
