"""A MariaDB of the test's own, on a data folder and a port of its own, to be killed at will."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from pathlib import Path

from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from app.db import prepare_engine
from tests.crashes.processes import Group, Process

_USER = getpass.getuser()
APPLICATION_USER = "lianjiao"
PATIENCE_SECONDS = 120


class MariaDb:
    """A server with durable commits. The database `lianjiao` is made by `create_database`.

    Attributes:
        admin: engine of the server's administrator, which no trouble of the application touches.
    """

    def __init__(self, group: Group, data: Path, *options: str) -> None:
        self.data = data
        self.port = free_port()
        self._group = group
        self._options = options
        self._process: Process | None = None
        self.admin = prepare_engine(create_engine(self.url("root"), poolclass=NullPool))
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--user={_USER}",
                f"--datadir={data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *options,
            ],
            check=True,
            capture_output=True,
        )

    def url(self, user: str, *, port: int = 0) -> URL:
        """Return the address for a user, by way of another port if one is given."""
        return URL.create(
            "mysql+pymysql", user, "", "127.0.0.1", port or self.port, "lianjiao"
        ).update_query_dict({"charset": "utf8mb4"})

    def start(self) -> None:
        """Start it, after a kill too; it may take a moment until it answers."""
        self._process = self._group.start(
            [
                "mariadbd",
                "--no-defaults",
                f"--user={_USER}",
                f"--datadir={self.data}",
                "--socket=server.sock",
                f"--port={self.port}",
                "--bind-address=127.0.0.1",
                "--character-set-server=utf8mb4",
                "--innodb-flush-log-at-trx-commit=1",
                "--innodb-buffer-pool-size=64M",
                "--performance-schema=OFF",
                *self._options,
            ],
            os.environ,
            self.data.with_suffix(".log"),
        )

    def kill(self) -> None:
        """Kill it with -9."""
        assert self._process is not None
        self._process.kill()

    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with self.server().connect():
                    return
            except DBAPIError:
                assert self.is_alive(), "MariaDB has ended"
                assert time.monotonic() < deadline, "MariaDB does not answer"
                time.sleep(0.1)

    def server(self) -> Engine:
        """Return an engine of the administrator that needs no database of ours."""
        return create_engine(self.url("root").set(database="mysql"), poolclass=NullPool)

    def create_database(self) -> None:
        """Make the database, and a user for the application with the rights it has in production.

        The tables are the migrations' business.
        """
        with self.server().begin() as connection:
            connection.execute(text("CREATE DATABASE lianjiao CHARACTER SET utf8mb4"))
            connection.execute(text(f"CREATE USER {APPLICATION_USER}@'%'"))
        self.grant()

    def grant(self) -> None:
        """Give the application its rights."""
        rights = "SELECT, INSERT, UPDATE, DELETE"
        self.execute(f"GRANT {rights} ON lianjiao.* TO {APPLICATION_USER}@'%'")

    def hang_up_on(self, user: str) -> None:
        """End every connection of a user."""
        self.execute(f"KILL USER {user}")

    def execute(self, statement: str) -> None:
        """Run one statement as the administrator."""
        with self.admin.begin() as connection:
            connection.execute(text(statement))


def free_port() -> int:
    """Return a port of the loopback that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
