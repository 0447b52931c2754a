"""A merchant of the Alipay sandbox by hand: signatures with `cryptography`, answers cut by offset.

It shares no code with the gateway and none with the product.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import requests
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from tests.sandbox.gateways import RunningGateway

ORDER = "D2026112400000000000000000000001"
REFUND = "R2026112400000000000000000000001"
NOW = "2026-11-24 10:00:30"


def top_level(text: str) -> dict[str, str]:
    """Return the raw text of every value of a JSON object, by name, as it stands there."""
    decoder, parts, at = json.JSONDecoder(), {}, text.index("{") + 1
    while True:
        at = text.index('"', at)
        name, at = decoder.raw_decode(text, at)
        start = at + len(text[at:]) - len(text[at:].lstrip(" :"))
        _, at = decoder.raw_decode(text, start)
        assert name not in parts
        parts[name] = text[start:at]
        if text[at:].strip() == "}":
            return parts


class AlipayMerchant:
    """Sends what it is told to, signed as it is told to."""

    def __init__(self, gateway: RunningGateway, notify_url: str) -> None:
        issued = gateway.credentials.alipay
        self.gateway = gateway
        self.notify_url = notify_url
        self.app_id = issued["LIANJIAO_ALIPAY_APP_ID"]
        self.seller_id = issued["LIANJIAO_ALIPAY_SELLER_ID"]
        self.private_pem = Path(issued["LIANJIAO_ALIPAY_APP_PRIVATE_KEY_FILE"]).read_bytes()
        self.alipay_pem = Path(issued["LIANJIAO_ALIPAY_ALIPAY_PUBLIC_KEY_FILE"]).read_bytes()
        self._key = load_pem_private_key(self.private_pem, None)
        self._alipay_key = load_pem_public_key(self.alipay_pem)

    def sign(self, fields: Mapping[str, str], encoding: str = "utf-8", hashed=SHA256) -> str:
        pairs = [f"{name}={fields[name]}" for name in sorted(fields) if fields[name]]
        text = "&".join(pairs).encode(encoding)
        return base64.b64encode(self._key.sign(text, PKCS1v15(), hashed())).decode()

    def verify(self, content: bytes, signature: str) -> None:
        """Fail the test unless this is the gateway's signature of exactly these bytes."""
        self._alipay_key.verify(base64.b64decode(signature), content, PKCS1v15(), SHA256())

    def signed(
        self, method: str, content: object = None, /, **changes: str | None
    ) -> dict[str, str]:
        """Return the parameters of a request; a change to None leaves one out before signing."""
        fields: dict[str, str | None] = {
            "app_id": self.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": NOW,
            "version": "1.0",
            "notify_url": self.notify_url if method == "alipay.trade.create" else None,
        }
        if content is not None:
            is_text = isinstance(content, str)
            fields["biz_content"] = content if is_text else json.dumps(content, ensure_ascii=False)
        fields |= changes
        kept = {name: value for name, value in fields.items() if value is not None}
        encoding = "gb18030" if kept.get("charset", "").upper() == "GBK" else "utf-8"
        return {**kept, "sign": self.sign(kept, encoding)}

    def post(self, fields: Mapping[str, str], encoding: str = "utf-8") -> requests.Response:
        """POST with the charset in the address and in the form."""
        return requests.post(
            f"{self.gateway.url}gateway.do?charset={fields['charset']}",
            data=urlencode(fields, encoding=encoding).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            timeout=10,
            allow_redirects=False,
        )

    def read(self, body: bytes, encoding: str = "utf-8") -> dict:
        """Return the node of an answer, its signature checked over the bytes as they came."""
        parts = top_level(body.decode(encoding))
        [name] = [name for name in parts if name.endswith("_response")]
        self.verify(parts[name].encode(encoding), json.loads(parts["sign"]))
        return json.loads(parts[name])

    def ask(self, method: str, content: object = None, /, **changes: str | None) -> dict:
        return self.read(self.post(self.signed(method, content, **changes)).content)

    def order(self, payer: str, **changes: object) -> dict[str, object]:
        content = {
            "out_trade_no": ORDER,
            "total_amount": "100.00",
            "subject": "住房公积金缴存",
            "body": "灵活就业人员缴存",
            "product_code": "JSAPI_PAY",
            "op_app_id": self.app_id,
            "buyer_open_id": payer,
            "timeout_express": "30m",
            **changes,
        }
        return {name: value for name, value in content.items() if value is not None}

    def create(self, payer: str, **changes: object) -> dict:
        return self.ask("alipay.trade.create", self.order(payer, **changes))

    def create_and_pay(self, payer: str, **changes: object) -> str:
        """Return the trade_no of a trade that is paid."""
        trade_no = self.create(payer, **changes)["trade_no"]
        self.gateway.control("pay", payer=payer, phone={"tradeNO": trade_no})
        return trade_no

    def query(self, number: str = ORDER, **changes: str) -> dict:
        return self.ask("alipay.trade.query", {"out_trade_no": number}, **changes)

    def refund(self, amount: str, number: str | None = REFUND, **changes: str) -> dict:
        content = {"out_trade_no": ORDER, "refund_amount": amount}
        if number is not None:
            content["out_request_no"] = number
        return self.ask("alipay.trade.refund", content, **changes)

    def refund_query(self, number: str = REFUND, **changes: str) -> dict:
        content = {"out_trade_no": ORDER, "out_request_no": number}
        return self.ask("alipay.trade.fastpay.refund.query", content, **changes)

    def read_notice(self, body: bytes, encoding: str = "utf-8") -> dict[str, str]:
        """Return the fields of a notice, its signature checked over all that was sent."""
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, encoding=encoding)
        fields = dict(pairs)
        assert len(fields) == len(pairs)
        names = sorted(fields.keys() - {"sign", "sign_type"})
        text = "&".join(f"{name}={fields[name]}" for name in names)
        self.verify(text.encode(encoding), fields["sign"])
        return fields
