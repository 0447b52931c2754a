"""Paying by hand what could not be debited (补缴), by one tap."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.calendar import business_day
from app.domain.debits.models import DebitInstruction
from app.domain.debits.rules import can_be_made_up
from app.domain.deposits.operations import DepositRequest, MakeUp, start_deposit
from app.domain.deposits.queries import DepositView
from app.domain.errors import Conflict, NotFound
from app.domain.payment_orders.models import PaymentOrder
from app.domain.periods import Period
from app.domain.ports import Ports

NOT_FOUND = "未找到该期扣款"


class NothingToMakeUp(Conflict):
    """Only a period that was missed, or whose debit failed and waits for its retry, is made up."""

    code = "nothing_to_make_up"
    default_message = "该期无需补缴"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeUpRequest:
    """What a contributor asks for.

    Attributes:
        payer_ref: their id at the channel.
        despite_debit: they know that the debit of another period is under way.
    """

    account_id: int
    period: str
    channel: str
    payer_ref: str
    client_ip: str
    request_key: str
    despite_debit: bool = False


def make_up(ports: Ports, *, request: MakeUpRequest) -> DepositView:
    """Place an order over the amount of a debit that failed; once paid, it is not tried again.

    Within its period it counts for that; later for the month it is paid in, because missed months
    are never filled (试点方案 第五条 「累计」). The same `request_key` again returns the same
    order, whatever became of it. Raises as `start_deposit` does, too.

    Raises:
        NotFound: no such period of this account.
        NothingToMakeUp: nothing failed, an attempt is under way, or it is paid.
    """
    amount_fen, made_up = ports.read(lambda session: _look(session, ports, request))
    return start_deposit(
        ports,
        request=DepositRequest(
            account_id=request.account_id,
            channel=request.channel,
            amount_fen=amount_fen,
            payer_ref=request.payer_ref,
            client_ip=request.client_ip,
            request_key=request.request_key,
            despite_debit=request.despite_debit,
            makes_up=made_up,
        ),
    )


def _look(session: Session, ports: Ports, request: MakeUpRequest) -> tuple[int, MakeUp]:
    found = session.scalars(
        select(DebitInstruction).where(
            DebitInstruction.account_id == request.account_id,
            DebitInstruction.period == request.period,
        )
    ).one_or_none()
    if found is None:
        raise NotFound(NOT_FOUND)
    today = business_day(ports.now())
    came_before = select(PaymentOrder.id).where(
        PaymentOrder.account_id == request.account_id,
        PaymentOrder.request_key == request.request_key,
    )
    if session.scalar(came_before) is None and not can_be_made_up(
        found.state, attempts=found.attempt_count
    ):
        raise NothingToMakeUp
    is_over = Period.parse(found.period).last_day < today
    made_up = MakeUp(instruction_id=found.id, period=None if is_over else found.period)
    return found.amount_fen, made_up
