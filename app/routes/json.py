"""Strict JSON in, and Chinese messages that name the field.

What JSON lets pass and money must not: a key given twice, NaN, a float or a text for an integer,
a field that nobody asked for.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from apiflask import APIFlask
from apiflask.schema_adapters.pydantic import PydanticAdapter
from apiflask.schema_adapters.registry import registry
from flask import Request
from flask.json.provider import DefaultJSONProvider
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from app.domain.errors import Invalid
from app.routes.requests import read_body

MAX_DEPTH = 10
MAX_NAMED_FIELDS = 20
MAX_NAME_LENGTH = 80

_MESSAGES = {
    "missing": "缺少必填项",
    "extra_forbidden": "不支持的字段",
    "int_type": "应为整数，不能是文本或小数",
    "int_from_float": "应为整数，不能是小数",
    "int_parsing": "应为整数",
    "string_type": "应为文本",
    "bool_type": "应为 true 或 false",
    "enum": "不是可选的取值",
    "literal_error": "不是可选的取值",
    "string_too_short": "内容过短",
    "string_too_long": "内容过长",
    "string_pattern_mismatch": "格式不正确或含有不支持的字符",
    "greater_than": "数值过小",
    "greater_than_equal": "数值过小",
    "less_than_equal": "数值过大",
    "date_from_datetime_parsing": "应为日期，例如 2026-11-24",
    "date_parsing": "应为日期，例如 2026-11-24",
    "date_type": "应为日期，例如 2026-11-24",
    "model_type": "应为 JSON 对象",
    "model_attributes_type": "应为 JSON 对象",
    "list_type": "应为列表",
    "too_long": "项目过多",
}
_BOUNDS = {
    "ge": "不小于",
    "gt": "大于",
    "le": "不大于",
    "min_length": "至少",
    "max_length": "最多",
}


class In(BaseModel):
    """Parent of every request body: strict types, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Query(BaseModel):
    """Parent of every query string: values are text by nature, unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Out(BaseModel):
    """Parent of every answer."""

    model_config = ConfigDict(frozen=True)


class InvalidInput(Invalid):
    """The body, a header or the query string does not fit; `fields` says where and why."""

    code = "invalid_input"


class StrictPydanticAdapter(PydanticAdapter):
    """Validates what came in, and refuses it in our own words."""

    def validate_input(self, request: Request, location: str, **_: Any) -> BaseModel:
        """Return the validated model.

        Raises:
            InvalidInput: it does not fit.
            UnsupportedMediaType, BadRequest: it is no JSON at all.
        """
        try:
            if location == "json":
                return self.model_class.model_validate_json(_body_of(request))
            values = _query_of(request) if location == "query" else dict(request.headers)
            return self.model_class.model_validate(values)
        except ValidationError as error:
            raise _refusal(error) from None


# The decorators of the routes look the adapter up while their modules are being imported, so it
# has to stand here before any of them runs.
registry.register("pydantic", StrictPydanticAdapter)


class StrictJSONProvider(DefaultJSONProvider):
    """Chinese as it is; nothing lenient on the way in."""

    ensure_ascii = False
    sort_keys = False

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """Parse strictly."""
        return loads(s)


def install_strict_json(app: APIFlask) -> None:
    """Make every JSON body of the application strict."""
    app.json = StrictJSONProvider(app)


def loads(text: str | bytes) -> Any:
    """Parse JSON, refusing duplicate keys, NaN and infinities, and deep nesting.

    Raises:
        BadRequest: not such a text.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise BadRequest from None
    _check_depth(value, MAX_DEPTH)
    return value


def _body_of(request: Request) -> bytes:
    plain = request.headers.get("Content-Encoding", "identity").lower() == "identity"
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != "application/json" or charset not in {"utf-8", "utf8"} or not plain:
        raise UnsupportedMediaType
    body = read_body()
    loads(body)
    return body


def _query_of(request: Request) -> dict[str, str]:
    twice = next((name for name, values in request.args.lists() if len(values) > 1), None)
    if twice is not None:
        raise InvalidInput(f"{twice[:MAX_NAME_LENGTH]}：不能重复")
    return request.args.to_dict()


def _refusal(error: ValidationError) -> InvalidInput | BadRequest:
    errors = error.errors(include_url=False, include_input=False)[:MAX_NAMED_FIELDS]
    if errors[0]["type"] == "json_invalid":
        # Half of a surrogate pair: Python's parser lets it pass, pydantic's does not.
        return BadRequest()
    fields = {_path(e) or "body": _message(e) for e in errors}
    name, message = next(iter(fields.items()))
    return InvalidInput(f"{name}：{message}", fields=fields)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("duplicate key")
    return dict(pairs)


def _refuse(_constant: str) -> NoReturn:
    raise ValueError("not a number")


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise BadRequest
    children = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    )
    for child in children:
        _check_depth(child, left - 1)


def _path(error: ErrorDetails) -> str:
    return ".".join(str(part) for part in error["loc"])[:MAX_NAME_LENGTH]


def _message(error: ErrorDetails) -> str:
    message = _MESSAGES.get(error["type"], "格式不正确")
    context = error.get("ctx", {})
    bounds = [f"{word} {context[name]}" for name, word in _BOUNDS.items() if name in context]
    return f"{message}（{'，'.join(bounds)}）" if bounds else message
