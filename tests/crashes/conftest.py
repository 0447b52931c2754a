"""A MariaDB of one's own for the test process, a line to it that can be bad, a channel apart."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import empty_tables, load_baseline_policy, migrate_to_head
from tests.crashes.house import until
from tests.crashes.mariadb import MariaDb, free_port
from tests.crashes.processes import Group
from tests.crashes.till import Till
from tests.crashes.wire import Wire


@pytest.fixture(scope="session")
def group() -> Iterator[Group]:
    with Group() as group:
        yield group


@pytest.fixture(scope="session")
def server(group: Group) -> Iterator[MariaDb]:
    """A server with the tables of the product, for this test process alone."""
    if shutil.which("mariadbd") is None:
        pytest.skip("mariadbd is not installed: nothing to kill")
    with tempfile.TemporaryDirectory(prefix="lianjiao-") as folder:
        server = MariaDb(group, Path(folder) / "data")
        server.start()
        server.wait_until_up()
        server.create_database()
        migrate_to_head(server.admin)
        yield server
        server.kill()


@pytest.fixture(scope="module")
def mariadb(server: MariaDb) -> MariaDb:
    """The server, running, its tables empty but for the policy."""
    if not server.is_alive():
        server.start()
        server.wait_until_up()
    empty_tables(server.admin)
    load_baseline_policy(server.admin)
    return server


@pytest.fixture(scope="module")
def wire(mariadb: MariaDb) -> Iterator[Wire]:
    with Wire(mariadb.port) as wire:
        yield wire


@pytest.fixture
def till(group: Group, tmp_path: Path) -> Iterator[Till]:
    """A channel that debits, with its books in a process of its own."""
    till = Till(free_port())
    command = [sys.executable, "-m", "tests.crashes.till", str(till.port)]
    process = group.start(command, os.environ, tmp_path / "till.log")
    until(till.is_open, "the till is open")
    yield till
    process.kill()
