"""What happens around every request: an id, a size limit, safe headers, one line in the log."""

from __future__ import annotations

import logging
import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from app.metrics import REQUEST_SECONDS

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024

_REQUEST_ID = re.compile(r"[0-9A-Za-z\-]{8,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""On every answer whose route has not said otherwise."""


def install_request_hooks(app: Flask) -> None:
    """Give every request an id and a limit, and every answer its headers."""
    # How far a body without a length (chunked) is read at most; see `read_body`.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.before_request(_identify)
    app.before_request(_refuse_oversize)
    app.after_request(_finish)


def read_body() -> bytes:
    """Return the request's whole body.

    Raises:
        RequestEntityTooLarge: it comes in chunks and is too large. Werkzeug would cut it off at
            the limit without a word, and what was cut off could be anything.
    """
    body = request.get_data()
    if request.content_length is None and len(body) >= MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    return body


def _identify() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    g.begun = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _refuse_oversize() -> None:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    # The rule and not the path: what people type stays out of the log.
    route = request.url_rule.rule if request.url_rule else ""
    took = time.perf_counter() - g.begun
    REQUEST_SECONDS.labels(request.method, route, response.status_code).observe(took)
    log.info(
        "request",
        extra={
            "method": request.method,
            "route": route,
            "status": response.status_code,
            "duration_ms": int(took * 1000),
        },
    )
    return response
