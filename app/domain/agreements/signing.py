"""Signing an agreement and other terms of it (签订、变更): what was read is what is signed."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.agreements.drafting import Draft, Proposal, draft_agreement
from app.domain.agreements.models import (
    Agreement,
    AgreementConsent,
    AgreementState,
    AgreementTerms,
)
from app.domain.agreements.operations import lock_live, move, write_state_down
from app.domain.agreements.rules import AgreementExists, AgreementTextChanged
from app.domain.contributors.models import Platform
from app.domain.deposits.rules import IdempotencyKeyReused, digest_request
from app.domain.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """How the person said yes. Personal data stay out of its repr.

    Attributes:
        text_sha256: of the text that they read, hex.
        device: what the phone says that it is.
    """

    contributor_id: int
    text_sha256: str
    platform: Platform
    device: str = field(repr=False)
    client_ip: str = field(repr=False)
    request_key: str


def sign_agreement(ports: Ports, *, proposal: Proposal, consent: Consent) -> str:
    """Sign a new agreement.

    Source: 试点方案 第二条. The same request key again returns the same agreement.

    Returns: the agreement_no.
    Raises:
        AgreementExists: the account has a live one.
        AgreementTextChanged: the text that would be signed is not the one that was read.
        IdempotencyKeyReused: the key came before with another content.
        Everything that `draft_agreement` raises.
    """
    agreement_no = ports.new_number("G")
    return ports.transact(
        lambda session: _sign(session, ports, proposal, consent, agreement_no=agreement_no)
    )


def change_agreement(ports: Ports, *, proposal: Proposal, consent: Consent) -> str:
    """Sign other terms of the live agreement; they apply from the next period that is not frozen.

    Returns: the agreement_no.
    Raises:
        NotFound: no live agreement.
        Everything else that `sign_agreement` raises.
    """
    return ports.transact(lambda session: _change(session, ports, proposal, consent))


def _sign(
    session: Session, ports: Ports, proposal: Proposal, consent: Consent, *, agreement_no: str
) -> str:
    earlier = _find_earlier(session, proposal, consent)
    if earlier is not None:
        return earlier
    try:
        draft = _redraft(session, ports, proposal, consent)
    except AgreementExists:
        # It may be this very signing, committed by its twin between our two readings.
        earlier = _find_earlier(session, proposal, consent)
        if earlier is None:
            raise
        return earlier
    now = ports.now()
    agreement = Agreement(
        agreement_no=agreement_no,
        account_id=proposal.account_id,
        live_account_id=proposal.account_id,
        state=AgreementState.DRAFT,
        version_count=0,
        created_at=now,
    )
    session.add(agreement)
    session.flush()
    by = f"contributor:{consent.contributor_id}"
    write_state_down(session, agreement, None, by=by, because="拟定协议", at=now)
    _add_version(session, ports, agreement, draft, proposal, consent)
    move(session, agreement, AgreementState.ACTIVE, by=by, because="缴存人签署", at=now)
    return agreement_no


def _change(session: Session, ports: Ports, proposal: Proposal, consent: Consent) -> str:
    earlier = _find_earlier(session, proposal, consent)
    if earlier is not None:
        return earlier
    agreement = lock_live(session, proposal.account_id)
    draft = _redraft(session, ports, proposal, consent, change=True)
    _add_version(session, ports, agreement, draft, proposal, consent)
    return agreement.agreement_no


def _redraft(
    session: Session, ports: Ports, proposal: Proposal, consent: Consent, *, change: bool = False
) -> Draft:
    """Draw up again what the person read; it must be the same to the byte."""
    draft = draft_agreement(
        session,
        ports.vault,
        texts=ports.agreement_texts,
        proposal=proposal,
        now=ports.now(),
    )
    if draft.changes is not None and not change:
        raise AgreementExists
    if draft.wording.sha256.hex() != consent.text_sha256:
        raise AgreementTextChanged
    return draft


def _add_version(
    session: Session,
    ports: Ports,
    agreement: Agreement,
    draft: Draft,
    proposal: Proposal,
    consent: Consent,
) -> None:
    terms = AgreementTerms(
        agreement_id=agreement.id,
        account_id=agreement.account_id,
        version=draft.version,
        frequency=draft.terms.frequency,
        amount_fen=draft.terms.amount_fen,
        debit_day=draft.terms.debit_day,
        channel=draft.terms.channel,
        first_period=draft.first_period.key,
        applies_from=draft.first_period.first_day,
        text_version=draft.wording.version,
        text_sha256=draft.wording.sha256,
        signed_at=ports.now(),
        request_key=consent.request_key,
        request_digest=_digest(proposal, consent),
    )
    session.add(terms)
    session.flush()
    seal = ports.vault.seal
    session.add(
        AgreementConsent(
            terms_id=terms.id,
            platform=consent.platform,
            text=seal(draft.wording.text, context="agreement_consent.text"),
            device=seal(consent.device, context="agreement_consent.device"),
            client_ip=seal(consent.client_ip, context="agreement_consent.client_ip"),
            key_id=ports.vault.active_key_id,
        )
    )
    agreement.version_count = draft.version
    session.flush()


def _find_earlier(session: Session, proposal: Proposal, consent: Consent) -> str | None:
    earlier = session.execute(
        select(Agreement.agreement_no, AgreementTerms.request_digest)
        .join(Agreement, Agreement.id == AgreementTerms.agreement_id)
        .where(
            AgreementTerms.account_id == proposal.account_id,
            AgreementTerms.request_key == consent.request_key,
        )
    ).one_or_none()
    if earlier is None:
        return None
    if earlier.request_digest != _digest(proposal, consent):
        raise IdempotencyKeyReused
    return str(earlier.agreement_no)


def _digest(proposal: Proposal, consent: Consent) -> bytes:
    terms = proposal.terms
    return digest_request(
        frequency=terms.frequency,
        amount_fen=terms.amount_fen or 0,
        debit_day=terms.debit_day or 0,
        channel=terms.channel or "",
        first_period=proposal.first_period or "",
        text_sha256=consent.text_sha256,
    )
