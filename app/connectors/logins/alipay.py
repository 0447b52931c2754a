"""支付宝登录: the open_id behind the code that my.getAuthCode gave to the mini-program.

The answer carries tokens that would open more of the person's account: they are dropped unread,
and neither they nor the code may reach a log, an exception or a caller.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from app.domain.errors import ChannelTrouble
from app.domain.ports.logins import LoginRefused
from app.platforms.alipay.client import OAUTH_TOKEN, AlipayClient
from app.platforms.alipay.keys import AlipayKeys
from app.platforms.http import NoVerdict, Refused

if TYPE_CHECKING:
    from config.settings import AlipaySettings

_logger = logging.getLogger(__name__)

_CODE = re.compile(r"[\x21-\x7e]{1,256}")
_SUBJECT = re.compile(r"[0-9A-Za-z_-]{1,128}")

# Wrong, used, expired, or given to another application.
_REFUSED = "isv.code-invalid"


class AlipayLogin:
    """LoginPlatform of one Alipay mini-program.

    Args:
        now: the current instant, UTC.
        connect_timeout, read_timeout: seconds; the latter bounds the whole answer.

    Raises:
        ValueError: settings that cannot work.
    """

    def __init__(
        self,
        settings: AlipaySettings,
        *,
        now: Callable[[], datetime],
        connect_timeout: float,
        read_timeout: float,
    ) -> None:
        self._client = AlipayClient(
            settings,
            AlipayKeys(settings),
            now=now,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
        )

    def subject_of(self, code: str) -> str:
        """Return the open_id behind `code`; an old application has user_ids instead.

        Raises:
            LoginRefused: Alipay refuses the code, or it cannot be one.
            ChannelTrouble: no usable answer.
        """
        if not _CODE.fullmatch(code):
            raise LoginRefused
        subject, trouble = self._exchange(code)
        # Alipay need not sign a refusal; to believe it costs no more than another log-in.
        if trouble == _REFUSED:
            raise LoginRefused
        if not trouble and not _SUBJECT.fullmatch(subject):
            trouble = "no open_id"
        if trouble:
            _logger.warning("alipay log-in: %s", trouble[:64])
            raise ChannelTrouble
        return subject

    def _exchange(self, code: str) -> tuple[str, str]:
        """Return open_id (or user_id) and trouble: nothing else of the answer lives on."""
        try:
            answer = self._client.call(OAUTH_TOKEN, grant_type="authorization_code", code=code)
        except (NoVerdict, Refused) as trouble:
            return "", trouble.code or "refused"
        subject = answer.get("open_id") or answer.get("user_id")
        return (subject, "") if isinstance(subject, str) else ("", "no open_id")
