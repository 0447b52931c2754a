"""Personal data at rest: authenticated encryption with key ids, and a blind index for look-up.

A sealed value is ``cipher (1 byte) · length of key id (1 byte) · key id · nonce (12) · ciphertext
and tag``. The context («contributor.phone») and the head are authenticated, so that a value moved
to another column, or given another key id, does not open. AES-256-GCM and SM4-GCM stand side by
side: each value says its own cipher, and every vault opens both.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.domain.errors import FundError

CipherName = Literal["aes-256-gcm", "sm4-gcm"]

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
_KEY_ID = re.compile(r"[0-9A-Za-z_-]{1,16}")

_CIPHER_OF_BYTE: Final[Mapping[int, CipherName]] = {1: "aes-256-gcm", 2: "sm4-gcm"}
_BYTE_OF_CIPHER: Final[Mapping[CipherName, int]] = {
    cipher: byte for byte, cipher in _CIPHER_OF_BYTE.items()
}


class VaultError(FundError):
    """A sealed value cannot be opened here, or the vault was given keys that it cannot use."""

    code = "vault_error"
    default_message = "加密数据无法读取"


class UnknownKey(VaultError):
    """The value was sealed with a key that this process does not have."""

    code = "vault_unknown_key"
    default_message = "加密数据所用的密钥未配置"


class TamperedValue(VaultError):
    """The value is not what the vault once gave out, or belongs to another field."""

    code = "vault_tampered"
    default_message = "加密数据校验未通过，可能已被改动"


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands before the ciphertext."""

    cipher: CipherName
    key_id: str

    @property
    def encoded(self) -> bytes:
        key_id = self.key_id.encode("ascii")
        return bytes([_BYTE_OF_CIPHER[self.cipher], len(key_id)]) + key_id


class Vault:
    """Seals and opens personal data; derives blind indices.

    Each master key of 32 bytes gives one key per cipher, so that no key serves two ciphers.

    Args:
        keys: master keys by id; all of them open, `active` alone seals.
        index_key: 32 bytes or more for the blind index; never changes while rows are looked up.
        cipher: what new values are sealed with. To change it in a running installation, add a
            key, make it active and rotate.
        index_hash: what the blind index is made with; follows the cipher. An installation that
            moves to another cipher keeps the hash that its indices were made with.
    """

    def __init__(
        self,
        keys: Mapping[str, bytes],
        *,
        active: str,
        index_key: bytes,
        cipher: CipherName = "aes-256-gcm",
        index_hash: Literal["sha256", "sm3"] | None = None,
    ) -> None:
        for key_id, key in keys.items():
            if not _KEY_ID.fullmatch(key_id):
                raise VaultError("密钥编号须为 1–16 位字母、数字、下划线或连字符")
            if len(key) != KEY_BYTES:
                raise VaultError(f"密钥 {key_id} 须为 {KEY_BYTES} 字节", key_id=key_id)
        if active not in keys:
            raise UnknownKey(f"未配置当前密钥 {active}", key_id=active)
        if len(index_key) < KEY_BYTES:
            raise VaultError(f"索引密钥不得少于 {KEY_BYTES} 字节")
        if cipher not in _BYTE_OF_CIPHER:
            raise VaultError(f"不支持的加密算法 {cipher}")
        self._aes = {key_id: AESGCM(_derive(key, "aes-256-gcm")) for key_id, key in keys.items()}
        self._sm4 = {
            key_id: algorithms.SM4(_derive(key, "sm4-gcm")) for key_id, key in keys.items()
        }
        self._active = _Head(cipher, active)
        self._index_key = index_key
        chosen = index_hash or ("sm3" if cipher == "sm4-gcm" else "sha256")
        self._index_hash: hashes.HashAlgorithm = (
            hashes.SM3() if chosen == "sm3" else hashes.SHA256()
        )

    def __repr__(self) -> str:
        return f"Vault(keys={sorted(self._aes)}, active={self.active_key_id!r})"

    @property
    def active_key_id(self) -> str:
        """The key that seals new values; write it beside them."""
        return self._active.key_id

    def seal(self, value: str | bytes, *, context: str) -> bytes:
        """Encrypt a value for the field that `context` names; the same value never looks alike."""
        plain = value.encode() if isinstance(value, str) else value
        head = self._active
        nonce = os.urandom(NONCE_BYTES)
        bound = _bound(head, context)
        if head.cipher == "aes-256-gcm":
            body = self._aes[head.key_id].encrypt(nonce, plain, bound)
        else:
            encryptor = Cipher(self._sm4[head.key_id], modes.GCM(nonce)).encryptor()
            encryptor.authenticate_additional_data(bound)
            body = encryptor.update(plain) + encryptor.finalize() + encryptor.tag
        return head.encoded + nonce + body

    def open(self, sealed: bytes, *, context: str) -> str:
        """Return the text that was sealed for this context.

        Raises:
            UnknownKey: its key is not configured here.
            TamperedValue: altered, cut short, or sealed for another field.
        """
        try:
            return self.open_bytes(sealed, context=context).decode()
        except UnicodeDecodeError:
            raise TamperedValue(context=context) from None

    def open_bytes(self, sealed: bytes, *, context: str) -> bytes:
        """Return sealed bytes, such as the raw body of a callback; raises as `open` does."""
        head = _read_head(sealed)
        if head.key_id not in self._aes:
            raise UnknownKey(f"加密数据所用的密钥 {head.key_id} 未配置", key_id=head.key_id)
        begin = len(head.encoded)
        nonce, body = sealed[begin : begin + NONCE_BYTES], sealed[begin + NONCE_BYTES :]
        if len(body) < TAG_BYTES:
            raise TamperedValue(context=context)
        bound = _bound(head, context)
        try:
            if head.cipher == "aes-256-gcm":
                return self._aes[head.key_id].decrypt(nonce, body, bound)
            mode = modes.GCM(nonce, tag=body[-TAG_BYTES:])
            decryptor = Cipher(self._sm4[head.key_id], mode).decryptor()
            decryptor.authenticate_additional_data(bound)
            return decryptor.update(body[:-TAG_BYTES]) + decryptor.finalize()
        except InvalidTag:
            raise TamperedValue(context=context) from None

    def reseal(self, sealed: bytes, *, context: str) -> bytes:
        """Open a value and seal it again with the active key and cipher."""
        return self.seal(self.open_bytes(sealed, context=context), context=context)

    def blind_index(self, value: str, *, context: str) -> bytes:
        """Return 32 bytes by which an equal value of the same context is found again."""
        keyed = hmac.HMAC(self._index_key, self._index_hash)
        keyed.update(context.encode() + b"\x00" + value.encode())
        return keyed.finalize()

    @staticmethod
    def key_id_of(sealed: bytes) -> str:
        """Return the id of the key that sealed this value; no key is needed to tell."""
        return _read_head(sealed).key_id

    @staticmethod
    def cipher_of(sealed: bytes) -> CipherName:
        """Return the cipher that sealed this value."""
        return _read_head(sealed).cipher


