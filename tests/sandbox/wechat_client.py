"""A merchant of the WeChat sandbox by hand: signatures with hashlib, XML with ElementTree."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import requests
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from tests.sandbox.gateways import RunningGateway

ORDER = "D2026112400000000000000000000001"
REFUND = "R2026112400000000000000000000001"
CONTRACT = "M2026112400000000000000000000001"
DEBIT = "P2026112400000000000000000000001"


def text_to_sign(fields: Mapping[str, str], key: str) -> bytes:
    pairs = [f"{name}={fields[name]}" for name in sorted(fields) if fields[name] and name != "sign"]
    return "&".join([*pairs, f"key={key}"]).encode()


def md5(fields: Mapping[str, str], key: str) -> str:
    return hashlib.md5(text_to_sign(fields, key)).hexdigest().upper()


def hmac_sha256(fields: Mapping[str, str], key: str) -> str:
    return hmac.new(key.encode(), text_to_sign(fields, key), hashlib.sha256).hexdigest().upper()


def to_xml(fields: Mapping[str, str]) -> bytes:
    inner = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items())
    return f"<xml>{inner}</xml>".encode()


def from_xml(body: bytes) -> dict[str, str]:
    return {child.tag: child.text or "" for child in ElementTree.fromstring(body)}


class WeChatMerchant:
    """Sends what it is told to, signed as it is told to."""

    def __init__(self, gateway: RunningGateway) -> None:
        issued = gateway.credentials.wechat
        self.gateway = gateway
        self.app_id = issued["LIANJIAO_WECHAT_APP_ID"]
        self.app_secret = issued["LIANJIAO_WECHAT_APP_SECRET"]
        self.merchant_id = issued["LIANJIAO_WECHAT_MERCHANT_ID"]
        self.key = issued["LIANJIAO_WECHAT_API_KEY"]
        self.plan_id = issued["LIANJIAO_WECHAT_PLAN_ID"]

        v3 = gateway.credentials.wechat_v3
        self.serial_no = v3["LIANJIAO_WECHAT_MERCHANT_SERIAL_NO"]
        self.platform_key_id = v3["LIANJIAO_WECHAT_PLATFORM_PUBLIC_KEY_ID"]
        private_pem = Path(v3["LIANJIAO_WECHAT_MERCHANT_PRIVATE_KEY_FILE"]).read_bytes()
        platform_pem = Path(v3["LIANJIAO_WECHAT_PLATFORM_PUBLIC_KEY_FILE"]).read_bytes()
        self._private_key = load_pem_private_key(private_pem, None)
        self._platform_key = load_pem_public_key(platform_pem)

    def send(self, call: str, body: bytes) -> requests.Response:
        return requests.post(self.gateway.url + call, data=body, timeout=10, allow_redirects=False)

    def signed(self, **fields: str) -> dict[str, str]:
        whole = {
            "appid": self.app_id,
            "mch_id": self.merchant_id,
            "nonce_str": "5K8264ILTKCH16CQ2502SI8ZNMTM67VS",
            **fields,
        }
        whole = {name: value for name, value in whole.items() if value is not None}
        make = hmac_sha256 if whole.get("sign_type") == "HMAC-SHA256" else md5
        return {**whole, "sign": make(whole, self.key)}

    def ask(self, call: str, **fields: str) -> dict[str, str]:
        """Return the answer, its signature checked if it should have one."""
        answer = from_xml(self.send(call, to_xml(self.signed(**fields))).content)
        if answer["return_code"] == "SUCCESS":
            make = hmac_sha256 if fields.get("sign_type") == "HMAC-SHA256" else md5
            assert answer["sign"] == make(answer, self.key)
        return answer

    def order(self, payer: str, notify_url: str, /, **changes: str) -> dict[str, str]:
        return {
            "body": "住房公积金缴存",
            "out_trade_no": ORDER,
            "total_fee": "10000",
            "spbill_create_ip": "203.0.113.7",
            "notify_url": notify_url,
            "trade_type": "JSAPI",
            "openid": payer,
            **changes,
        }

    def phone(self, prepay_id: str, *, sign_type: str = "MD5") -> dict[str, str]:
        params = {
            "appId": self.app_id,
            "timeStamp": "1795485600",
            "nonceStr": "5K8264ILTKCH16CQ2502SI8ZNMTM67VS",
            "package": f"prepay_id={prepay_id}",
            "signType": sign_type,
        }
        make = hmac_sha256 if sign_type == "HMAC-SHA256" else md5
        signature = make(params, self.key)
        return {name: text for name, text in params.items() if name != "appId"} | {
            "paySign": signature
        }

    def place_and_pay(self, payer: str, notify_url: str, /, **changes: str) -> dict:
        placed = self.ask("pay/unifiedorder", **self.order(payer, notify_url, **changes))
        phone = self.phone(placed["prepay_id"], sign_type=changes.get("sign_type", "MD5"))
        return self.gateway.control("pay", payer=payer, phone=phone)

    def refund(self, refund_fee: str, number: str = REFUND, **changes: str) -> dict[str, str]:
        fields = {
            "out_trade_no": ORDER,
            "out_refund_no": number,
            "total_fee": "10000",
            "refund_fee": refund_fee,
            **changes,
        }
        return self.ask("secapi/pay/refund", **fields)

    def signing(self, notify_url: str, /, **changes: str | int | None) -> dict[str, str | int]:
        """Return the extraData with which the person is sent to sign."""
        fields: dict[str, str | int | None] = {
            "appid": self.app_id,
            "mch_id": self.merchant_id,
            "plan_id": self.plan_id,
            "contract_code": CONTRACT,
            "request_serial": 1795485600000,
            "contract_display_account": "测试用户",
            "notify_url": notify_url,
            "timestamp": 1795485600,
            **changes,
        }
        kept = {name: value for name, value in fields.items() if value is not None}
        make = hmac_sha256 if kept.get("sign_type") == "HMAC-SHA256" else md5
        return {**kept, "sign": make({name: str(value) for name, value in kept.items()}, self.key)}

    def sign_contract(self, payer: str, notify_url: str, /, **changes: str | int | None) -> str:
        """Return the contract_id of a contract that the person has signed."""
        extra_data = self.signing(notify_url, **changes)
        return self.gateway.control("contracts/sign", payer=payer, extra_data=extra_data)[
            "contract_id"
        ]

    def debit(self, contract_id: str, notify_url: str, /, **changes: str) -> dict[str, str]:
        fields = {
            "body": "住房公积金缴存",
            "out_trade_no": DEBIT,
            "total_fee": "10000",
            "spbill_create_ip": "203.0.113.7",
            "notify_url": notify_url,
            "trade_type": "PAP",
            "contract_id": contract_id,
            **changes,
        }
        return self.ask("pay/pappayapply", **fields)

    def announcement(self, amount_fen: int, **changes: object) -> dict[str, object]:
        content = {
            "mchid": self.merchant_id,
            "appid": self.app_id,
            "deduct_duration": {"count": 3, "unit": "DAY"},
            "estimated_amount": {"amount": amount_fen, "currency": "CNY"},
            **changes,
        }
        return {name: value for name, value in content.items() if value is not None}

    def authorization(self, path: str, body: bytes, **changes: str) -> str:
        """Return the header of a POST, its timestamp that of the gateway's clock."""
        given = {
            "mchid": self.merchant_id,
            "nonce_str": "5K8264ILTKCH16CQ2502SI8ZNMTM67VS",
            "timestamp": str(int(self.gateway.clock.now().timestamp())),
            "serial_no": self.serial_no,
            **changes,
        }
        text = f"POST\n{path}\n{given['timestamp']}\n{given['nonce_str']}\n".encode()
        signature = self._private_key.sign(text + body + b"\n", PKCS1v15(), SHA256())
        given.setdefault("signature", base64.b64encode(signature).decode())
        pairs = ",".join(f'{name}="{value}"' for name, value in given.items())
        return f"WECHATPAY2-SHA256-RSA2048 {pairs}"

    def announce(self, contract_id: str, content: object, **changes: str) -> requests.Response:
        path, body = f"/v3/papay/contracts/{contract_id}/notify", json.dumps(content).encode()
        headers = {
            "Authorization": self.authorization(path, body, **changes),
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        url = self.gateway.url.rstrip("/") + path
        return requests.post(url, data=body, headers=headers, timeout=10)

    def verify_v3(self, answer: requests.Response) -> None:
        """Fail the test unless this answer is signed by the platform."""
        assert answer.headers["Wechatpay-Serial"] == self.platform_key_id
        stamp, nonce = (answer.headers[f"Wechatpay-{name}"] for name in ("Timestamp", "Nonce"))
        text = f"{stamp}\n{nonce}\n".encode() + answer.content + b"\n"
        signature = base64.b64decode(answer.headers["Wechatpay-Signature"])
        self._platform_key.verify(signature, text, PKCS1v15(), SHA256())
