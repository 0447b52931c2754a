"""Asking for a mistaken deposit back."""

from __future__ import annotations

from apiflask import APIBlueprint
from pydantic import Field

from app.domain.refunds.models import RefundReason, RefundState
from app.domain.refunds.operations import RefundApplication, request_refund
from app.domain.refunds.queries import RefundView, get_refund
from app.routes.citizen.schemas import AmountIn, Fen, Instant, Note
from app.routes.guards import account_id, citizen_auth, contributor_id, ports
from app.routes.idempotency import IdempotencyHeaders
from app.routes.json import In, Out

blueprint = APIBlueprint("refunds", __name__, url_prefix="/api/v1", tag="退款")

REFUND = {
    "refund_no": "RMIX3K9QZ7F2H4B6N8P0R1S5T3V7W9XY",
    "order_no": "DMIX3K9QZ7F2H4B6N8P0R1S5T3V7W9XY",
    "amount_fen": 50000,
    "state": "requested",
    "state_text": "已受理，待复核",
    "reason": "duplicate",
    "note": "重复支付",
    "requested_at": "2026-11-24T11:00:00+08:00",
    "ended_at": None,
    "decision_note": None,
}

STATE_TEXTS = {
    "requested": "已受理，待复核",
    "rejected": "未通过",
    "sending": "退款处理中",
    "processing": "退款处理中",
    "unknown": "退款结果确认中",
    "succeeded": "已原路退回",
    "failed": "退款失败，款项已恢复至账户",
}


class RefundIn(In):
    """What to give back of a deposit, and why."""

    amount_fen: AmountIn
    reason: RefundReason = Field(description="重复支付、金额有误、缴错账户、其他")
    note: Note = Field(default="", description="原因说明")


class RefundOut(Out):
    """A refund as the contributor sees it."""

    refund_no: str
    order_no: str
    amount_fen: Fen
    state: RefundState
    state_text: str = Field(description="状态的中文说明")
    reason: RefundReason
    note: str
    requested_at: Instant
    ended_at: Instant | None
    decision_note: str | None = Field(description="复核意见")


@blueprint.post("/deposits/<order_no>/refunds")
@blueprint.auth_required(citizen_auth)
@blueprint.input(IdempotencyHeaders, location="headers")
@blueprint.input(RefundIn, location="json", example={"amount_fen": 50000, "reason": "duplicate"})
@blueprint.output(RefundOut, status_code=201, example=REFUND)
@blueprint.doc(
    operation_id="request_refund",
    summary="申请退款",
    description="误缴款项原路退回；复核前该金额暂不可用。同一 Idempotency-Key 返回同一笔退款。",
    responses=[404, 409],
)
def create(order_no: str, headers_data: IdempotencyHeaders, json_data: RefundIn) -> RefundOut:
    """Ask for a refund; the amount is held until a staff member decides."""
    own = account_id()
    refund_no = request_refund(
        ports(),
        application=RefundApplication(
            order_no=order_no,
            account_id=own,
            amount_fen=json_data.amount_fen,
            reason=json_data.reason,
            note=json_data.note,
            maker=f"contributor:{contributor_id()}",
            request_key=headers_data.key,
        ),
    )
    return _out(ports().read(lambda s: get_refund(s, refund_no=refund_no, account_id=own)))


@blueprint.get("/refunds/<refund_no>")
@blueprint.auth_required(citizen_auth)
@blueprint.output(RefundOut, example=REFUND)
@blueprint.doc(
    operation_id="get_refund",
    summary="退款进度",
    description="本人申请的，或工作人员就本人缴存登记的退款。",
    responses=[404, 409],
)
def show(refund_no: str) -> RefundOut:
    """Return one of one's own refunds."""
    own = account_id()
    return _out(ports().read(lambda s: get_refund(s, refund_no=refund_no, account_id=own)))


def _out(view: RefundView) -> RefundOut:
    return RefundOut(
        refund_no=view.refund_no,
        order_no=view.order_no,
        amount_fen=view.amount_fen,
        state=view.state,
        state_text=STATE_TEXTS[view.state],
        reason=view.reason,
        note=view.note,
        requested_at=view.requested_at,
        ended_at=view.ended_at,
        decision_note=view.checker_note,
    )
