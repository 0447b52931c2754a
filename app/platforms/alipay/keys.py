"""The RSA2 keys: ours, which signs, and Alipay's, by which its answers and notices are known."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)

if TYPE_CHECKING:
    from config.settings import AlipaySettings

_LEAST_BITS = 2048


class AlipayKeys:
    """The keys of one application.

    The SDK would take a weak key, and ours in place of Alipay's; it knows one key of Alipay only,
    no charset but UTF-8, and reads base64 with anything in between. So the verifying is done here.

    Raises:
        ValueError: a file that is missing or holds no fit key, or our own key as Alipay's.
    """

    def __init__(self, settings: AlipaySettings) -> None:
        self.app_private_pem = _read_pem(settings.app_private_key_file)
        self.alipay_public_pem = _read_pem(settings.alipay_public_key_file)
        ours = _load_private_key(self.app_private_pem, settings.app_private_key_file)
        files = [settings.alipay_public_key_file]
        if settings.alipay_next_public_key_file is not None:
            files.append(settings.alipay_next_public_key_file)
        self._alipay_keys = [_load_public_key(_read_pem(file), file) for file in files]
        for key, file in zip(self._alipay_keys, files, strict=True):
            if key.public_numbers() == ours.public_key().public_numbers():
                raise ValueError(f"{file} is our own key; Alipay's is shown in its console")

    def is_genuine(self, content: bytes, signature: str) -> bool:
        """Whether `signature` is Alipay's, by its current or its next key, over `content`."""
        try:
            raw = base64.b64decode(signature, validate=True)
        except ValueError:
            return False
        return any(_is_signed(content, raw, key) for key in self._alipay_keys)


def _is_signed(content: bytes, signature: bytes, key: RSAPublicKey) -> bool:
    try:
        key.verify(signature, content, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _read_pem(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"no PEM key file at {file}") from error


def _load_private_key(pem: str, file: Path) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's own words may quote the file.
        raise ValueError(f"{file} holds no private key in plain PEM") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError(f"{file} holds no RSA key")
    _check_strength(key.key_size, file)
    return key


def _load_public_key(pem: str, file: Path) -> RSAPublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{file} holds no public key in PEM") from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError(f"{file} holds no RSA key")
    _check_strength(key.key_size, file)
    return key


def _check_strength(bits: int, file: Path) -> None:
    if bits < _LEAST_BITS:
        raise ValueError(f"{file} holds a key of {bits} bits, fewer than {_LEAST_BITS}")
