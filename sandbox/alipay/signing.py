"""支付宝签名 Texts to sign and RSA2 signatures, written from the protocol alone."""

from __future__ import annotations

import base64
import binascii
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


def request_text(fields: Mapping[str, str]) -> str:
    """Return what a request signs: raw values, without `sign` and without empty ones."""
    return _join({name: value for name, value in fields.items() if value and name != "sign"})


def notice_text(fields: Mapping[str, str], *, keeps_sign_type: bool = False) -> str:
    """Return what a notice signs: all fields that are sent, empty ones too, without `sign`.

    Notices of trades and agreements leave out `sign_type` as well; messages to the application's
    gateway address keep it.
    """
    left_out = {"sign"} if keeps_sign_type else {"sign", "sign_type"}
    return _join({name: value for name, value in fields.items() if name not in left_out})


def _join(fields: Mapping[str, str]) -> str:
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields))


def sign(content: bytes, key: RSAPrivateKey) -> str:
    """Return the SHA256withRSA signature in base64."""
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
