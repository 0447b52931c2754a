"""参数检查 Refusals, and the fields of `biz_content` read strictly, before any rule is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

MESSAGES: Mapping[str, str] = {
    "10000": "Success",
    "20000": "Service Currently Unavailable",
    "20001": "Insufficient Token Permissions",
    "40001": "Missing Required Arguments",
    "40002": "Invalid Arguments",
    "40004": "Business Failed",
    "40006": "Insufficient Permissions",
}

Content = Mapping[str, object]
"""A `biz_content`, parsed."""

_MOST_FEN = 100_000_000_00
_YUAN = re.compile(r"(0|[1-9][0-9]{0,8})(?:\.([0-9]{1,2}))?")
_OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_]{1,64}")


class Refusal(Exception):
    """The call is refused; `code` is the gateway's word, `sub_code` the reason."""

    def __init__(self, sub_code: str, message: str, *, code: str = "40004") -> None:
        super().__init__(f"{code} {sub_code} {message}")
        self.code = code
        self.sub_code = sub_code
        self.message = message

    def node(self) -> dict[str, object]:
        """Return the answer that says so."""
        return {
            "code": self.code,
            "msg": MESSAGES.get(self.code, "Unknown Error"),
            "sub_code": self.sub_code,
            "sub_msg": self.message,
        }


class DoorRefusal(Refusal):
    """Refused before the business was asked: a public parameter or the signature."""

    def __init__(
        self, sub_code: str, message: str, *, code: str = "40002", is_signed: bool = True
    ) -> None:
        super().__init__(sub_code, message, code=code)
        self.is_signed = is_signed


def invalid(message: str) -> Refusal:
    return Refusal("ACQ.INVALID_PARAMETER", f"参数无效：{message}")


def read_content(text: str) -> Content:
    """Return the JSON object in `biz_content`; none at all is an empty one."""
    try:
        content = json.loads(text or "{}")
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # UnicodeEncodeError, of half a character, is the former.
        raise invalid("biz_content 不是合法的 JSON") from None
    if not isinstance(content, dict):
        raise invalid("biz_content 不是 JSON 对象")
    return content


def read_text(content: Content, name: str, most: int, *, required: bool = False) -> str:
    """Return a string of at most so many characters, empty if it is missing and may be."""
    value = content.get(name, "")
    if not isinstance(value, str):
        raise invalid(f"{name} 应为字符串")
    if required and not value:
        raise invalid(f"缺少 {name}")
    if len(value) > most:
        raise invalid(f"{name} 超过 {most} 个字符")
    return value


def read_out_trade_no(content: Content) -> str:
    value = read_text(content, "out_trade_no", 64, required=True)
    if not _OUT_TRADE_NO.fullmatch(value):
        raise invalid("out_trade_no 只能含字母、数字和下划线")
    return value


def read_fen(content: Content, name: str) -> int:
    """Return an amount in yuan as fen: 0.01 to 100000000, as a string, two decimals at most."""
    match = _YUAN.fullmatch(read_text(content, name, 12, required=True))
    if match is None:
        raise invalid(f"{name} 应为以元为单位、最多两位小数的字符串")
    amount_fen = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    if not 1 <= amount_fen <= _MOST_FEN:
        raise invalid(f"{name} 应在 0.01 到 100000000 之间")
    return amount_fen


def read_notify_url(fields: Mapping[str, str]) -> str:
    """Return the public parameter `notify_url`, empty if there is none."""
    url = fields.get("notify_url", "")
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_address = False
    if not is_address or len(url) > 256 or any(mark in url for mark in "# "):
        raise invalid("notify_url 不是可用的地址")
    return url
