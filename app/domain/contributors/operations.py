"""Enrolling (开户) and what a contributor declares afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from stdnum import luhn

from app.domain.base import rows_changed, table_of
from app.domain.calendar import business_day
from app.domain.contributors.documents import DocumentKind, IdentityDocument, read_document
from app.domain.contributors.facts import DeclaredFacts
from app.domain.contributors.models import Account, AccountStatus, Contributor, LoginIdentity
from app.domain.contributors.rules import (
    EmploymentForm,
    check_age,
    check_facts,
    clean_industry_tags,
    clean_phone,
    clean_real_name,
)
from app.domain.errors import Conflict, NotFound
from app.domain.pii import Vault
from app.domain.policy.queries import Policy
from app.domain.ports import Ports

IDENTITY = table_of(LoginIdentity)

ACCOUNT_NO_PREFIX = "3207"
"""The centre's city by GB/T 2260; the same for every account that it ever opens."""

ATTEMPTS = 4


class AlreadyEnrolled(Conflict):
    """This document has an account. Says nothing about that account."""

    code = "already_enrolled"
    default_message = (
        "该证件已开立个人账户。如为您本人，请在开户时使用的小程序（微信或支付宝）中打开"
        "“关联账户”获取关联码，再回到这里填写关联码"
    )


class IdentityAlreadyBound(Conflict):
    """This log-in has an account."""

    code = "identity_already_bound"
    default_message = "您已开立个人账户，无需重复办理"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentApplication:
    """What a person fills in. Personal data stay out of its repr."""

    document_kind: DocumentKind
    document_no: str = field(repr=False)
    real_name: str = field(repr=False)
    phone: str = field(repr=False)
    employment_form: EmploymentForm
    birth_date: date | None = field(default=None, repr=False)
    document_expires_on: date | None = None
    industry_tags: tuple[str, ...] = ()
    facts: DeclaredFacts = DeclaredFacts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """The account that was opened."""

    contributor_id: int
    account_id: int
    account_no: str
    opened_on: date


def enrol(ports: Ports, *, identity_id: int, application: EnrolmentApplication) -> Enrolled:
    """Open the account of a person who is logged in, and bind their log-in to it.

    Source: 试点方案 第一条. All or nothing: a refusal leaves no trace.

    Raises:
        Invalid, Ineligible: one of the rules refuses; names the field or the clause.
        AlreadyEnrolled: the document has an account.
        IdentityAlreadyBound: the log-in has an account.
        NotFound: no such log-in.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return ports.transact(lambda session: _enrol(session, ports, identity_id, application))
        except IntegrityError:
            # Somebody else was faster, with the same document or the same account number. Theirs
            # is committed now: the next round sees it and refuses, or draws another number.
            continue
    return ports.transact(lambda session: _enrol(session, ports, identity_id, application))


def declare_facts(ports: Ports, *, contributor_id: int, facts: DeclaredFacts) -> DeclaredFacts:
    """Add or replace declarations and their evidence; what `facts` leaves out stays.

    Returns: all declarations of the person after that.

    Raises:
        DeclaredFactInvalid: one of them contradicts itself.
        NotFound: no such contributor.
    """

    def declare(session: Session) -> DeclaredFacts:
        person = session.get(
            Contributor, contributor_id, with_for_update=True, populate_existing=True
        )
        if person is None:
            raise NotFound
        born = date.fromisoformat(
            ports.vault.open(person.birth_date, context="contributor.birth_date")
        )
        check_facts(facts, birth_date=born, on=business_day(ports.now()))
        declared = DeclaredFacts.from_json(person.declared_facts).updated_by(facts)
        person.declared_facts = declared.to_json()
        return declared

    return ports.transact(declare)


def index_document(vault: Vault, document: IdentityDocument) -> bytes:
    """Return the blind index under which a document is unique."""
    return vault.blind_index(f"{document.kind}:{document.number}", context="contributor.document")


def make_account_no(number: str) -> str:
    """Return an account number out of a fresh unguessable number: prefix, 11 digits, check digit.

    The digits are drawn from a hash, so that nobody can count accounts or guess the next one; the
    Luhn digit catches a mistyped one at the counter. Uniqueness is the database's business.
    """
    drawn = int.from_bytes(hashlib.sha256(number.encode()).digest()) % 10**11
    body = f"{ACCOUNT_NO_PREFIX}{drawn:011d}"
    return body + luhn.calc_check_digit(body)


def _enrol(
    session: Session, ports: Ports, identity_id: int, application: EnrolmentApplication
) -> Enrolled:
    now = ports.now()
    _check_unbound(session, identity_id)
    document = _check_application(session, application, on=business_day(now))
    person = _write_down(ports.vault, application, document, now=now)
    same = select(Contributor.id).where(Contributor.document_index == person.document_index)
    if session.scalar(same) is not None:
        # It may be their own, from another click a moment ago.
        _check_unbound(session, identity_id)
        raise AlreadyEnrolled
    session.add(person)
    session.flush()
    account = Account(
        contributor_id=person.id,
        account_no=make_account_no(ports.new_number("A")),
        status=AccountStatus.NORMAL,
        opened_on=business_day(now),
    )
    session.add(account)
    session.flush()
    bound = rows_changed(
        session,
        update(IDENTITY)
        .where(IDENTITY.c.id == identity_id, IDENTITY.c.contributor_id.is_(None))
        .values(contributor_id=person.id),
    )
    if bound != 1:
        raise IdentityAlreadyBound
    return Enrolled(
        contributor_id=person.id,
        account_id=account.id,
        account_no=account.account_no,
        opened_on=account.opened_on,
    )


def _check_unbound(session: Session, identity_id: int) -> None:
    identity = session.execute(
        select(IDENTITY.c.contributor_id).where(IDENTITY.c.id == identity_id)
    ).one_or_none()
    if identity is None:
        raise NotFound
    if identity.contributor_id is not None:
        raise IdentityAlreadyBound


def _check_application(
    session: Session, application: EnrolmentApplication, *, on: date
) -> IdentityDocument:
    policy = Policy.on(session, on)
    policy.programme.check_open()
    document = read_document(
        application.document_kind,
        application.document_no,
        on=on,
        birth_date=application.birth_date,
        expires_on=application.document_expires_on,
    )
    income = application.facts.own_labour_income
    check_age(
        document.birth_date,
        on=on,
        minimum_age=policy.enrolment.minimum_age,
        full_capacity_age=policy.enrolment.full_capacity_age,
        lives_on_own_labour=income is not None and income.declared,
    )
    check_facts(application.facts, birth_date=document.birth_date, on=on)
    return document


def _write_down(
    vault: Vault,
    application: EnrolmentApplication,
    document: IdentityDocument,
    *,
    now: datetime,
) -> Contributor:
    phone = clean_phone(application.phone)
    personal = {
        "document_no": document.number,
        "real_name": clean_real_name(application.real_name),
        "phone": phone,
        "birth_date": document.birth_date.isoformat(),
    }
    return Contributor(
        document_kind=document.kind,
        document_index=index_document(vault, document),
        document_expires_on=document.expires_on,
        phone_index=vault.blind_index(phone, context="contributor.phone"),
        key_id=vault.active_key_id,
        employment_form=application.employment_form,
        industry_tags=list(clean_industry_tags(application.industry_tags)),
        declared_facts=application.facts.to_json(),
        enrolled_at=now,
        **_sealed(vault, personal),
    )


def _sealed(vault: Vault, personal: Mapping[str, str]) -> dict[str, bytes]:
    return {
        column: vault.seal(value, context=f"contributor.{column}")
        for column, value in personal.items()
    }
