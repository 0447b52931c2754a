"""What can go wrong in the fund, as kinds with a stable code and a Chinese message for people.

A concrete error stands beside the function that raises it and inherits one of these kinds.
No HTTP status here: `app/routes/errors.py` is the only translator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class FundError(Exception):
    """Any refusal that the fund can explain.

    Args:
        message: Chinese, safe to show to the person concerned.
        clause: the rule that decides, e.g. ``试点方案 第二条``; empty where no rule is meant.
        detail: data that explain the refusal (fen, dates, field names); never personal data.
    """

    code = "fund_error"
    default_message = "业务处理失败"

    def __init__(self, message: str = "", *, clause: str = "", **detail: Any) -> None:
        self.message = message or self.default_message
        self.clause = clause
        self.detail: Mapping[str, Any] = {**detail, **({"clause": clause} if clause else {})}
        super().__init__(self.message)


class Invalid(FundError):
    """The input cannot mean anything: wrong shape, impossible number."""

    code = "invalid"
    default_message = "提交的内容有误"


class RuleViolation(FundError):
    """The input is well formed but a rule of the fund refuses it."""

    code = "rule_violation"
    default_message = "不符合办理规定"


class Ineligible(RuleViolation):
    """The person may not take part, by a named clause."""

    code = "ineligible"
    default_message = "不符合办理条件"


class NotFound(FundError):
    """No such thing, or not this person's: the two answers are the same."""

    code = "not_found"
    default_message = "未找到相关记录"


class Conflict(FundError):
    """The thing is not in a state that allows this."""

    code = "conflict"
    default_message = "当前状态不能办理此操作"


class NotPermitted(FundError):
    """This actor may not do this."""

    code = "not_permitted"
    default_message = "没有权限办理此操作"


class NotAuthenticated(FundError):
    """Nobody, or an expired or revoked session."""

    code = "not_authenticated"
    default_message = "请先登录"


class ChannelTrouble(FundError):
    """An outside service cannot be reached or answers nonsense; try again later."""

    code = "channel_trouble"
    default_message = "渠道暂时无法使用，请稍后再试"


class BooksBroken(FundError):
    """The books contradict themselves: someone must be called."""

    code = "books_broken"
    default_message = "账务核验未通过"
