"""Starting a deposit: store the order, then ask the channel, then store its answer.

What the payment does to the books is `app/domain/settlement.py`'s business alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.calendar import business_day
from app.domain.contributors.models import Account, AccountStatus
from app.domain.deposits.queries import DepositView, get_deposit, used_this_year_fen
from app.domain.deposits.rules import (
    AccountNotUsable,
    DebitUnderWay,
    IdempotencyKeyReused,
    MakeUpUnderWay,
    check_amount,
    check_no_debit_under_way,
    check_room,
    digest_request,
)
from app.domain.errors import Invalid
from app.domain.payment_orders.models import OPEN_STATES, OrderState, PaymentOrder
from app.domain.payment_orders.rules import FIRST_QUERY_AFTER, PAYABLE_FOR
from app.domain.policy.queries import Policy
from app.domain.ports import Ports
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.ports.payments import PaymentRequest, PhonePayments

ACCOUNT = table_of(Account)
ORDER = table_of(PaymentOrder)

DESCRIPTION = "住房公积金灵活缴存"
"""What the payer reads in the channel's app; no comma or quote may tear a channel's bill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeUp:
    """A debit instruction that a deposit fulfils by hand, and the period that it then counts for.

    `period` is None once the instruction's own is over: then it counts for the month it is paid in.
    """

    instruction_id: int
    period: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositRequest:
    """A deposit that a contributor asks for.

    Attributes:
        payer_ref: their id at the channel.
        despite_debit: they know that a debit is under way and may still succeed.
        makes_up: what it pays by hand in a debit's place; None for any other deposit.
    """

    account_id: int
    channel: str
    amount_fen: int
    payer_ref: str
    client_ip: str
    request_key: str
    despite_debit: bool = False
    makes_up: MakeUp | None = None


def start_deposit(ports: Ports, *, request: DepositRequest) -> DepositView:
    """Place an order for a deposit and return it with what the phone needs to pay.

    The same `request_key` again returns the same order, and asks the channel again (under the same
    order number) if its first answer was lost.

    Raises:
        Invalid: no such channel.
        AmountBelowMinimum, YearlyCapExceeded, AccountNotUsable: a rule refuses.
        NoPolicyValue: no figure is in force today, e.g. outside the programme's dates.
        DebitUnderWay: a debit may still take money, and the request does not say that it is known.
        MakeUpUnderWay: another order makes up the same period.
        IdempotencyKeyReused: the key came before with another content.
    """
    channel = ports.channels.paying.get(request.channel)
    if channel is None:
        raise Invalid("不支持该支付渠道", field="channel")
    order_no = ports.new_number("D")
    order = ports.transact(
        lambda session: _place_order(session, request, order_no=order_no, now=ports.now())
    )
    if order.state in {OrderState.SENDING, OrderState.UNKNOWN} and ports.now() < order.expires_at:
        outcome = channel.prepare_payment(
            PaymentRequest(
                order_no=order.order_no,
                amount_fen=order.amount_fen,
                description=DESCRIPTION,
                payer_ref=request.payer_ref,
                expires_at=order.expires_at,
                client_ip=request.client_ip,
            )
        )
        ports.transact(
            lambda session: record_prepared(
                session, order_no=order.order_no, outcome=outcome, now=ports.now()
            )
        )
    return deposit_with_payment(ports, account_id=request.account_id, order_no=order.order_no)


def deposit_with_payment(ports: Ports, *, account_id: int, order_no: str) -> DepositView:
    """Return one's own deposit, with what the phone needs while it can still be paid.

    Raises:
        NotFound: no such deposit of this account.
    """
    view = ports.read(
        lambda session: get_deposit(session, account_id=account_id, order_no=order_no)
    )
    channel: PhonePayments | None = ports.channels.paying.get(view.channel)
    if view.prepay_reference and channel and view.is_payable(ports.now()):
        return replace(view, payment=channel.payer_action(view.prepay_reference))
    return view


