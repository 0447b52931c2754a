"""Asking for a refund and deciding on it. Sending it is `app/domain/inquiries`' business."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.contributors.models import Account, AccountStatus
from app.domain.deposits.rules import IdempotencyKeyReused, digest_request
from app.domain.errors import Conflict, NotFound, NotPermitted, RuleViolation
from app.domain.ledger.operations import place_hold, release_hold
from app.domain.payment_orders.models import OrderState, PaymentOrder
from app.domain.payment_orders.rules import next_query_at
from app.domain.ports import Ports
from app.domain.refunds.models import Refund, RefundReason, RefundState

ACCOUNT = table_of(Account)
ORDER = table_of(PaymentOrder)
REFUND = table_of(Refund)


class SamePersonTwice(NotPermitted):
    """The one who asked may not be the one who releases."""

    code = "same_person_twice"
    default_message = "申请人与复核人不能是同一人"


class AccountFrozen(RuleViolation):
    """No money leaves an account while it is frozen (冻结)."""

    code = "account_frozen"
    default_message = "账户已冻结，暂不能退款"


class NotRefundable(RuleViolation):
    """The deposit is not credited, or less than that is left of it."""

    code = "not_refundable"
    default_message = "该笔缴存没有足够的可退金额"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundApplication:
    """A refund asked for. `maker` is `contributor:<id>` or `staff:<id>`.

    `account_id` limits a contributor to their own deposits; None for staff.
    """

    order_no: str
    account_id: int | None
    amount_fen: int
    reason: RefundReason
    note: str
    maker: str
    request_key: str


def request_refund(ports: Ports, *, application: RefundApplication) -> str:
    """Ask for money of a credited deposit back, and hold it until a second person decides.

    Returns: the refund_no; the same one for the same maker and request key.
    Raises:
        NotFound: no such deposit, or not the maker's own.
        NotRefundable: not credited, or less is left.
        AccountFrozen: the account is frozen.
        BalanceTooLow: the account's available balance does not cover it.
        IdempotencyKeyReused: the key came before with another content.
    """
    refund_no = ports.new_number("R")
    return ports.transact(
        lambda session: _request(session, application, refund_no=refund_no, now=ports.now())
    )


def reject_refund(ports: Ports, *, refund_no: str, checker_id: int, note: str) -> None:
    """Refuse a refund as the second person; the money is free again.

    Raises:
        NotFound, Conflict, SamePersonTwice: as for `approve_refund`.
    """

    def work(session: Session) -> None:
        now = ports.now()
        refund = _decide(
            session, refund_no, RefundState.REJECTED, checker_id=checker_id, note=note, now=now
        )
        refund.ended_at = now
        rows_changed(
            session,
            update(ORDER)
            .where(ORDER.c.id == refund.order_id)
            .values(refund_reserved_fen=ORDER.c.refund_reserved_fen - refund.amount_fen),
        )
        release_hold(session, hold_key=f"refund:{refund_no}")
        session.flush()

    ports.transact(work)


def approve_refund(
    session: Session, *, refund_no: str, checker_id: int, note: str, now: datetime
) -> None:
    """Release a refund as the second person: from here on it will be sent.

    Raises:
        NotFound: no such refund.
        Conflict: it was decided before.
        SamePersonTwice: the checker is the maker.
        AccountFrozen: the account was frozen meanwhile.
    """
    refund = _decide(
        session, refund_no, RefundState.SENDING, checker_id=checker_id, note=note, now=now
    )
    _check_not_frozen(session, refund.account_id)
    # The caller sends it now; the job's turn comes only if the caller did not live to do so.
    refund.next_query_at = next_query_at(now, query_count=0)
    session.flush()


def _request(
    session: Session, application: RefundApplication, *, refund_no: str, now: datetime
) -> str:
    digest = digest_request(
        order_no=application.order_no,
        amount_fen=application.amount_fen,
        reason=application.reason,
        note=application.note,
    )
    # Locked, so that the second of two equal requests finds the first one's refund below
    # instead of too little left to reserve.
    order = session.execute(
        select(ORDER).where(ORDER.c.order_no == application.order_no).with_for_update()
    ).one_or_none()
    own = application.account_id is None or (
        order is not None and order.account_id == application.account_id
    )
    if order is None or not own:
        raise NotFound("未找到该笔缴存")
    earlier = _find_earlier(session, application, digest=digest)
    if earlier is not None:
        return earlier
    _check_not_frozen(session, order.account_id)
    reserved = rows_changed(
        session,
        update(ORDER)
        .where(
            ORDER.c.id == order.id,
            ORDER.c.state == OrderState.SUCCEEDED,
            ORDER.c.amount_fen - ORDER.c.refund_reserved_fen >= application.amount_fen,
        )
        .values(refund_reserved_fen=ORDER.c.refund_reserved_fen + application.amount_fen),
    )
    if reserved != 1:
        raise NotRefundable(refundable_fen=max(0, order.amount_fen - order.refund_reserved_fen))
    place_hold(
        session,
        hold_key=f"refund:{refund_no}",
        account_id=order.account_id,
        amount_fen=application.amount_fen,
        now=now,
    )
    session.add(
        Refund(
            refund_no=refund_no,
            order_id=order.id,
            account_id=order.account_id,
            amount_fen=application.amount_fen,
            state=RefundState.REQUESTED,
            reason=application.reason,
            note=application.note,
            request_key=application.request_key,
            request_digest=digest,
            maker=application.maker,
            requested_at=now,
        )
    )
    session.flush()
    return refund_no


def _find_earlier(session: Session, application: RefundApplication, *, digest: bytes) -> str | None:
    earlier = session.execute(
        select(REFUND.c.refund_no, REFUND.c.request_digest).where(
            REFUND.c.maker == application.maker,
            REFUND.c.request_key == application.request_key,
        )
    ).one_or_none()
    if earlier is None:
        return None
    if earlier.request_digest != digest:
        raise IdempotencyKeyReused
    return str(earlier.refund_no)


def _check_not_frozen(session: Session, account_id: int) -> None:
    status = session.scalar(select(ACCOUNT.c.status).where(ACCOUNT.c.id == account_id))
    if status is AccountStatus.FROZEN:
        raise AccountFrozen


def _decide(
    session: Session,
    refund_no: str,
    target: RefundState,
    *,
    checker_id: int,
    note: str,
    now: datetime,
) -> Refund:
    checker = f"staff:{checker_id}"
    refund = session.scalars(select(Refund).where(Refund.refund_no == refund_no)).one_or_none()
    if refund is None:
        raise NotFound("未找到该笔退款")
    if refund.maker == checker:
        raise SamePersonTwice
    moved = rows_changed(
        session,
        update(REFUND)
        .where(REFUND.c.id == refund.id, REFUND.c.state == RefundState.REQUESTED)
        .values(state=target, checker=checker, checker_note=note, decided_at=now),
    )
    if moved != 1:
        raise Conflict("该笔退款已处理")
    session.refresh(refund)
    return refund
