"""Names the channels: one line each. Adding a channel touches this file and its own package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from app.domain.ports import Channels
from app.payments.alipay.channel import AlipayPay
from app.payments.alipay.debits import AlipayDebits
from app.payments.bank.channel import BankGateway
from app.payments.bank.files.batches import BankFiles
from app.payments.reasons import ReasonTable
from app.payments.wechat.announcing import WeChatAnnouncements
from app.payments.wechat.channel import WeChatPay
from app.payments.wechat.debiting import WeChatDebits

if TYPE_CHECKING:
    from config.settings import Settings

Adapter = TypeVar("Adapter")
LayoutLoader = Callable[[str], Mapping[str, object]]
ReasonLoader = Callable[[str], Mapping[str, Mapping[str, tuple[str, str]]]]


def build_channels(
    settings: Settings,
    *,
    load_reasons: ReasonLoader,
    load_layout: LayoutLoader,
    now: Callable[[], datetime],
) -> Channels:
    """Build the adapter of every channel and list it under what it can do."""

    def build(name: str, adapter: Callable[..., Adapter]) -> Adapter:
        return adapter(
            getattr(settings, name),
            callback_base_url=str(settings.public_base_url).rstrip("/"),
            reasons=ReasonTable(load_reasons(name), channel=name),
            connect_timeout=settings.channel_connect_timeout_seconds,
            read_timeout=settings.channel_read_timeout_seconds,
            now=now,
        )

    wallets: dict[str, WeChatPay | AlipayPay] = {
        "wechat": build("wechat", WeChatPay),
        "alipay": build("alipay", AlipayPay),
    }
    # An installation may have no bank.
    banks = {"bank": build("bank", BankGateway)} if settings.bank is not None else {}
    debits: dict[str, AlipayDebits | BankGateway | WeChatDebits] = {**banks}
    announcing: dict[str, WeChatAnnouncements] = {}
    if settings.wechat.plan_id:
        debits["wechat"] = build("wechat", WeChatDebits)
        if settings.wechat.has_v3:
            announcing["wechat"] = build("wechat", WeChatAnnouncements)
    if settings.alipay.debit_product:
        debits["alipay"] = build("alipay", AlipayDebits)
    return Channels(
        paying=wallets,
        refunding={**wallets, **banks},
        calling_back={**wallets, **banks},
        mandating=debits,
        debiting=debits,
        batching=_build_files(settings, load_reasons=load_reasons, load_layout=load_layout),
        announcing=announcing,
    )


def _build_files(
    settings: Settings, *, load_reasons: ReasonLoader, load_layout: LayoutLoader
) -> Mapping[str, BankFiles]:
    bank = settings.bank
    if bank is None or not bank.sftp_host:
        return {}
    files = BankFiles(
        bank,
        layout=load_layout(bank.file_layout),
        reasons=ReasonTable(load_reasons("bank"), channel="bank"),
        connect_timeout=settings.channel_connect_timeout_seconds,
        read_timeout=settings.channel_read_timeout_seconds,
    )
    return {"bank": files}