def record_prepared(session: Session, *, order_no: str, outcome: Outcome, now: datetime) -> None:
    """Store the channel's answer to placing the order.

    Does nothing when the order has moved on meanwhile: a callback may overtake the answer.
    """
    if outcome.kind is OutcomeKind.ACCEPTED and outcome.reference:
        target = OrderState.AWAITING_PAYMENT
    elif outcome.kind is OutcomeKind.FAILED and outcome.reason is not Reason.ALREADY_PAID:
        target = OrderState.FAILED
    else:
        target = OrderState.UNKNOWN
    statement = (
        update(ORDER)
        .where(
            ORDER.c.order_no == order_no,
            ORDER.c.state.in_((OrderState.SENDING, OrderState.UNKNOWN)),
        )
        .values(
            state=target,
            raw_code=outcome.raw_code or None,
            prepay_reference=outcome.reference,
            ended_at=now if target is OrderState.FAILED else None,
            next_query_at=None if target is OrderState.FAILED else now + FIRST_QUERY_AFTER,
        )
    )
    rows_changed(session, statement)


def _place_order(
    session: Session, request: DepositRequest, *, order_no: str, now: datetime
) -> PaymentOrder:
    # Raising the count first makes two orders of one person wait for each other, also across
    # the nodes of a cluster, so that both cannot take the same room under the cap.
    rows_changed(
        session,
        update(ACCOUNT)
        .where(ACCOUNT.c.id == request.account_id)
        .values(order_count=ACCOUNT.c.order_count + 1),
    )
    made_up = {"makes_up": request.makes_up.instruction_id} if request.makes_up else {}
    digest = digest_request(channel=request.channel, amount_fen=request.amount_fen, **made_up)
    earlier = session.scalars(
        select(PaymentOrder).where(
            PaymentOrder.account_id == request.account_id,
            PaymentOrder.request_key == request.request_key,
        )
    ).one_or_none()
    if earlier is not None:
        if earlier.request_digest != digest:
            raise IdempotencyKeyReused
        return earlier
    today = business_day(now)
    status = session.scalar(select(ACCOUNT.c.status).where(ACCOUNT.c.id == request.account_id))
    if status is not AccountStatus.NORMAL:
        raise AccountNotUsable
    check_no_debit_under_way(
        _count_open_debits(session, request.account_id), despite=request.despite_debit
    )
    if request.makes_up:
        _check_not_made_up_yet(session, request.makes_up)
    policy = Policy.on(session, today)
    policy.programme.check_open()
    check_amount(request.amount_fen, minimum_fen=policy.deposit.monthly_minimum_fen)
    cap_fen = policy.deposit.yearly_cap_fen
    used_fen = used_this_year_fen(session, account_id=request.account_id, today=today)
    check_room(request.amount_fen, room_fen=cap_fen - used_fen, cap_fen=cap_fen)
    order = PaymentOrder(
        order_no=order_no,
        account_id=request.account_id,
        channel=request.channel,
        amount_fen=request.amount_fen,
        state=OrderState.SENDING,
        request_key=request.request_key,
        request_digest=digest,
        created_at=now,
        expires_at=now + PAYABLE_FOR,
        next_query_at=now + FIRST_QUERY_AFTER,
        instruction_id=request.makes_up.instruction_id if request.makes_up else None,
        contribution_month=request.makes_up.period if request.makes_up else None,
    )
    session.add(order)
    session.flush()
    return order


def _count_open_debits(session: Session, account_id: int) -> int:
    return (
        session.scalar(
            select(func.count()).where(
                ORDER.c.account_id == account_id,
                ORDER.c.mandate_id.is_not(None),
                ORDER.c.state.in_(OPEN_STATES),
            )
        )
        or 0
    )


def _check_not_made_up_yet(session: Session, makes_up: MakeUp) -> None:
    """Refuse a second open order for one instruction, before the database has to."""
    other = session.execute(
        select(ORDER.c.order_no, ORDER.c.mandate_id).where(
            ORDER.c.open_instruction_id == makes_up.instruction_id
        )
    ).one_or_none()
    if other is None:
        return
    if other.mandate_id is not None:
        raise DebitUnderWay
    raise MakeUpUnderWay(order_no=other.order_no)
