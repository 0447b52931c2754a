"""The whole product under attack: its real doors, its real adapters, a database, its log.

The channels at which orders are placed are simulated; what comes in at `/callbacks` is read by the
adapters of the product, with keys that the tests have too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from apiflask import APIFlask
from sqlalchemy import Engine

from app.domain.ports import Channels, Ports
from tests.attacks.siege import Siege
from tests.attacks.witness import Witness
from tests.conftest import MovableClock
from tests.payments import alipay_hand, wechat_hand
from tests.routes.callers import Doors
from tests.routes.conftest import (  # noqa: F401  fixtures
    app,
    build_app,
    log_lines,
    logins,
    origin,
    settings,
)
from tests.simulated_channel import SimulatedChannel

SECRETS = (
    wechat_hand.KEY,
    wechat_hand.APP_SECRET,
    "测试用户",
    "13800000000",
    "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    alipay_hand.OPEN_ID,
)


@pytest.fixture
def channels(clock: MovableClock) -> dict[str, SimulatedChannel]:
    return {"wechat": SimulatedChannel(clock.now), "alipay": SimulatedChannel(clock.now)}


@pytest.fixture
def ports(ports: Ports, channels: dict[str, SimulatedChannel]) -> Ports:
    real = {"wechat": wechat_hand.channel(), "alipay": alipay_hand.channel()}
    return replace(ports, channels=Channels(paying=channels, refunding=channels, calling_back=real))


@pytest.fixture
def witness(engine: Engine, log_lines: Callable[[], list[str]]) -> Witness:  # noqa: F811
    return Witness(engine, log_lines, list(SECRETS))


@pytest.fixture
def siege(
    app: APIFlask,  # noqa: F811
    ports: Ports,
    channels: dict[str, SimulatedChannel],
    clock: MovableClock,
    witness: Witness,
) -> Siege:
    doors = Doors(app.test_client(), ports, channels["wechat"])
    return Siege(doors, ports, channels, clock, witness)
