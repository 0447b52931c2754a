"""Alipay by hand: signatures with `cryptography`, JSON with f-strings. Shares nothing with the SDK.

The keys are the throw-away ones of the published vectors.
"""

from __future__ import annotations

import atexit
import base64
import json
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from app.domain.ports.debits import DebitRequest
from app.domain.ports.mandates import Cycle, MandateRequest
from app.domain.ports.payments import PaymentRequest, RefundRequest
from app.payments.alipay.channel import AlipayPay
from app.payments.alipay.debits import AlipayDebits
from app.payments.reasons import ReasonTable
from config.reason_files import load_reasons
from config.settings import AlipaySettings

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "alipay.json").read_text(encoding="utf-8")
)
APP_ID = "2021000000000001"
SELLER = "2088000000000001"
OPEN_ID = "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5"
ORDER = "D" + "0" * 30 + "1"
REFUND = "R" + "0" * 30 + "1"
TRADE = "2026112422001400000000000001"
MANDATE = "M" + "0" * 30 + "1"
AGREEMENT = "20265224000000000001"
SCENE = "INDUSTRY|HOUSING_FUND"
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)

PAYMENT = PaymentRequest(
    order_no=ORDER,
    amount_fen=4500,
    description="灵活就业人员住房公积金缴存",
    payer_ref=OPEN_ID,
    expires_at=NOW + timedelta(minutes=30),
    client_ip="203.0.113.9",
)
REFUNDING = RefundRequest(
    order_no=ORDER,
    refund_no=REFUND,
    amount_fen=1500,
    total_fen=4500,
    reason="缴存人申请退回",
)
MANDATING = MandateRequest(
    mandate_no=MANDATE,
    cap_fen=4500,
    period_cap_fen=4500,
    cycle=Cycle.MONTH,
    first_due_on=date(2026, 12, 10),
    valid_from=date(2026, 11, 24),
    valid_to=date(2028, 11, 30),
    display_name="公积金账户尾号1234",
    payer_ref=OPEN_ID,
)
DEBITING = DebitRequest(
    order_no=ORDER,
    amount_fen=4500,
    description="2026年12月 住房公积金缴存",
    mandate_reference=AGREEMENT,
)

# The node in which each call is answered.
CREATE = "alipay_trade_create_response"
QUERY = "alipay_trade_query_response"
CLOSE = "alipay_trade_close_response"
REFUND_NODE = "alipay_trade_refund_response"
REFUND_QUERY = "alipay_trade_fastpay_refund_query_response"
AGREEMENT_QUERY = "alipay_user_agreement_query_response"
UNSIGN = "alipay_user_agreement_unsign_response"
PAY = "alipay_trade_pay_response"
ERROR = "error_response"

