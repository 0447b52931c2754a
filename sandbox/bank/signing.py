"""银行签名 What messages sign, in headers of their own: the exact bytes."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sandbox.keys import sign

MERCHANT = "X-Bank-Merchant"
TIMESTAMP = "X-Bank-Timestamp"
NONCE = "X-Bank-Nonce"
KEY_ID = "X-Bank-Key-Id"
SIGNATURE = "X-Bank-Signature"


def signed_bytes(first_line: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return what a message signs: one line each, then the body as it is.

    Args:
        first_line: `POST <path>` of a request or a notice, `REPLY <nonce of the request>` of an
            answer, so that an answer to another question cannot take its place.
    """
    lines = [first_line, *(headers.get(name, "") for name in (MERCHANT, TIMESTAMP, NONCE, KEY_ID))]
    return "".join(f"{line}\n" for line in lines).encode() + body


def signing_headers(
    first_line: str, body: bytes, *, merchant_id: str, now: int, key_id: str, key: RSAPrivateKey
) -> dict[str, str]:
    """Return the headers of a message that the bank sends now."""
    headers = {
        MERCHANT: merchant_id,
        TIMESTAMP: str(now),
        NONCE: secrets.token_hex(16),
        KEY_ID: key_id,
    }
    return {**headers, SIGNATURE: sign(signed_bytes(first_line, headers, body), key)}
