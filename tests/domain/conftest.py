"""The fund with simulated channels, on each database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import pytest
from sqlalchemy.orm import Session

from app.domain.policy import queries
from app.domain.policy.rules import PolicyLine
from app.domain.ports import Ports
from tests.conftest import MovableClock
from tests.fund import Fund


@pytest.fixture
def fund(ports: Ports, clock: MovableClock) -> Fund:
    return Fund.around(ports, clock)


@pytest.fixture
def limits_known_from_2025_to_2027(monkeypatch: pytest.MonkeyPatch) -> None:
    """Caps of the years beside 2026, which nobody has published.

    2025: 30,000.00 × 24 % × 12 = 86,400.00; 2027: 32,000.00 × 24 % × 12 = 92,160.00.
    """
    read_lines = queries.read_lines

    def line(name: str, year: int, value: str) -> PolicyLine:
        return PolicyLine(
            name=name,
            title="测试",
            unit="测试",
            value=value,
            effective_from=date(year, 1, 1),
            until=date(year, 12, 31),
            source="测试",
            status="assumed",
        )

    def read_more_lines(session: Session) -> Mapping[str, Sequence[PolicyLine]]:
        lines = read_lines(session)
        limit, rate = "deposit.base_limit_fen", "deposit.maximum_rate"
        return {
            **lines,
            limit: [line(limit, 2025, "3000000"), *lines[limit], line(limit, 2027, "3200000")],
            rate: [line(rate, 2025, '"0.24"'), *lines[rate]],
        }

    monkeypatch.setattr(queries, "read_lines", read_more_lines)
