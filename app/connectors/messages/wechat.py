"""微信订阅消息: one message under a template to which the person has agreed.

Every call carries the mini-program's access token in its address, and the token is got for the app
secret: neither may reach a log, an exception or a caller.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any

import requests
from wechatpy.client import WeChatClient as Sdk

from app.connectors.messages.templates import NOT_OFFERED, Template, Templates
from app.domain.ports.messages import (
    MessageOutcome,
    MessageReason,
    MessageResult,
    MessageTopic,
)
from app.domain.ports.outcomes import Reason
from app.platforms.http import GuardedSession, NoVerdict, keep_addresses_out_of_logs

if TYPE_CHECKING:
    from config.settings import WeChatSettings

_MAX_BYTES = 16 * 1024
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
_KEY = re.compile(r"([a-z_]+?)[0-9]+")
# The types of keys that we can fill; the most characters where what is too long may be cut.
_KINDS: Mapping[str, int | None] = {
    **{"thing": 20, "character_string": 32, "phrase": 5},
    **{"amount": None, "date": None, "time": None, "number": None},
}

_TOKEN_MARGIN = timedelta(minutes=5)
"""So long before its end a new token is asked for; the old one lives on as long beside it."""

_SENT = "0"
_TOKEN_GONE = frozenset({"40001", "40014", "42001"})
_REASONS = {
    "43101": MessageReason.PERSON_REFUSED,
    "40003": MessageReason.PERSON_UNKNOWN,
    **dict.fromkeys(("-1", "43108", "45009", "45011"), MessageReason.BUSY),
    # Template, page, content, capability, application, secret, address of ours, and the token.
    **dict.fromkeys(("40037", "41030", "45168", "47003", "43107"), MessageReason.OUR_FAULT),
    **dict.fromkeys(("40013", "40125", "40164", "48001"), MessageReason.OUR_FAULT),
    **dict.fromkeys(_TOKEN_GONE, MessageReason.OUR_FAULT),
}


class _Client(Sdk):  # type: ignore[misc]  # wechatpy has no types
    """wechatpy with a token that we hand in; left to itself it keeps and renews one of its own."""

    access_token: str | None = None
    _http: GuardedSession

    def __init__(
        self, *, app_id: str, app_secret: str, base_url: str, session: GuardedSession
    ) -> None:
        super().__init__(app_id, app_secret, auto_retry=False)
        self._http = session
        self._stable_token_url = f"{base_url.rstrip('/')}/cgi-bin/stable_token"
        self.wxa.API_BASE_URL = base_url.rstrip("/") + "/"

    def fetch_access_token(self) -> None:
        raise NoVerdict(Reason.OUR_FAULT, "wechatpy asked for a token")

    def fetch_stable_token(self) -> dict[str, Any]:
        """Ask for the token that all processes of the application share."""
        content = {
            "grant_type": "client_credential",
            "appid": self.appid,
            "secret": self.secret,
            "force_refresh": False,
        }
        # Parameters that are no dict get no token added.
        answer: dict[str, Any] = self.post(self._stable_token_url, data=content, params=None)
        return answer

    def _handle_result(self, res: requests.Response, *_: Any, **__: Any) -> dict[str, Any]:
        try:
            answer = json.loads(self._http.read_body(res))
        except (ValueError, RecursionError):
            raise NoVerdict(Reason.BAD_ANSWER, "not JSON") from None
        if not isinstance(answer, dict):
            raise NoVerdict(Reason.BAD_ANSWER, "not an object")
        return answer


class WeChatMessages:
    """MessageSender of one WeChat mini-program.

    Args:
        now: the current instant, UTC.
        connect_timeout, read_timeout: seconds; the latter bounds the whole answer.

    Raises:
        ValueError: settings that cannot work, or a template with a key of unknown type.
    """

    def __init__(
        self,
        settings: WeChatSettings,
        templates: Templates,
        *,
        now: Callable[[], datetime],
        connect_timeout: float,
        read_timeout: float,
    ) -> None:
        secret = settings.app_secret.get_secret_value()
        if not settings.app_id or not secret:
            raise ValueError("the WeChat app id and app secret must be set")
        if not settings.api_base_url.startswith(("https://", "http://")):
            raise ValueError("the WeChat address must be an http(s) URL")
        if unknown := {key for key in templates.keys if _kind_of(key) not in _KINDS}:
            raise ValueError(f"wechat messages: unknown type of {', '.join(sorted(unknown))}")
        keep_addresses_out_of_logs("access_token=")
        self._templates = templates
        self._now = now
        self._lock = Lock()
        self._token_until: datetime | None = None
        self._client = _Client(
            app_id=settings.app_id,
            app_secret=secret,
            base_url=settings.api_base_url,
            session=GuardedSession(
                connect_timeout=connect_timeout, read_timeout=read_timeout, max_bytes=_MAX_BYTES
            ),
        )

    def send(
        self, *, recipient: str, topic: MessageTopic, fields: Mapping[str, str]
    ) -> MessageOutcome:
        """Send once; a second time only when the token has come to its end, which sends nothing."""
        template = self._templates.find(topic)
        if template is None:
            return NOT_OFFERED
        try:
            code = self._send(recipient, template, fields)
            if code in _TOKEN_GONE:
                self._token_until = None
                code = self._send(recipient, template, fields)
        except NoVerdict as trouble:
            return self._templates.no_answer(topic, trouble)
        if code == _SENT:
            return MessageOutcome(result=MessageResult.SENT, reason=MessageReason.OK)
        return self._templates.judge(topic, code, _REASONS)

    def _send(self, recipient: str, template: Template, fields: Mapping[str, str]) -> str:
        """Return the error code, 0 for none."""
        with self._lock:
            self._have_token()
        data = {
            key: {"value": _fit(_kind_of(key), text)} for key, text in template.fill(fields).items()
        }
        return _code_of(
            self._client.wxa.send_subscribe_message(
                recipient, template.template_id, data, page=self._templates.page
            )
        )

    def _have_token(self) -> None:
        now = self._now()
        if self._token_until is not None and now < self._token_until:
            return
        answer = self._client.fetch_stable_token()
        if "access_token" not in answer:
            code = _code_of(answer)
            busy = _REASONS.get(code) is MessageReason.BUSY
            raise NoVerdict(Reason.BUSY if busy else Reason.OUR_FAULT, f"token {code}")
        token, seconds = answer["access_token"], answer.get("expires_in")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token) or type(seconds) is not int:
            raise NoVerdict(Reason.BAD_ANSWER, "odd token")
        self._client.access_token = token
        self._token_until = now + timedelta(seconds=min(seconds, 7200)) - _TOKEN_MARGIN


def _code_of(answer: Mapping[str, Any]) -> str:
    code = answer.get("errcode")
    if type(code) is not int:
        raise NoVerdict(Reason.BAD_ANSWER, "no error code")
    return str(code)


def _kind_of(key: str) -> str:
    match = _KEY.fullmatch(key)
    return match[1] if match else ""


def _fit(kind: str, text: str) -> str:
    """Return a text as a key of this type takes it."""
    if kind == "amount":
        return text.replace(",", "") + "元"
    most = _KINDS[kind]
    return text if most is None or len(text) <= most else text[: most - 1] + "…"
