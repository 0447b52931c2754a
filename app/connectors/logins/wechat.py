"""微信登录: the openid behind the code that wx.login gave to the mini-program.

The request carries the app secret in its URL and the answer carries the session_key: neither may
reach a log, an exception or a caller.
"""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import requests
from wechatpy.client import WeChatClient as Sdk

from app.domain.errors import ChannelTrouble
from app.domain.ports.logins import LoginRefused
from app.domain.ports.outcomes import Reason
from app.platforms.http import GuardedSession, NoVerdict, keep_addresses_out_of_logs

if TYPE_CHECKING:
    from config.settings import WeChatSettings

_logger = logging.getLogger(__name__)

_MAX_BYTES = 16 * 1024
_CODE = re.compile(r"[\x21-\x7e]{1,256}")
_OPENID = re.compile(r"[0-9A-Za-z_-]{1,128}")

# 40029 wrong or expired, 40163 used before, 41008 empty, 40226 blocked by WeChat's risk control.
_REFUSED = frozenset({40029, 40163, 41008, 40226})
_TOO_OFTEN = 45011
_TOO_OFTEN_MESSAGE = "登录过于频繁，请稍后再试"


class _Client(Sdk):  # type: ignore[misc]  # wechatpy has no types
    """wechatpy without access tokens: this call needs none, and fetching one is a trap."""

    # wechatpy adds the token to every request and would fetch it from the network first.
    access_token = None
    _http: GuardedSession

    def __init__(
        self, *, app_id: str, app_secret: str, base_url: str, session: GuardedSession
    ) -> None:
        super().__init__(app_id, app_secret, auto_retry=False)
        self._http = session
        self.wxa.API_BASE_URL = base_url.rstrip("/") + "/"

    def fetch_access_token(self) -> None:
        raise NoVerdict(Reason.OUR_FAULT, "an access token was asked for")

    def _handle_result(self, res: requests.Response, *_: Any, **__: Any) -> tuple[int, str]:
        """Return the error code and the openid: nothing else of the answer lives on."""
        try:
            answer = json.loads(self._http.read_body(res))
        except (ValueError, RecursionError):
            raise NoVerdict(Reason.BAD_ANSWER, "not JSON") from None
        if not isinstance(answer, dict):
            raise NoVerdict(Reason.BAD_ANSWER, "not an object")
        code, openid = answer.get("errcode", 0), answer.get("openid", "")
        if type(code) is not int or not isinstance(openid, str):
            raise NoVerdict(Reason.BAD_ANSWER, "odd fields")
        return code, openid


class WeChatLogin:
    """LoginPlatform of one WeChat mini-program.

    Raises:
        ValueError: settings that cannot work.
    """

    def __init__(
        self, settings: WeChatSettings, *, connect_timeout: float, read_timeout: float
    ) -> None:
        secret = settings.app_secret.get_secret_value()
        if not settings.app_id or not secret:
            raise ValueError("the WeChat app id and app secret must be set")
        if not settings.api_base_url.startswith(("https://", "http://")):
            raise ValueError("the WeChat address must be an http(s) URL")
        _keep_secret_out_of_logs()
        self._client = _Client(
            app_id=settings.app_id,
            app_secret=secret,
            base_url=settings.api_base_url,
            session=GuardedSession(
                connect_timeout=connect_timeout, read_timeout=read_timeout, max_bytes=_MAX_BYTES
            ),
        )

    def subject_of(self, code: str) -> str:
        """Return the openid behind `code`.

        Raises:
            LoginRefused: WeChat refuses the code, or it cannot be one.
            ChannelTrouble: no usable answer, or too many in a short time.
        """
        if not _CODE.fullmatch(code):
            raise LoginRefused
        error_code, openid, trouble = self._exchange(code)
        if error_code in _REFUSED:
            raise LoginRefused
        if error_code == _TOO_OFTEN:
            raise ChannelTrouble(_TOO_OFTEN_MESSAGE)
        if not trouble and error_code != 0:
            trouble = f"error {error_code}"
        if not trouble and not _OPENID.fullmatch(openid):
            trouble = "no openid"
        if trouble:
            _logger.warning("wechat log-in: %s", trouble)
            raise ChannelTrouble
        return openid

    def _exchange(self, code: str) -> tuple[int, str, str]:
        """Return error code, openid and trouble.

        The text of a network error holds the URL with the secret. Only its kind leaves this
        method, so that no traceback can carry the rest along.
        """
        try:
            error_code, openid = self._client.wxa.code_to_session(code)
        except NoVerdict as trouble:
            return 0, "", trouble.code
        return error_code, openid, ""


def _keep_secret_out_of_logs() -> None:
    """urllib3 writes the URL, secret and all, at DEBUG; wechatpy writes whole answers."""
    top = logging.getLogger("wechatpy")
    if top.level < logging.INFO:
        top.setLevel(logging.INFO)
    keep_addresses_out_of_logs("secret=")
