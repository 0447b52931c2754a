"""网关入口 Requests let in: from our merchant, signed over these bytes, fresh, not seen before."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sandbox.bank.accounts import Merchant, Rules, seconds_now
from sandbox.bank.checks import Content, read_content
from sandbox.bank.codes import Refusal, malformed
from sandbox.bank.signing import (
    KEY_ID,
    MERCHANT,
    NONCE,
    SIGNATURE,
    TIMESTAMP,
    signed_bytes,
)
from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.keys import is_signed

_NONCE = re.compile(r"[0-9A-Za-z]{16,64}")
_TIMESTAMP = re.compile(r"[0-9]{10}")


class Door:
    """Lets in the requests of one merchant."""

    def __init__(self, books: Books, clock: Clock, merchant: Merchant, rules: Rules) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant
        self._rules = rules

    def let_in(self, path: str, headers: Mapping[str, str], body: bytes) -> Content:
        """Return the content of a request; its nonce is used up.

        Raises:
            Refusal: 31 another merchant, 11 not signed by the key that it names, 10 the timestamp
                is off or the nonce was seen, or the body is no JSON object.
        """
        if headers.get(MERCHANT) != self._merchant.merchant_id:
            raise Refusal("31", "商户不存在")
        if headers.get(KEY_ID) != self._merchant.key_id:
            raise Refusal("11", "验证签名失败：密钥编号不对")
        signed = signed_bytes(f"POST {path}", headers, body)
        if not is_signed(signed, headers.get(SIGNATURE, ""), self._merchant.key):
            raise Refusal("11")
        self._check_fresh(headers.get(TIMESTAMP, ""), headers.get(NONCE, ""))
        return read_content(body)

    def _check_fresh(self, timestamp: str, nonce: str) -> None:
        now = seconds_now(self._clock)
        tolerance = self._rules.timestamp_tolerance_seconds
        if not _TIMESTAMP.fullmatch(timestamp) or abs(int(timestamp) - now) > tolerance:
            raise malformed("时间戳与银行时间相差过大")
        if not _NONCE.fullmatch(nonce):
            raise malformed("随机串应为 16 至 64 位字母和数字")
        with self._books.transaction() as books:
            # A clock that went back must not make an old nonce good again: keep the day's.
            books.execute("DELETE FROM nonce WHERE at < ?", (now - 86400,))
            seen = books.execute("SELECT 1 FROM nonce WHERE nonce = ?", (nonce,)).fetchone()
            if seen is not None:
                raise malformed("请求重放：随机串已用过")
            books.execute("INSERT INTO nonce VALUES (?, ?)", (nonce, now))
