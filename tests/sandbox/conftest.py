"""A gateway of each kind on a free port of the loopback, and an address for their notices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, Response, request

from sandbox.alipay.server import create_gateway as create_alipay
from sandbox.bank.server import create_gateway as create_bank
from sandbox.credentials import issue_credentials
from sandbox.wechat.server import create_gateway as create_wechat
from tests.sandbox.alipay_client import AlipayMerchant
from tests.sandbox.bank_client import BankMerchant
from tests.sandbox.gateways import Inbox, RunningGateway, copy_credentials, running, serving
from tests.sandbox.wechat_client import WeChatMerchant


@pytest.fixture
def wechat_gateway(tmp_path: Path, issued: Path) -> Iterator[RunningGateway]:
    copy_credentials(issued, tmp_path)
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
        box.headers.append(dict(request.headers))
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
def alipay_gateway(tmp_path: Path, issued: Path) -> Iterator[RunningGateway]:
    copy_credentials(issued, tmp_path)
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


@pytest.fixture(scope="session")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with credentials and nothing else."""
    directory = tmp_path_factory.mktemp("issued")
    issue_credentials(directory)
    return directory


@pytest.fixture
def bank_gateway(tmp_path: Path, issued: Path) -> Iterator[RunningGateway]:
    copy_credentials(issued, tmp_path)
    with running(create_bank, tmp_path) as gateway:
        yield gateway


@pytest.fixture
def bank(bank_gateway: RunningGateway, inbox: Inbox) -> BankMerchant:
    """A fund centre whose address answers as the bank wants it to."""
    inbox.reply = '{"code": "00"}'
    return BankMerchant(bank_gateway, inbox)
