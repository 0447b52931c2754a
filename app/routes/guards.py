"""Who is calling: a contributor's token, a staff member's token. No token, no hint."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import structlog
from apiflask import HTTPTokenAuth
from flask import Flask, current_app, g, request
from werkzeug.exceptions import NotFound

from app.domain.errors import NotAuthenticated, NotPermitted
from app.domain.ports import Ports
from app.domain.sessions.linking import NotEnrolled
from app.domain.sessions.queries import Caller, authenticate
from app.domain.staff.models import Role
from app.domain.staff.queries import StaffCaller, authenticate_staff

F = TypeVar("F", bound=Callable[..., Any])

citizen_auth = HTTPTokenAuth(
    scheme="Bearer", security_scheme_name="CitizenToken", description="缴存人登录后取得的令牌"
)
staff_auth = HTTPTokenAuth(
    scheme="Bearer", security_scheme_name="StaffToken", description="工作人员登录后取得的令牌"
)


def ports() -> Ports:
    """Return the ports of this process."""
    return cast(Ports, current_app.extensions["lianjiao"])


def install_guards(app: Flask) -> None:
    """Let nobody without a token find out which paths of the guarded areas exist."""
    app.before_request(_guard_unknown_paths)


def bearer_token() -> str:
    """Return the token of the Authorization header, or an empty text."""
    given = request.authorization
    return given.token or "" if given is not None and given.type == "bearer" else ""


@citizen_auth.verify_token
def _verify_citizen(token: str) -> Caller | None:
    return ports().read(lambda session: authenticate(session, token, now=ports().now()))


@staff_auth.verify_token
def _verify_staff(token: str) -> StaffCaller | None:
    found = ports().read(lambda session: authenticate_staff(session, token, now=ports().now()))
    if found is not None:
        # On every line of this request in the log: who did it, or was refused.
        structlog.contextvars.bind_contextvars(staff_id=found.staff_id)
    return found


def _guard_unknown_paths() -> None:
    if not isinstance(request.routing_exception, NotFound):
        return
    for area, verify in (("/api/", _verify_citizen), ("/staff/", _verify_staff)):
        if request.path.startswith(area) and verify(bearer_token()) is None:
            raise NotAuthenticated


@citizen_auth.error_handler
@staff_auth.error_handler
def _refuse(_status: int) -> None:
    raise NotAuthenticated


def caller() -> Caller:
    """Return the contributor-side caller of this request."""
    return cast(Caller, g.flask_httpauth_user)


def account_id() -> int:
    """Return the caller's own account.

    Raises:
        NotEnrolled: logged in, but without an account yet.
    """
    own = caller().account_id
    if own is None:
        raise NotEnrolled
    return own


def contributor_id() -> int:
    """Return the caller's own contributor id.

    Raises:
        NotEnrolled: logged in, but without an account yet.
    """
    own = caller().contributor_id
    if own is None:
        raise NotEnrolled
    return own


def staff_caller() -> StaffCaller:
    """Return the staff member of this request."""
    return cast(StaffCaller, g.flask_httpauth_user)


def require_role(*roles: Role) -> Callable[[F], F]:
    """Allow only these roles of staff."""

    def decorate(view: F) -> F:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if staff_caller().role not in roles:
                raise NotPermitted
            return view(*args, **kwargs)

        guarded.required_roles = roles  # type: ignore[attr-defined]
        return cast(F, guarded)

    return decorate
