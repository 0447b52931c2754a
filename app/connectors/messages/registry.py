"""Names the platforms that bring messages: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from datetime import datetime
from typing import TYPE_CHECKING

from app.connectors.messages.alipay import AlipayMessages
from app.connectors.messages.templates import Templates
from app.connectors.messages.wechat import WeChatMessages
from app.domain.ports.messages import MessageSender

if TYPE_CHECKING:
    from config.message_template_files import TemplateFile
    from config.settings import Settings


def build_messengers(
    settings: Settings,
    *,
    load_templates: Callable[[str], TemplateFile],
    fields_of: Mapping[str, Set[str]],
    now: Callable[[], datetime],
) -> Mapping[str, MessageSender]:
    """Build the connector of every platform that brings messages.

    Args:
        load_templates: reads `config/messages/<platform>.yaml`.
        fields_of: the fields that each topic has.

    Raises:
        ValueError: settings or templates that cannot work.
    """
    timeouts = {
        "connect_timeout": settings.channel_connect_timeout_seconds,
        "read_timeout": settings.channel_read_timeout_seconds,
    }

    def templates(platform: str, ids: Mapping[str, str]) -> Templates:
        return Templates(platform, file=load_templates(platform), ids=ids, fields_of=fields_of)

    wechat, alipay = settings.wechat, settings.alipay
    return {
        "wechat": WeChatMessages(
            wechat, templates("wechat", wechat.message_templates), now=now, **timeouts
        ),
        "alipay": AlipayMessages(
            alipay, templates("alipay", alipay.message_templates), now=now, **timeouts
        ),
    }
