"""The only translator of errors to HTTP: {code, message, request_id, detail}."""

from __future__ import annotations

import logging
from typing import Any

from apiflask import APIFlask, HTTPError
from flask import g
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError
from werkzeug.exceptions import HTTPException

from app.db import CommitUnconfirmed, asks_for_retry
from app.domain import errors
from app.domain.mandates.rules import TooManyCodes, TooManyStarts
from app.domain.ports.logins import LoginRefused
from app.domain.sessions.linking import TooManyLinkAttempts

log = logging.getLogger(__name__)

Answer = tuple[dict[str, Any], int, dict[str, str]]

_STATUS: tuple[tuple[type[errors.FundError], int], ...] = (
    (errors.NotAuthenticated, 401),
    (LoginRefused, 401),
    (errors.Invalid, 422),
    (errors.RuleViolation, 422),
    (errors.NotFound, 404),
    (errors.NotPermitted, 403),
    (TooManyLinkAttempts, 429),
    (TooManyCodes, 429),
    (TooManyStarts, 429),
    (errors.Conflict, 409),
    (errors.ChannelTrouble, 503),
)

_HTTP = {
    400: ("bad_request", "请求格式不正确，内容应为有效的 JSON"),
    401: ("not_authenticated", "请先登录"),
    403: ("not_permitted", "没有权限办理此操作"),
    404: ("not_found", "未找到相关记录"),
    405: ("method_not_allowed", "不支持该请求方式"),
    413: ("too_large", "提交的内容过大"),
    415: ("unsupported_media_type", "请以 application/json（UTF-8，不压缩）提交"),
    429: ("too_many_requests", "操作过于频繁，请稍后再试"),
    500: ("internal_error", "系统内部错误，请稍后再试"),
    503: ("unavailable", "系统暂时无法使用，请稍后再试"),
}
_KEPT_HEADERS = frozenset({"Allow", "Retry-After"})


def register_errors(app: APIFlask) -> None:
    """Answer every error in the one shape, also those of Flask and of APIFlask."""
    app.register_error_handler(errors.FundError, _fund_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(HTTPError, _framework_error)
    for trouble in (OperationalError, InterfaceError, TimeoutError):
        app.register_error_handler(trouble, _database_error)
    app.register_error_handler(CommitUnconfirmed, _unconfirmed)
    app.register_error_handler(Exception, _unexpected)


def error_body(code: str, message: str, detail: Any = None) -> dict[str, Any]:
    """Return the one error shape."""
    return {
        "code": code,
        "message": message,
        "request_id": g.get("request_id", ""),
        "detail": detail or {},
    }


def example_of(status: int) -> dict[str, Any]:
    """Return an error of this status as the documentation shows it."""
    code, message = {
        409: ("conflict", errors.Conflict.default_message),
        422: ("invalid_input", "amount_fen：应为整数，不能是文本或小数"),
    }.get(status) or _HTTP[status]
    detail = {"fields": {"amount_fen": "应为整数，不能是文本或小数"}} if status == 422 else {}
    return {
        "code": code,
        "message": message,
        "request_id": "0b0f6a5f4e7c4f3c9b1d2e3f4a5b6c7d",
        "detail": detail,
    }


def _fund_error(error: errors.FundError) -> Answer:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), None)
    if status is None:
        # Broken books, a key that does not fit: nothing that the caller could do or should know.
        return _unexpected(error)
    return _answer(status, error_body(error.code, error.message, dict(error.detail)))


def _http_error(error: HTTPException) -> Answer:
    kept = {name: value for name, value in error.get_headers() if name in _KEPT_HEADERS}
    return _plain(error.code or 500, kept)


def _framework_error(error: HTTPError) -> Answer:
    return _plain(error.status_code)


def _database_error(error: DBAPIError | TimeoutError) -> Answer:
    log.error("database error", exc_info=error)
    if asks_for_retry(error):
        return _answer(503, error_body("busy", "系统繁忙，请稍后再试"))
    return _plain(503)


def _unconfirmed(error: CommitUnconfirmed) -> Answer:
    log.error("commit unconfirmed", exc_info=error)
    message = "系统暂时无法确认本次办理是否成功，请查看结果后再决定是否重试"
    return _answer(503, error_body("unconfirmed", message))


def _unexpected(error: Exception) -> Answer:
    log.error("unexpected error", exc_info=error)
    return _plain(500)


def _plain(status: int, headers: dict[str, str] | None = None) -> Answer:
    code, message = _HTTP.get(status, ("http_error", "请求无法处理"))
    return _answer(status, error_body(code, message), headers)


def _answer(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Answer:
    # For the request's line in the log: staff can't see there why somebody was turned away.
    g.refused = body["code"]
    # RFC 9110 asks for this header on every 401; it says nothing of why.
    challenge = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return body, status, {**(headers or {}), **challenge}
