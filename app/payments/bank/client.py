"""The way out to the bank: signed requests on a guarded session, no answer unverified."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from app.domain.ports.outcomes import Reason
from app.payments.bank.envelope import (
    MAX_BYTES,
    NONCE,
    Fields,
    Seals,
    Untrue,
    read_object,
    read_text,
)
from app.payments.values import Unreadable
from app.platforms.http import GuardedSession, NoVerdict, Refused

_DONE = "00"


class BankClient:
    """Calls of one merchant, answered by verified fields, or by NoVerdict or Refused.

    Args:
        gateway_url: the address under which the calls stand.
        connect_timeout, read_timeout: seconds; the latter bounds the whole answer.

    Raises:
        ValueError: an address that cannot be one.
    """

    def __init__(
        self, *, gateway_url: str, seals: Seals, connect_timeout: float, read_timeout: float
    ) -> None:
        address = urlsplit(gateway_url)
        if address.scheme not in ("https", "http") or not address.hostname:
            raise ValueError("the bank's gateway must be an http(s) URL")
        if address.query or address.fragment or address.username is not None:
            raise ValueError("the URL of the bank's gateway must be an address and nothing else")
        self._base_url = gateway_url.rstrip("/") + "/"
        self._seals = seals
        self._session = GuardedSession(
            connect_timeout=connect_timeout, read_timeout=read_timeout, max_bytes=MAX_BYTES
        )

    def call(self, name: str, content: Mapping[str, object]) -> Fields:
        """Make one call, once.

        Returns: what the bank says of the message, and of the debit if it says anything of one
            (`orig_code`).

        Raises:
            Refused: a signed refusal of this very message that says nothing of a debit.
            NoVerdict: everything else.
        """
        url = self._base_url + name
        try:
            body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:
            raise NoVerdict(Reason.OUR_FAULT, "unsendable text") from None
        headers = self._seals.headers_of(f"POST {urlsplit(url).path}", body)
        response = self._session.post(
            url, data=body, headers={**headers, "Content-Type": "application/json; charset=utf-8"}
        )
        answer = self._session.read_body(response)
        try:
            # It names the question, so that the answer to another one cannot take its place.
            self._seals.verify(f"REPLY {headers[NONCE]}", response.headers, answer)
            fields = read_object(answer)
            code, message = read_text(fields, "code"), read_text(fields, "message")
        except Untrue as untrue:
            raise NoVerdict(Reason.BAD_ANSWER, untrue.reason) from None
        except Unreadable:
            raise NoVerdict(Reason.BAD_ANSWER, "unreadable") from None
        if code != _DONE and "orig_code" not in fields:
            raise Refused(code, message)
        return fields
