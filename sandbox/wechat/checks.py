"""参数检查 Which fields a call needs and how they must look, before any rule is asked."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from urllib.parse import urlsplit

from sandbox.clock import SHANGHAI


class Unacceptable(Exception):
    """The message is refused at the door: `return_code` FAIL, unsigned, with this text."""


class Refusal(Exception):
    """The call is refused: `result_code` FAIL with a code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message


Fields = Mapping[str, str]


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


def _at_most(length: int) -> Callable[[str], bool]:
    return lambda value: len(value.encode()) <= length


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _is_plain_url(value: str) -> bool:
    """Reachable from outside and without parameters of its own."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and not any(mark in value for mark in "?# ")
        and len(value) <= 256
    )


def _is_compact_time(value: str) -> bool:
    return len(value) == 14 and value.isascii() and value.isdigit() and _parses(value)


def _parses(value: str) -> bool:
    try:
        read_compact(value)
    except ValueError:
        return False
    return True


def read_compact(value: str) -> int:
    """Return the instant of a Beijing time `yyyyMMddHHmmss`, in seconds."""
    parsed = datetime.strptime(value, "%Y%m%d%H%M%S").replace(tzinfo=SHANGHAI)
    return int(parsed.timestamp())


_is_fen = _matches(r"[1-9][0-9]{0,8}")

_LOOKS: Mapping[str, Callable[[str], bool]] = {
    "appid": _at_most(32),
    "mch_id": _at_most(32),
    "nonce_str": _matches(r"[0-9A-Za-z]{1,32}"),
    "out_trade_no": _matches(r"[0-9A-Za-z_\-|*]{1,32}"),
    "out_refund_no": _matches(r"[0-9A-Za-z_\-|*@]{1,64}"),
    "transaction_id": _at_most(32),
    "refund_id": _at_most(32),
    "total_fee": _is_fen,
    "refund_fee": _is_fen,
    "body": _at_most(127),
    "attach": _at_most(127),
    "device_info": _at_most(32),
    "detail": _at_most(6000),
    "refund_desc": _at_most(80),
    "openid": _at_most(128),
    "spbill_create_ip": _is_address,
    "notify_url": _is_plain_url,
    "time_start": _is_compact_time,
    "time_expire": _is_compact_time,
    "fee_type": _matches("CNY"),
    "refund_fee_type": _matches("CNY"),
    "offset": _matches(r"[0-9]{1,2}"),
    "bill_date": _matches(r"[0-9]{8}"),
    "tar_type": _matches("GZIP"),
    "plan_id": _matches(r"[0-9]{1,28}"),
    "contract_code": _matches(r"[0-9A-Za-z_\-|*]{1,32}"),
    "contract_id": _at_most(32),
    "contract_display_account": _at_most(32),
    "contract_termination_remark": _at_most(512),
    "request_serial": _matches(r"[0-9]{1,18}"),
    "timestamp": _matches(r"[0-9]{10}"),
    "version": _matches(r"1\.0"),
}

_EITHER_TRADE = ("transaction_id", "out_trade_no")
_EITHER_CONTRACT = ("contract_id", "contract_code", "openid")

_REQUIRED: Mapping[str, tuple[str | tuple[str, ...], ...]] = {
    "pay/unifiedorder": (
        *("body", "out_trade_no", "total_fee", "spbill_create_ip", "notify_url", "trade_type"),
    ),
    "pay/orderquery": (_EITHER_TRADE,),
    "pay/closeorder": ("out_trade_no",),
    "secapi/pay/refund": (_EITHER_TRADE, "out_refund_no", "total_fee", "refund_fee"),
    "pay/refundquery": (("refund_id", "out_refund_no", *_EITHER_TRADE),),
    "pay/downloadbill": ("bill_date",),
    "pay/downloadfundflow": ("bill_date", "account_type"),
    "papay/querycontract": (_EITHER_CONTRACT, "version"),
    "papay/deletecontract": (
        *(("contract_id", "contract_code"), "contract_termination_remark", "version"),
    ),
    "pay/pappayapply": (
        *("body", "out_trade_no", "total_fee", "notify_url", "trade_type", "contract_id"),
        "spbill_create_ip",
    ),
    "pay/paporderquery": (_EITHER_TRADE,),
}

SIGNING = (
    *("mch_id", "plan_id", "contract_code", "request_serial", "contract_display_account"),
    *("notify_url", "timestamp", "sign"),
)
"""What the parameters of a signing must hold besides the appid."""

_WITHOUT_NONCE = frozenset({"papay/querycontract", "papay/deletecontract"})

CALLS = frozenset(_REQUIRED)
"""The paths of the calls that are signed with the API key."""


def check_fields(call: str, fields: Fields) -> None:
    """Check presence, then looks. A tuple of names asks for one of them.

    Raises:
        Unacceptable: naming the first field that will not do.
    """
    nonce = () if call in _WITHOUT_NONCE else ("nonce_str",)
    check_named(("appid", *nonce, *_REQUIRED[call]), fields)


def check_named(required: Sequence[str | tuple[str, ...]], fields: Fields) -> None:
    """Check that what is required is there, then the looks of everything that is.

    Raises:
        Unacceptable: naming the first field that will not do.
    """
    for names in required:
        choice = (names,) if isinstance(names, str) else names
        if not any(fields.get(name) for name in choice):
            raise Unacceptable(f"缺少参数{'或'.join(choice)}")
    for name, looks_right in _LOOKS.items():
        if fields.get(name) and not looks_right(fields[name]):
            raise Unacceptable(f"参数格式校验错误：{name}")
