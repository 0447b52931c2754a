"""What production demands of its settings: without the first part no process starts.

`flask doctor` tells every demand; the factory refuses what can't be anything but a mistake.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

from config.settings import BankSettings, Settings, WeChatSettings

# The platforms' own: https to any other address would be somebody else's.
WECHAT_PAY_HOSTS = frozenset({"api.mch.weixin.qq.com", "api2.mch.weixin.qq.com"})
WECHAT_HOSTS = frozenset(
    {
        "api.weixin.qq.com",
        "api2.weixin.qq.com",
        "sh.api.weixin.qq.com",
        "sz.api.weixin.qq.com",
        "hk.api.weixin.qq.com",
    }
)
ALIPAY_HOSTS = frozenset({"openapi.alipay.com"})

# The example of WeChat Pay's own documentation.
PUBLISHED_KEYS = frozenset({"192006250b4c09247ec02edce69f6a2d"})
# What the sandbox and the demo leave in the folder of the keys that they make.
DEMO_MARKS = ("credentials.json", ".made-by-demo")

PASSWORD_LENGTH_MIN = 12
TOKEN_LENGTH_MIN = 16
KEY_LENGTH_MIN = 32

_FROM_CHANCE = "请以 openssl rand 或 app.commands.keys new 随机生成"


@dataclass(frozen=True, slots=True)
class Demand:
    """One demand: what it is about, whether it is met, and what to do if not."""

    subject: str
    met: bool
    advice: str


def demands_to_start(settings: Settings, *, debug: bool) -> Iterator[Demand]:
    """Yield what a process in production must not start without.

    Args:
        debug: whether the web framework is in debug mode.
    """
    yield Demand("调试模式关闭", not debug, "请勿使用 --debug 或 FLASK_DEBUG")
    yield Demand("断言有效", __debug__, "请勿以 python -O 或 PYTHONOPTIMIZE 运行")
    offset = settings.clock_offset_seconds
    yield Demand("业务时钟未偏移", offset == 0, "不得设置 LIANJIAO_CLOCK_OFFSET_SECONDS")
    on_server = settings.database_url.startswith("mysql")
    yield Demand("数据库为 MariaDB/MySQL", on_server, "SQLite 只用于演示与开发")
    is_https = settings.public_base_url.scheme == "https"
    yield Demand("对外地址使用 https", is_https, "渠道通知地址必须为 https")
    for subject, url, hosts in (
        ("微信支付地址", settings.wechat.pay_base_url, WECHAT_PAY_HOSTS),
        ("微信接口地址", settings.wechat.api_base_url, WECHAT_HOSTS),
        ("支付宝网关地址", settings.alipay.gateway_url, ALIPAY_HOSTS),
    ):
        yield Demand(subject, _is_at(url, hosts), "只能是该平台的正式地址，不得指向仿真网关")
    yield from _keys(settings)
    if settings.wechat.has_v3:
        yield from _wechat_v3(settings.wechat)
    if settings.bank is not None:
        yield from _bank(settings.bank)


def demands_to_serve(settings: Settings) -> Iterator[Demand]:
    """Yield what production is not complete without, though it can start."""
    has_certificate = settings.wechat.client_cert_file is not None
    yield Demand("微信退款证书", has_certificate, "退款需要商户证书")
    yield Demand("日志级别", settings.log_level != "DEBUG", "DEBUG 日志可能包含敏感内容")
    database = urlsplit(settings.database_url)
    user, password = unquote(database.username or ""), unquote(database.password or "")
    yield Demand("数据库用户", user not in ("", "root"), "请用只有增删改查权限的专用用户")
    weak = is_weak_text(password, length=PASSWORD_LENGTH_MIN) or user.lower() in password.lower()
    yield Demand("数据库密码强度", not weak, f"不少于 {PASSWORD_LENGTH_MIN} 位，{_FROM_CHANCE}")
    token = settings.metrics_token.get_secret_value()
    weak = bool(token) and is_weak_text(token, length=TOKEN_LENGTH_MIN)
    yield Demand("监控令牌强度", not weak, f"不少于 {TOKEN_LENGTH_MIN} 位，{_FROM_CHANCE}")


def is_weak_key(key: bytes) -> bool:
    """Whether a key of bytes was typed, counted or repeated, and not drawn.

    Of 32 bytes that were drawn some 30 are different, hardly two steps between neighbours are
    equal, and one in 10^14 keys holds nothing but printable characters.
    """
    return (
        len(key) < KEY_LENGTH_MIN
        or len(set(key)) <= len(key) // 2
        or len(_steps(key)) <= len(key) // 4
        or (key.isascii() and key.decode().isprintable())
    )


def is_weak_text(secret: str, *, length: int) -> bool:
    """Whether a secret of letters and digits is short, counted, repeated or known to everybody."""
    return (
        len(secret) < length
        or secret.lower() in PUBLISHED_KEYS
        or len(set(secret)) < 7
        or len(_steps(secret.encode())) < 6
        or any(
            secret == (secret[:period] * len(secret))[: len(secret)]
            for period in range(1, len(secret) // 2 + 1)
        )
    )


def _keys(settings: Settings) -> Iterator[Demand]:
    data_keys = [
        _decoded(part.partition(":")[2])
        for part in settings.data_keys.get_secret_value().split(",")
    ]
    index_key = _decoded(settings.index_key.get_secret_value())
    yield Demand("数据密钥强度", not any(map(is_weak_key, data_keys)), _FROM_CHANCE)
    yield Demand("索引密钥强度", not is_weak_key(index_key), _FROM_CHANCE)
    yield Demand("索引密钥与数据密钥不同", index_key not in data_keys, _FROM_CHANCE)
    for subject, secret in (
        ("微信支付密钥强度", settings.wechat.api_key),
        ("微信应用密钥强度", settings.wechat.app_secret),
    ):
        weak = is_weak_text(secret.get_secret_value(), length=KEY_LENGTH_MIN)
        yield Demand(subject, not weak, "过短、有规律或已公开，请在微信平台重新设置")
    files = (settings.alipay.app_private_key_file, settings.alipay.alipay_public_key_file)
    from_demo = any(map(_is_of_demo, files))
    yield Demand("支付宝密钥不是演示密钥", not from_demo, "请换用在支付宝平台登记的密钥")


def _wechat_v3(wechat: WeChatSettings) -> Iterator[Demand]:
    files = (wechat.merchant_private_key_file, wechat.platform_public_key_file)
    from_demo = any(_is_of_demo(file) for file in files if file is not None)
    yield Demand("微信支付 APIv3 密钥不是演示密钥", not from_demo, "请换用在商户平台登记的密钥")


def _bank(bank: BankSettings) -> Iterator[Demand]:
    """The bank has no address that is known beforehand, and may be reached by a private line."""
    address = urlsplit(bank.gateway_url)
    is_outside = address.scheme == "https" and not _is_this_machine(address.hostname or "")
    yield Demand("银行网关地址", is_outside, "必须为 https，且不得指向本机或仿真网关")
    if bank.sftp_host:
        is_outside = not _is_this_machine(bank.sftp_host)
        yield Demand("银行文件服务器地址", is_outside, "不得指向本机或仿真网关")
    files = (
        *(bank.merchant_private_key_file, bank.bank_public_key_file),
        *(bank.sftp_private_key_file, bank.sftp_host_key_file),
    )
    from_demo = any(_is_of_demo(file) for file in files if file is not None)
    yield Demand("银行密钥不是演示密钥", not from_demo, "请换用与银行交换的密钥")


def _is_this_machine(host: str) -> bool:
    if host.rstrip(".").lower() in ("", "localhost", "sandbox"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _is_at(url: str, hosts: frozenset[str]) -> bool:
    address = urlsplit(url)
    return address.scheme == "https" and address.netloc in hosts


def _is_of_demo(file: Path) -> bool:
    return any((file.parent / mark).exists() for mark in DEMO_MARKS)


def _steps(secret: bytes) -> set[int]:
    """Return how far neighbours are apart; of what was counted there is but one or two."""
    return {(after - before) % 256 for before, after in pairwise(secret)}


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        return b""
