"""接口协议 v3 The one call of API v3 that 委托代扣 needs: JSON, signed with RSA in the headers."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping

from flask import Response

from sandbox.clock import Clock
from sandbox.keys import is_signed, sign
from sandbox.trouble import Trouble
from sandbox.wechat.accounts import Merchant, seconds_now
from sandbox.wechat.announcements import Announcements, Rejection

NOTIFY = "v3/papay/contracts/notify"
"""The place `at` which troubles meet the announcement of a debit."""

_SCHEME = "WECHATPAY2-SHA256-RSA2048"
_PAIR = re.compile(r'(\w+)="([^"]*)"')
_TOLERANCE_SECONDS = 300
_STATUSES = {
    "SIGN_ERROR": 401,
    "NO_AUTH": 403,
    "NOT_FOUND": 404,
    "RATELIMIT_EXCEEDED": 429,
    "SYSTEM_ERROR": 500,
}


class V3Calls:
    """Answers the calls of one merchant."""

    def __init__(self, clock: Clock, merchant: Merchant, announcements: Announcements) -> None:
        self._clock = clock
        self._merchant = merchant
        self._announcements = announcements

    def notify(
        self,
        contract_id: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        trouble: Trouble | None,
    ) -> Response:
        """Answer `/v3/papay/contracts/{contract_id}/notify`; a success has no body."""
        kind = trouble.kind if trouble else ""
        try:
            content = self._let_in(f"POST\n{path}\n", headers, body)
            if trouble is not None and kind == "error":
                raise _asked_for(trouble)
            self._announcements.announce(contract_id, content)
            if trouble is not None and kind == "error_after":
                raise _asked_for(trouble)
        except Rejection as rejection:
            told = {"code": rejection.code, "message": rejection.message}
            written = json.dumps(told, ensure_ascii=False).encode()
            return self._write(rejection.status, written, kind)
        return self._write(204, b"", kind)

    def _let_in(
        self, first_lines: str, headers: Mapping[str, str], body: bytes
    ) -> Mapping[str, object]:
        """Return the content of a request of our merchant's.

        Raises:
            Rejection: not signed with the certificate that it names, stale, or no JSON object.
        """
        scheme, _, pairs = headers.get("Authorization", "").partition(" ")
        given = dict(_PAIR.findall(pairs))
        text = f"{first_lines}{given.get('timestamp')}\n{given.get('nonce_str')}\n".encode()
        if (
            scheme != _SCHEME
            or given.get("mchid") != self._merchant.merchant_id
            or given.get("serial_no") != self._merchant.serial_no
            or not given.get("nonce_str")
            or not is_signed(
                text + body + b"\n", given.get("signature", ""), self._merchant.merchant_key
            )
        ):
            raise Rejection(401, "SIGN_ERROR", "签名错误，请检查后再试")
        timestamp = given.get("timestamp", "")
        now = seconds_now(self._clock)
        if not timestamp.isdigit() or abs(int(timestamp) - now) > _TOLERANCE_SECONDS:
            raise Rejection(401, "SIGN_ERROR", "timestamp与当前时间相差超过5分钟")
        if headers.get("Content-Type", "").partition(";")[0] != "application/json":
            raise Rejection(400, "PARAM_ERROR", "Content-Type 应为 application/json")
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise Rejection(400, "PARAM_ERROR", "请求体不是 JSON 对象")
        return content

    def _write(self, status: int, body: bytes, kind: str) -> Response:
        timestamp, nonce = str(seconds_now(self._clock)), secrets.token_hex(16)
        text = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
        headers = {
            "Request-ID": secrets.token_hex(16),
            "Wechatpay-Timestamp": timestamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Serial": self._merchant.platform_key_id,
        }
        if kind != "unsigned":
            signed = text if kind != "bad_sign" else text + b"\n"
            headers["Wechatpay-Signature"] = sign(signed, self._merchant.platform_key)
        content_type = "application/json; charset=utf-8"
        return Response(body, status=status, headers=headers, content_type=content_type)


def _asked_for(trouble: Trouble) -> Rejection:
    code = trouble.text("code", "")
    return Rejection(
        _STATUSES.get(code, 400), code, trouble.text("message", "系统繁忙，请稍后再试")
    )
