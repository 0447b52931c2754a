"""API v3: JSON, signed with RSA in the headers (WECHATPAY2-SHA256-RSA2048), answers verified.

One call of it is needed. The libraries that speak v3 (wechatpayv3) do not have that call, and they
send by a session without a deadline; signing is what follows here.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.domain.ports.outcomes import Reason
from app.payments.wechat.envelope import MAX_BYTES
from app.platforms.http import GuardedSession, NoVerdict, Refused
from app.platforms.rsa import is_signed, load_private_key, load_public_key, sign_digest

if TYPE_CHECKING:
    from config.settings import WeChatSettings

TOLERANCE_SECONDS = 300
"""How far WeChat's clock and ours may be apart."""

_SCHEME = "WECHATPAY2-SHA256-RSA2048"
_DONE = 204
_STATUSES = (_DONE, 400, 401, 403, 404, 429, 500, 503)
_SERIAL = re.compile(r"[0-9A-Za-z]{1,64}")
_TIMESTAMP = re.compile(r"[0-9]{10}")


class V3Client:
    """Calls of one merchant that are done when they are answered with nothing.

    Args:
        connect_timeout, read_timeout: seconds; the latter bounds the whole answer.
        now: the current instant, UTC.

    Raises:
        ValueError: settings that cannot work.
    """

    def __init__(
        self,
        settings: WeChatSettings,
        *,
        connect_timeout: float,
        read_timeout: float,
        now: Callable[[], datetime],
    ) -> None:
        our_file, their_file = settings.merchant_private_key_file, settings.platform_public_key_file
        if our_file is None or their_file is None:
            raise ValueError("API v3 of WeChat Pay needs both keys")
        if not _SERIAL.fullmatch(settings.merchant_serial_no):
            raise ValueError("the serial number of the WeChat merchant certificate is hexadecimal")
        self._ours, self._theirs = load_private_key(our_file), load_public_key(their_file)
        if self._theirs.public_numbers() == self._ours.public_key().public_numbers():
            raise ValueError(f"{their_file} is our own key; WeChat Pay's stands in its platform")
        self._merchant_id = settings.merchant_id
        self._serial_no = settings.merchant_serial_no
        self._their_id = settings.platform_public_key_id
        self._base_url = settings.pay_base_url.rstrip("/")
        self._now = now
        self._session = GuardedSession(
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            max_bytes=MAX_BYTES,
            statuses=_STATUSES,
        )

    def post(self, path: str, content: Mapping[str, object]) -> None:
        """Make one call, once.

        Args:
            path: as it goes into the URL, quoted.
        Raises:
            Refused: a signed refusal.
            NoVerdict: everything else that is not a signed «done».
        """
        url = self._base_url + path
        body = json.dumps(content, separators=(",", ":")).encode()
        headers = {
            "Authorization": self._authorization(urlsplit(url).path, body),
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        response = self._session.post(url, data=body, headers=headers)
        answer = self._session.read_body(response)
        self._verify(response.headers, answer)
        if response.status_code != _DONE:
            raise _refusal(answer)
        if answer:
            raise NoVerdict(Reason.BAD_ANSWER, "204 with a body")

    def _authorization(self, path: str, body: bytes) -> str:
        timestamp, nonce = str(int(self._now().timestamp())), secrets.token_hex(16)
        text = f"POST\n{path}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
        signature = sign_digest(hashlib.sha256(text).digest(), self._ours)
        pairs = {
            "mchid": self._merchant_id,
            "nonce_str": nonce,
            "signature": signature,
            "timestamp": timestamp,
            "serial_no": self._serial_no,
        }
        return f"{_SCHEME} " + ",".join(f'{name}="{value}"' for name, value in pairs.items())

    def _verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Make sure that WeChat Pay has signed this answer just now.

        Raises:
            NoVerdict: it has not.
        """
        timestamp, nonce = headers.get("Wechatpay-Timestamp", ""), headers.get("Wechatpay-Nonce")
        text = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
        if headers.get("Wechatpay-Serial") != self._their_id or not is_signed(
            text, headers.get("Wechatpay-Signature", ""), self._theirs
        ):
            raise NoVerdict(Reason.BAD_ANSWER, "signature")
        if (
            not _TIMESTAMP.fullmatch(timestamp)
            or abs(int(timestamp) - self._now().timestamp()) > TOLERANCE_SECONDS
        ):
            raise NoVerdict(Reason.BAD_ANSWER, "stale")


def _refusal(answer: bytes) -> Refused:
    """Return what a refusal says.

    Raises:
        NoVerdict: it says nothing.
    """
    try:
        told = json.loads(answer)
    except (ValueError, RecursionError):
        told = None
    code = told.get("code") if isinstance(told, dict) else None
    message = told.get("message", "") if isinstance(told, dict) else ""
    if not isinstance(code, str) or not isinstance(message, str):
        raise NoVerdict(Reason.BAD_ANSWER, "unreadable")
    return Refused(code, message)
