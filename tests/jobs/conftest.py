"""The fund with simulated channels, on each database."""

from __future__ import annotations

import pytest

from app.domain.ports import Ports
from tests.conftest import MovableClock
from tests.fund import Fund


@pytest.fixture
def fund(ports: Ports, clock: MovableClock) -> Fund:
    return Fund.around(ports, clock)
