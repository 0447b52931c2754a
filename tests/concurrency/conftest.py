"""MariaDB only: SQLite lets one writer in at a time, so there is nothing to race there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import URL, create_engine

from app.db import prepare_engine
from tests.concurrency.processes import open_fund
from tests.conftest import empty_tables, load_baseline_policy
from tests.fund import Fund


@pytest.fixture
def fund(mariadb_url: URL) -> Iterator[Fund]:
    """A fund on an empty MariaDB that other processes can join."""
    engine = prepare_engine(create_engine(mariadb_url))
    empty_tables(engine)
    load_baseline_policy(engine)
    yield open_fund(engine)
    engine.dispose()
