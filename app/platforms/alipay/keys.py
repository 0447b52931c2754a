"""The RSA2 keys: ours, which signs, and Alipay's, by which its answers and notices are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.platforms.rsa import is_signed, load_private_key, load_public_key, read_pem

if TYPE_CHECKING:
    from config.settings import AlipaySettings


class AlipayKeys:
    """The keys of one application.

    The SDK would take a weak key, and ours in place of Alipay's; it knows one key of Alipay only,
    no charset but UTF-8, and reads base64 with anything in between. So the verifying is done here.

    Raises:
        ValueError: a file that is missing or holds no fit key, or our own key as Alipay's.
    """

    def __init__(self, settings: AlipaySettings) -> None:
        self.app_private_pem = read_pem(settings.app_private_key_file)
        self.alipay_public_pem = read_pem(settings.alipay_public_key_file)
        ours = load_private_key(settings.app_private_key_file)
        files = [settings.alipay_public_key_file]
        if settings.alipay_next_public_key_file is not None:
            files.append(settings.alipay_next_public_key_file)
        self._alipay_keys = [load_public_key(file) for file in files]
        for key, file in zip(self._alipay_keys, files, strict=True):
            if key.public_numbers() == ours.public_key().public_numbers():
                raise ValueError(f"{file} is our own key; Alipay's is shown in its console")

    def is_genuine(self, content: bytes, signature: str) -> bool:
        """Whether `signature` is Alipay's, by its current or its next key, over `content`."""
        return any(is_signed(content, signature, key) for key in self._alipay_keys)
