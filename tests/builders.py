"""Builders of what a test needs before its own story begins."""

from __future__ import annotations

import itertools
from typing import Any

from app.domain.calendar import business_day
from app.domain.contributors.documents import DocumentKind
from app.domain.contributors.models import Account, AccountStatus, Contributor
from app.domain.contributors.rules import EmploymentForm
from app.domain.ports import Ports

_serial = itertools.count(1)


def an_account(
    ports: Ports,
    *,
    status: AccountStatus = AccountStatus.NORMAL,
    facts: dict[str, Any] | None = None,
) -> int:
    """Insert a contributor and their account; return the account's id."""
    number = next(_serial)

    def insert(session: Any) -> int:
        seal = ports.vault.seal
        person = Contributor(
            document_kind=DocumentKind.RESIDENT_ID,
            document_index=number.to_bytes(32),
            document_no=seal(str(number), context="contributor.document_no"),
            real_name=seal("测试用户", context="contributor.real_name"),
            phone=seal("13800000000", context="contributor.phone"),
            phone_index=bytes(32),
            birth_date=seal("1990-01-01", context="contributor.birth_date"),
            key_id=ports.vault.active_key_id,
            employment_form=EmploymentForm.NEW_FORM,
            industry_tags=[],
            declared_facts=facts or {},
            enrolled_at=ports.now(),
        )
        session.add(person)
        session.flush()
        account = Account(
            contributor_id=person.id,
            account_no=f"3207{number:012d}",
            status=status,
            opened_on=business_day(ports.now()),
        )
        session.add(account)
        session.flush()
        return account.id

    return ports.transact(insert)
