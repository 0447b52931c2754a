"""开门 Everything that must run before the story can begin, on a data folder made anew."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from demo.phone import Door, Gateway
from demo.processes import Processes
from demo.screen import DemoFailed, Screen
from demo.system import FLASK, System

# Policy figures have dates: on its own clock the demo tells the same story in any year.
BEGINS_AT = datetime.fromisoformat("2026-11-24T10:00:00+08:00")

WEB_PORT, WECHAT_PORT, ALIPAY_PORT, BANK_PORT, SFTP_PORT = 8000, 9201, 9202, 9203, 9222

TEMPLATES = {
    topic: f"DEMO-{topic}"
    for topic in ("mandate_active", "debit_due", "debit_succeeded", "debit_failed")
}
"""Messages for which both platforms have granted a template: their topics and the ids."""

_MARK = ".made-by-demo"


@dataclass(frozen=True)
class House:
    """What runs, and how to get in."""

    system: System
    wechat: Gateway
    alipay: Gateway
    bank: Gateway
    staff_password: str

    @property
    def api(self) -> Door:
        """The product's own door."""
        return self.system.api


def make_folder(path: Path) -> None:
    """Make the data folder anew; one that the demo has not made is left alone.

    Raises:
        DemoFailed: it cannot be made, or holds something else.
    """
    try:
        if path.exists():
            if any(path.iterdir()) and not (path / _MARK).exists():
                raise DemoFailed(f"{path} 中有演示以外的内容，未作删除；请用 --data 另选目录")
            shutil.rmtree(path)
        path.mkdir(mode=0o700, parents=True)
        (path / "logs").mkdir()
        (path / _MARK).touch()
    except OSError as error:
        raise DemoFailed(f"无法新建数据目录 {path}：{error.strerror}") from None


def clean_environment() -> dict[str, str]:
    """Return the environment without the settings of another installation."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LIANJIAO_", "FLASK_"))}
    return kept | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONUTF8": "1"}


def open_house(
    processes: Processes, environment: dict[str, str], data: Path, screen: Screen
) -> House:
    """Issue credentials, set up the database, start every process, and wait until all answer.

    Args:
        environment: what `processes` are started with; the settings are added to it.

    Raises:
        DemoFailed: a command or a process did not do its part.
    """
    wechat_port, alipay_port, bank_port, sftp_port = free_ports(
        (WECHAT_PORT, ALIPAY_PORT, BANK_PORT, SFTP_PORT)
    )
    gateways = (
        Gateway("wechat", "微信", wechat_port),
        Gateway("alipay", "支付宝", alipay_port),
        Gateway("bank", "银行", bank_port),
    )
    system = System(processes, environment, take_port(WEB_PORT), gateways, begins_at=BEGINS_AT)
    house = House(system, *gateways, staff_password=f"Demo-{secrets.token_hex(5)}")

    processes.run("credentials", "-m", "sandbox", "credentials", "--data", str(data))
    for gateway, *more in (
        (house.wechat,),
        (house.alipay,),
        (house.bank, "--sftp-port", str(sftp_port)),
    ):
        where = ("--data", str(data), "--port", gateway.url.rpartition(":")[2], *more)
        processes.start(gateway.platform, "-m", "sandbox", gateway.platform, *where)
    screen.fact(
        f"沙箱网关已启动，各有自己的密钥和账簿：微信 {house.wechat.url}，"
        f"支付宝 {house.alipay.url}，银行 {house.bank.url}"
    )

    data_key = processes.run("keys", "-m", "app.commands.keys", "new", "k1").splitlines()[-1]
    environment |= _settings(house, data, data_key=data_key, sftp_port=sftp_port)
    processes.run("database", *FLASK, "db", "upgrade")
    processes.run("policy", *FLASK, "policy", "load")
    processes.run("calendar", *FLASK, "calendar", "import")
    # Not as an argument: everybody on the machine can read those.
    environment["LIANJIAO_DEMO_PASSWORD"] = house.staff_password
    processes.run("staff", *FLASK, "demo", "staff")
    del environment["LIANJIAO_DEMO_PASSWORD"]
    screen.fact("数据库已建立（SQLite），政策参数已载入，演示工作人员已创建")

    with screen.waiting("等待各进程就绪"):
        system.start()
    # What the product got API v3 for: debits under this plan are announced.
    house.wechat.control("plans/change", mode="PRE_NOTICE")
    # 应用网关: what a centre enters in Alipay's console.
    house.alipay.control("merchant/address", url=f"{house.api.url}/callbacks/alipay/gateway")
    screen.fact(f"业务系统与定时任务已启动：{house.api.url}")
    screen.fact(f"业务时间从 {BEGINS_AT:%Y-%m-%d %H:%M} 开始")
    return house


def free_ports(preferred: Sequence[int]) -> list[int]:
    """Return as many free ports of the loopback, the preferred ones where nobody has them."""
    held: list[socket.socket] = []
    try:
        for port in preferred:
            held.append(take_port(port))
        return [server.getsockname()[1] for server in held]
    finally:
        for server in held:
            server.close()


def take_port(preferred: int) -> socket.socket:
    """Listen on a port of the loopback, another one if somebody has the preferred one."""
    try:
        return socket.create_server(("127.0.0.1", preferred))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


def _settings(house: House, data: Path, *, data_key: str, sftp_port: int) -> dict[str, str]:
    """Return the product's environment variables; the credentials file gives its own unread."""
    credentials = json.loads((data / "credentials.json").read_text(encoding="utf-8"))
    templates = ",".join(f"{topic}:{template_id}" for topic, template_id in TEMPLATES.items())
    return {
        **credentials["wechat"],
        **credentials["wechat_v3"],
        **credentials["alipay"],
        **credentials["bank"],
        "LIANJIAO_ENVIRONMENT": "demo",
        "LIANJIAO_DATABASE_URL": f"sqlite:///{data / 'lianjiao.sqlite'}",
        "LIANJIAO_PUBLIC_BASE_URL": house.api.url,
        "LIANJIAO_DATA_KEYS": data_key,
        "LIANJIAO_INDEX_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "LIANJIAO_WECHAT_PAY_BASE_URL": f"{house.wechat.url}/",
        "LIANJIAO_WECHAT_API_BASE_URL": f"{house.wechat.url}/",
        # What the sandbox's plan allows.
        "LIANJIAO_WECHAT_MANDATE_CAP_FEN_MAX": "500000",
        "LIANJIAO_WECHAT_MESSAGE_TEMPLATES": templates,
        "LIANJIAO_ALIPAY_MESSAGE_TEMPLATES": templates,
        "LIANJIAO_ALIPAY_GATEWAY_URL": f"{house.alipay.url}/gateway.do",
        "LIANJIAO_BANK_GATEWAY_URL": f"{house.bank.url}/gateway/",
        "LIANJIAO_BANK_SFTP_HOST": "127.0.0.1",
        "LIANJIAO_BANK_SFTP_PORT": str(sftp_port),
    }
