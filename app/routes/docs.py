"""The API's description and its page, from files that we serve ourselves."""

from __future__ import annotations

import json
import re
from typing import Any

from apiflask import APIFlask
from flask import Response, current_app, redirect
from werkzeug.wrappers import Response as BaseResponse

from app.routes.errors import example_of

DOCS_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No script but our files, no request but to us; the page's icons are data: pictures."""

DESCRIPTION = """\
连云港市灵活就业人员住房公积金缴存系统的接口。

- 金额一律为整数，单位：分；时间为 ISO 8601，东八区（+08:00）。
- 请求体须为 UTF-8 编码的 JSON，不超过 64 KiB；未知字段、重复的键、写成小数或文本的整数，一律拒绝。
- 凡新建单据的请求须带 `Idempotency-Key`；网络中断后以同一个值重试，不会重复办理。
- 列表按新到旧分页：把上一页的 `next_cursor` 作为 `cursor` 传回；为 null 时没有更多。
- 出错时一律返回 `{code, message, request_id, detail}`；`message` 可直接展示给用户。
- 他人的记录与不存在的记录，回答相同（404）。
"""

TAGS = {
    "登录": "以微信或支付宝小程序的登录凭证换取令牌；关联两个平台",
    "开户": "试点方案 第一条",
    "我的信息": "本人资料（脱敏）、申报事项与数据导出",
    "账户": "余额、年度额度、累计月数与明细",
    "缴存协议": "试点方案 第二条：按月、按季或自由缴存的约定，签署、变更、暂停与终止",
    "扣款签约": "授权渠道按协议扣款：签约、验证码确认、查询与解约",
    "消息": "中心告知本人的事项：扣款、签约与协议",
    "自动扣款": "按协议的各期扣款：下一笔、进展、未扣成的原因与补缴",
    "缴存": "经微信支付或支付宝缴存",
    "退款": "误缴款项的退回，由工作人员复核",
    "工作人员": "经办、复核、主管、审计",
}

ERROR_SCHEMA = {
    "type": "object",
    "required": ["code", "message", "request_id", "detail"],
    "properties": {
        "code": {"type": "string", "description": "稳定的错误代码"},
        "message": {"type": "string", "description": "给用户看的中文说明"},
        "request_id": {"type": "string", "description": "与响应头 X-Request-Id 相同"},
        "detail": {"type": "object", "description": "说明性数据：分、日期、字段名"},
    },
    "additionalProperties": False,
}

_ERRORS = {
    "400": "请求体不是有效的 JSON",
    "401": "未登录，或登录已失效",
    "403": "没有权限",
    "404": "没有这条记录，或不属于本人",
    "409": "当前状态不允许，或 Idempotency-Key 已用于其他内容",
    "413": "请求体超过 64 KiB",
    "415": "请求体不是 application/json",
    "422": "内容有误，或不符合办理规定",
    "429": "操作过于频繁",
    "500": "系统内部错误",
    "503": "系统或外部渠道暂时无法使用",
}
_PATH_PARAMETERS = {
    "mandate_no": "签约编号",
    "order_no": "缴存订单号",
    "period": "缴存期：按月如 2026-12，按季如 2026Q4",
    "refund_no": "退款单号",
}
_WITH_BODY = ("400", "413", "415")
_ALWAYS = ("500", "503")


def serve_docs(app: APIFlask) -> None:
    """Describe the API at /openapi.json and show it at /docs."""
    app.config.update(
        DESCRIPTION=DESCRIPTION,
        LICENSE={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        # Not from the Host header: whoever asks first must not decide where others send tokens.
        SERVERS=[{"url": "/"}],
        HTTP_ERROR_SCHEMA=ERROR_SCHEMA,
        VALIDATION_ERROR_SCHEMA=ERROR_SCHEMA,
        SUCCESS_DESCRIPTION="成功",
    )
    app.spec_processor(_complete)
    app.get("/")(app.doc(hide=True)(_index))
    app.get("/docs")(app.doc(hide=True)(_page))


def _index() -> BaseResponse:
    return redirect("/docs")


def _page() -> Response:
    response = current_app.send_static_file("docs/index.html")
    response.headers["Content-Security-Policy"] = DOCS_CSP
    return response


def _complete(spec: dict[str, Any] | str) -> dict[str, Any]:
    """Say what APIFlask leaves out: which errors every operation has, in the one shape."""
    assert isinstance(spec, dict), "the description is served as JSON, never as YAML"
    spec["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    spec["paths"] = _shorten(spec["paths"])
    components = spec["components"]
    components["schemas"] = {
        **_merge(components["schemas"]),
        "Error": ERROR_SCHEMA,
    }
    components["responses"] = {
        f"Error{status}": _error_response(int(status), text) for status, text in _ERRORS.items()
    }
    for path in spec["paths"].values():
        for operation in path.values():
            _complete_operation(operation)
    return spec


def _shorten(part: Any) -> Any:
    """Name a model inside a model by its own name: `Deposit` and not `Deposits.Deposit`."""
    text = re.sub(r'("#/components/schemas/)\w+\.(\w+")', r"\1\2", json.dumps(part))
    return json.loads(text)


def _merge(schemas: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name, schema in schemas.items():
        if name in {"HTTPError", "ValidationError"}:
            continue
        short = name.rpartition(".")[2]
        same = merged.setdefault(short, _shorten(schema))
        assert same == _shorten(schema), f"two different models are called {short}"
    return merged


def _complete_operation(operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    body = operation.get("requestBody")
    if body:
        body["required"] = True
    for parameter in operation["parameters"]:
        _complete_parameter(parameter)
    errors = {status for status in answers if status >= "400"}
    errors.update(_ALWAYS, _WITH_BODY if body else ())
    good = {status: answer for status, answer in answers.items() if status < "400"}
    operation["responses"] = {
        **good,
        **{status: {"$ref": f"#/components/responses/Error{status}"} for status in sorted(errors)},
    }


def _complete_parameter(parameter: dict[str, Any]) -> None:
    """Put the words where pages show them, and «may be left out» where pydantic says null."""
    schema = parameter["schema"]
    kinds = [kind for kind in schema.pop("anyOf", ()) if kind != {"type": "null"}]
    if kinds:
        (kind,) = kinds
        schema.pop("default", None)
        schema.update(kind)
    words = schema.pop("description", None)
    parameter["description"] = words or _PATH_PARAMETERS[parameter["name"]]


def _error_response(status: int, text: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/Error"},
                "example": example_of(status),
            }
        },
    }
