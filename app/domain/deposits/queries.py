"""Reading deposits: one's own list, the room under the cap, the months that count. Fen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.domain.deposits.rules import count_months, spread_periods
from app.domain.errors import NotFound
from app.domain.payment_orders.models import OPEN_STATES, OrderState, PaymentOrder
from app.domain.policy.queries import Policy

# A debit that brought no money is no deposit: it is told with its instruction.
_IS_DEPOSIT = or_(
    PaymentOrder.mandate_id.is_(None),
    PaymentOrder.state.in_((OrderState.SUCCEEDED, OrderState.IN_SUSPENSE)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositView:
    """A deposit as its contributor sees it."""

    id: int
    order_no: str
    channel: str
    amount_fen: int
    refunded_fen: int
    refundable_fen: int
    state: OrderState
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None
    credited_on: date | None
    contribution_month: str | None
    prepay_reference: str | None
    payment: Mapping[str, str] = field(default_factory=dict)
    """What the phone hands to the channel's app; empty when there is nothing to pay."""

    def is_payable(self, now: datetime) -> bool:
        """Tell whether the phone may still confirm it."""
        return self.state is OrderState.AWAITING_PAYMENT and now < self.expires_at


def get_deposit(session: Session, *, account_id: int, order_no: str) -> DepositView:
    """Return one's own deposit.

    Raises:
        NotFound: no such deposit, or somebody else's.
    """
    order = session.scalars(
        select(PaymentOrder).where(
            PaymentOrder.account_id == account_id, PaymentOrder.order_no == order_no, _IS_DEPOSIT
        )
    ).one_or_none()
    if order is None:
        raise NotFound("未找到该笔缴存")
    return _view(order)


def list_deposits(
    session: Session, *, account_id: int, before_id: int | None = None, limit: int = 20
) -> list[DepositView]:
    """Return one's own deposits, newest first, from before `before_id`."""
    query = select(PaymentOrder).where(PaymentOrder.account_id == account_id, _IS_DEPOSIT)
    if before_id is not None:
        query = query.where(PaymentOrder.id < before_id)
    return [_view(o) for o in session.scalars(query.order_by(PaymentOrder.id.desc()).limit(limit))]


def used_this_year_fen(session: Session, *, account_id: int, today: date) -> int:
    """Return what counts against this calendar year's cap: credited less refunded, and payable.

    An order that may still be paid counts in full, so that it can't be paid above the cap.
    """
    net = PaymentOrder.amount_fen - PaymentOrder.refunded_fen
    used = session.scalar(
        select(func.coalesce(func.sum(net), 0)).where(
            PaymentOrder.account_id == account_id,
            or_(
                and_(
                    PaymentOrder.state == OrderState.SUCCEEDED,
                    PaymentOrder.credited_on >= date(today.year, 1, 1),
                    PaymentOrder.credited_on <= date(today.year, 12, 31),
                ),
                PaymentOrder.state.in_(OPEN_STATES),
            ),
        )
    )
    return int(used or 0)


def credited_in_year_fen(session: Session, *, account_id: int, year: int) -> int:
    """Return what was credited in a calendar year less refunds of it."""
    net = PaymentOrder.amount_fen - PaymentOrder.refunded_fen
    return int(
        session.scalar(
            select(func.coalesce(func.sum(net), 0)).where(
                PaymentOrder.account_id == account_id,
                PaymentOrder.state == OrderState.SUCCEEDED,
                PaymentOrder.credited_on >= date(year, 1, 1),
                PaymentOrder.credited_on <= date(year, 12, 31),
            )
        )
        or 0
    )


def counted_months(session: Session, *, account_id: int) -> list[str]:
    """Return the contribution months that count so far, oldest first (试点方案 第五条)."""
    net = func.sum(PaymentOrder.amount_fen - PaymentOrder.refunded_fen)
    rows = session.execute(
        select(PaymentOrder.contribution_month, net)
        .where(PaymentOrder.account_id == account_id, PaymentOrder.state == OrderState.SUCCEEDED)
        .group_by(PaymentOrder.contribution_month)
    )
    net_by_period = {str(period): int(total) for period, total in rows}

    def minimum_fen_of(month: str) -> int:
        first = date.fromisoformat(f"{month}-01")
        return Policy.on(session, first).deposit.monthly_minimum_fen

    net_by_month = spread_periods(net_by_period, minimum_fen_of=minimum_fen_of)
    return count_months(net_by_month, minimum_fen_of=minimum_fen_of)


def _view(order: PaymentOrder) -> DepositView:
    credited = order.state is OrderState.SUCCEEDED
    return DepositView(
        id=order.id,
        order_no=order.order_no,
        channel=order.channel,
        amount_fen=order.amount_fen,
        refunded_fen=order.refunded_fen,
        refundable_fen=order.amount_fen - order.refund_reserved_fen if credited else 0,
        state=order.state,
        created_at=order.created_at,
        expires_at=order.expires_at,
        paid_at=order.paid_at,
        credited_on=order.credited_on,
        # That of a make-up order is known before; it counts for nothing until it is paid.
        contribution_month=order.contribution_month if credited else None,
        prepay_reference=order.prepay_reference,
    )
