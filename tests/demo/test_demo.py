"""`python -m demo` as a stranger runs it: the story, failures, and what is left behind (nothing).

Every run has a mark in its environment, which each process that it starts inherits.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from demo.house import free_ports, make_folder, take_port

MARK = "DEMO_TEST_MARK"
PATIENCE_SECONDS = 900

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="needs /proc to find processes left behind"
)


@dataclass
class Demo:
    """A running demo: its process, what it printed so far, and how to find all its processes."""

    process: subprocess.Popen[bytes]
    output_fd: int
    mark: str
    output: str = ""

    def read_until(self, text: str | None) -> str:
        """Read until `text` was printed, or to the end for None; return all that was printed."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text is None or text not in self.output:
            left = deadline - time.monotonic()
            assert select.select([self.output_fd], [], [], max(left, 0))[0], self.output
            try:
                more = os.read(self.output_fd, 65536)
            except OSError:  # How Linux tells that a terminal's other side is closed.
                more = b""
            if not more:
                assert text is None, self.output
                break
            self.output += more.decode(errors="replace")
        return self.output

    def finish(self) -> int:
        """Read to the end and return the exit status."""
        self.read_until(None)
        return self.process.wait(PATIENCE_SECONDS)

    def processes(self, part: str = "") -> list[int]:
        """Return the processes of this run that still live, those with `part` in the command."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:  # It has just ended, or is not ours.
                continue
            if f"{MARK}={self.mark}".encode() in environment and part.encode() in command:
                found.append(int(folder.name))
        return found

    def has_left_nothing(self) -> bool:
        deadline = time.monotonic() + 30
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        return not self.processes()


@pytest.fixture
def start(repository_root: Path, tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Start demos on `tmp_path / "demo"`; what a failing test leaves is ended."""
    started: list[Demo] = []

    def run(data: Path = tmp_path / "demo", *, terminal: bool = False) -> Demo:
        mark = uuid.uuid4().hex
        environment = {k: v for k, v in os.environ.items() if k != "CI"} | {MARK: mark}
        ours, theirs = pty.openpty() if terminal else os.pipe()
        demo = Demo(
            subprocess.Popen(
                [sys.executable, "-m", "demo", "--data", str(data)],
                cwd=repository_root,
                env=environment,
                stdin=theirs if terminal else subprocess.DEVNULL,
                stdout=theirs,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ),
            ours,
            mark,
        )
        os.close(theirs)
        started.append(demo)
        return demo

    yield run
    for demo in started:
        for pid in demo.processes():
            os.kill(pid, signal.SIGKILL)
        demo.process.wait()
        os.close(demo.output_fd)


def test_the_story_holds_on_a_terminal_and_without_one_side_by_side(
    start: Callable[..., Demo], tmp_path: Path
):
    plain = start()
    plain.read_until("业务时间从")  # From here on its ports are taken.
    served = start(tmp_path / "served", terminal=True)

    served.read_until('"code": "……"')
    command = re.search(r"curl -s -H '(Authorization): (Bearer \S+)' (\S+)", served.output)
    assert command is not None
    header, token, url = command.groups()
    account = requests.get(url, headers={header: token}, timeout=30).json()
    assert account["balance_fen"] == 160000
    served.process.send_signal(signal.SIGINT)
    assert served.finish() == 0, served.output

    assert plain.finish() == 0, plain.output
    for demo in (plain, served):
        assert "账务核验通过" in demo.output
        summary = demo.output.partition("演示结果")[2]
        assert dict(re.findall(r"│ (\S+) +│ +(-?[\d,]+\.\d\d) │", summary)) == {
            "微信缴存": "700.00",  # 500 + 200
            "微信扣款": "300.00",
            "微信退款": "-200.00",
            "支付宝缴存": "300.00",
            "支付宝扣款": "400.00",
            "银行扣款": "500.00",
            "开户补贴": "900.00",  # two children, a degree, neither: 300 + 400 + 200
            "三人账户余额": "2,900.00",  # 700 + 300 - 200 + 300 + 400 + 500 + 900
        }
        assert "78 项检查全部通过" in summary
        assert demo.has_left_nothing()


def test_a_gateway_that_dies_fails_the_demo_and_is_named(start: Callable[..., Demo]):
    demo = start()
    demo.read_until("骑手用微信登录")
    [gateway] = demo.processes("-m sandbox alipay")
    os.kill(gateway, signal.SIGKILL)
    assert demo.finish() == 1, demo.output
    assert "✗ 演示失败：进程 alipay 已意外退出" in demo.output
    assert "alipay.log 的末尾" in demo.output
    assert demo.has_left_nothing()


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_nothing_outlives_the_demo_however_it_ends(
    start: Callable[..., Demo], number: signal.Signals, status: int
):
    demo = start()
    demo.read_until("沙箱网关已启动")
    assert demo.processes("-m sandbox wechat")
    demo.process.send_signal(number)
    assert demo.process.wait(PATIENCE_SECONDS) == status
    assert demo.has_left_nothing()


def test_an_interrupt_while_the_clock_jumps_leaves_nothing(start: Callable[..., Demo]):
    demo = start()
    demo.read_until("时间快进到 2026-12-09 08:31")
    demo.process.send_signal(signal.SIGINT)
    assert demo.finish() == 130, demo.output
    assert "演示被中断，全部进程已停止" in demo.output
    assert demo.has_left_nothing()


def test_a_folder_that_the_demo_has_not_made_is_left_alone(
    start: Callable[..., Demo], tmp_path: Path
):
    treasure = tmp_path / "treasure.txt"
    treasure.write_text("不可删除")
    demo = start(tmp_path)
    assert demo.finish() == 1
    assert "✗ 演示失败：" in demo.output
    assert "中有演示以外的内容，未作删除" in demo.output
    assert treasure.read_text() == "不可删除"


def test_a_folder_that_cannot_be_made_is_said_so(start: Callable[..., Demo], tmp_path: Path):
    (tmp_path / "file").touch()
    demo = start(tmp_path / "file" / "demo")
    assert demo.finish() == 1
    assert f"✗ 演示失败：无法新建数据目录 {tmp_path}/file/demo" in demo.output


def test_a_folder_of_an_earlier_run_is_made_anew(tmp_path: Path):
    make_folder(tmp_path / "demo")
    (tmp_path / "demo" / "lianjiao.sqlite").touch()
    make_folder(tmp_path / "demo")
    assert not (tmp_path / "demo" / "lianjiao.sqlite").exists()


def test_a_port_that_is_taken_is_replaced_by_a_free_one():
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        [port] = free_ports([taken])
    assert port not in {0, taken}


def test_nobody_moves_in_where_the_web_listens_while_it_starts_anew():
    with take_port(0) as doorstep:
        held = doorstep.getsockname()[1]
        [port] = free_ports([held])
        assert port not in {0, held}
