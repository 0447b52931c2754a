"""Reading agreements: which terms apply when, what lies ahead, and what was signed. Fen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from app.domain.agreements.models import (
    Agreement,
    AgreementConsent,
    AgreementState,
    AgreementStateChange,
    AgreementTerms,
)
from app.domain.agreements.planning import Caution, PlannedPeriod, Suspension, find_cautions
from app.domain.agreements.rules import Span, Terms, is_frozen, timeline
from app.domain.agreements.timelines import (
    find_live,
    plan_ahead,
    read_terms,
    suspension_of,
    version_of,
)
from app.domain.agreements.wording import hash_text
from app.domain.calendar import business_day, local_iso
from app.domain.contributors.models import Platform
from app.domain.errors import BooksBroken, NotFound
from app.domain.pii import Vault
from app.domain.policy.queries import Policy

NOT_FOUND = "未找到缴存协议"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTerms:
    """A version that was signed; `last_day` is None while nothing follows.

    `first_day` is None for a version that was changed again before it ever applied.
    """

    version: int
    terms: Terms
    first_period: str
    first_day: date | None
    last_day: date | None
    text_sha256: str
    signed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """One move of the state."""

    from_state: AgreementState | None
    to_state: AgreementState
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementView:
    """An agreement with its timeline, what lies ahead of it, and its history."""

    agreement_no: str
    state: AgreementState
    signed_at: datetime
    ended_at: datetime | None
    suspension: Suspension | None
    versions: list[SignedTerms]
    periods: list[PlannedPeriod]
    cautions: list[Caution]
    history: list[StateChange]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedText:
    """The text of one version as it was signed, with the record of the consent."""

    agreement_no: str
    version: int
    text_version: str
    text: str = field(repr=False)
    sha256: str
    signed_at: datetime
    platform: Platform
    device: str = field(repr=False)
    client_ip: str = field(repr=False)


def get_live_agreement(session: Session, *, account_id: int, now: datetime) -> AgreementView:
    """Return the one agreement of an account that has not ended.

    Raises:
        NotFound: there is none.
    """
    return _view(session, _get_live(session, account_id), now=now)


def get_agreement(
    session: Session, *, account_id: int, agreement_no: str, now: datetime
) -> AgreementView:
    """Return one's own agreement, ended or not.

    Raises:
        NotFound: no such agreement, or somebody else's.
    """
    return _view(session, _get(session, account_id, agreement_no), now=now)


def list_agreements(session: Session, *, account_id: int, now: datetime) -> list[AgreementView]:
    """Return all agreements of an account, newest first."""
    query = select(Agreement).where(Agreement.account_id == account_id)
    found = session.scalars(query.order_by(Agreement.id.desc())).all()
    return [_view(session, agreement, now=now) for agreement in found]


def get_signed_text(
    session: Session,
    vault: Vault,
    *,
    account_id: int,
    agreement_no: str | None = None,
    version: int | None = None,
) -> SignedText:
    """Return a text that the person signed: of the live agreement and its last version by default.

    Raises:
        NotFound: no such agreement or version, or somebody else's.
        BooksBroken: the stored text is not the one that was signed.
    """
    agreement = (
        _get_live(session, account_id)
        if agreement_no is None
        else _get(session, account_id, agreement_no)
    )
    found = session.execute(
        select(AgreementTerms, AgreementConsent)
        .join(AgreementConsent, AgreementConsent.terms_id == AgreementTerms.id)
        .where(
            AgreementTerms.agreement_id == agreement.id,
            AgreementTerms.version == (version or agreement.version_count),
        )
    ).one_or_none()
    if found is None:
        raise NotFound(NOT_FOUND)
    terms, consent = found
    text = vault.open(consent.text, context="agreement_consent.text")
    if hash_text(text) != terms.text_sha256:
        raise BooksBroken("协议文本与签署时的摘要不符", agreement_no=agreement.agreement_no)
    return SignedText(
        agreement_no=agreement.agreement_no,
        version=terms.version,
        text_version=terms.text_version,
        text=text,
        sha256=terms.text_sha256.hex(),
        signed_at=terms.signed_at,
        platform=consent.platform,
        device=vault.open(consent.device, context="agreement_consent.device"),
        client_ip=vault.open(consent.client_ip, context="agreement_consent.client_ip"),
    )


def export_agreements(session: Session, vault: Vault, *, account_id: int) -> list[dict[str, Any]]:
    """Return all that is held on a person's agreements, for the person alone, as plain JSON."""
    query = select(Agreement).where(Agreement.account_id == account_id)
    return [
        {
            "agreement_no": agreement.agreement_no,
            "state": agreement.state.value,
            "signed": [
                _export_signed(session, vault, agreement, version)
                for version in range(1, agreement.version_count + 1)
            ],
            "history": [
                {
                    "state": change.to_state.value,
                    "reason": change.reason,
                    "at": local_iso(change.at),
                }
                for change in _changes_of(session, agreement.id)
            ],
        }
        for agreement in session.scalars(query.order_by(Agreement.id)).all()
    ]


