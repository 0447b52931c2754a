"""命令行 `python -m sandbox credentials | wechat | alipay | bank`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from flask import Flask
from werkzeug.serving import make_server

from sandbox.alipay.server import create_gateway as create_alipay
from sandbox.bank.server import create_gateway as create_bank
from sandbox.clock import Clock
from sandbox.credentials import CREDENTIALS_FILE, issue_credentials
from sandbox.wechat.server import create_gateway as create_wechat

CreateGateway = Callable[[Path, Clock], Flask]

_GATEWAYS: dict[str, tuple[CreateGateway, int]] = {
    "wechat": (create_wechat, 9201),
    "alipay": (create_alipay, 9202),
    "bank": (create_bank, 9203),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a gateway serves on the loopback until it is interrupted."""
    options = _parser().parse_args(arguments)
    if options.command == "credentials":
        issue_credentials(options.data)
        sys.stdout.write(f"{options.data.resolve() / CREDENTIALS_FILE}\n")
        return 0
    create, _ = _GATEWAYS[options.command]
    if options.command == "bank":
        create = partial(create_bank, sftp_port=options.sftp_port)
    app = create(options.data, Clock(options.clock))
    server = make_server("127.0.0.1", options.port, app, threaded=True)
    sys.stdout.write(f"{options.command} http://127.0.0.1:{server.server_port}/\n")
    sys.stdout.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="沙箱支付网关")
    commands = parser.add_subparsers(dest="command", required=True)
    credentials = commands.add_parser("credentials", help="签发商户凭证（可重复执行）")
    credentials.add_argument("--data", type=Path, required=True, help="数据目录")
    for name, (_, port) in _GATEWAYS.items():
        gateway = commands.add_parser(name, help="启动网关")
        gateway.add_argument("--data", type=Path, required=True, help="数据目录")
        gateway.add_argument("--port", type=int, default=port, help="端口，0 为任选")
        gateway.add_argument("--clock", type=_instant, help="起始时间，ISO 8601，带时区")
        if name == "bank":
            gateway.add_argument("--sftp-port", type=int, default=9222, help="SFTP 端口，0 为任选")
    return parser


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.utcoffset() is None:
        raise argparse.ArgumentTypeError("时间必须带时区")
    return instant


if __name__ == "__main__":
    sys.exit(main())
