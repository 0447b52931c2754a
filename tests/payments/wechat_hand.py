"""WeChat Pay by hand: signatures with hashlib, XML with f-strings. Shares nothing with the SDK."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from xml.etree import ElementTree

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from pydantic import SecretStr

from app.payments.reasons import ReasonTable
from app.payments.wechat.channel import WeChatPay
from app.payments.wechat.debiting import WeChatDebits
from config.reason_files import load_reasons
from config.settings import WeChatSettings

APP_ID = "wxd930ea5d5a258f4f"
MERCHANT = "10000100"
KEY = "192006250b4c09247ec02edce69f6a2d"
APP_SECRET = "s3cr3t00000000000000000000000000"
ORDER = "D" + "0" * 30 + "1"
REFUND = "R" + "0" * 30 + "1"
MANDATE = "M" + "0" * 30 + "1"
CONTRACT = "202611240000000001"
PLAN = "123456"
OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


def settings(url: str = "http://127.0.0.1:1/", **changes: object) -> WeChatSettings:
    values: dict[str, object] = {
        "app_id": APP_ID,
        "app_secret": SecretStr(APP_SECRET),
        "merchant_id": MERCHANT,
        "api_key": SecretStr(KEY),
        "pay_base_url": url,
        "api_base_url": url,
    }
    return WeChatSettings.model_validate(values | changes)


def channel(url: str = "http://127.0.0.1:1/", *, read_timeout: float = 2.0) -> WeChatPay:
    return WeChatPay(
        settings(url),
        callback_base_url="https://fund.example",
        reasons=ReasonTable(load_reasons("wechat"), channel="wechat"),
        connect_timeout=1.0,
        read_timeout=read_timeout,
        now=lambda: NOW,
    )


def debits(
    url: str = "http://127.0.0.1:1/", *, read_timeout: float = 2.0, **changes: object
) -> WeChatDebits:
    return WeChatDebits(
        settings(url, plan_id=PLAN, **changes),
        callback_base_url="https://fund.example",
        reasons=ReasonTable(load_reasons("wechat"), channel="wechat"),
        connect_timeout=1.0,
        read_timeout=read_timeout,
        now=lambda: NOW,
    )


def text_to_sign(fields: Mapping[str, str], key: str) -> bytes:
    parts = [f"{name}={fields[name]}" for name in sorted(fields) if fields[name] != ""]
    return "&".join([*parts, f"key={key}"]).encode()


def md5(fields: Mapping[str, str], key: str = KEY) -> str:
    return hashlib.md5(text_to_sign(fields, key)).hexdigest().upper()


def hmac_sha256(fields: Mapping[str, str], key: str = KEY) -> str:
    return hmac.new(key.encode(), text_to_sign(fields, key), hashlib.sha256).hexdigest().upper()


def xml(fields: Mapping[str, str], *, root: str = "xml") -> bytes:
    lines = "".join(f"<{name}><![CDATA[{text}]]></{name}>\n" for name, text in fields.items())
    return f"<{root}>{lines}</{root}>".encode()


def signed(fields: Mapping[str, str], key: str = KEY) -> bytes:
    return xml({**fields, "sign": md5(fields, key)})


def answer(**fields: str) -> dict[str, str]:
    """The fields of a good answer of the gateway to anything."""
    return {
        "return_code": "SUCCESS",
        "return_msg": "OK",
        "appid": APP_ID,
        "mch_id": MERCHANT,
        "nonce_str": "5K8264ILTKCH16CQ2502SI8ZNMTM67VS",
        "result_code": "SUCCESS",
        **fields,
    }


def refusal(code: str, **fields: str) -> dict[str, str]:
    return answer(result_code="FAIL", err_code=code, err_code_des="不能办理", **fields)


def paid(**fields: str) -> dict[str, str]:
    """A query's answer, or with little change a notice: 45.00 yuan paid at 10:01:02."""
    return answer(
        out_trade_no=ORDER,
        trade_state="SUCCESS",
        trade_type="JSAPI",
        openid="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        bank_type="CMC",
        total_fee="4500",
        cash_fee="4500",
        fee_type="CNY",
        transaction_id="4200001234202611240000000001",
        time_end="20261124100102",
    ) | dict(fields)


def notice(**fields: str) -> dict[str, str]:
    """A payment notice has no trade_state and carries is_subscribe."""
    rest = {name: text for name, text in paid().items() if name != "trade_state"}
    return rest | {"is_subscribe": "N"} | dict(fields)


def refund_accepted(**fields: str) -> dict[str, str]:
    return answer(
        out_trade_no=ORDER,
        out_refund_no=REFUND,
        transaction_id="4200001234202611240000000001",
        refund_id="50000001232026112400000000001",
        refund_fee="1500",
        total_fee="4500",
        cash_fee="4500",
    ) | dict(fields)


