"""银行签名 RSA-SHA256 over the exact bytes, in headers for messages and beside files."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)

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


def sign(content: bytes, key: RSAPrivateKey) -> str:
    """Return the signature in base64."""
    return base64.b64encode(key.sign(content, PKCS1v15(), SHA256())).decode()


def is_signed(content: bytes, signature: str, key: RSAPublicKey) -> bool:
    """Whether `signature` is strict base64 of the key owner's signature of `content`."""
    try:
        key.verify(base64.b64decode(signature, validate=True), content, PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def read_private_key(path: Path) -> RSAPrivateKey:
    """Return the RSA key of a PEM file; raises ValueError if it holds none."""
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError(f"不是 RSA 私钥：{path}")
    return key


def read_public_key(path: Path) -> RSAPublicKey:
    """Return the RSA key of a PEM file; raises ValueError if it holds none."""
    key = load_pem_public_key(path.read_bytes())
    if not isinstance(key, RSAPublicKey):
        raise ValueError(f"不是 RSA 公钥：{path}")
    return key
