"""How the bank's messages are closed: five headers, signed together with the body; and its JSON."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from threading import Lock
from typing import NoReturn

from app.payments.bank.keys import BankKeys
from app.payments.values import Unreadable

MAX_BYTES = 64 * 1024
TOLERANCE_SECONDS = 300
"""How far the bank's clock and ours may be apart."""

MERCHANT = "X-Bank-Merchant"
TIMESTAMP = "X-Bank-Timestamp"
NONCE = "X-Bank-Nonce"
KEY_ID = "X-Bank-Key-Id"
SIGNATURE = "X-Bank-Signature"

Fields = Mapping[str, object]
"""The JSON object of a message."""

_TIMESTAMP = re.compile(r"[0-9]{10}")
_NONCE = re.compile(r"[0-9A-Za-z]{16,64}")
_MOST_FEN = 10**15


class Untrue(Exception):
    """A message that is not to be believed.

    `reason` is ``merchant``, ``signature``, ``stale`` or ``replayed``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Seals:
    """Signs what goes to the bank and verifies what comes from it.

    Args:
        now: the current instant, UTC.
    """

    def __init__(self, *, merchant_id: str, keys: BankKeys, now: Callable[[], datetime]) -> None:
        self._merchant_id = merchant_id
        self._keys = keys
        self._now = now
        self._seen: dict[str, int] = {}
        self._lock = Lock()

    def headers_of(self, first_line: str, body: bytes) -> dict[str, str]:
        """Return the five headers of a message that is sent now."""
        headers = {
            MERCHANT: self._merchant_id,
            TIMESTAMP: str(self._seconds()),
            NONCE: secrets.token_hex(16),
            KEY_ID: self._keys.our_key_id,
        }
        return {**headers, SIGNATURE: self._keys.sign(_signed(first_line, headers, body))}

    def verify(self, first_line: str, headers: Mapping[str, str], body: bytes) -> None:
        """Check that the bank has signed these bytes for us, by a pinned key, just now.

        Raises:
            Untrue: it has not.
        """
        given = {name.lower(): value for name, value in headers.items()}
        if given.get(MERCHANT.lower()) != self._merchant_id:
            raise Untrue("merchant")
        timestamp, nonce = given.get(TIMESTAMP.lower(), ""), given.get(NONCE.lower(), "")
        if not _TIMESTAMP.fullmatch(timestamp) or not _NONCE.fullmatch(nonce):
            raise Untrue("signature")
        parts = {MERCHANT: self._merchant_id, TIMESTAMP: timestamp, NONCE: nonce}
        key_id = given.get(KEY_ID.lower(), "")
        if not self._keys.is_genuine(
            _signed(first_line, {**parts, KEY_ID: key_id}, body),
            given.get(SIGNATURE.lower(), ""),
            key_id=key_id,
        ):
            raise Untrue("signature")
        if abs(int(timestamp) - self._seconds()) > TOLERANCE_SECONDS:
            raise Untrue("stale")

    def use_up(self, headers: Mapping[str, str]) -> None:
        """Remember the nonce of a verified message for as long as its timestamp is good.

        This process remembers; a notice brought again to another process moves no money twice all
        the same, because an order ends once.

        Raises:
            Untrue: it was used before.
        """
        nonce = next(value for name, value in headers.items() if name.lower() == NONCE.lower())
        now = self._seconds()
        with self._lock:
            # A timestamp may lie ahead by the tolerance, and is good for as long again.
            while self._seen and next(iter(self._seen.values())) < now - 2 * TOLERANCE_SECONDS:
                del self._seen[next(iter(self._seen))]
            if nonce in self._seen:
                raise Untrue("replayed")
            self._seen[nonce] = now

    def _seconds(self) -> int:
        return int(self._now().timestamp())


def _signed(first_line: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return what a message signs: one line each, then the body as it is."""
    lines = [first_line, *(headers[name] for name in (MERCHANT, TIMESTAMP, NONCE, KEY_ID))]
    return "".join(f"{line}\n" for line in lines).encode() + body


def read_object(body: bytes) -> Fields:
    """Return the one JSON object of a message, no name in it twice.

    Raises:
        Unreadable: anything else, or longer than 64 KiB.
    """
    if len(body) > MAX_BYTES:
        raise Unreadable("too long")
    try:
        found = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number
        )
    except (ValueError, RecursionError):
        raise Unreadable("no JSON") from None
    if not isinstance(found, dict):
        raise Unreadable("no object")
    return found


def read_text(fields: Fields, name: str) -> str:
    """Return a text, empty where it is absent or null.

    Raises:
        Unreadable: something else than text.
    """
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(f"{name} is no text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        # Half a character, as an escape can write it, could not be stored.
        raise Unreadable(f"{name} is no text") from None
    return value


def read_fen(fields: Fields, name: str) -> int:
    """Return an amount in fen, nought or more.

    Raises:
        Unreadable: absent, negative, or no whole number.
    """
    value = fields.get(name)
    if type(value) is not int or not 0 <= value <= _MOST_FEN:
        raise Unreadable(f"{name} is no amount")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _no_number(_constant: str) -> NoReturn:
    # NaN and Infinity, which Python reads and JSON does not have.
    raise ValueError("not a number")
