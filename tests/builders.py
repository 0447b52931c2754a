"""Builders of what a test needs before its own story begins."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

from app.domain.calendar import business_day
from app.domain.contributors.documents import DocumentKind
from app.domain.contributors.models import Account, AccountStatus, Contributor
from app.domain.contributors.rules import EmploymentForm
from app.domain.mandates.models import Mandate, Slot
from app.domain.mandates.moves import write_state_down
from app.domain.mandates.payers import CONTEXT, Payer
from app.domain.mandates.rules import MandateState
from app.domain.ports import Ports
from app.domain.ports.mandates import Cycle

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


def a_mandate(
    ports: Ports,
    account_id: int,
    *,
    channel: str = "wechat",
    cap_fen: int = 1_000_000,
    payer: Payer | None = None,
) -> int:
    """Insert a mandate in force, with its history; return its id."""
    number, now = next(_serial), ports.now()
    today = business_day(now)

    def insert(session: Any) -> int:
        mandate = Mandate(
            mandate_no=f"M{number:031d}",
            account_id=account_id,
            channel=channel,
            state=MandateState.ACTIVE,
            slot=Slot.ACTIVE,
            cap_fen=cap_fen,
            period_cap_fen=cap_fen,
            cycle=Cycle.MONTH,
            first_due_on=today,
            valid_from=today - timedelta(days=3650),
            valid_to=today + timedelta(days=3650),
            payer=ports.vault.seal((payer or Payer(payer_ref="payer")).write(), context=CONTEXT),
            key_id=ports.vault.active_key_id,
            reference=f"C{number:011d}",
            request_key=f"mandate-{number}",
            request_digest=bytes(32),
            created_at=now,
            expires_at=now,
            changed_at=now,
            activated_at=now,
            move_count=0,
        )
        session.add(mandate)
        session.flush()
        write_state_down(session, mandate, None, by="system", because="测试", at=now)
        return mandate.id

    return ports.transact(insert)
