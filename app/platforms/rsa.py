"""RSA keys in PEM files, and PKCS#1 v1.5 signatures over SHA-256 in base64."""

from __future__ import annotations

import base64
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)

_LEAST_BITS = 2048


def read_pem(file: Path) -> str:
    """Return the text of a PEM file.

    Raises:
        ValueError: no such file, or no text of this kind.
    """
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"no PEM key file at {file}") from error


def load_private_key(file: Path) -> RSAPrivateKey:
    """Return the RSA key of a PEM file.

    Raises:
        ValueError: none is there, or one of fewer than 2048 bits.
    """
    pem = read_pem(file)
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's own words may quote the file.
        raise ValueError(f"{file} holds no private key in plain PEM") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError(f"{file} holds no RSA key")
    _check_strength(key.key_size, file)
    return key


def load_public_key(file: Path) -> RSAPublicKey:
    """Return the RSA public key of a PEM file.

    Raises:
        ValueError: none is there, or one of fewer than 2048 bits.
    """
    pem = read_pem(file)
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{file} holds no public key in PEM") from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError(f"{file} holds no RSA key")
    _check_strength(key.key_size, file)
    return key


def sign_digest(digest: bytes, key: RSAPrivateKey) -> str:
    """Return the signature, in base64, of whatever has this SHA-256 digest."""
    return base64.b64encode(key.sign(digest, PKCS1v15(), Prehashed(SHA256()))).decode()


def is_signed(content: bytes, signature: str, key: RSAPublicKey) -> bool:
    """Whether `signature`, strict base64, is the key owner's over `content`."""
    return _is_signed(content, signature, key, SHA256())


def is_signed_digest(digest: bytes, signature: str, key: RSAPublicKey) -> bool:
    """Whether `signature` is the key owner's over whatever has this SHA-256 digest."""
    return _is_signed(digest, signature, key, Prehashed(SHA256()))


def _is_signed(data: bytes, signature: str, key: RSAPublicKey, hashed: SHA256 | Prehashed) -> bool:
    try:
        key.verify(base64.b64decode(signature, validate=True), data, PKCS1v15(), hashed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _check_strength(bits: int, file: Path) -> None:
    if bits < _LEAST_BITS:
        raise ValueError(f"{file} holds a key of {bits} bits, fewer than {_LEAST_BITS}")
