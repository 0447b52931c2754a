"""Granting and reversing subsidies, inside the caller's transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.domain.base import rows_changed, table_of
from app.domain.calendar import business_day
from app.domain.contributors.models import Account, Contributor
from app.domain.ledger.models import Code, EntryKind
from app.domain.ledger.operations import BalanceTooLow, post
from app.domain.ledger.rules import Line
from app.domain.policy.queries import Policy
from app.domain.policy.rules import ProgrammeNotInForce
from app.domain.subsidies.models import SubsidyGrant, SubsidyKind
from app.domain.subsidies.rules import quote_opening_subsidy

CONTRIBUTOR = table_of(Contributor)


def grant_opening(session: Session, *, account_id: int, contributor_id: int, now: datetime) -> int:
    """Credit the opening subsidy (开户补贴) that goes with the first recorded deposit.

    Source: 试点方案 第三条, 第十一条. The caller has made sure that this is the first deposit.

    Returns: fen credited; 0 when the lifetime cap leaves nothing, or the programme is over.
    """
    today = business_day(now)
    policy = Policy.on(session, today)
    try:
        policy.programme.check_open()
    except ProgrammeNotInForce:
        # Money sent on the last day may come in after it: it is credited, without a subsidy.
        return 0
    # Locked: two subsidies of one person must not both see the same headroom under the cap.
    person = session.get_one(
        Contributor, contributor_id, with_for_update=True, populate_existing=True
    )
    quote = quote_opening_subsidy(
        person.declared_facts,
        on=today,
        policy=policy.subsidy,
        paid_before_fen=person.subsidy_paid_fen,
    )
    # A person whose only deposit was refunded may come again: the count keeps the keys apart.
    number = session.scalar(
        select(func.count())
        .select_from(SubsidyGrant)
        .where(SubsidyGrant.contributor_id == contributor_id)
    )
    grant_key = f"opening-subsidy:{contributor_id}:{(number or 0) + 1}"
    # A grant that the cap cut to nothing is kept too: its working is the explanation.
    session.add(
        SubsidyGrant(
            grant_key=grant_key,
            contributor_id=contributor_id,
            account_id=account_id,
            kind=SubsidyKind.OPENING,
            due_fen=quote.due_fen,
            paid_fen=quote.paid_fen,
            working=quote.working,
            granted_on=today,
        )
    )
    session.flush()
    if quote.paid_fen:
        _count_towards_cap(session, contributor_id, quote.paid_fen)
        post(
            session,
            posting_key=grant_key,
            kind=EntryKind.OPENING_SUBSIDY,
            memo="开户补贴",
            lines=[
                Line(Code.OPENING_SUBSIDY_EXPENSE, quote.paid_fen),
                Line(Code.CONTRIBUTORS, -quote.paid_fen, account_id=account_id),
            ],
            now=now,
        )
    return quote.paid_fen


def reverse_opening(session: Session, *, account_id: int, now: datetime) -> bool:
    """Take the opening subsidy back, because no deposit stands any more.

    Returns: False when there was none to take back.
    Raises:
        BalanceTooLow: the account no longer holds it; nothing was written.
    """
    grant = session.scalars(
        select(SubsidyGrant).where(
            SubsidyGrant.account_id == account_id,
            SubsidyGrant.kind == SubsidyKind.OPENING,
            SubsidyGrant.reversed_on.is_(None),
        )
    ).one_or_none()
    if grant is None:
        return False
    available = session.scalar(
        select(Account.balance_fen - Account.held_fen).where(Account.id == account_id)
    )
    if (available or 0) < grant.paid_fen:
        raise BalanceTooLow(amount_fen=grant.paid_fen)
    grant.reversed_on = business_day(now)
    session.flush()
    if grant.paid_fen:
        _count_towards_cap(session, grant.contributor_id, -grant.paid_fen)
        post(
            session,
            posting_key=f"{grant.grant_key}:reversal",
            kind=EntryKind.OPENING_SUBSIDY_REVERSAL,
            memo="开户补贴收回",
            lines=[
                Line(Code.CONTRIBUTORS, grant.paid_fen, account_id=account_id),
                Line(Code.OPENING_SUBSIDY_EXPENSE, -grant.paid_fen),
            ],
            now=now,
        )
    return True


def _count_towards_cap(session: Session, contributor_id: int, change_fen: int) -> None:
    rows_changed(
        session,
        update(CONTRIBUTOR)
        .where(CONTRIBUTOR.c.id == contributor_id)
        .values(subsidy_paid_fen=CONTRIBUTOR.c.subsidy_paid_fen + change_fen),
    )
