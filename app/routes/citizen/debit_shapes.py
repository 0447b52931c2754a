"""Debits as the phone sees them, with every state and reason in words for people."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from app.domain.agreements.rules import DebitChannel
from app.domain.contributors.models import Platform
from app.domain.debits.queries import AttemptView, DebitView
from app.domain.debits.rules import EndReason, InstructionState
from app.domain.debits.wording import END_REASON_TEXTS, reason_text
from app.domain.payment_orders.models import OrderState
from app.domain.ports.outcomes import Reason
from app.routes.citizen.deposits import STATE_TEXTS as DEPOSIT_STATE_TEXTS
from app.routes.citizen.schemas import Day, Fen, Instant
from app.routes.json import In, Out

NEXT_DEBIT = {
    "period": "2026-12",
    "due_on": "2026-12-10",
    "sent_on": "2026-12-10",
    "amount_fen": 50000,
    "channel": "bank",
    "announced": True,
}
DEBIT: dict[str, Any] = {
    "period": "2026-12",
    "channel": "bank",
    "amount_fen": 50000,
    "due_on": "2026-12-10",
    "state": "scheduled",
    "state_text": "未扣成，将再次扣款",
    "next_attempt_on": "2026-12-11",
    "reason": "insufficient_funds",
    "reason_text": "余额不足",
    "end_reason": None,
    "end_reason_text": "",
    "can_be_made_up": True,
    "announced_at": "2026-12-09T08:30:00+08:00",
    "ended_at": None,
    "attempts": [
        {
            "order_no": "AMIX3K9QZ7F2H4B6N8P0R1S5T3V7W9XY",
            "channel": "bank",
            "state": "failed",
            "state_text": "未扣成",
            "at": "2026-12-10T09:00:12+08:00",
            "by_hand": False,
            "reason": "insufficient_funds",
            "reason_text": "余额不足",
        }
    ],
}
SUCCEEDED: dict[str, Any] = {
    **DEBIT,
    "state": "succeeded",
    "state_text": "已扣款入账",
    "next_attempt_on": None,
    "reason": None,
    "reason_text": "",
    "can_be_made_up": False,
    "ended_at": "2026-12-11T09:00:09+08:00",
    "attempts": [
        *DEBIT["attempts"],
        {
            "order_no": "AMIX4Z7C2V9B5N1M3A8S6D4F0G2H7J5K",
            "channel": "bank",
            "state": "succeeded",
            "state_text": "已入账",
            "at": "2026-12-11T09:00:08+08:00",
            "by_hand": False,
            "reason": None,
            "reason_text": "",
        },
    ],
}

STATE_TEXTS = {
    InstructionState.SCHEDULED: "待扣款",
    InstructionState.ATTEMPTING: "扣款处理中，结果确认前请勿重复缴存",
    InstructionState.SUCCEEDED: "已扣款入账",
    InstructionState.SKIPPED: "本期不再扣款",
    InstructionState.MISSED: "本期未扣成",
    InstructionState.CANCELLED: "已取消",
}
TO_BE_RETRIED = "未扣成，将再次扣款"

ATTEMPT_STATE_TEXTS = {
    OrderState.SENDING: "正在提交",
    OrderState.AWAITING_PAYMENT: "扣款处理中",
    OrderState.UNKNOWN: "扣款结果确认中",
    OrderState.CLOSING: "扣款结果确认中",
    OrderState.SUCCEEDED: "已入账",
    OrderState.CLOSED: "已关闭",
    OrderState.FAILED: "未扣成",
    OrderState.IN_SUSPENSE: "已收款待核实，工作人员将尽快处理",
}

# A mandate's reasons have the same name, and the description of the API knows one of each.
DebitEndReason = Annotated[
    EndReason, WithJsonSchema({"type": "string", "enum": [reason.value for reason in EndReason]})
]


class MakeUpIn(In):
    """Where the person pays."""

    channel: Platform = Field(description="支付渠道：wechat 或 alipay")
    despite_debit: bool = Field(
        default=False, description="已知另有一期自动扣款正在处理、仍可能扣款成功，仍要补缴"
    )


class AttemptOut(Out):
    """One try to take the money, or a payment by hand in its place."""

    order_no: str
    channel: DebitChannel
    state: OrderState
    state_text: str = Field(description="状态的中文说明")
    at: Instant = Field(description="发起时间")
    by_hand: bool = Field(description="本人补缴的为 true，自动扣款的为 false")
    reason: Reason | None
    reason_text: str = Field(description="未扣成原因的中文说明；没有时为空")


class DebitOut(Out):
    """What is due for one period by the agreement, and what became of it."""

    period: str = Field(description="缴存期：按月或按季", examples=["2026-12", "2026Q4"])
    channel: DebitChannel = Field(description="扣款渠道")
    amount_fen: Fen = Field(description="提示时确定的扣款金额，单位：分")
    due_on: Day = Field(description="约定的扣款日")
    state: InstructionState
    state_text: str = Field(description="状态的中文说明")
    next_attempt_on: Day | None = Field(description="下一次扣款的日期；不再扣款时为空")
    reason: Reason | None = Field(description="最近一次未扣成的原因")
    reason_text: str = Field(description="最近一次未扣成原因的中文说明；没有时为空")
    end_reason: DebitEndReason | None = Field(description="不再扣款的原因")
    end_reason_text: str = Field(description="不再扣款原因的中文说明；没有时为空")
    can_be_made_up: bool = Field(description="现在可以补缴")
    announced_at: Instant = Field(description="提示扣款的时间")
    ended_at: Instant | None
    attempts: list[AttemptOut] = Field(description="各次扣款与补缴，由先到后")


class DebitsOut(Out):
    """A page of debits, newest first."""

    items: list[DebitOut]
    next_cursor: int | None


class NextDebitOut(Out):
    """What will be debited next."""

    period: str = Field(description="缴存期：按月或按季", examples=["2026-12", "2026Q4"])
    due_on: Day = Field(description="约定的扣款日")
    sent_on: Day = Field(description="实际扣款的日期，遇非银行工作日顺延；未提示的为约定的扣款日")
    amount_fen: Fen
    channel: DebitChannel = Field(description="扣款渠道")
    announced: bool = Field(description="已提示：金额与渠道不再改变")


def show_debit(view: DebitView) -> DebitOut:
    """Return a debit as the phone sees it."""
    # Once it has ended otherwise, why an earlier attempt failed is told with that attempt.
    reason = view.reason if view.state in _REASON_MATTERS else None
    return DebitOut(
        period=view.period,
        channel=view.channel,
        amount_fen=view.amount_fen,
        due_on=view.due_on,
        state=view.state,
        state_text=TO_BE_RETRIED if _waits_for_a_retry(view) else STATE_TEXTS[view.state],
        next_attempt_on=view.next_attempt_on,
        reason=reason,
        reason_text=_reason_text(reason),
        end_reason=view.end_reason,
        end_reason_text=END_REASON_TEXTS[view.end_reason] if view.end_reason else "",
        can_be_made_up=view.can_be_made_up,
        announced_at=view.created_at,
        ended_at=view.ended_at,
        attempts=[_show_attempt(attempt) for attempt in view.attempts],
    )


_REASON_MATTERS = (InstructionState.SCHEDULED, InstructionState.MISSED)


def _waits_for_a_retry(view: DebitView) -> bool:
    return view.state is InstructionState.SCHEDULED and view.reason is not None


def _show_attempt(attempt: AttemptView) -> AttemptOut:
    by_hand = attempt.by_hand
    # One that took the money after all keeps its refusal, for staff.
    reason = attempt.reason if attempt.state is OrderState.FAILED else None
    return AttemptOut(
        order_no=attempt.order_no,
        channel=DebitChannel(attempt.channel),
        state=attempt.state,
        state_text=(DEPOSIT_STATE_TEXTS if by_hand else ATTEMPT_STATE_TEXTS)[attempt.state],
        at=attempt.created_at,
        by_hand=by_hand,
        reason=reason,
        reason_text=_reason_text(reason),
    )


def _reason_text(reason: Reason | None) -> str:
    return reason_text(reason) if reason else ""
