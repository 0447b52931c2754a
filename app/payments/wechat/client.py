"""The way out to WeChat Pay: wechatpy on a guarded session, no answer unverified.

wechatpy builds and signs the requests. It follows redirects, obeys proxies of the environment,
waits for ever, returns unverified fields and raw text: none of that can be reached through here.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from wechatpy.pay import WeChatPay as Sdk

from app.domain.ports.outcomes import Reason
from app.payments.values import Unreadable
from app.payments.wechat.envelope import MAX_BYTES, read_fields
from app.payments.wechat.signing import is_genuine, keep_key_out_of_logs
from app.platforms.http import GuardedSession, NoVerdict, Refused

if TYPE_CHECKING:
    from config.settings import WeChatSettings

_KEY_LENGTH = 32


def open_client(
    settings: WeChatSettings, *, connect_timeout: float, read_timeout: float
) -> PayClient:
    """Return a client of the merchant that the settings name.

    Raises:
        ValueError: settings that cannot work.
    """
    certificate, private_key = settings.client_cert_file, settings.client_key_file
    if (certificate is None) != (private_key is None):
        raise ValueError("the WeChat client certificate and its key come together")
    return PayClient(
        app_id=settings.app_id,
        merchant_id=settings.merchant_id,
        api_key=settings.api_key.get_secret_value(),
        base_url=settings.pay_base_url,
        client_files=(certificate, private_key) if certificate and private_key else None,
        session=GuardedSession(
            connect_timeout=connect_timeout, read_timeout=read_timeout, max_bytes=MAX_BYTES
        ),
    )


class PayClient(Sdk):  # type: ignore[misc]  # wechatpy has no types
    """wechatpy whose every answer is a verified mapping of text, or NoVerdict or Refused."""

    _http: GuardedSession

    def __init__(
        self,
        *,
        app_id: str,
        merchant_id: str,
        api_key: str,
        base_url: str,
        client_files: tuple[Path, Path] | None,
        session: GuardedSession,
    ) -> None:
        if len(api_key) != _KEY_LENGTH or not api_key.isalnum() or not api_key.isascii():
            raise ValueError("the WeChat Pay API key must be 32 letters and digits")
        if not app_id or not merchant_id:
            raise ValueError("the WeChat app id and merchant id must be set")
        if not base_url.startswith(("https://", "http://")):
            raise ValueError("the WeChat Pay address must be an http(s) URL")
        for file in client_files or ():
            if not file.is_file():
                raise ValueError(f"no WeChat client certificate file at {file}")
        keep_key_out_of_logs()
        certificate, private_key = (str(file) for file in client_files or ("", ""))
        super().__init__(
            app_id, api_key, merchant_id, mch_cert=certificate or None, mch_key=private_key or None
        )
        self.API_BASE_URL = base_url.rstrip("/") + "/"
        self._http = session

    def _request(
        self, method: str, url_or_endpoint: str, *, data: dict[str, Any]
    ) -> Mapping[str, str]:
        # wechatpy writes values into CDATA unchecked: this would end one and start elements.
        if any("]]>" in value for value in data.values() if isinstance(value, str)):
            raise NoVerdict(Reason.OUR_FAULT, "unsendable text")
        # wechatpy's own nonce comes from a guessable generator.
        data["nonce_str"] = secrets.token_hex(16)
        answer: Mapping[str, str] = super()._request(method, url_or_endpoint, data=data)
        return answer

    def _handle_result(self, res: requests.Response) -> Mapping[str, str]:
        try:
            fields = read_fields(self._http.read_body(res))
        except Unreadable as error:
            raise NoVerdict(Reason.BAD_ANSWER, f"unreadable: {error}") from None
        return_code = fields.get("return_code")
        if return_code == "FAIL":
            # Unsigned by protocol: nothing may be concluded from its words.
            raise NoVerdict(Reason.OUR_FAULT, "return_code FAIL", fields.get("return_msg", ""))
        if return_code != "SUCCESS":
            raise NoVerdict(Reason.BAD_ANSWER, "no return_code")
        if not is_genuine(fields, self.api_key):
            raise NoVerdict(Reason.BAD_ANSWER, "signature")
        if fields.get("appid") != self.appid or fields.get("mch_id") != self.mch_id:
            raise NoVerdict(Reason.BAD_ANSWER, "another merchant")
        result_code = fields.get("result_code")
        if result_code == "FAIL":
            raise Refused(fields.get("err_code", ""), fields.get("err_code_des", ""))
        if result_code != "SUCCESS":
            raise NoVerdict(Reason.BAD_ANSWER, "no result_code")
        return fields
