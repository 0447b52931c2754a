"""参数检查 The fields of a request read strictly, before any rule is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

from sandbox.bank.codes import Refusal, malformed

Content = Mapping[str, object]
"""The JSON of a request."""

ID_KINDS: Mapping[str, str] = {
    "01": r"[0-9]{17}[0-9X]",
    "03": r"[A-Z0-9]{5,17}",
    "04": r"9[0-9]{16}[0-9X]|[A-Z]{3}[0-9]{12}",
    "05": r"[HM][0-9]{8}",
    "06": r"[0-9]{8}",
}
"""Documents: 01 居民身份证（含港澳台居民居住证）, 03 护照, 04 外国人永久居留证, 05 港澳居民来往内地
通行证, 06 台湾居民来往大陆通行证."""

CYCLES = frozenset({"MONTH", "QUARTER"})

_MOST_FEN = 1_000_000_000_00
_ORDER_NO = re.compile(r"[0-9A-Za-z]{8,40}")
_CARD_NO = re.compile(r"62[0-9]{11,17}")
_PHONE = re.compile(r"1[0-9]{10}")
_DAY = re.compile(r"[0-9]{8}")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"


def read_content(body: bytes) -> Content:
    """Return the JSON object of a request.

    Raises:
        Refusal: it is none, or names something twice.
    """

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("字段重复")
        return found

    try:
        content = json.loads(body.decode(), object_pairs_hook=unique)
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise malformed("不是合法的 JSON") from None
    if not isinstance(content, dict):
        raise malformed("不是 JSON 对象")
    return content


def read_text(content: Content, name: str, most: int, *, required: bool = True) -> str:
    """Return a string without control characters; empty if it is missing and may be."""
    value = content.get(name, "")
    if not isinstance(value, str):
        raise malformed(f"{name} 应为字符串")
    if required and not value:
        raise Refusal("13", f"报文交易要素缺失：{name}")
    if len(value) > most or not value.isprintable():
        raise malformed(f"{name} 过长或含控制字符")
    return value


def read_fen(content: Content, name: str) -> int:
    """Return an amount in fen: a whole number, more than nothing."""
    value = content.get(name)
    if value is None:
        raise Refusal("13", f"报文交易要素缺失：{name}")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MOST_FEN:
        raise malformed(f"{name} 应为正整数，单位分")
    return value


def read_order_no(content: Content, name: str = "order_no") -> str:
    """Return one of the merchant's own numbers: 8 to 40 letters and digits."""
    return check_order_no(read_text(content, name, 40), name)


def check_order_no(value: str, name: str = "order_no") -> str:
    if not _ORDER_NO.fullmatch(value):
        raise malformed(f"{name} 应为 8 至 40 位字母和数字")
    return value


def read_day(content: Content, name: str) -> str:
    value = read_text(content, name, 8)
    try:
        if not _DAY.fullmatch(value):
            raise ValueError(value)
        datetime.strptime(value, "%Y%m%d")  # noqa: DTZ007  a day, not an instant
    except ValueError:
        raise malformed(f"{name} 应为 yyyymmdd") from None
    return value


def read_notify_url(content: Content) -> str:
    """Return the address for the result; required, because results come late."""
    url = read_text(content, "notify_url", 256)
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_address = False
    if not is_address or any(mark in url for mark in "#? "):
        raise malformed("notify_url 不是可用的地址")
    return url


def check_card_no(card_no: str) -> None:
    """Refuse what cannot be a card of UnionPay: 13 to 19 digits, prefix 62, Luhn.

    Raises:
        Refusal: 44.
    """
    if not _CARD_NO.fullmatch(card_no) or luhn_digit(card_no[:-1]) != card_no[-1]:
        raise Refusal("44")


def luhn_digit(start: str) -> str:
    """Return the digit that ends a number which starts so."""
    total = 0
    for place, digit in enumerate(reversed(start)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def check_document(id_kind: str, id_no: str) -> None:
    """Refuse a document number of the wrong form.

    Raises:
        Refusal: 10.
    """
    pattern = ID_KINDS.get(id_kind)
    if pattern is None:
        raise malformed(f"id_kind 没有这种证件：{id_kind}")
    if not re.fullmatch(pattern, id_no):
        raise malformed("id_no 与证件类型不符")
    if id_kind == "01":
        total = sum(int(digit) * weight for digit, weight in zip(id_no, _WEIGHTS, strict=False))
        if _CHECK_DIGITS[total % 11] != id_no[-1]:
            raise malformed("id_no 校验位不对")


def check_phone(phone: str) -> None:
    if not _PHONE.fullmatch(phone):
        raise malformed("phone 应为 11 位手机号")
