"""Phone-payment channels, put together as a process does it, before their sandbox gateways."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask, Response, request

from app.connectors.logins.registry import build_logins
from app.domain.ports.callbacks import CallbackRejected, ChannelEvent, RawCallback
from app.domain.ports.logins import LoginPlatform
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.ports.payments import PaymentRequest, RefundRequest
from app.payments.registry import build_channels
from config.bank_layout_files import load_bank_layout
from config.reason_files import load_reasons
from config.settings import Settings
from sandbox.alipay.server import create_gateway as create_alipay
from sandbox.wechat.server import create_gateway as create_wechat
from tests.sandbox.gateways import RunningGateway, running, serving

GATEWAYS = {"wechat": create_wechat, "alipay": create_alipay}

CALLS = {
    "wechat": {
        "prepare_payment": "pay/unifiedorder",
        "query_payment": "pay/orderquery",
        "close_payment": "pay/closeorder",
        "refund": "secapi/pay/refund",
        "query_refund": "pay/refundquery",
        "login": "sns/jscode2session",
    },
    "alipay": {
        "prepare_payment": "alipay.trade.create",
        "query_payment": "alipay.trade.query",
        "close_payment": "alipay.trade.close",
        "refund": "alipay.trade.refund",
        "query_refund": "alipay.trade.fastpay.refund.query",
        "login": "alipay.system.oauth.token",
    },
}
BUSY = {"wechat": "SYSTEMERROR", "alipay": "ACQ.SYSTEM_ERROR"}

# Trouble and whether the gateway has done by then what it was asked to do.
TROUBLES = {
    "timeout_before": False,
    "timeout_after": True,
    "http_500": False,
    "html": False,
    "redirect": False,
    "empty": True,
    "truncated": True,
    "bad_sign": True,
    "unsigned": True,
    "error": False,
    "error_after": True,
}
SILENCES = {"timeout_before", "timeout_after"}
HASTY_SECONDS = 0.5

PAID_FEN, REFUND_FEN = 12345, 2345


@dataclass
class Side:
    """One channel, its gateway, a payer with a wallet, and the notices that came."""

    name: str
    gateway: RunningGateway
    channel: Any
    login: LoginPlatform
    hasty: Any
    """The same channel with little patience, for silences alone: nothing else may time out."""
    payer: str
    events: list[ChannelEvent] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def order(self, **changes: object) -> PaymentRequest:
        """A payment under a fresh number."""
        plain = PaymentRequest(
            order_no=f"D{next(self.numbers):031d}",
            amount_fen=PAID_FEN,
            description="住房公积金灵活缴存",
            payer_ref=self.payer,
            expires_at=self.gateway.clock.now() + timedelta(minutes=30),
            client_ip="203.0.113.9",
        )
        return replace(plain, **changes)

    def prepared(self, **changes: object) -> tuple[PaymentRequest, Mapping[str, str]]:
        """An order that is placed, and what the phone was given."""
        order = self.order(**changes)
        outcome = self.channel.prepare_payment(order)
        assert (outcome.kind, outcome.reason) == (OutcomeKind.ACCEPTED, Reason.NOT_PAID)
        assert outcome.number == order.order_no
        return order, self.channel.payer_action(outcome.reference)

    def pay(self, phone: Mapping[str, str]) -> bool:
        """Whether the wallet takes it."""
        return self.gateway.try_control("pay", payer=self.payer, phone=dict(phone))["ok"]

    def paid(self) -> PaymentRequest:
        order, phone = self.prepared()
        assert self.pay(phone)
        return order

    def refund_of(self, order: PaymentRequest, amount_fen: int = REFUND_FEN) -> RefundRequest:
        return RefundRequest(
            order_no=order.order_no,
            refund_no=f"R{next(self.numbers):031d}",
            amount_fen=amount_fen,
            total_fen=order.amount_fen,
            reason="缴存退款",
        )

    def query_refund(self, refund: RefundRequest) -> Outcome:
        return self.channel.query_refund(order_no=refund.order_no, refund_no=refund.refund_no)

    def trouble(self, call: str, kind: str, **options: object) -> Any:
        """Set a switch, and return the channel that is to meet the trouble."""
        if kind in {"error", "error_after"}:
            options["code"] = BUSY[self.name]
        if kind in SILENCES:
            options["seconds"] = 1.0
        self.gateway.control("troubles", at=CALLS[self.name][call], kind=kind, **options)
        return self.hasty if kind in SILENCES else self.channel

    def forget(self) -> None:
        """Leave nothing of one test to the next."""
        troubles = f"{self.gateway.url}_control/troubles"
        requests.delete(troubles, timeout=10).raise_for_status()
        self.events.clear()
        self.rejected.clear()

    def notice_of(self, number: str) -> ChannelEvent:
        """Wait for the notice about one of our numbers."""
        self.gateway.until(lambda _: bool(self.events_about(number)))
        [event] = self.events_about(number)
        return event

    def events_about(self, *numbers: str) -> list[ChannelEvent]:
        """Those that have come by now; what an earlier test has left may come late."""
        return [event for event in self.events if event.outcome and event.outcome.number in numbers]

    def trade(self, order: PaymentRequest) -> Mapping[str, Any]:
        """What the gateway's own books say."""
        trades = self.gateway.look("books")["trades"]
        [trade] = [trade for trade in trades if trade["out_trade_no"] == order.order_no]
        return trade


