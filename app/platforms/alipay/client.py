"""The way out to Alipay: the SDK signs, our own session sends, no answer is believed unverified.

The SDK itself sends the business in the address by GET, follows redirects, obeys proxies of the
environment, believes errors that nobody signed, and stumbles over a brace in a text: none of that
can be reached through here. A signed refusal it returns like a success.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

# Importing it closes every log handler there is and adds one for DEBUG, so a process configures
# its logging after this import.
from alipay import AliPay as Sdk

from app.domain.calendar import SHANGHAI
from app.domain.ports.outcomes import Reason
from app.platforms.alipay.answers import Node, parse_node, read_text, split_members
from app.platforms.alipay.keys import AlipayKeys
from app.platforms.http import GuardedSession, NoVerdict, Refused

if TYPE_CHECKING:
    from config.settings import AlipaySettings

OAUTH_TOKEN = "alipay.system.oauth.token"  # noqa: S105  # nosec B105  # the name of a call
TRADE_PAY = "alipay.trade.pay"
DONE = "10000"
PAYING = "10003"
"""The trade stands and its money is still on the way; only `TRADE_PAY` is answered so."""

_MAX_BYTES = 1024 * 1024
_FORM = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"}
_ERROR_NODE = "error_response"

_REFUSED = "40004"
# Gateway codes: nothing may be concluded of the business from them.
_TROUBLES = {
    "20000": Reason.BUSY,
    "20001": Reason.OUR_FAULT,
    "40001": Reason.OUR_FAULT,
    "40002": Reason.OUR_FAULT,
    "40003": Reason.OUR_FAULT,
    "40005": Reason.BUSY,
    "40006": Reason.OUR_FAULT,
}


def _is_not_debug(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.INFO


_sdk_logger = logging.getLogger("python-alipay-sdk")
_sdk_logger.handlers.clear()
_sdk_logger.setLevel(logging.INFO)
# It writes whole signed requests at DEBUG. The level can be set anew later; the filter stays.
_sdk_logger.addFilter(_is_not_debug)


def beijing_time(instant: datetime) -> str:
    """Return an instant as Alipay writes it, e.g. ``2026-11-24 10:00:00``."""
    return instant.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


class AlipayClient:
    """Calls of one application, answered by a verified node, or by NoVerdict or Refused.

    Args:
        now: the current instant, UTC.
        connect_timeout, read_timeout: seconds; the latter bounds the whole answer.

    Raises:
        ValueError: settings that cannot work.
    """

    def __init__(
        self,
        settings: AlipaySettings,
        keys: AlipayKeys,
        *,
        now: Callable[[], datetime],
        connect_timeout: float,
        read_timeout: float,
    ) -> None:
        if not settings.app_id:
            raise ValueError("the Alipay app id must be set")
        address = urlsplit(settings.gateway_url)
        if address.scheme not in ("https", "http") or not address.hostname:
            raise ValueError("the Alipay gateway must be an http(s) URL")
        if address.query or address.fragment:
            raise ValueError("the Alipay gateway's URL must have no query")
        # Alipay decodes the form by the charset in the address.
        self._url = settings.gateway_url + "?charset=utf-8"
        self._keys = keys
        self._now = now
        self._session = GuardedSession(
            connect_timeout=connect_timeout, read_timeout=read_timeout, max_bytes=_MAX_BYTES
        )
        self._sdk = Sdk(
            appid=settings.app_id,
            app_private_key_string=keys.app_private_pem,
            alipay_public_key_string=keys.alipay_public_pem,
            sign_type="RSA2",
        )

    def call(self, method: str, content: Mapping[str, object] | None = None, **public: str) -> Node:
        """Make one call, once.

        Args:
            content: the `biz_content`.
            public: more parameters, such as notify_url; none may be empty.

        Raises:
            Refused: the business says no, in a signed answer to this very call.
            NoVerdict: everything else.
        """
        response = self._session.post(
            self._url, data=self._form(method, content, public), headers=_FORM
        )
        body = self._session.read_body(response)
        try:
            return self._read(body, method)
        except (ValueError, RecursionError):
            raise NoVerdict(Reason.BAD_ANSWER, "unreadable") from None

    def sign_page(self, method: str, content: Mapping[str, object], **public: str) -> str:
        """Return a signed call for the phone to carry out, escaped once more as it wants it.

        Args:
            content, public: as for `call`; the content must be text that can be sent.
        """
        return quote(self._form(method, content, public).decode("ascii"), safe="")

    def _form(
        self, method: str, content: Mapping[str, object] | None, public: Mapping[str, str]
    ) -> bytes:
        # A text is signed and sent as it is; of an object the SDK would make what it likes.
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":")) if content else None
        try:
            # The SDK's own timestamp is the local time of the machine.
            form: str = self._sdk.client_api(
                method, text, timestamp=beijing_time(self._now()), **public
            )
        except UnicodeEncodeError:
            raise NoVerdict(Reason.OUR_FAULT, "unsendable text") from None
        return form.encode("ascii")

    def _read(self, body: bytes, method: str) -> Node:
        members = split_members(body.decode("utf-8"))
        own = method.replace(".", "_") + "_response"
        [name] = members.keys() & {own, _ERROR_NODE}
        node = parse_node(members[name])
        code, sub_code = read_text(node, "code"), read_text(node, "sub_code")
        message = read_text(node, "sub_msg") or read_text(node, "msg")
        if "sign" not in members:
            raise _unsigned(code, sub_code, message)
        signature = json.loads(members["sign"])
        content = members[name].encode("utf-8")
        if not isinstance(signature, str) or not self._keys.is_genuine(content, signature):
            raise NoVerdict(Reason.BAD_ANSWER, "signature")
        if name == own:
            # Only this one call succeeds without a code.
            if code == DONE or (method == OAUTH_TOKEN and "code" not in node):
                return node
            if code == PAYING and method == TRADE_PAY:
                return node
            if code == _REFUSED:
                raise Refused(sub_code, message)
        if code in ("", DONE):
            raise ValueError("neither an answer nor an error")
        raise NoVerdict(_TROUBLES.get(code, Reason.UNLISTED), sub_code or code, message)


def _unsigned(code: str, sub_code: str, message: str) -> NoVerdict:
    """Alipay signs no error at its door, so it is told, but never believed."""
    if code in ("", DONE):
        return NoVerdict(Reason.BAD_ANSWER, "unsigned")
    return NoVerdict(_TROUBLES.get(code, Reason.BAD_ANSWER), sub_code or code, message)
