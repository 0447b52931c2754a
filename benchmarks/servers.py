"""What a run starts and ends by itself: a private MariaDB, the web workers, django-hordak."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HORDAK_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchmarkFailed(Exception):
    """Something did not start, or money was lost."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its running children have used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / _TICKS
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu_seconds(int(child)) for child in children)


@contextmanager
def private_mariadb(folder: Path) -> Iterator[tuple[int, int]]:
    """Run a MariaDB that acknowledges a commit only when it is on the disk; give port and pid."""
    data, port = folder / "db", _free_port()
    owner = "mysql" if os.geteuid() == 0 else getpass.getuser()
    if os.geteuid() == 0:
        folder.chmod(0o755)
        data.mkdir()
        shutil.chown(data, owner)
    own = ("--no-defaults", f"--user={owner}", f"--datadir={data}")
    install = ("mariadb-install-db", *own, "--auth-root-authentication-method=normal")
    subprocess.run((*install, "--skip-test-db"), check=True, capture_output=True)
    command = (
        *("mariadbd", *own, f"--socket={data / 's.sock'}", f"--port={port}"),
        *("--bind-address=127.0.0.1", "--character-set-server=utf8mb4"),
        *("--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=512M"),
    )
    with _running(command, folder / "mariadb.log") as pid:
        _wait_for(lambda: _accepts(port), "MariaDB")
        yield port, pid


@contextmanager
def web_workers(folder: Path) -> Iterator[tuple[int, int]]:
    """Run the product as its image does, which here is a worker a core; give port and pid."""
    port = _free_port()
    command = (
        *(sys.executable, "-m", "gunicorn", "--workers", "2", "--threads", "8"),
        *("--worker-tmp-dir", "/dev/shm", "--no-control-socket"),  # noqa: S108 the heartbeat only
        *("--bind", f"127.0.0.1:{port}", "wsgi:app"),
    )
    with _running(command, folder / "web.log") as pid:
        _wait_for(lambda: _accepts(port), "gunicorn")
        yield port, pid


def run(*arguments: str) -> None:
    """Run `python …` of the product to its end."""
    subprocess.run((sys.executable, *arguments), cwd=ROOT, check=True, capture_output=True)


class Hordak:
    """django-hordak in its own environment, posting on demand."""

    def __init__(self, port: int) -> None:
        command = (HORDAK_PYTHON, ROOT / "benchmarks" / "hordak_posting.py", str(port))
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        if self._read() != "ready":
            raise BenchmarkFailed("django-hordak does not start")

    def __enter__(self) -> Hordak:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def post(self, seconds: float) -> float:
        """Post the two legs of a deposit for so long, one client; return postings a second."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return float(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def _running(command: tuple[str, ...], log: Path) -> Iterator[int]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_for(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"{what} does not answer")
        time.sleep(0.1)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
