"""密钥 RSA keys read from PEM files, and SHA256withRSA, with which all three gateways sign."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)


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