def refund_found(status: str = "SUCCESS", **fields: str) -> dict[str, str]:
    """Two refunds of one order; ours is the second."""
    return answer(
        out_trade_no=ORDER,
        transaction_id="4200001234202611240000000001",
        total_fee="4500",
        refund_count="2",
        out_refund_no_0="R" + "0" * 30 + "9",
        refund_id_0="50000001232026112400000000009",
        refund_fee_0="100",
        refund_status_0="REFUNDCLOSE",
        out_refund_no_1=REFUND,
        refund_id_1="50000001232026112400000000001",
        refund_fee_1="1500",
        refund_status_1=status,
        refund_success_time_1="2026-11-24 10:05:06",
    ) | dict(fields)


def seal(content: bytes, key: str = KEY) -> str:
    """req_info as the protocol says: AES-256-ECB, key = lower-case hex MD5 of the API key."""
    padding = 16 - len(content) % 16
    cipher = Cipher(
        algorithms.AES(hashlib.md5(key.encode()).hexdigest().encode()), modes.ECB()
    ).encryptor()
    padded = content + bytes([padding]) * padding
    return base64.b64encode(cipher.update(padded) + cipher.finalize()).decode()


def refund_inside(**fields: str) -> dict[str, str]:
    return {
        "out_trade_no": ORDER,
        "out_refund_no": REFUND,
        "transaction_id": "4200001234202611240000000001",
        "refund_id": "50000001232026112400000000001",
        "refund_fee": "1500",
        "settlement_refund_fee": "1500",
        "total_fee": "4500",
        "refund_status": "SUCCESS",
        "success_time": "2026-11-24 10:05:06",
        "refund_account": "REFUND_SOURCE_RECHARGE_FUNDS",
        **fields,
    }


def refund_notice(
    inside: Mapping[str, str] | None = None, *, key: str = KEY, **outside: str
) -> dict[str, str]:
    return {
        "return_code": "SUCCESS",
        "appid": APP_ID,
        "mch_id": MERCHANT,
        "nonce_str": "5K8264ILTKCH16CQ2502SI8ZNMTM67VS",
        "req_info": seal(xml(inside or refund_inside(), root="root"), key),
        **outside,
    }


def read_sent(body: bytes) -> dict[str, str]:
    """What we sent, read by another parser."""
    root = ElementTree.fromstring(body)
    return {child.tag: child.text or "" for child in root}


# 委托代扣


def contract(**fields: str) -> dict[str, str]:
    """A query's answer: signed at 10:00:30."""
    return answer(
        contract_id=CONTRACT,
        plan_id=PLAN,
        request_serial="1795485600000",
        contract_code=MANDATE,
        contract_display_account="公积金账户尾号1234",
        contract_state="0",
        contract_signed_time="2026-11-24 10:00:30",
        contract_expired_time="2036-11-21 10:00:30",
        openid=OPENID,
    ) | dict(fields)


def ended_contract(mode: str = "2", **fields: str) -> dict[str, str]:
    return contract(
        contract_state="1",
        contract_terminated_time="2026-11-25 09:00:00",
        contract_termination_mode=mode,
        contract_termination_remark="不再需要",
    ) | dict(fields)


def contract_ended_here() -> dict[str, str]:
    return answer(contract_id=CONTRACT, plan_id=PLAN, contract_code=MANDATE)


def contract_notice(change: str = "ADD", **fields: str) -> dict[str, str]:
    """No appid and no nonce in it."""
    plain = {
        "return_code": "SUCCESS",
        "result_code": "SUCCESS",
        "mch_id": MERCHANT,
        "contract_code": MANDATE,
        "plan_id": PLAN,
        "openid": OPENID,
        "change_type": change,
        "operate_time": "2026-11-24 10:00:30",
        "contract_id": CONTRACT,
        "request_serial": "1795485600000",
    }
    if change == "DELETE":
        plain["contract_termination_mode"] = "2"
    return plain | dict(fields)


def debited(**fields: str) -> dict[str, str]:
    """A query's answer: 45.00 yuan taken at 10:01:02."""
    return paid(trade_type="PAP", contract_id=CONTRACT) | dict(fields)


def undebited(code: str = "NOTENOUGH", **fields: str) -> dict[str, str]:
    """A query's answer about a debit that failed."""
    return answer(
        out_trade_no=ORDER,
        trade_state="PAY_FAIL",
        trade_type="PAP",
        contract_id=CONTRACT,
        total_fee="4500",
        err_code=code,
        err_code_des="余额不足",
    ) | dict(fields)


def debit_notice(**fields: str) -> dict[str, str]:
    return notice(trade_type="PAP", contract_id=CONTRACT) | dict(fields)


def failed_debit_notice(code: str = "NOTENOUGH", **fields: str) -> dict[str, str]:
    return undebited(code, result_code="FAIL", openid=OPENID) | dict(fields)
