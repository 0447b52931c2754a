"""Who stands behind a log-in."""

from __future__ import annotations

from typing import Protocol

from app.domain.errors import FundError


class LoginRefused(FundError):
    """The log-in code is wrong, used or expired."""

    code = "login_refused"
    default_message = "登录凭证无效或已过期，请重新登录"


class LoginPlatform(Protocol):
    """Who stands behind a one-time code that the mini-program got from its platform."""

    def subject_of(self, code: str) -> str:
        """Exchange the code for the person's id at this platform (openid / open_id).

        Raises:
            LoginRefused: the platform refuses the code.
            ChannelTrouble: no usable answer.
        """
