"""Names the channels: one line each. Adding a channel touches this file and its own package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from app.domain.ports import Channels
from app.payments.alipay.channel import AlipayPay
from app.payments.reasons import ReasonTable
from app.payments.wechat.channel import WeChatPay

if TYPE_CHECKING:
    from config.settings import Settings

ReasonLoader = Callable[[str], Mapping[str, Mapping[str, tuple[str, str]]]]


def build_channels(
    settings: Settings, *, load_reasons: ReasonLoader, now: Callable[[], datetime]
) -> Channels:
    """Build the adapter of every channel and list it under what it can do."""
    adapters = {
        name: adapter(
            getattr(settings, name),
            callback_base_url=str(settings.public_base_url).rstrip("/"),
            reasons=ReasonTable(load_reasons(name)),
            connect_timeout=settings.channel_connect_timeout_seconds,
            read_timeout=settings.channel_read_timeout_seconds,
            now=now,
        )
        for name, adapter in (("wechat", WeChatPay), ("alipay", AlipayPay))
    }
    return Channels(paying=adapters, refunding=adapters, calling_back=adapters)
