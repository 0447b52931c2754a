"""Staff log in and out."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response
from pydantic import Field

from app.domain.staff.models import Role
from app.domain.staff.operations import log_in_staff, log_out_staff
from app.routes.citizen.schemas import Instant
from app.routes.guards import bearer_token, ports, staff_auth
from app.routes.json import In, Out

blueprint = APIBlueprint(
    "staff_session", __name__, url_prefix="/staff/api/v1/session", tag="工作人员"
)

LOG_IN = {"username": "clerk", "password": "Correct-Horse-9"}  # nosec B105  # an example
SESSION = {
    "token": "Q2w9eR7tY5uI3oP1aS8dF6gH4jK0lZxCvBnM-qWeRtY",  # nosec B105  # an example
    "expires_at": "2026-11-24T18:00:00+08:00",
    "role": "clerk",
}


class StaffLogInIn(In):
    """A staff member's log-in."""

    username: str = Field(min_length=1, max_length=64, description="用户名")
    password: str = Field(min_length=1, max_length=200, description="密码")


class StaffSessionOut(Out):
    """The session's token, shown this once."""

    token: str = Field(description="以 Authorization: Bearer … 提交")
    expires_at: Instant
    role: Role


@blueprint.post("")
@blueprint.input(StaffLogInIn, location="json", example=LOG_IN)
@blueprint.output(StaffSessionOut, status_code=201, example=SESSION)
@blueprint.doc(
    operation_id="log_in_staff",
    summary="工作人员登录",
    description="连续输错将锁定；用户名不存在、密码错误、锁定、停用，回答相同。",
    responses=[401],
)
def create(json_data: StaffLogInIn) -> StaffSessionOut:
    """Check the password and open a session."""
    session = log_in_staff(ports(), username=json_data.username, password=json_data.password)
    return StaffSessionOut(token=session.token, expires_at=session.expires_at, role=session.role)


@blueprint.delete("")
@blueprint.auth_required(staff_auth)
@blueprint.output({}, status_code=204)
@blueprint.doc(operation_id="log_out_staff", summary="工作人员退出", description="令牌立即失效。")
def end() -> Response:
    """Revoke the token of this request."""
    log_out_staff(ports(), token=bearer_token())
    return Response(status=204)
