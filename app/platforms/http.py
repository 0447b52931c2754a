"""The guarded way out over HTTP, the same for every platform.

A call ends with a body, or with `NoVerdict`; whoever reads the body may find that it is `Refused`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Collection
from typing import Any

import requests
import urllib3

from app.domain.ports.outcomes import Reason

_CHUNK = 16 * 1024

# requests' exceptions are OSErrors; a body that is cut short comes up from urllib3.
_BROKEN = (OSError, urllib3.exceptions.HTTPError)


_marks: set[str] = set()


def keep_addresses_out_of_logs(mark: str) -> None:
    """Keep addresses that hold this mark, such as ``secret=``, out of every log.

    urllib3 writes whole addresses at DEBUG.
    """
    _marks.add(mark)
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logger = logging.getLogger(name)
        if _tells_no_secret not in logger.filters:
            logger.addFilter(_tells_no_secret)


def _tells_no_secret(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.INFO or not any(mark in record.getMessage() for mark in _marks)


class NoVerdict(Exception):
    """No answer, or none that says anything. `message` is the platform's own, if it gave one."""

    def __init__(self, reason: Reason, code: str, message: str = "") -> None:
        super().__init__(code)
        self.reason = reason
        self.code = code
        self.message = message


class Refused(Exception):
    """A genuine answer of the platform, and it says no."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


class GuardedSession(requests.Session):
    """No redirect, no proxy, no netrc, never without a timeout, no compressed answer.

    Args:
        connect_timeout, read_timeout: seconds; the latter also bounds the whole body.
        max_bytes: the longest body that is read.
        statuses: which ones an answer may have; most platforms answer everything with a plain 200.

    Raises:
        ValueError: a timeout that never ends.
    """

    def __init__(
        self,
        *,
        connect_timeout: float,
        read_timeout: float,
        max_bytes: int,
        statuses: Collection[int] = (200,),
    ) -> None:
        super().__init__()
        for seconds in (connect_timeout, read_timeout):
            if not (math.isfinite(seconds) and seconds > 0):
                raise ValueError("a timeout must be a positive number of seconds")
        self.trust_env = False
        self.headers["Accept-Encoding"] = "identity"
        self.headers["User-Agent"] = "lianjiao"
        self._timeouts = (connect_timeout, read_timeout)
        self._max_bytes = max_bytes
        self._statuses = frozenset(statuses)

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Ask once.

        Raises:
            NoVerdict: also for a broken connection. Only the kind of error is kept: its text may
                hold the address with a secret in it.
        """
        try:
            return super().request(*args, **kwargs)
        except _BROKEN as error:
            raise NoVerdict(Reason.NO_ANSWER, type(error).__name__) from None

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send once and return only an answer of an expected status; its body is not read yet."""
        kwargs.update(timeout=self._timeouts, allow_redirects=False, stream=True)
        response = super().send(request, **kwargs)
        if response.status_code not in self._statuses:
            response.close()
            raise NoVerdict(Reason.BAD_ANSWER, f"HTTP {response.status_code}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            response.close()
            raise NoVerdict(Reason.BAD_ANSWER, "compressed")
        return response

    def read_body(self, response: requests.Response) -> bytes:
        """Return the body, of limited length and within the read timeout in all.

        The timeout of a socket starts anew with every byte, so a slow sender needs a deadline.

        Raises:
            NoVerdict: too long, too slow, cut short.
        """
        deadline = time.monotonic() + self._timeouts[1]
        body = b""
        try:
            while chunk := response.raw.read1(_CHUNK, decode_content=False):
                body += chunk
                if len(body) > self._max_bytes:
                    raise NoVerdict(Reason.BAD_ANSWER, "too long")
                if time.monotonic() > deadline:
                    raise NoVerdict(Reason.NO_ANSWER, "too slow")
        except _BROKEN as error:
            raise NoVerdict(Reason.NO_ANSWER, type(error).__name__) from None
        finally:
            response.close()
        return body
