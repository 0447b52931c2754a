"""What is held on a contributor: masked for the screen, in full for the person's own export."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.calendar import local_iso
from app.domain.contributors.documents import DocumentKind
from app.domain.contributors.facts import DeclaredFacts
from app.domain.contributors.models import (
    Account,
    AccountStatus,
    Contributor,
    LoginIdentity,
    Platform,
)
from app.domain.contributors.rules import EmploymentForm, IndustryTag
from app.domain.errors import NotFound
from app.domain.masking import mask_document_no, mask_name, mask_phone
from app.domain.pii import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A contributor as their own screen shows them: personal data masked."""

    contributor_id: int
    real_name: str
    document_kind: DocumentKind
    document_no: str
    document_expires_on: date | None
    phone: str
    employment_form: EmploymentForm
    industry_tags: tuple[IndustryTag, ...]
    facts: DeclaredFacts
    enrolled_at: datetime
    account_no: str
    account_status: AccountStatus
    opened_on: date
    platforms: tuple[Platform, ...]


def get_profile(session: Session, vault: Vault, contributor_id: int) -> Profile:
    """Return a contributor's masked profile.

    Raises:
        NotFound: no such contributor.
    """
    person, account = _get_person(session, contributor_id)
    return Profile(
        contributor_id=person.id,
        real_name=mask_name(_open(vault, person, "real_name")),
        document_kind=person.document_kind,
        document_no=mask_document_no(_open(vault, person, "document_no")),
        document_expires_on=person.document_expires_on,
        phone=mask_phone(_open(vault, person, "phone")),
        employment_form=person.employment_form,
        industry_tags=tuple(IndustryTag(tag) for tag in person.industry_tags),
        facts=DeclaredFacts.from_json(person.declared_facts),
        enrolled_at=person.enrolled_at,
        account_no=account.account_no,
        account_status=account.status,
        opened_on=account.opened_on,
        platforms=tuple(identity.platform for identity in _identities(session, contributor_id)),
    )


def export_personal_data(session: Session, vault: Vault, contributor_id: int) -> dict[str, Any]:
    """Return all that this subject holds on a person, unmasked, as plain JSON data.

    For the person alone (个人信息保护法 第四十五条). Other subjects that hold something on people
    have a function of this name and form in their own queries; the door that serves the export
    puts them side by side.

    Raises:
        NotFound: no such contributor.
    """
    person, account = _get_person(session, contributor_id)
    first_deposit_on = account.first_deposit_on
    expires_on = person.document_expires_on
    return {
        "contributor": {
            "document_kind": person.document_kind.value,
            "document_no": _open(vault, person, "document_no"),
            "document_expires_on": expires_on.isoformat() if expires_on else None,
            "real_name": _open(vault, person, "real_name"),
            "birth_date": _open(vault, person, "birth_date"),
            "phone": _open(vault, person, "phone"),
            "employment_form": person.employment_form.value,
            "industry_tags": list(person.industry_tags),
            "declared_facts": person.declared_facts,
            "subsidy_paid_fen": person.subsidy_paid_fen,
            "enrolled_at": local_iso(person.enrolled_at),
        },
        "account": {
            "account_no": account.account_no,
            "status": account.status.value,
            "balance_fen": account.balance_fen,
            "held_fen": account.held_fen,
            "first_deposit_on": first_deposit_on.isoformat() if first_deposit_on else None,
            "opened_on": account.opened_on.isoformat(),
        },
        "login_identities": [
            {
                "platform": identity.platform.value,
                "subject": vault.open(identity.subject, context="login_identity.subject"),
                "created_at": local_iso(identity.created_at),
            }
            for identity in _identities(session, contributor_id)
        ],
    }


def _get_person(session: Session, contributor_id: int) -> tuple[Contributor, Account]:
    found = session.execute(
        select(Contributor, Account)
        .join(Account, Account.contributor_id == Contributor.id)
        .where(Contributor.id == contributor_id)
    ).one_or_none()
    if found is None:
        raise NotFound
    person, account = found
    return person, account


def _identities(session: Session, contributor_id: int) -> list[LoginIdentity]:
    return list(
        session.scalars(
            select(LoginIdentity)
            .where(LoginIdentity.contributor_id == contributor_id)
            .order_by(LoginIdentity.id)
        )
    )


def _open(vault: Vault, person: Contributor, column: str) -> str:
    return vault.open(getattr(person, column), context=f"contributor.{column}")