def settings_of(
    gateway: RunningGateway, public_url: str, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """The settings of a process, out of the environment that the gateway's platform hands over."""
    environment = {
        **gateway.credentials.wechat,
        **gateway.credentials.wechat_v3,
        **gateway.credentials.alipay,
        "LIANJIAO_WECHAT_PAY_BASE_URL": gateway.url,
        "LIANJIAO_WECHAT_API_BASE_URL": gateway.url,
        "LIANJIAO_ALIPAY_GATEWAY_URL": f"{gateway.url}gateway.do",
        "LIANJIAO_DATABASE_URL": "sqlite://",
        "LIANJIAO_PUBLIC_BASE_URL": public_url,
        "LIANJIAO_DATA_KEYS": "k1:" + base64.b64encode(bytes(32)).decode(),
        "LIANJIAO_INDEX_KEY": base64.b64encode(bytes(32)).decode(),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings()


@contextmanager
def open_side(name: str, data_dir: Path) -> Iterator[Side]:
    """Run the gateway of one channel, and a merchant's address that reads its notices."""
    inbox, sides = Flask("inbox"), list[Side]()

    @inbox.post("/callbacks/<channel>/<endpoint>")
    def take(channel: str, endpoint: str) -> Response:
        [side] = sides
        assert channel == side.name
        reply = _receive(side, endpoint)
        return Response(reply.body, status=reply.status, content_type=reply.content_type)

    with (
        running(GATEWAYS[name], data_dir) as gateway,
        serving(inbox) as url,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        settings = settings_of(gateway, url, monkeypatch)
        hasty = settings.model_copy(update={"channel_read_timeout_seconds": HASTY_SECONDS})
        now = gateway.clock.now
        sides.append(
            Side(
                name=name,
                gateway=gateway,
                channel=build_channels(
                    settings, load_reasons=load_reasons, load_layout=load_bank_layout, now=now
                ).paying[name],
                login=build_logins(settings, now=now)[name],
                hasty=build_channels(
                    hasty, load_reasons=load_reasons, load_layout=load_bank_layout, now=now
                ).paying[name],
                payer=gateway.control("payers", balance_fen=100_000_000)["payer"],
            )
        )
        yield sides[0]


def _receive(side: Side, endpoint: str) -> Any:
    raw = RawCallback(
        endpoint=endpoint,
        content_type=request.content_type or "",
        headers=dict(request.headers),
        body=request.get_data(cache=False),
    )
    try:
        side.events.append(side.channel.read_callback(raw))
    except CallbackRejected as rejected:
        side.rejected.append(rejected.reason)
        return side.channel.reply(accepted=False)
    return side.channel.reply(accepted=True)
