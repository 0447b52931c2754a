"""What happens around every request: an id, a size limit, safe headers, one line in the log."""

from __future__ import annotations

import logging
import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import NotFound, RequestEntityTooLarge

from app.metrics import REQUEST_SECONDS

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024

# Whoever asks may invent methods; each would be a time series of its own.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
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
    app.before_request(_refuse_slashes)
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


def _refuse_slashes() -> None:
    # Werkzeug would route `//staff` like `/staff`; a proxy's rule for `/staff` may not see it.
    if request.environ.get("PATH_INFO", "").startswith("//"):
        raise NotFound


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    # The rule and not the path: what people type stays out of the log.
    route = request.url_rule.rule if request.url_rule else ""
    method = request.method if request.method in _METHODS else "other"
    took = time.perf_counter() - g.begun
    REQUEST_SECONDS.labels(method, route, response.status_code).observe(took)
    told = {
        "method": method,
        "route": route or None,
        "status": response.status_code,
        "duration_ms": int(took * 1000),
    }
    if "refused" in g:
        told["refused"] = g.refused
    log.info("request", extra=told)
    return response
