"""Log in, log out, and see one account from both platforms."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response
from pydantic import Field

from app.domain.contributors.models import Platform
from app.domain.sessions.linking import issue_link_code, link_identity
from app.domain.sessions.operations import log_in, log_out
from app.routes.citizen.schemas import Instant
from app.routes.guards import bearer_token, caller, citizen_auth, ports
from app.routes.json import In, Out

blueprint = APIBlueprint("session", __name__, url_prefix="/api/v1/session", tag="登录")

LOG_IN = {"platform": "wechat", "code": "0a1B2c3D"}
SESSION = {
    "token": "Jm5Yv0bqXkC2w8sT1pLr4nHd7gZf3aUe6iQo9xKyMhE",  # nosec B105  # an example
    "expires_at": "2026-12-01T10:00:00+08:00",
    "enrolled": True,
}
LINK_CODE = {"code": "7KX2M9QA", "expires_at": "2026-11-24T10:10:00+08:00"}
LINK = {"code": "7KX2M9QA"}
LINKED = {"enrolled": True}


class LogInIn(In):
    """A one-time code from wx.login or my.getAuthCode."""

    platform: Platform = Field(description="登录平台")
    code: str = Field(min_length=1, max_length=200, description="平台给出的一次性登录凭证")


class SessionOut(Out):
    """The session's token, shown this once."""

    token: str = Field(description="以 Authorization: Bearer … 提交")
    expires_at: Instant
    enrolled: bool = Field(description="是否已开户")


class LinkCodeOut(Out):
    """A code to type on the other platform."""

    code: str
    expires_at: Instant


class LinkIn(In):
    """The code that the other platform shows."""

    code: str = Field(min_length=1, max_length=20, description="另一平台上显示的关联码")


class LinkedOut(Out):
    """The log-in belongs to the account now."""

    enrolled: bool


@blueprint.post("")
@blueprint.input(LogInIn, location="json", example=LOG_IN)
@blueprint.output(SessionOut, status_code=201, example=SESSION)
@blueprint.doc(
    operation_id="log_in",
    summary="登录",
    description="以平台的一次性凭证换取令牌，有效期七天。账户冻结时不能登录（403）。",
    responses=[401, 403, 503],
)
def create(json_data: LogInIn) -> SessionOut:
    """Exchange the platform's code for a token of ours."""
    session = log_in(ports(), platform=json_data.platform, code=json_data.code)
    return SessionOut(token=session.token, expires_at=session.expires_at, enrolled=session.enrolled)


@blueprint.delete("")
@blueprint.auth_required(citizen_auth)
@blueprint.output({}, status_code=204)
@blueprint.doc(operation_id="log_out", summary="退出登录", description="令牌立即失效。")
def end() -> Response:
    """Revoke the token of this request."""
    log_out(ports(), token=bearer_token())
    return Response(status=204)


@blueprint.post("/link-code")
@blueprint.auth_required(citizen_auth)
@blueprint.output(LinkCodeOut, status_code=201, example=LINK_CODE)
@blueprint.doc(
    operation_id="create_link_code",
    summary="获取关联码",
    description="在另一平台登录后填写，即可在两个平台使用同一账户。十分钟内有效，新码使旧码失效。",
    responses=[409],
)
def create_link_code() -> LinkCodeOut:
    """Issue a one-time code that binds the person's log-in on the other platform."""
    issued = issue_link_code(ports(), caller=caller())
    return LinkCodeOut(code=issued.code, expires_at=issued.expires_at)


@blueprint.post("/link")
@blueprint.auth_required(citizen_auth)
@blueprint.input(LinkIn, location="json", example=LINK)
@blueprint.output(LinkedOut, example=LINKED)
@blueprint.doc(
    operation_id="link_platform",
    summary="关联另一平台的账户",
    description="十分钟内最多尝试五次。",
    responses=[409, 429],
)
def link(json_data: LinkIn) -> LinkedOut:
    """Bind this log-in to the account whose owner got the code."""
    link_identity(ports(), identity_id=caller().identity_id, code=json_data.code)
    return LinkedOut(enrolled=True)
