"""The RSA keys of the bank's contract: ours, which signs, and the bank's, by their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.hashes import SHA256, Hash

from app.platforms.rsa import (
    is_signed,
    is_signed_digest,
    load_private_key,
    load_public_key,
    sign_digest,
)

if TYPE_CHECKING:
    from config.settings import BankSettings


class BankKeys:
    """The keys of one merchant of one bank.

    Raises:
        ValueError: a file that is missing or holds no fit key, our own key as the bank's, or a next
            key without its number.
    """

    def __init__(self, settings: BankSettings) -> None:
        self.our_key_id = settings.merchant_key_id
        self._ours = load_private_key(settings.merchant_private_key_file)
        pinned = {settings.bank_key_id: settings.bank_public_key_file}
        next_id, next_file = settings.bank_next_key_id, settings.bank_next_public_key_file
        if bool(next_id) != (next_file is not None) or next_id in pinned:
            raise ValueError("the bank's next key needs a file and a number of its own")
        if next_file is not None:
            pinned[next_id] = next_file
        self._banks = {key_id: load_public_key(file) for key_id, file in pinned.items()}
        for key_id, key in self._banks.items():
            if key.public_numbers() == self._ours.public_key().public_numbers():
                raise ValueError(f"{pinned[key_id]} is our own key; the bank hands its own over")

    def sign(self, content: bytes) -> str:
        """Return our signature in base64."""
        hashed = Hash(SHA256())
        hashed.update(content)
        return sign_digest(hashed.finalize(), self._ours)

    def sign_digest(self, digest: bytes) -> str:
        """Return our signature of whatever has this SHA-256 digest."""
        return sign_digest(digest, self._ours)

    def is_ours(self, digest: bytes, signature: str) -> bool:
        """Whether `signature` is our own of whatever has this SHA-256 digest."""
        return is_signed_digest(digest, signature, self._ours.public_key())

    def is_genuine(self, content: bytes, signature: str, *, key_id: str) -> bool:
        """Whether `signature` is the bank's over `content`, by the pinned key of this number."""
        key = self._banks.get(key_id)
        return key is not None and is_signed(content, signature, key)

    def is_genuine_digest(self, digest: bytes, signature: str) -> bool:
        """Whether `signature` is the bank's, by any pinned key: files name none."""
        return any(is_signed_digest(digest, signature, key) for key in self._banks.values())
