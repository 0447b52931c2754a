"""Drawing an agreement up: the checks of its terms, its text, and what it will debit. Reads only.

Preview and signing both come through here, so that nobody signs what was checked otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.agreements.planning import Caution, PlannedPeriod, check_first, find_cautions
from app.domain.agreements.rules import (
    FIRST_PERIOD_AHEAD_MONTHS,
    Span,
    Terms,
    Version,
    check_first_period,
    check_terms,
    next_open_period,
    read_period,
    timeline,
)
from app.domain.agreements.timelines import (
    find_live,
    last_taken_day,
    monthly_minimum_of,
    plan_ahead,
    read_spans,
    suspension_of,
    yearly_cap_of,
)
from app.domain.agreements.wording import Party, Wording, render
from app.domain.calendar import business_day
from app.domain.contributors.models import Account, AccountStatus, Contributor
from app.domain.deposits.rules import AccountNotUsable
from app.domain.errors import Invalid
from app.domain.periods import Period, add_months
from app.domain.pii import Vault
from app.domain.policy.queries import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a person would like to agree to; without a first period, the next open one."""

    account_id: int
    terms: Terms
    first_period: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the person reads before signing: the text, the periods ahead, and warnings.

    `changes` is the number of the live agreement that this would change; None for a new one.
    """

    changes: str | None
    version: int
    terms: Terms
    first_period: Period
    wording: Wording
    periods: list[PlannedPeriod]
    cautions: list[Caution]


def draft_agreement(
    session: Session,
    vault: Vault,
    *,
    texts: Mapping[date, str],
    proposal: Proposal,
    now: datetime,
) -> Draft:
    """Return what would be signed now: a new agreement, or a change of the live one.

    Source: 试点方案 第二条.

    Raises:
        Invalid, TermsIncomplete, DebitDayNotAllowed, FirstPeriodNotOpen: names the field.
        AmountBelowMinimum, YearlyCapExceeded: the very first period breaks the rule.
        AccountNotUsable, ProgrammeNotInForce, NoPolicyValue: nothing can be agreed to now.
    """
    today = business_day(now)
    policy = Policy.on(session, today)
    policy.programme.check_open()
    party = _read_party(session, vault, proposal.account_id)
    check_terms(proposal.terms, day_max=policy.debit.day_max)
    live = find_live(session, proposal.account_id)
    spans = [] if live is None else read_spans(session, live.id)
    first_period = _choose_first_period(
        session, proposal, spans, on=today, notice_days=policy.debit.notice_days
    )
    version = 1 if live is None else live.version_count + 1
    drafted = Version(number=version, terms=proposal.terms, first_period=first_period)
    planned = plan_ahead(
        session,
        account_id=proposal.account_id,
        spans=timeline([*(span.version for span in spans), drafted]),
        suspension=None if live is None else suspension_of(live),
        on=today,
        through_year=first_period.year,
    )
    first = next((p for p in planned if p.version == version), None)
    if first is not None:
        check_first(first)
    wording = render(
        texts,
        on=today,
        party=party,
        terms=proposal.terms,
        first_period=first_period,
        policy=policy,
        monthly_minimum_fen=monthly_minimum_of(session, first_period.months[0]),
        yearly_cap_fen=yearly_cap_of(session, first_period.year),
    )
    return Draft(
        changes=None if live is None else live.agreement_no,
        version=version,
        terms=proposal.terms,
        first_period=first_period,
        wording=wording,
        periods=[p for p in planned if p.period.year <= first_period.year],
        cautions=find_cautions(planned),
    )


def _choose_first_period(
    session: Session, proposal: Proposal, spans: list[Span], *, on: date, notice_days: int
) -> Period:
    earliest = next_open_period(
        proposal.terms,
        on=on,
        notice_days=notice_days,
        spans=spans,
        taken_through=last_taken_day(session, proposal.account_id),
    )
    if proposal.first_period is None:
        return earliest
    if spans:
        raise Invalid("变更自下一未冻结的缴存期起生效，不能另行指定", field="first_period")
    chosen = read_period(proposal.first_period, frequency=proposal.terms.frequency)
    latest = add_months(earliest.first_day, FIRST_PERIOD_AHEAD_MONTHS)
    check_first_period(chosen, earliest=earliest, latest=latest)
    return chosen


def _read_party(session: Session, vault: Vault, account_id: int) -> Party:
    account, person = session.execute(
        select(Account, Contributor)
        .join(Contributor, Contributor.id == Account.contributor_id)
        .where(Account.id == account_id)
        .execution_options(populate_existing=True)
    ).one()
    if account.status is not AccountStatus.NORMAL:
        raise AccountNotUsable
    return Party(
        contributor_id=person.id,
        account_no=account.account_no,
        name=vault.open(person.real_name, context="contributor.real_name"),
    )