_FOLDER = Path(tempfile.mkdtemp(prefix="alipay-keys-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


def key_file(name: str, pem: str | bytes) -> Path:
    """Write a PEM file that lives as long as the test run."""
    file = _FOLDER / name
    file.write_bytes(pem.encode() if isinstance(pem, str) else pem)
    return file


def private_pem(key: RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def public_pem(key: RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@cache
def another_key(bits: int = 2048) -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=bits)


APP_KEY_FILE = key_file("app-private.pem", VECTORS["keys"]["app_private"])
ALIPAY_KEY_FILE = key_file("alipay-public.pem", VECTORS["keys"]["alipay_public"])
_ALIPAY_KEY = load_pem_private_key(VECTORS["keys"]["alipay_private"].encode(), None)
_APP_PUBLIC_KEY = load_pem_public_key(VECTORS["keys"]["app_public"].encode())


def settings(url: str = "http://127.0.0.1:1/", **changes: object) -> AlipaySettings:
    values: dict[str, object] = {
        "app_id": APP_ID,
        "seller_id": SELLER,
        "app_private_key_file": APP_KEY_FILE,
        "alipay_public_key_file": ALIPAY_KEY_FILE,
        "gateway_url": url + "gateway.do",
    }
    return AlipaySettings.model_validate(values | changes)


def channel(
    url: str = "http://127.0.0.1:1/", *, read_timeout: float = 2.0, **changes: object
) -> AlipayPay:
    return AlipayPay(
        settings(url, **changes),
        callback_base_url="https://fund.example",
        reasons=ReasonTable(load_reasons("alipay"), channel="alipay"),
        connect_timeout=1.0,
        read_timeout=read_timeout,
        now=lambda: NOW,
    )


def debits(
    url: str = "http://127.0.0.1:1/",
    product: str = "merchant_deduct",
    *,
    read_timeout: float = 2.0,
    **changes: object,
) -> AlipayDebits:
    granted = {"debit_product": product, "sign_scene": SCENE, "mandate_cap_fen_max": 500_000}
    return AlipayDebits(
        settings(url, **granted | changes),
        callback_base_url="https://fund.example",
        reasons=ReasonTable(load_reasons("alipay"), channel="alipay"),
        connect_timeout=1.0,
        read_timeout=read_timeout,
        now=lambda: NOW,
    )


def sign(
    content: bytes, key: RSAPrivateKey = _ALIPAY_KEY, hashed: type[HashAlgorithm] = SHA256
) -> str:
    return base64.b64encode(key.sign(content, PKCS1v15(), hashed())).decode()


# Requests


def text_to_sign(fields: Mapping[str, str]) -> str:
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields))


def read_sent(body: bytes) -> dict[str, str]:
    """The form that we sent, its signature checked; fails the test if it is not ours."""
    pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    fields = dict(pairs)
    assert len(fields) == len(pairs)
    assert all(fields.values()), "an empty value must be neither sent nor signed"
    signature = base64.b64decode(fields.pop("sign"))
    _APP_PUBLIC_KEY.verify(signature, text_to_sign(fields).encode(), PKCS1v15(), SHA256())
    return fields


def read_content(body: bytes) -> dict[str, object]:
    return json.loads(read_sent(body)["biz_content"])


# Answers


def node(**fields: object) -> dict[str, object]:
    """What a good answer of the gateway says to anything."""
    return {"code": "10000", "msg": "Success", "out_trade_no": ORDER, "trade_no": TRADE, **fields}


def refusal(sub_code: str, code: str = "40004", **fields: object) -> dict[str, object]:
    told = {"code": code, "msg": "Business Failed", "sub_code": sub_code, "sub_msg": "不能办理"}
    return {**told, **fields}


def text_of(content: Mapping[str, object]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")


def envelope(name: str, text: str, signature: str | None) -> bytes:
    """An answer with this raw node and this signature."""
    tail = "" if signature is None else f',"sign":"{signature}"'
    return f'{{"{name}":{text}{tail}}}'.encode()


def answer(name: str, content: Mapping[str, object]) -> bytes:
    """A genuine answer in the node `name`."""
    text = text_of(content)
    return envelope(name, text, sign(text.encode()))


def without(content: Mapping[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in content.items() if key != name}


def paid(**fields: object) -> dict[str, object]:
    """A query's answer: 45.00 yuan paid at 10:01:02."""
    return node(
        buyer_logon_id="138****0000",
        buyer_open_id=OPEN_ID,
        buyer_pay_amount="0.00",
        invoice_amount="0.00",
        point_amount="0.00",
        receipt_amount="0.00",
        send_pay_date="2026-11-24 10:01:02",
        total_amount="45.00",
        trade_status="TRADE_SUCCESS",
    ) | dict(fields)


def refunded(**fields: object) -> dict[str, object]:
    """A refund's answer: 15.00 of 45.00 yuan went back, 20.00 with those before."""
    return node(
        buyer_logon_id="138****0000",
        buyer_open_id=OPEN_ID,
        fund_change="Y",
        gmt_refund_pay="2026-11-24 10:05:06",
        refund_detail_item_list=[{"amount": "15.00", "fund_channel": "ALIPAYACCOUNT"}],
        refund_fee="20.00",
        send_back_fee="15.00",
    ) | dict(fields)


def refund_found(**fields: object) -> dict[str, object]:
    return node(
        out_request_no=REFUND,
        refund_amount="15.00",
        total_amount="45.00",
        refund_status="REFUND_SUCCESS",
        gmt_refund_pay="2026-11-24 10:05:06",
    ) | dict(fields)


def debited(**fields: object) -> dict[str, object]:
    """A debit's answer: 45.00 yuan taken at 10:01:02."""
    return node(
        buyer_logon_id="138****0000",
        buyer_open_id=OPEN_ID,
        buyer_pay_amount="45.00",
        gmt_payment="2026-11-24 10:01:02",
        receipt_amount="45.00",
        total_amount="45.00",
    ) | dict(fields)


def agreement(**fields: object) -> dict[str, object]:
    """A query's answer about an agreement: signed at 9:29:59, for two years."""
    return {
        "code": "10000",
        "msg": "Success",
        "agreement_no": AGREEMENT,
        "external_agreement_no": MANDATE,
        "alipay_open_id": OPEN_ID,
        "personal_product_code": "GENERAL_WITHHOLDING_P",
        "sign_scene": SCENE,
        "status": "NORMAL",
        "sign_time": "2026-11-24 09:29:59",
        "valid_time": "2026-11-24 09:29:59",
        "invalid_time": "2028-12-01 09:29:59",
        **fields,
    }


# Notices


def agreement_notice(**fields: str) -> dict[str, str]:
    """An agreement signed at 9:29:59, as its notice tells it."""
    return {
        "app_id": APP_ID,
        "auth_app_id": APP_ID,
        "charset": "utf-8",
        "version": "1.0",
        "sign_type": "RSA2",
        "notify_type": "dut_user_sign",
        "notify_id": "2026112400222092959000000000000004",
        "notify_time": "2026-11-24 09:30:00",
        "agreement_no": AGREEMENT,
        "external_agreement_no": MANDATE,
        "alipay_open_id": OPEN_ID,
        "alipay_logon_id": "138****0000",
        "personal_product_code": "GENERAL_WITHHOLDING_P",
        "sign_scene": SCENE,
        "status": "NORMAL",
        "sign_time": "2026-11-24 09:29:59",
        "valid_time": "2026-11-24 09:29:59",
        "invalid_time": "2028-12-01 09:29:59",
        **fields,
    }


def end_notice(**fields: str) -> dict[str, str]:
    """The agreement ended at 9:59:59."""
    told = agreement_notice(
        notify_type="dut_user_unsign", status="UNSIGN", unsign_time="2026-11-24 09:59:59"
    )
    unsaid = {"sign_time", "valid_time", "invalid_time"}
    return {name: value for name, value in told.items() if name not in unsaid} | fields


def notice(**fields: str) -> dict[str, str]:
    """45.00 yuan paid at 10:01:02, as a trade's notice tells it."""
    return {
        "app_id": APP_ID,
        "auth_app_id": APP_ID,
        "charset": "utf-8",
        "version": "1.0",
        "sign_type": "RSA2",
        "notify_type": "trade_status_sync",
        "notify_id": "2026112400222100102000000000000001",
        "notify_time": "2026-11-24 10:01:03",
        "trade_no": TRADE,
        "out_trade_no": ORDER,
        "buyer_open_id": OPEN_ID,
        "buyer_logon_id": "138****0000",
        "seller_id": SELLER,
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "45.00",
        "receipt_amount": "45.00",
        "buyer_pay_amount": "45.00",
        "point_amount": "0.00",
        "subject": "住房公积金灵活缴存",
        "body": "",
        "gmt_create": "2026-11-24 10:00:00",
        "gmt_payment": "2026-11-24 10:01:02",
        "fund_bill_list": '[{"amount":"45.00","fundChannel":"ALIPAYACCOUNT"}]',
        **fields,
    }


def refund_notice(**fields: str) -> dict[str, str]:
    """15.00 yuan went back, 20.00 with those before: alike but for three fields."""
    return notice(
        **{
            "refund_fee": "20.00",
            "gmt_refund": "2026-11-24 10:05:06.123",
            "out_biz_no": REFUND,
            **fields,
        }
    )


def closed_notice(**fields: str) -> dict[str, str]:
    """Nobody paid in time."""
    told = notice(trade_status="TRADE_CLOSED", refund_fee="0.00", gmt_close="2026-11-24 10:30:00")
    unsaid = {"gmt_payment", "receipt_amount", "buyer_pay_amount", "fund_bill_list"}
    return {name: value for name, value in told.items() if name not in unsaid} | fields


def platform_message(**fields: str) -> dict[str, str]:
    return {
        "app_id": APP_ID,
        "charset": "GBK",
        "sign_type": "RSA2",
        "version": "1.0",
        "notify_id": "2026112400222100000000000000000009",
        "notify_time": "2026-11-24 10:00:00",
        "notify_type": "servicemarket_order_notify",
        "title": "公积金小程序",
        **fields,
    }


def form(fields: Mapping[str, str], encoding: str = "utf-8") -> bytes:
    return urlencode(fields, encoding=encoding).encode()


def signed(
    fields: Mapping[str, str],
    *,
    rule: str = "V1",
    key: RSAPrivateKey = _ALIPAY_KEY,
    encoding: str = "utf-8",
    hashed: type[HashAlgorithm] = SHA256,
) -> bytes:
    """The body of a notice, signed by the rule of trades (V1) or of the platform (V2)."""
    left_out = {"sign", "sign_type"} if rule == "V1" else {"sign"}
    text = text_to_sign({name: fields[name] for name in fields.keys() - left_out})
    return form({**fields, "sign": sign(text.encode(encoding), key, hashed)}, encoding)
