"""The disk with the books is full: a small file system of memory, where we may mount one.

Where not, `test_database_trouble.py` puts MariaDB's words for it on the wire.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine
from sqlalchemy.pool import NullPool

from tests.conftest import load_baseline_policy, migrate_to_head
from tests.crashes.house import House, accepts, is_honest_refusal, open_house, until
from tests.crashes.mariadb import APPLICATION_USER, MariaDb
from tests.crashes.processes import Group
from tests.crashes.riders import enrol_riders


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Mount a file system of so many megabytes; skips the test where that is not allowed."""
    folder = Path(tempfile.mkdtemp(prefix="lianjiao-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("this machine lets us mount no small file system")
        yield folder
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    finally:
        folder.rmdir()


def fill(disk: Path) -> Path:
    """Fill what is left, and return what fills it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


@pytest.fixture
def house_on_mariadb(group: Group, tmp_path: Path) -> Iterator[tuple[House, Path]]:
    if shutil.which("mariadbd") is None:
        pytest.skip("mariadbd is not installed")
    with small_disk(160) as disk:
        mariadb = MariaDb(group, disk / "data", "--innodb-log-file-size=8M")
        mariadb.start()
        mariadb.wait_until_up()
        mariadb.create_database()
        migrate_to_head(mariadb.admin)
        load_baseline_policy(mariadb.admin)
        database = mariadb.url(APPLICATION_USER)
        with open_house(group, tmp_path, database=database, engine=mariadb.admin) as house:
            yield house, disk
        mariadb.kill()


@pytest.fixture
def house_on_sqlite(
    group: Group, sqlite_template: Path, tmp_path: Path
) -> Iterator[tuple[House, Path]]:
    with small_disk(4) as disk:
        shutil.copy(sqlite_template, disk / "lianjiao.sqlite")
        url = URL.create("sqlite", database=str(disk / "lianjiao.sqlite"))
        engine = create_engine(url, poolclass=NullPool)
        with open_house(group, tmp_path, database=url, engine=engine) as house:
            yield house, disk


@pytest.mark.parametrize("kind", ["mariadb", "sqlite"])
def test_a_full_disk_refuses_notices_until_there_is_room(
    request: pytest.FixtureRequest, kind: str
) -> None:
    house, disk = request.getfixturevalue(f"house_on_{kind}")
    for gateway in house.gateways.values():
        gateway.lose_notices()
    (rider,) = enrol_riders(house, ["wechat"])
    gateway = house.gateways["wechat"]
    first, second = rider.deposit(50_000), rider.deposit(12_150)

    ballast = fill(disk)
    replies = []

    def is_full() -> bool:
        # Some room is left inside the files. Every copy of a notice is kept: so that is used up.
        replies.extend(gateway.deliver(first, copies=50))
        return not all(accepts(reply) for reply in replies)

    until(is_full, "the disk is full")
    replies += gateway.deliver(second)
    assert all(accepts(reply) or is_honest_refusal(reply) for reply in replies)
    answer = rider.ask("POST", "deposits", {"channel": "wechat", "amount_fen": 12_150})
    assert answer.status_code in {201, 503}  # What is refused has the one error shape.

    ballast.unlink()

    def are_accepted() -> bool:
        return all(accepts(*gateway.deliver(order_no)) for order_no in (first, second))

    until(are_accepted, "the notices are accepted")
    house.flask("jobs", "run", "apply-callbacks")
    house.check_books()
    assert rider.balance_fen() == 50_000 + 12_150 + 20_000