def read_data_keys(text: str) -> Mapping[str, bytes]:
    """Read ``id:base64 of 32 bytes`` separated by commas, in order: the first one is to seal.

    Raises:
        VaultError: not of that form, or an id stands twice. Never shows the keys.
    """
    keys: dict[str, bytes] = {}
    for position, part in enumerate(text.split(","), start=1):
        key_id, separator, encoded = part.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if not separator or not _KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES:
            raise VaultError(f"第 {position} 个密钥须写作「编号:32 字节的 Base64」")
        if key_id in keys:
            raise VaultError(f"密钥编号 {key_id} 重复")
        keys[key_id] = key
    return MappingProxyType(keys)


def write_data_key(key_id: str, key: bytes) -> str:
    """Write one key the way `read_data_keys` reads it."""
    line = f"{key_id}:{base64.b64encode(key).decode()}"
    read_data_keys(line)
    return line


def _derive(key: bytes, cipher: CipherName) -> bytes:
    sm = cipher == "sm4-gcm"
    derivation = HKDF(
        algorithm=hashes.SM3() if sm else hashes.SHA256(),
        length=16 if sm else 32,
        salt=None,
        info=b"lianjiao field " + cipher.encode(),
    )
    return derivation.derive(key)


def _bound(head: _Head, context: str) -> bytes:
    return head.encoded + context.encode()


def _read_head(sealed: bytes) -> _Head:
    cipher = _CIPHER_OF_BYTE.get(sealed[0]) if len(sealed) > 1 else None
    key_id = sealed[2 : 2 + sealed[1]].decode("ascii", "replace") if cipher else ""
    if cipher is None or not _KEY_ID.fullmatch(key_id) or len(key_id) != sealed[1]:
        raise TamperedValue
    return _Head(cipher, key_id)
