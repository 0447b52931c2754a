"""The processes of one test: they can be killed one by one, and none of them outlives the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The guard leads the group. The pipe to it closes however the test run ends, also when it is
# killed.
_GUARD = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.stdin.read()
os.killpg(0, signal.SIGKILL)
"""


@dataclass
class Process:
    """One process that was started, with all that it started itself."""

    running: subprocess.Popen[bytes]

    def is_alive(self) -> bool:
        return self.running.poll() is None

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.running.pid}/task/{self.running.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def kill(self) -> None:
        """Kill it and its children with -9, as a machine that loses power does."""
        if self.is_alive():
            # Stopped first, so that no new child appears meanwhile.
            self.running.send_signal(signal.SIGSTOP)
            for child in self.children():
                os.kill(child, signal.SIGKILL)
            self.running.kill()
        self.running.wait()

    def kill_children(self, count: int | None = None) -> None:
        """Kill so many of its children (or all) with -9; it may start new ones."""
        for child in self.children()[:count]:
            os.kill(child, signal.SIGKILL)


class Group:
    """Starts processes in the root of the repository; each writes to the end of a log.

    Use as a context manager: everything is killed when it ends.
    """

    def __init__(self) -> None:
        self._started: list[Process] = []
        self._guard = subprocess.Popen(
            [sys.executable, "-c", _GUARD], stdin=subprocess.PIPE, process_group=0
        )

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()
        for process in self._started:
            process.running.wait()

    def start(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
        with log.open("ab") as output:
            running = subprocess.Popen(
                command,
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=self._guard.pid,
            )
        process = Process(running)
        self._started.append(process)
        return process
