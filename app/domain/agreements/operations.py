"""Suspending, resuming and ending an agreement (暂停、恢复、终止), and every move of its state."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import partial

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.agreements.models import (
    AGREEMENT_STATES,
    Agreement,
    AgreementState,
    AgreementStateChange,
)
from app.domain.agreements.queries import NOT_FOUND, is_suspension_over
from app.domain.agreements.rules import (
    Due,
    check_suspension,
    dues_between,
)
from app.domain.agreements.timelines import read_spans, suspension_of
from app.domain.calendar import business_day
from app.domain.errors import Conflict, NotFound
from app.domain.periods import add_months
from app.domain.policy.queries import Policy
from app.domain.ports import Ports

LOOK_AHEAD = timedelta(days=800)
"""Beyond the latest first period that can be agreed to."""


class NothingToSuspend(Conflict):
    """A free agreement debits nothing."""

    code = "nothing_to_suspend"
    default_message = "自由缴存协议不自动扣款，无需暂停"


def suspend_agreement(ports: Ports, *, account_id: int, contributor_id: int, months: int) -> None:
    """Leave debits out for some months, from the next period that is not frozen.

    Raises:
        NotFound: no live agreement.
        SuspensionTooLong: not one month to the most that the policy allows.
        NothingToSuspend: nothing is debited anyway.
        IllegalMove: it is suspended already.
    """

    def work(session: Session) -> None:
        agreement, today = lock_live(session, account_id), business_day(ports.now())
        policy = Policy.on(session, today).debit
        check_suspension(months, months_max=policy.suspension_months_max)
        following = _first_unfrozen(session, agreement, on=today, notice_days=policy.notice_days)
        if following is None:
            raise NothingToSuspend
        first_day = following.period.first_day
        last_day = add_months(first_day, months) - timedelta(days=1)
        earlier = suspension_of(agreement)
        if earlier is not None and earlier.last_day >= today:
            # Resumed a moment ago: what that suspension still leaves out stays left out.
            first_day = min(first_day, earlier.first_day)
        agreement.suspended_from, agreement.suspended_through = first_day, last_day
        move(
            session,
            agreement,
            AgreementState.SUSPENDED,
            by=f"contributor:{contributor_id}",
            because=f"缴存人申请暂停 {months} 个月",
            at=ports.now(),
        )

    ports.transact(work)


def suspend_for_missed(session: Session, agreement_id: int, *, periods: int, at: datetime) -> bool:
    """Suspend an agreement whose debits keep failing, until the person resumes it.

    Returns: False for one that is not active any more.
    """
    agreement = session.get_one(
        Agreement, agreement_id, with_for_update=True, populate_existing=True
    )
    if agreement.state is not AgreementState.ACTIVE:
        return False
    today = business_day(at)
    notice_days = Policy.on(session, today).debit.notice_days
    following = _first_unfrozen(session, agreement, on=today, notice_days=notice_days)
    if following is None:
        return False
    agreement.suspended_from = following.period.first_day
    agreement.suspended_through = date.max
    move(
        session,
        agreement,
        AgreementState.SUSPENDED,
        by="system",
        because=f"连续 {periods} 期扣款未成功，自动暂停",
        at=at,
    )
    return True


def resume_agreement(ports: Ports, *, account_id: int, contributor_id: int) -> None:
    """Debit again, from the next period that is not frozen.

    Raises:
        NotFound: no live agreement.
        IllegalMove: it is not suspended.
    """

    def work(session: Session) -> None:
        agreement, today = lock_live(session, account_id), business_day(ports.now())
        notice_days = Policy.on(session, today).debit.notice_days
        following = _first_unfrozen(session, agreement, on=today, notice_days=notice_days)
        suspension = suspension_of(agreement)
        if suspension is not None and following is not None:
            last_day = min(suspension.last_day, following.period.first_day - timedelta(days=1))
            whole = last_day >= suspension.first_day
            agreement.suspended_from = suspension.first_day if whole else None
            agreement.suspended_through = last_day if whole else None
        move(
            session,
            agreement,
            AgreementState.ACTIVE,
            by=f"contributor:{contributor_id}",
            because="缴存人申请恢复",
            at=ports.now(),
        )

    ports.transact(work)


def end_agreement(ports: Ports, *, account_id: int, contributor_id: int) -> str:
    """End the live agreement for good; a period that was announced may still be debited.

    Returns: the agreement_no.
    Raises:
        NotFound: no live agreement.
    """

    def work(session: Session) -> str:
        agreement, now = lock_live(session, account_id), ports.now()
        agreement.live_account_id, agreement.ended_at = None, now
        move(
            session,
            agreement,
            AgreementState.ENDED,
            by=f"contributor:{contributor_id}",
            because="缴存人申请终止",
            at=now,
        )
        return agreement.agreement_no

    return ports.transact(work)


def resume_expired(ports: Ports, *, on: date) -> int:
    """Make agreements active again whose suspension is over on a day; for a daily job.

    Returns: how many.
    """
    over = select(Agreement.id).where(is_suspension_over(on))

    def resume(session: Session, agreement_id: int) -> int:
        agreement = session.get_one(
            Agreement, agreement_id, with_for_update=True, populate_existing=True
        )
        suspension = suspension_of(agreement)
        still = agreement.state is AgreementState.SUSPENDED
        if not still or suspension is None or suspension.last_day >= on:
            return 0
        move(
            session,
            agreement,
            AgreementState.ACTIVE,
            by="system",
            because="暂停期满",
            at=ports.now(),
        )
        return 1

    ids = ports.read(lambda session: session.scalars(over).all())
    return sum(ports.transact(partial(resume, agreement_id=agreement_id)) for agreement_id in ids)


def lock_live(session: Session, account_id: int) -> Agreement:
    """Return an account's live agreement, locked.

    Raises:
        NotFound: there is none.
    """
    agreement = session.scalars(
        select(Agreement)
        .where(Agreement.live_account_id == account_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if agreement is None:
        raise NotFound(NOT_FOUND)
    return agreement


def _first_unfrozen(
    session: Session, agreement: Agreement, *, on: date, notice_days: int
) -> Due | None:
    first = on + timedelta(days=notice_days + 1)
    dues = dues_between(read_spans(session, agreement.id), first=first, last=on + LOOK_AHEAD)
    return dues[0] if dues else None


def move(
    session: Session,
    agreement: Agreement,
    target: AgreementState,
    *,
    by: str,
    because: str,
    at: datetime,
) -> None:
    """Change the state of a locked agreement, as the table allows, and write the move down."""
    before = agreement.state
    AGREEMENT_STATES.check(before, target)
    agreement.state = target
    write_state_down(session, agreement, before, by=by, because=because, at=at)


def write_state_down(
    session: Session,
    agreement: Agreement,
    before: AgreementState | None,
    *,
    by: str,
    because: str,
    at: datetime,
) -> None:
    """Add the state that an agreement has now to its history."""
    count = session.scalar(
        select(func.count())
        .select_from(AgreementStateChange)
        .where(AgreementStateChange.agreement_id == agreement.id)
    )
    session.add(
        AgreementStateChange(
            agreement_id=agreement.id,
            number=(count or 0) + 1,
            from_state=before,
            to_state=agreement.state,
            actor=by,
            reason=because,
            suspended_from=agreement.suspended_from,
            suspended_through=agreement.suspended_through,
            at=at,
        )
    )
    session.flush()
