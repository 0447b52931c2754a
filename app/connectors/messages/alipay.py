"""支付宝小程序消息: one message under a template to which the person has agreed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from app.connectors.messages.templates import NOT_OFFERED, Templates
from app.domain.ports.messages import (
    MessageOutcome,
    MessageReason,
    MessageResult,
    MessageTopic,
)
from app.platforms.alipay.client import AlipayClient
from app.platforms.alipay.keys import AlipayKeys
from app.platforms.http import NoVerdict, Refused

if TYPE_CHECKING:
    from config.settings import AlipaySettings

SEND = "alipay.open.app.mini.templatemessage.send"

_USER_ID = re.compile(r"2088[0-9]{12}")
"""What an old application knows people by; an open_id is longer and has letters."""

_REASONS = {
    "USER_NOT_SUBSCRIBE": MessageReason.PERSON_REFUSED,
    **dict.fromkeys(("SYSTEM_ERROR", "ACQ.SYSTEM_ERROR", "isp.unknow-error"), MessageReason.BUSY),
    "ACQ.INVALID_PARAMETER": MessageReason.OUR_FAULT,
    "TINY_APP_ID_NULL": MessageReason.OUR_FAULT,
}


class AlipayMessages:
    """MessageSender of one Alipay mini-program.

    Args:
        now: the current instant, UTC.
        connect_timeout, read_timeout: seconds; the latter bounds the whole answer.

    Raises:
        ValueError: settings that cannot work.
    """

    def __init__(
        self,
        settings: AlipaySettings,
        templates: Templates,
        *,
        now: Callable[[], datetime],
        connect_timeout: float,
        read_timeout: float,
    ) -> None:
        self._templates = templates
        self._client = AlipayClient(
            settings,
            AlipayKeys(settings),
            now=now,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
        )

    def send(
        self, *, recipient: str, topic: MessageTopic, fields: Mapping[str, str]
    ) -> MessageOutcome:
        """Send once."""
        template = self._templates.find(topic)
        if template is None:
            return NOT_OFFERED
        data = {key: {"value": text} for key, text in template.fill(fields).items()}
        content = {
            "to_user_id" if _USER_ID.fullmatch(recipient) else "to_open_id": recipient,
            "user_template_id": template.template_id,
            "page": self._templates.page,
            # A text that holds JSON, not JSON.
            "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")),
        }
        try:
            self._client.call(SEND, content)
        except Refused as refusal:
            return self._templates.judge(topic, refusal.code, _REASONS)
        except NoVerdict as trouble:
            return self._templates.no_answer(topic, trouble)
        return MessageOutcome(result=MessageResult.SENT, reason=MessageReason.OK)
