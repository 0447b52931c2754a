"""Structured logs: one JSON object a line, with the request id, never with personal data."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

# Identity numbers, phone numbers and card numbers, wherever they turn up in a text.
_PERSONAL = re.compile(r"(?<![0-9A-Za-z])(?:\d{17}[\dXx]|1[3-9]\d{9}|\d{13,19})(?![0-9A-Za-z])")
_SECRET_KEYS = re.compile(
    r"name|phone|document|card|token|password|secret|authorization|body|openid|code$", re.I
)
_HARMLESS = frozenset({"logger_name", "raw_code"})
_HIDDEN = "***"


def configure_logging(level: str) -> None:
    """Send every logger of the process to standard error as JSON, masked."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _mask,
            structlog.processors.JSONRenderer(ensure_ascii=False),
            _escape,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # These write keys and whole bodies when they are let down to DEBUG.
    for name in ("wechatpy", "python-alipay-sdk", "urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.INFO)
    # A line for every job every ten seconds; ours, one for a job that did something, is enough.
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    # Its access lines hold whole paths and query strings; ours, one a request, do not.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)


def _mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {key: _masked(key, value) for key, value in event.items()}


def _masked(key: str, value: Any) -> Any:
    if key not in _HARMLESS and _SECRET_KEYS.search(key):
        return _HIDDEN
    if isinstance(value, str):
        return _PERSONAL.sub(_HIDDEN, value)
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), item) for inner, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_masked("", item) for item in value]
    return value


def _escape(_logger: Any, _method: str, line: Any) -> str:
    """Write what cannot be seen as JSON's escapes: it would break the line, or turn it around."""
    text = str(line)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
