"""子进程 The demo's processes: all in one group, and the group does not outlive the demo."""

from __future__ import annotations

import os
import signal
import subprocess  # nosec B404  # the demo is made of programs
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from demo.screen import DemoFailed

_STOP_SECONDS = 8
_PATIENCE_SECONDS = 60
"""So long a process may take for what it is doing."""

# The guard leads the group. The pipe to it closes however the demo ends, also when it is killed.
_GUARD = f"""
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.stdin.read()
os.killpg(0, signal.SIGTERM)
time.sleep({_STOP_SECONDS})
os.killpg(0, signal.SIGKILL)
"""


class Processes:
    """Starts processes in the repository's root; each writes to a log of its own.

    Args:
        environment: the whole environment of what is started; may be added to meanwhile.
    """

    def __init__(self, root: Path, logs: Path, environment: Mapping[str, str]) -> None:
        self._root = root
        self._logs = logs
        self._environment = environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._guard = subprocess.Popen(
            [sys.executable, "-c", _GUARD], stdin=subprocess.PIPE, process_group=0
        )

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, *arguments: str, inheriting: Sequence[int] = ()) -> None:
        """Start `python …` and leave it running; it adds to `name`.log.

        Args:
            inheriting: descriptors that it shares with the demo.
        """
        self._running[name] = self._open(name, arguments, mode="ab", inheriting=inheriting)

    def end(self, *names: str) -> None:
        """Tell processes to finish what they are doing, and wait until they have ended.

        Raises:
            DemoFailed: one had ended before, or does not end.
        """
        self.check()
        ending = {name: self._running.pop(name) for name in names}
        for process in ending.values():
            process.terminate()
        for name, process in ending.items():
            try:
                process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                raise DemoFailed(f"进程 {name} 未能停止\n{self.last_lines(name)}") from None

    def run(self, name: str, *arguments: str) -> str:
        """Run `python …` to its end and return what it wrote.

        Raises:
            DemoFailed: it ended with an error; the end of its log is in the message.
        """
        if self._open(name, arguments).wait() != 0:
            command = " ".join(arguments)
            raise DemoFailed(f"命令未成功：python {command}\n{self.last_lines(name)}")
        return self._log(name).read_text(encoding="utf-8", errors="replace")

    def check(self) -> None:
        """Make sure that everything started is still running.

        Raises:
            DemoFailed: a process has ended; the end of its log is in the message.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                raise DemoFailed(
                    f"进程 {name} 已意外退出（{process.returncode}）\n{self.last_lines(name)}"
                )

    def wait_until(
        self,
        happened: Callable[[], bool],
        *,
        seconds: float,
        what: str,
        tick: Callable[[int], None] = lambda _left: None,
    ) -> None:
        """Wait for something to happen, telling `tick` how many seconds are left.

        Raises:
            DemoFailed: it did not happen in time, or a process has ended.
        """
        deadline = time.monotonic() + seconds
        while not happened():
            self.check()
            left = deadline - time.monotonic()
            if left <= 0:
                raise DemoFailed(f"{what}：等了 {seconds:.0f} 秒仍未完成")
            tick(round(left))
            time.sleep(0.25)

    def last_lines(self, name: str, count: int = 12) -> str:
        """Return the end of a log, long lines cut."""
        path = self._log(name)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
        return "\n".join([f"日志 {path} 的末尾：", *(f"  {line[:400]}" for line in lines)])

    def stop(self) -> None:
        """End everything that was started, and wait for it."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        for process in self._running.values():
            process.wait()
        self._running.clear()
        # A command that was interrupted, and the guard itself.
        os.killpg(self._guard.pid, signal.SIGKILL)
        self._guard.wait()

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _open(
        self,
        name: str,
        arguments: tuple[str, ...],
        *,
        mode: Literal["wb", "ab"] = "wb",
        inheriting: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        with self._log(name).open(mode) as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self._root,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=self._guard.pid,
                pass_fds=inheriting,
            )
