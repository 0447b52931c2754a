"""网关入口 Requests read from the wire, and let in if their public parameters are right.

Values are verified as they were before form encoding, decoded by the charset that the request
names. For POST the charset must be in the address, because the real gateway decodes by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from sandbox.alipay.accounts import Merchant, Rules, read_spaced, seconds_now
from sandbox.alipay.checks import Content, DoorRefusal, read_content
from sandbox.alipay.signing import request_text
from sandbox.clock import Clock
from sandbox.keys import is_signed

CODECS: Mapping[str, str] = {"utf-8": "utf-8", "gbk": "gb18030", "gb2312": "gb18030"}
"""The charsets of the protocol, in lower case, and what Python calls them."""

_FORM = "application/x-www-form-urlencoded"

_REQUIRED = (
    ("method", "isv.missing-method", "缺少方法名参数"),
    ("app_id", "isv.missing-app-id", "缺少appId参数"),
    ("sign_type", "isv.missing-signature-type", "缺少签名类型参数"),
    ("sign", "isv.missing-signature", "缺少签名参数"),
    ("timestamp", "isv.missing-timestamp", "缺少时间戳参数"),
    ("version", "isv.missing-version", "缺少版本参数"),
)


@dataclass(frozen=True)
class Message:
    """A request as it came: its parameters, decoded, and its charset."""

    fields: Mapping[str, str]
    charset: str

    @property
    def method(self) -> str:
        return self.fields.get("method", "")

    @property
    def codec(self) -> str:
        return CODECS[self.charset.lower()]


@dataclass(frozen=True)
class Call:
    """A request that was let in."""

    method: str
    fields: Mapping[str, str]
    content: Content
    charset: str


def read_message(http_method: str, query: bytes, body: bytes, content_type: str) -> Message:
    """Return the parameters of the address and of the form together.

    Raises:
        DoorRefusal: no form, a parameter twice, no charset where it must be or an unknown one.
    """
    in_address = _pairs(query)
    in_form: list[tuple[str, str]] = []
    if http_method == "POST":
        if content_type.partition(";")[0].strip().lower() != _FORM:
            raise DoorRefusal("isv.invalid-content-type", "请求体应为表单")
        in_form = _pairs(body)
        # Whoever puts it there is free to repeat it in the form.
        charset = dict(in_address).get("charset", "")
        if not charset:
            raise DoorRefusal("isv.invalid-signature", "无效签名：charset 应在请求地址中")
        if ("charset", charset) in in_form:
            in_form.remove(("charset", charset))
    pairs = in_address + in_form
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise DoorRefusal("isv.invalid-parameter", "参数重复")
    charset = fields.get("charset", "")
    codec = CODECS.get(charset.lower())
    if codec is None:
        raise DoorRefusal("isv.invalid-charset", "字符集错误")
    try:
        decoded = {name: value.encode("latin-1").decode(codec) for name, value in fields.items()}
    except UnicodeDecodeError:
        raise DoorRefusal("isv.invalid-charset", "字符集错误") from None
    return Message(decoded, charset)


def _pairs(form: bytes) -> list[tuple[str, str]]:
    """Return names and values; each character of theirs stands for one byte."""
    return parse_qsl(form.decode("latin-1"), keep_blank_values=True, encoding="latin-1")


class Door:
    """Lets in the requests of one application."""

    def __init__(self, clock: Clock, merchant: Merchant, rules: Rules) -> None:
        self._clock = clock
        self._merchant = merchant
        self._rules = rules

    def let_in(self, message: Message) -> Call:
        """Return the call.

        Raises:
            DoorRefusal: a public parameter is missing or wrong, or the signature is.
            Refusal: `biz_content` is not a JSON object.
        """
        fields = message.fields
        for name, sub_code, text in _REQUIRED:
            if not fields.get(name):
                raise DoorRefusal(sub_code, text, code="40001")
        if fields["app_id"] != self._merchant.app_id:
            raise DoorRefusal("isv.invalid-app-id", "无效的AppID参数", is_signed=False)
        if fields["sign_type"] != "RSA2":
            raise DoorRefusal("isv.invalid-signature-type", "无效的签名类型")
        signed = request_text(fields).encode(message.codec)
        if not is_signed(signed, fields["sign"], self._merchant.app_key):
            raise DoorRefusal("isv.invalid-signature", "无效签名")
        self._check_timestamp(fields["timestamp"])
        if fields["version"] != "1.0":
            raise DoorRefusal("isv.invalid-parameter", "无效的版本")
        if fields.get("format", "JSON").upper() not in {"", "JSON"}:
            raise DoorRefusal("isv.invalid-format", "无效的数据格式")
        content = read_content(fields.get("biz_content", ""))
        return Call(message.method, fields, content, message.charset)

    def _check_timestamp(self, text: str) -> None:
        try:
            sent_at = read_spaced(text)
        except ValueError:
            raise DoorRefusal("isv.invalid-timestamp", "非法的时间戳参数") from None
        tolerance = self._rules.timestamp_tolerance_seconds
        if tolerance is not None and abs(sent_at - seconds_now(self._clock)) > tolerance:
            raise DoorRefusal("isv.invalid-timestamp", "非法的时间戳参数：与北京时间相差过大")
