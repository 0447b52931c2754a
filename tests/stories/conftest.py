"""A town on each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.stories.town import Town, open_town


@pytest.fixture
def town(engine: Engine, tmp_path: Path) -> Iterator[Town]:
    with open_town(engine, tmp_path) as town:
        yield town
        town.check_books()


@pytest.fixture
def town_with_bank(engine: Engine, tmp_path: Path) -> Iterator[Town]:
    with open_town(engine, tmp_path, with_bank=True) as town:
        yield town
        town.check_books()


@pytest.fixture
def town_with_debits(engine: Engine, tmp_path: Path) -> Iterator[Town]:
    """A town whose bank debits one by one."""
    with open_town(engine, tmp_path, with_bank=True, with_files=False) as town:
        yield town
        town.check_books()


@pytest.fixture(params=["wechat", "alipay"])
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)
