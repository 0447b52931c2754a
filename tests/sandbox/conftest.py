"""A gateway of each kind on a free port of the loopback, and an address for their notices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, Response, request

from sandbox.alipay.server import create_gateway as create_alipay
from sandbox.wechat.server import create_gateway as create_wechat
from tests.sandbox.alipay_client import AlipayMerchant
from tests.sandbox.gateways import Inbox, RunningGateway, running, serving
from tests.sandbox.wechat_client import WeChatMerchant


@pytest.fixture
def wechat_gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    with running(create_wechat, tmp_path) as gateway:
        yield gateway


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    app = Flask("inbox")
    box = Inbox(reply="<xml><return_code><![CDATA[SUCCESS]]></return_code></xml>")

    @app.post("/callbacks/<path:_>")
    def take(_: str) -> Response:
        box.bodies.append(request.get_data())
        box.content_types.append(request.content_type or "")
        return Response(box.reply, status=box.status)

    with serving(app) as url:
        box.url = f"{url}callbacks/payment"
        yield box


@pytest.fixture
def merchant(wechat_gateway: RunningGateway) -> WeChatMerchant:
    return WeChatMerchant(wechat_gateway)


@pytest.fixture
def payer(wechat_gateway: RunningGateway) -> str:
    """A WeChat payer with 1000 yuan in the wallet."""
    return wechat_gateway.control("payers", balance_fen=100000)["payer"]


@pytest.fixture
def alipay_gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    with running(create_alipay, tmp_path) as gateway:
        yield gateway


@pytest.fixture
def alipay_merchant(alipay_gateway: RunningGateway, inbox: Inbox) -> AlipayMerchant:
    """An Alipay merchant whose address answers as Alipay wants it to."""
    inbox.reply = "success"
    return AlipayMerchant(alipay_gateway, inbox.url)


@pytest.fixture
def alipay_payer(alipay_gateway: RunningGateway) -> str:
    """An Alipay payer with 1000 yuan in the wallet."""
    return alipay_gateway.control("payers", balance_fen=100000)["payer"]
