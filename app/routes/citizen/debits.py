"""Debits: what comes next, what became of each period, and making one up."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import request

from app.domain.debits.making_up import MakeUpRequest, make_up
from app.domain.debits.queries import find_next_debit, get_debit, list_debits
from app.domain.errors import NotFound
from app.domain.sessions.queries import openid_of
from app.routes.citizen.debit_shapes import (
    DEBIT,
    NEXT_DEBIT,
    SUCCEEDED,
    DebitOut,
    DebitsOut,
    MakeUpIn,
    NextDebitOut,
    show_debit,
)
from app.routes.citizen.deposits import DEPOSIT, DepositOut, show_deposit
from app.routes.citizen.schemas import Page
from app.routes.guards import account_id, citizen_auth, contributor_id, ports
from app.routes.idempotency import IdempotencyHeaders

blueprint = APIBlueprint("debits", __name__, url_prefix="/api/v1/debits", tag="自动扣款")


@blueprint.get("")
@blueprint.auth_required(citizen_auth)
@blueprint.input(Page, location="query")
@blueprint.output(DebitsOut, example={"items": [SUCCEEDED], "next_cursor": None})
@blueprint.doc(
    operation_id="list_debits",
    summary="扣款记录",
    description="已提示的各期扣款，由新到旧，各次尝试在内。",
    responses=[409],
)
def index(query_data: Page) -> DebitsOut:
    """List one's own debits."""
    own = account_id()
    found = ports().read(
        lambda session: list_debits(
            session, account_id=own, before_id=query_data.cursor, limit=query_data.limit + 1
        )
    )
    page = found[: query_data.limit]
    return DebitsOut(
        items=[show_debit(view) for view in page],
        next_cursor=page[-1].id if len(found) > query_data.limit else None,
    )


@blueprint.get("/next")
@blueprint.auth_required(citizen_auth)
@blueprint.output(NextDebitOut, example=NEXT_DEBIT)
@blueprint.doc(
    operation_id="get_next_debit",
    summary="下一笔扣款",
    description="已提示或将重试的一期；都没有时，为协议约定的下一期，提示前仍可变更。"
    "没有可扣的一期时回答 404。",
    responses=[404, 409],
)
def show_next() -> NextDebitOut:
    """Return when how much is debited next."""
    own = account_id()
    found = ports().read(
        lambda session: find_next_debit(session, account_id=own, now=ports().now())
    )
    if found is None:
        raise NotFound("目前没有待扣的款项")
    return NextDebitOut.model_validate(found, from_attributes=True)


@blueprint.get("/<period>")
@blueprint.auth_required(citizen_auth)
@blueprint.output(DebitOut, example=DEBIT)
@blueprint.doc(
    operation_id="get_debit",
    summary="一期扣款的进展",
    description="状态、下一次扣款的日期、未扣成的原因与各次尝试。提示之前没有记录。",
    responses=[404, 409],
)
def show(period: str) -> DebitOut:
    """Return one's own debit of a period."""
    own = account_id()
    return show_debit(
        ports().read(lambda session: get_debit(session, account_id=own, period=period))
    )


@blueprint.post("/<period>/make-up")
@blueprint.auth_required(citizen_auth)
@blueprint.input(IdempotencyHeaders, location="headers")
@blueprint.input(MakeUpIn, location="json", example={"channel": "wechat"})
@blueprint.output(DepositOut, status_code=201, example=DEPOSIT)
@blueprint.doc(
    operation_id="make_up_debit",
    summary="补缴",
    description="未扣成的一期，以扣款的金额下单并返回支付参数；支付后该期不再扣款。"
    "该期之内补缴的计入该期，之后的计入支付当月。扣款处理中或已缴的，回答 409 nothing_to_make_up；"
    "已有补缴订单待支付的，回答 409 make_up_under_way，detail 中为其 order_no；"
    "另一期扣款正在处理的，同发起缴存。"
    "同一 Idempotency-Key 返回同一笔订单。",
    responses=[404, 409],
)
def make_up_period(
    period: str, headers_data: IdempotencyHeaders, json_data: MakeUpIn
) -> DepositOut:
    """Place an order for what could not be debited; the same Idempotency-Key gives the same one."""
    own, person, channel = account_id(), contributor_id(), json_data.channel
    payer = ports().read(lambda session: openid_of(session, ports().vault, person, channel))
    view = make_up(
        ports(),
        request=MakeUpRequest(
            account_id=own,
            period=period,
            channel=channel,
            payer_ref=payer,
            client_ip=request.remote_addr or "127.0.0.1",
            request_key=headers_data.key,
            despite_debit=json_data.despite_debit,
        ),
    )
    return show_deposit(view)
