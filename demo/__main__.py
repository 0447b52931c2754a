"""`python -m demo`: open the house, tell the story, and keep serving until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from demo.house import House, clean_environment, make_folder, open_house
from demo.processes import Processes
from demo.screen import DemoFailed, Screen
from demo.story import Story

ROOT = Path(__file__).resolve().parent.parent
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if the whole story was told, 1 if a step failed, 130 if it was interrupted."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="连缴演示")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "var" / "demo", help="数据目录，每次运行都删除并新建"
    )
    data: Path = parser.parse_args(arguments).data.resolve()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    screen = Screen()
    try:
        screen.step("连缴演示")
        make_folder(data)
        screen.fact(f"数据目录已清空并新建：{data}")
        return _run(screen, data)
    except DemoFailed as failure:
        screen.fail(failure)
        return 1


def _run(screen: Screen, data: Path) -> int:
    environment = clean_environment()
    told = False
    try:
        with Processes(ROOT, data / "logs", environment) as processes:
            house = open_house(processes, environment, data, screen)
            story = Story(house, processes, screen)
            _tell(story, processes)
            told = True
            if not os.environ.get("CI") and sys.stdin.isatty() and sys.stdout.isatty():
                _serve(story, house, processes, screen)
    except KeyboardInterrupt:
        screen.say()
    screen.say("演示的全部进程已停止。" if told else "演示被中断，全部进程已停止。")
    return 0 if told else INTERRUPTED


def _tell(story: Story, processes: Processes) -> None:
    try:
        story.tell()
    except DemoFailed as failure:
        # What looks like a wrong answer is often a process that has died.
        processes.check()
        raise DemoFailed(f"{failure}\n{processes.last_lines('web')}") from None


def _serve(story: Story, house: House, processes: Processes, screen: Screen) -> None:
    """Say how to get in, and stay until somebody interrupts."""
    api = house.api.url
    screen.step("系统仍在运行，按 Ctrl-C 停止")
    screen.say(f"""\
  接口文档      {api}/docs
  微信沙箱      {house.wechat.url}/_control/books
  支付宝沙箱    {house.alipay.url}/_control/books
  银行沙箱      {house.bank.url}/_control/books
  工作人员      clerk（经办）、reviewer（复核），密码 {house.staff_password}

查看骑手的账户（令牌七日内有效）：
  curl -s -H 'Authorization: Bearer {story.wechat.token}' {api}/api/v1/account

工作人员登录：
  curl -s -H 'Content-Type: application/json' {api}/staff/api/v1/session \\
    -d '{{"username": "reviewer", "password": "{house.staff_password}"}}'

为骑手取新的微信登录码（五分钟内一次有效），再用它登录：
  curl -s {house.wechat.url}/_control/login_codes -d '{{"payer": "{story.wechat.payer}"}}'
  curl -s -H 'Content-Type: application/json' {api}/api/v1/session \\
    -d '{{"platform": "wechat", "code": "……"}}'
""")
    while True:
        processes.check()
        time.sleep(0.5)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
