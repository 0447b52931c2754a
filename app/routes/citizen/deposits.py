"""Deposits: create, list, look at one."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import request
from pydantic import Field

from app.domain.agreements.rules import DebitChannel
from app.domain.contributors.models import Platform
from app.domain.deposits.operations import DepositRequest, deposit_with_payment, start_deposit
from app.domain.deposits.queries import DepositView, list_deposits
from app.domain.payment_orders.models import OrderState
from app.domain.sessions.queries import openid_of
from app.routes.citizen.schemas import AmountIn, Day, Fen, Instant, Page
from app.routes.guards import account_id, citizen_auth, contributor_id, ports
from app.routes.idempotency import IdempotencyHeaders
from app.routes.json import In, Out

blueprint = APIBlueprint("deposits", __name__, url_prefix="/api/v1/deposits", tag="缴存")

DEPOSIT = {
    "order_no": "DMIX3K9QZ7F2H4B6N8P0R1S5T3V7W9XY",
    "channel": "wechat",
    "amount_fen": 50000,
    "refunded_fen": 0,
    "refundable_fen": 0,
    "state": "awaiting_payment",
    "state_text": "待支付",
    "created_at": "2026-11-24T10:00:00+08:00",
    "expires_at": "2026-11-24T10:30:00+08:00",
    "paid_at": None,
    "credited_on": None,
    "contribution_month": None,
    "payment": {
        "appId": "wx8888888888888888",
        "timeStamp": "1795485600",
        "nonceStr": "5K8264ILTKCH16CQ",
        "package": "prepay_id=wx201411101639507cbf6ffd8b0779950874",
        "signType": "MD5",
        "paySign": "C380BEC2BFD727A4B6845133519F3AD6",
    },
}
CREDITED = {
    **DEPOSIT,
    "refundable_fen": 50000,
    "state": "succeeded",
    "state_text": "已入账",
    "paid_at": "2026-11-24T10:00:41+08:00",
    "credited_on": "2026-11-24",
    "contribution_month": "2026-11",
    "payment": {},
}

STATE_TEXTS = {
    "sending": "正在下单",
    "awaiting_payment": "待支付",
    "unknown": "支付结果确认中",
    "closing": "正在关闭",
    "succeeded": "已入账",
    "closed": "已关闭",
    "failed": "下单失败，请重新发起",
    "in_suspense": "已收款待核实，工作人员将尽快处理",
}


class DepositIn(In):
    """A deposit to be paid now through a phone channel."""

    channel: Platform = Field(description="支付渠道：wechat 或 alipay")
    amount_fen: AmountIn
    despite_debit: bool = Field(
        default=False,
        description="已知有一笔自动扣款正在处理、仍可能扣款成功，仍要缴存",
    )


class DepositOut(Out):
    """A deposit. While it can be paid, `payment` is what the phone hands to the channel's app."""

    order_no: str
    channel: DebitChannel = Field(description="支付或扣款的渠道")
    amount_fen: Fen
    refunded_fen: Fen = Field(description="已退款，单位：分")
    refundable_fen: Fen = Field(description="还可申请退款，单位：分")
    state: OrderState
    state_text: str = Field(description="状态的中文说明")
    created_at: Instant
    expires_at: Instant = Field(description="此后不能再支付")
    paid_at: Instant | None
    credited_on: Day | None = Field(description="入账日期")
    contribution_month: str | None = Field(
        description="计入的缴存月份，按季扣款的为季度，如 2026Q4；入账后才有",
        examples=["2026-11", "2026Q4"],
    )
    payment: dict[str, str] = Field(description="交给支付接口的参数；不可支付时为空")


class DepositsOut(Out):
    """A page of deposits, newest first."""

    items: list[DepositOut]
    next_cursor: int | None


@blueprint.post("")
@blueprint.auth_required(citizen_auth)
@blueprint.input(IdempotencyHeaders, location="headers")
@blueprint.input(DepositIn, location="json", example={"channel": "wechat", "amount_fen": 50000})
@blueprint.output(DepositOut, status_code=201, example=DEPOSIT)
@blueprint.doc(
    operation_id="create_deposit",
    summary="发起缴存",
    description="下单并返回支付参数。不低于最低月缴存额，不超过本自然年度剩余额度；"
    "同一 Idempotency-Key 返回同一笔订单。有自动扣款正在处理时，回答 409 debit_under_way；"
    "请本人确认后，以 despite_debit 为 true 重新提交。",
    responses=[409],
)
def create(headers_data: IdempotencyHeaders, json_data: DepositIn) -> DepositOut:
    """Place an order at the channel; the same Idempotency-Key gives the same order."""
    own, person = account_id(), contributor_id()
    channel = json_data.channel
    payer = ports().read(lambda session: openid_of(session, ports().vault, person, channel))
    view = start_deposit(
        ports(),
        request=DepositRequest(
            account_id=own,
            channel=channel,
            amount_fen=json_data.amount_fen,
            payer_ref=payer,
            client_ip=request.remote_addr or "127.0.0.1",
            request_key=headers_data.key,
            despite_debit=json_data.despite_debit,
        ),
    )
    return show_deposit(view)


@blueprint.get("")
@blueprint.auth_required(citizen_auth)
@blueprint.input(Page, location="query")
@blueprint.output(DepositsOut, example={"items": [CREDITED], "next_cursor": None})
@blueprint.doc(
    operation_id="list_deposits",
    summary="缴存记录",
    description="本人的全部订单与已入账的扣款；未扣成的扣款不在其中。支付参数只在详情中给出。",
    responses=[409],
)
def index(query_data: Page) -> DepositsOut:
    """List one's own deposits."""
    own = account_id()
    found = ports().read(
        lambda session: list_deposits(
            session, account_id=own, before_id=query_data.cursor, limit=query_data.limit + 1
        )
    )
    page = found[: query_data.limit]
    return DepositsOut(
        items=[show_deposit(view) for view in page],
        next_cursor=page[-1].id if len(found) > query_data.limit else None,
    )


@blueprint.get("/<order_no>")
@blueprint.auth_required(citizen_auth)
@blueprint.output(DepositOut, example=CREDITED)
@blueprint.doc(
    operation_id="get_deposit",
    summary="缴存详情",
    description="待支付时附支付参数。",
    responses=[404, 409],
)
def show(order_no: str) -> DepositOut:
    """Return one of one's own deposits."""
    return show_deposit(deposit_with_payment(ports(), account_id=account_id(), order_no=order_no))


def show_deposit(view: DepositView) -> DepositOut:
    """Return a deposit as the phone sees it."""
    return DepositOut(
        order_no=view.order_no,
        channel=DebitChannel(view.channel),
        amount_fen=view.amount_fen,
        refunded_fen=view.refunded_fen,
        refundable_fen=view.refundable_fen,
        state=view.state,
        state_text=STATE_TEXTS[view.state],
        created_at=view.created_at,
        expires_at=view.expires_at,
        paid_at=view.paid_at,
        credited_on=view.credited_on,
        contribution_month=view.contribution_month,
        payment=dict(view.payment),
    )
