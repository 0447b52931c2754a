"""Refunds: asked for by a clerk or a contributor, released or rejected by someone else."""

from __future__ import annotations

from apiflask import APIBlueprint
from pydantic import Field

from app.domain.inquiries.operations import release_refund
from app.domain.refunds.models import RefundReason, RefundState
from app.domain.refunds.operations import RefundApplication, reject_refund, request_refund
from app.domain.refunds.queries import RefundView, get_refund, list_refunds
from app.domain.staff.models import Role
from app.routes.citizen.schemas import AmountIn, Fen, Instant, Note, Page
from app.routes.guards import ports, require_role, staff_auth, staff_caller
from app.routes.idempotency import IdempotencyHeaders
from app.routes.json import In, Out

blueprint = APIBlueprint(
    "staff_refunds", __name__, url_prefix="/staff/api/v1/refunds", tag="工作人员"
)

REFUND_IN = {
    "order_no": "DMIX3K9QZ7F2H4B6N8P0R1S5T3V7W9XY",
    "amount_fen": 50000,
    "reason": "duplicate",
    "note": "本人来电，同一天支付两次",
}
REFUND = {
    **REFUND_IN,
    "refund_no": "RMIX3K9QZ7F2H4B6N8P0R1S5T3V7W9XY",
    "channel": "wechat",
    "state": "requested",
    "maker": "staff:1",
    "checker": None,
    "checker_note": None,
    "requested_at": "2026-11-24T11:00:00+08:00",
    "decided_at": None,
    "ended_at": None,
    "raw_code": None,
}
DECISION = {"note": "核对流水，情况属实"}
RELEASED = {
    **REFUND,
    "state": "processing",
    "checker": "staff:2",
    "checker_note": DECISION["note"],
    "decided_at": "2026-11-24T14:00:00+08:00",
    "raw_code": "SUCCESS",
}
REJECTED = {
    **RELEASED,
    "state": "rejected",
    "ended_at": "2026-11-24T14:00:00+08:00",
    "raw_code": None,
}

MAKERS = (Role.CLERK, Role.REVIEWER, Role.SUPERVISOR)
CHECKERS = (Role.REVIEWER, Role.SUPERVISOR)
READERS = (Role.CLERK, Role.REVIEWER, Role.SUPERVISOR, Role.AUDITOR)


class StaffRefundIn(In):
    """A refund of any contributor's deposit."""

    order_no: str = Field(min_length=1, max_length=32)
    amount_fen: AmountIn
    reason: RefundReason
    note: Note = Field(min_length=1, description="原因说明")


class DecisionIn(In):
    """Why it is released or rejected."""

    note: Note = Field(min_length=1, description="复核意见")


class RefundsQuery(Page):
    """A page of refunds, of one state or all."""

    state: RefundState | None = Field(default=None, description="只看一种状态；不填为全部")


class StaffRefundOut(Out):
    """A refund as staff see it."""

    refund_no: str
    order_no: str
    channel: str
    amount_fen: Fen
    state: RefundState
    reason: RefundReason
    note: str
    maker: str = Field(description="申请人：contributor:编号 或 staff:编号")
    checker: str | None = Field(description="复核人：staff:编号")
    checker_note: str | None
    requested_at: Instant
    decided_at: Instant | None
    ended_at: Instant | None
    raw_code: str | None = Field(description="渠道的原始代码")


class StaffRefundsOut(Out):
    """A page of refunds, newest first."""

    items: list[StaffRefundOut]
    next_cursor: int | None


@blueprint.get("")
@blueprint.auth_required(staff_auth)
@require_role(*READERS)
@blueprint.input(RefundsQuery, location="query")
@blueprint.output(StaffRefundsOut, example={"items": [REFUND], "next_cursor": None})
@blueprint.doc(
    operation_id="list_staff_refunds",
    summary="退款列表",
    description="全部退款，可按状态查看。",
    responses=[403],
)
def index(query_data: RefundsQuery) -> StaffRefundsOut:
    """List refunds."""
    found = ports().read(
        lambda session: list_refunds(
            session,
            state=query_data.state,
            before_id=query_data.cursor,
            limit=query_data.limit + 1,
        )
    )
    page = found[: query_data.limit]
    return StaffRefundsOut(
        items=[_out(view) for view in page],
        next_cursor=page[-1].id if len(found) > query_data.limit else None,
    )


@blueprint.post("")
@blueprint.auth_required(staff_auth)
@require_role(*MAKERS)
@blueprint.input(IdempotencyHeaders, location="headers")
@blueprint.input(StaffRefundIn, location="json", example=REFUND_IN)
@blueprint.output(StaffRefundOut, status_code=201, example=REFUND)
@blueprint.doc(
    operation_id="create_staff_refund",
    summary="登记退款",
    description="由经办、复核或主管登记，须由另一人复核。同一 Idempotency-Key 返回同一笔退款。",
    responses=[403, 404, 409],
)
def create(headers_data: IdempotencyHeaders, json_data: StaffRefundIn) -> StaffRefundOut:
    """Ask for a refund as the maker."""
    refund_no = request_refund(
        ports(),
        application=RefundApplication(
            order_no=json_data.order_no,
            account_id=None,
            amount_fen=json_data.amount_fen,
            reason=json_data.reason,
            note=json_data.note,
            maker=f"staff:{staff_caller().staff_id}",
            request_key=headers_data.key,
        ),
    )
    return _show(refund_no)


@blueprint.post("/<refund_no>/release")
@blueprint.auth_required(staff_auth)
@require_role(*CHECKERS)
@blueprint.input(DecisionIn, location="json", example=DECISION)
@blueprint.output(StaffRefundOut, example=RELEASED)
@blueprint.doc(
    operation_id="release_refund",
    summary="复核放行退款",
    description="复核人不得为申请人；放行后即向渠道发起退款。",
    responses=[403, 404, 409],
)
def release(refund_no: str, json_data: DecisionIn) -> StaffRefundOut:
    """Release a refund as the checker and send it to the channel."""
    release_refund(
        ports(),
        refund_no=refund_no,
        checker_id=staff_caller().staff_id,
        note=json_data.note,
    )
    return _show(refund_no)


@blueprint.post("/<refund_no>/reject")
@blueprint.auth_required(staff_auth)
@require_role(*CHECKERS)
@blueprint.input(DecisionIn, location="json", example=DECISION)
@blueprint.output(StaffRefundOut, example=REJECTED)
@blueprint.doc(
    operation_id="reject_refund",
    summary="复核退回退款申请",
    description="复核人不得为申请人；占用的金额随即恢复可用。",
    responses=[403, 404, 409],
)
def reject(refund_no: str, json_data: DecisionIn) -> StaffRefundOut:
    """Reject a refund as the checker; the held amount is free again."""
    reject_refund(
        ports(),
        refund_no=refund_no,
        checker_id=staff_caller().staff_id,
        note=json_data.note,
    )
    return _show(refund_no)


def _show(refund_no: str) -> StaffRefundOut:
    return _out(
        ports().read(lambda session: get_refund(session, refund_no=refund_no, account_id=None))
    )


def _out(view: RefundView) -> StaffRefundOut:
    return StaffRefundOut.model_validate(view, from_attributes=True)