def _export_signed(
    session: Session, vault: Vault, agreement: Agreement, version: int
) -> dict[str, Any]:
    signed = get_signed_text(
        session,
        vault,
        account_id=agreement.account_id,
        agreement_no=agreement.agreement_no,
        version=version,
    )
    return {
        "version": signed.version,
        "text": signed.text,
        "text_sha256": signed.sha256,
        "signed_at": local_iso(signed.signed_at),
        "platform": signed.platform.value,
        "device": signed.device,
        "client_ip": signed.client_ip,
    }


def _get_live(session: Session, account_id: int) -> Agreement:
    agreement = find_live(session, account_id)
    if agreement is None:
        raise NotFound(NOT_FOUND)
    return agreement


def _get(session: Session, account_id: int, agreement_no: str) -> Agreement:
    found = session.scalars(
        select(Agreement).where(
            Agreement.account_id == account_id, Agreement.agreement_no == agreement_no
        )
    ).one_or_none()
    if found is None:
        raise NotFound(NOT_FOUND)
    return found


def _changes_of(session: Session, agreement_id: int) -> Sequence[AgreementStateChange]:
    return session.scalars(
        select(AgreementStateChange)
        .where(AgreementStateChange.agreement_id == agreement_id)
        .order_by(AgreementStateChange.number)
    ).all()


def _view(session: Session, agreement: Agreement, *, now: datetime) -> AgreementView:
    rows = read_terms(session, agreement.id)
    spans = timeline(map(version_of, rows))
    ahead = _ahead(session, agreement, spans, on=business_day(now))
    year = business_day(now).year
    return AgreementView(
        agreement_no=agreement.agreement_no,
        state=agreement.state,
        signed_at=rows[0].signed_at,
        ended_at=agreement.ended_at,
        suspension=suspension_of(agreement),
        versions=[_signed(row, spans) for row in rows],
        periods=ahead if agreement.ended_at else _through_year(ahead, year),
        cautions=[] if agreement.ended_at else find_cautions(ahead),
        history=[
            StateChange(
                from_state=change.from_state,
                to_state=change.to_state,
                reason=change.reason,
                at=change.at,
            )
            for change in _changes_of(session, agreement.id)
        ],
    )


def _ahead(
    session: Session, agreement: Agreement, spans: Sequence[Span], *, on: date
) -> list[PlannedPeriod]:
    planned = plan_ahead(
        session,
        account_id=agreement.account_id,
        spans=spans,
        suspension=suspension_of(agreement),
        on=on,
        through_year=on.year,
    )
    if agreement.ended_at is None:
        return planned
    # What was announced before the end may still be taken.
    ended_on = business_day(agreement.ended_at)
    notice_days = Policy.on(session, ended_on).debit.notice_days
    return [p for p in planned if is_frozen(p.due_on, on=ended_on, notice_days=notice_days)]


def _through_year(planned: Sequence[PlannedPeriod], year: int) -> list[PlannedPeriod]:
    """Leave the first period of the year after out, unless nothing else lies ahead."""
    return [p for p in planned if p.period.year == year] or list(planned[:1])


def _signed(row: AgreementTerms, spans: Sequence[Span]) -> SignedTerms:
    span = next((s for s in spans if s.version.number == row.version), None)
    return SignedTerms(
        version=row.version,
        terms=version_of(row).terms,
        first_period=row.first_period,
        first_day=span.first_day if span else None,
        last_day=span.last_day if span else None,
        text_sha256=row.text_sha256.hex(),
        signed_at=row.signed_at,
    )


def is_suspension_over(on: date) -> ColumnElement[bool]:
    """Return the condition of suspended agreements that are to be active again on a day."""
    return and_(Agreement.state == AgreementState.SUSPENDED, Agreement.suspended_through < on)


def count_suspensions_over(session: Session, *, on: date) -> int:
    """Return how many suspended agreements are to be active again on a day."""
    return session.scalar(select(func.count()).where(is_suspension_over(on))) or 0
