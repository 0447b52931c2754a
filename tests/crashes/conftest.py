"""A MariaDB of one's own for the test process, and a house on it with a line that can be bad."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import empty_tables, load_baseline_policy, migrate_to_head
from tests.crashes.house import House, open_house
from tests.crashes.mariadb import APPLICATION_USER, MariaDb
from tests.crashes.processes import Group
from tests.crashes.wire import Wire

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")


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


@pytest.fixture(scope="module")
def house(
    group: Group, mariadb: MariaDb, wire: Wire, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A house without a scheduler that reaches its database over the wire."""
    with open_house(
        group,
        tmp_path_factory.mktemp("house"),
        database=mariadb.url(APPLICATION_USER, port=wire.port),
        engine=mariadb.admin,
        database_timeout_seconds="3",
    ) as house:
        yield house
