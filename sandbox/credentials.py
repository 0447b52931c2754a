"""商户凭证 Issues what a merchant platform shows its merchant. Random, kept in DIR, mode 600."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

CREDENTIALS_FILE = "credentials.json"
WECHAT_MERCHANT_PRIVATE_KEY = "wechat-merchant-private.pem"
WECHAT_MERCHANT_PUBLIC_KEY = "wechat-merchant-public.pem"
WECHAT_PLATFORM_PRIVATE_KEY = "wechat-platform-private.pem"
WECHAT_PLATFORM_PUBLIC_KEY = "wechat-platform-public.pem"
ALIPAY_APP_PRIVATE_KEY = "alipay-app-private.pem"
ALIPAY_APP_PUBLIC_KEY = "alipay-app-public.pem"
ALIPAY_GATEWAY_PRIVATE_KEY = "alipay-gateway-private.pem"
ALIPAY_GATEWAY_PUBLIC_KEY = "alipay-gateway-public.pem"
BANK_MERCHANT_PRIVATE_KEY = "bank-merchant-private.pem"
BANK_MERCHANT_PUBLIC_KEY = "bank-merchant-public.pem"
BANK_PRIVATE_KEY = "bank-gateway-private.pem"
BANK_PUBLIC_KEY = "bank-gateway-public.pem"
BANK_SFTP_CLIENT_KEY = "bank-sftp-client"
BANK_SFTP_HOST_KEY = "bank-sftp-host"
"""The keys of SSH: the private one under this name, the public one with `.pub` after it."""

ALIPAY_WITHHOLDING_LIMIT_FEN = 500_000
"""The most for one debit that the contract for 商家扣款 allows."""

_ALIPAY_CONTRACT = {
    "LIANJIAO_ALIPAY_DEBIT_PRODUCT": "merchant_deduct",
    "LIANJIAO_ALIPAY_SIGN_SCENE": "INDUSTRY|SOCIAL_SECURITY",
    "LIANJIAO_ALIPAY_MANDATE_CAP_FEN_MAX": str(ALIPAY_WITHHOLDING_LIMIT_FEN),
}
_WECHAT_PAIRS = (
    (WECHAT_MERCHANT_PRIVATE_KEY, WECHAT_MERCHANT_PUBLIC_KEY),
    (WECHAT_PLATFORM_PRIVATE_KEY, WECHAT_PLATFORM_PUBLIC_KEY),
)
_ALIPAY_PAIRS = (
    (ALIPAY_APP_PRIVATE_KEY, ALIPAY_APP_PUBLIC_KEY),
    (ALIPAY_GATEWAY_PRIVATE_KEY, ALIPAY_GATEWAY_PUBLIC_KEY),
)
_BANK_PAIRS = (
    (BANK_MERCHANT_PRIVATE_KEY, BANK_MERCHANT_PUBLIC_KEY),
    (BANK_PRIVATE_KEY, BANK_PUBLIC_KEY),
)


@dataclass(frozen=True)
class Credentials:
    """The environment variables of the product, by channel."""

    wechat: Mapping[str, str]
    wechat_v3: Mapping[str, str]
    """What API v3 needs besides: for a product whose plan wants debits to be announced."""
    alipay: Mapping[str, str]
    bank: Mapping[str, str]


def issue_credentials(data_dir: Path) -> Credentials:
    """Return the credentials kept in `data_dir`, made if there are none yet.

    All gateways may start at once: whoever comes second finds what the first has made. A channel,
    a number of WeChat's or a term of Alipay's contract that the file does not know yet is added.
    """
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / ".credentials.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = data_dir / CREDENTIALS_FILE
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        issued = dict(kept)
        issued["wechat"] = {**_issue_wechat(), **issued.get("wechat", {})}
        if "wechat_v3" not in issued:
            _issue_pairs(data_dir, _WECHAT_PAIRS)
            issued["wechat_v3"] = _issue_wechat_v3(data_dir)
        if "alipay" not in issued:
            _issue_pairs(data_dir, _ALIPAY_PAIRS)
            issued["alipay"] = _issue_alipay(data_dir)
        issued["alipay"] = {**_ALIPAY_CONTRACT, **issued["alipay"]}
        if "bank" not in issued:
            _issue_pairs(data_dir, _BANK_PAIRS)
            _issue_ssh_keys(data_dir)
            issued["bank"] = _issue_bank(data_dir)
        if issued != kept:
            _write(path, json.dumps(issued, indent=2).encode() + b"\n")
    return read_credentials(data_dir)


def read_credentials(data_dir: Path) -> Credentials:
    """Return what was issued.

    Raises:
        FileNotFoundError: nothing was.
    """
    kept = json.loads((data_dir / CREDENTIALS_FILE).read_text(encoding="utf-8"))
    return Credentials(
        wechat=kept["wechat"],
        wechat_v3=kept["wechat_v3"],
        alipay=kept["alipay"],
        bank=kept["bank"],
    )


def _issue_wechat() -> dict[str, str]:
    return {
        "LIANJIAO_WECHAT_APP_ID": "wx" + secrets.token_hex(8),
        "LIANJIAO_WECHAT_APP_SECRET": secrets.token_hex(16),
        "LIANJIAO_WECHAT_MERCHANT_ID": "1" + _digits(9),
        "LIANJIAO_WECHAT_API_KEY": secrets.token_hex(16),
        "LIANJIAO_WECHAT_PLAN_ID": "1" + _digits(5),
    }


def _issue_wechat_v3(data_dir: Path) -> dict[str, str]:
    return {
        "LIANJIAO_WECHAT_MERCHANT_SERIAL_NO": secrets.token_hex(20).upper(),
        "LIANJIAO_WECHAT_MERCHANT_PRIVATE_KEY_FILE": str(data_dir / WECHAT_MERCHANT_PRIVATE_KEY),
        "LIANJIAO_WECHAT_PLATFORM_PUBLIC_KEY_ID": "PUB_KEY_ID_01" + _digits(29),
        "LIANJIAO_WECHAT_PLATFORM_PUBLIC_KEY_FILE": str(data_dir / WECHAT_PLATFORM_PUBLIC_KEY),
    }


def _issue_alipay(data_dir: Path) -> dict[str, str]:
    return {
        "LIANJIAO_ALIPAY_APP_ID": "2021" + _digits(12),
        "LIANJIAO_ALIPAY_SELLER_ID": "2088" + _digits(12),
        "LIANJIAO_ALIPAY_APP_PRIVATE_KEY_FILE": str(data_dir / ALIPAY_APP_PRIVATE_KEY),
        "LIANJIAO_ALIPAY_ALIPAY_PUBLIC_KEY_FILE": str(data_dir / ALIPAY_GATEWAY_PUBLIC_KEY),
    }


def _issue_bank(data_dir: Path) -> dict[str, str]:
    return {
        "LIANJIAO_BANK_MERCHANT_ID": "8983" + _digits(8),
        "LIANJIAO_BANK_ACCOUNT_NO": "3205" + _digits(16),
        "LIANJIAO_BANK_MERCHANT_KEY_ID": "M" + _digits(8),
        "LIANJIAO_BANK_MERCHANT_PRIVATE_KEY_FILE": str(data_dir / BANK_MERCHANT_PRIVATE_KEY),
        "LIANJIAO_BANK_BANK_KEY_ID": "B" + _digits(8),
        "LIANJIAO_BANK_BANK_PUBLIC_KEY_FILE": str(data_dir / BANK_PUBLIC_KEY),
        "LIANJIAO_BANK_SFTP_USER": "lj" + _digits(6),
        "LIANJIAO_BANK_SFTP_PRIVATE_KEY_FILE": str(data_dir / BANK_SFTP_CLIENT_KEY),
        "LIANJIAO_BANK_SFTP_HOST_KEY_FILE": str(data_dir / f"{BANK_SFTP_HOST_KEY}.pub"),
    }


def _issue_ssh_keys(data_dir: Path) -> None:
    for name in (BANK_SFTP_CLIENT_KEY, BANK_SFTP_HOST_KEY):
        key = ed25519.Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        _write(data_dir / name, private)
        _write(data_dir / f"{name}.pub", public + b"\n")


def _issue_pairs(data_dir: Path, pairs: Sequence[tuple[str, str]]) -> None:
    for private_name, public_name in pairs:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        _write(data_dir / private_name, private)
        _write(data_dir / public_name, public)


def _digits(count: int) -> str:
    return "".join(secrets.choice(string.digits) for _ in range(count))


def _write(path: Path, content: bytes) -> None:
    """Write a file that is either whole or not there, for the owner only."""
    draft = path.with_name(path.name + ".new")
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    os.replace(draft, path)
