"""The real application on the test databases, with a channel and log-ins in memory."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from apiflask import APIFlask
from pydantic import SecretStr
from werkzeug.serving import make_server

from app.db import db
from app.domain.ports import Channels, Ports
from app.domain.ports.logins import LoginPlatform
from app.factory import create_app
from app.metrics import count_callback
from config.settings import AlipaySettings, Settings, WeChatSettings
from tests.conftest import MovableClock
from tests.debit_channel import DebitChannel
from tests.domain.people import FakeLogin
from tests.mandate_channel import MandateChannel
from tests.routes.callers import Doors
from tests.routes.debited import Debited
from tests.simulated_channel import SimulatedChannel


@pytest.fixture
def logins() -> Mapping[str, LoginPlatform]:
    return {"wechat": FakeLogin(), "alipay": FakeLogin()}


@pytest.fixture
def channel(clock: MovableClock) -> SimulatedChannel:
    return SimulatedChannel(now=clock.now)


@pytest.fixture
def debiting_bank(clock: MovableClock) -> DebitChannel:
    return DebitChannel(clock.now)


@pytest.fixture
def ports(ports: Ports, channel: SimulatedChannel, debiting_bank: DebitChannel) -> Ports:
    both = {"wechat": channel, "alipay": channel}
    mandating = {"bank": MandateChannel(), "wechat": MandateChannel(needs_card=False)}
    channels = Channels(
        paying=both,
        refunding=both,
        calling_back=both,
        mandating=mandating,
        debiting={"bank": debiting_bank},
    )
    return replace(ports, channels=channels, count_callback=count_callback)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that no port is built from: the tests bring their own."""
    return Settings(
        environment="test",
        database_url=f"sqlite:///{tmp_path}/unused.sqlite",
        public_base_url="https://fund.example",
        data_keys=SecretStr(""),
        index_key=SecretStr(""),
        wechat=WeChatSettings(
            app_id="wx", app_secret=SecretStr(""), merchant_id="1", api_key=SecretStr("")
        ),
        alipay=AlipaySettings(
            app_id="1",
            seller_id="1",
            app_private_key_file=tmp_path / "unused",
            alipay_public_key_file=tmp_path / "unused",
        ),
    )


@pytest.fixture
def build_app() -> Iterator[Callable[[Settings, Ports], APIFlask]]:
    """Builds applications; afterwards the process logs as before and their engines are closed."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    built: list[APIFlask] = []

    def build(settings: Settings, ports: Ports) -> APIFlask:
        built.append(create_app(settings, ports=ports))
        return built[-1]

    yield build
    root.handlers[:], root.level = handlers, level
    for app in built:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def app(
    build_app: Callable[[Settings, Ports], APIFlask], settings: Settings, ports: Ports
) -> APIFlask:
    """The application, as `wsgi.py` builds it, on the ports of the test."""
    return build_app(settings, ports)


@pytest.fixture
def origin(app: APIFlask) -> Iterator[str]:
    """The address at which the application answers."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def log_lines(app: APIFlask, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Returns the lines that the application's own handler has written so far."""
    written = io.StringIO()
    (handler,) = (
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter)
    )
    monkeypatch.setattr(handler, "stream", written)
    return lambda: written.getvalue().splitlines()


@pytest.fixture
def doors(app: APIFlask, ports: Ports, channel: SimulatedChannel) -> Doors:
    return Doors(app.test_client(), ports, channel)


@pytest.fixture
def debited(doors: Doors, clock: MovableClock, debiting_bank: DebitChannel) -> Debited:
    return Debited(doors, clock, debiting_bank)
