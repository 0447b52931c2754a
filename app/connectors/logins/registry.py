"""Names the log-in platforms: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from app.connectors.logins.alipay import AlipayLogin
from app.connectors.logins.wechat import WeChatLogin
from app.domain.ports.logins import LoginPlatform

if TYPE_CHECKING:
    from config.settings import Settings


def build_logins(settings: Settings, *, now: Callable[[], datetime]) -> Mapping[str, LoginPlatform]:
    """Build the connector of every log-in platform."""
    timeouts = {
        "connect_timeout": settings.channel_connect_timeout_seconds,
        "read_timeout": settings.channel_read_timeout_seconds,
    }
    return {
        "wechat": WeChatLogin(settings.wechat, **timeouts),
        "alipay": AlipayLogin(settings.alipay, now=now, **timeouts),
    }
