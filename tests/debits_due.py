"""Many debits that are due, put into the database at once: people, agreements, mandates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy.orm import Session

from app.domain.agreements.models import Agreement, AgreementState
from app.domain.agreements.rules import DebitChannel
from app.domain.calendar import business_day
from app.domain.contributors.documents import DocumentKind
from app.domain.contributors.models import Account, AccountStatus, Contributor
from app.domain.contributors.rules import EmploymentForm
from app.domain.debits.models import DebitInstruction
from app.domain.debits.rules import InstructionState
from app.domain.mandates.models import Mandate, MandateStateChange, Slot
from app.domain.mandates.rules import MandateState
from app.domain.ports import Ports
from app.domain.ports.mandates import Cycle

_serial = itertools.count(1)


def debits_due(
    ports: Ports,
    count: int,
    *,
    amount_fen: int = 50_000,
    channel: str = "wechat",
    newcomers: int = 0,
) -> list[int]:
    """Insert so many people whose debit of this month is due today; return their accounts.

    Args:
        newcomers: so many of them, the first ones, have never paid in: their first debit brings
            the opening subsidy.
    """
    numbers = list(itertools.islice(_serial, count))

    def insert(session: Session) -> list[int]:
        people = [_person(ports, number) for number in numbers]
        session.add_all(people)
        session.flush()
        today = business_day(ports.now())
        accounts = [
            Account(
                contributor_id=person.id,
                account_no=f"3208{number:012d}",
                status=AccountStatus.NORMAL,
                opened_on=today,
                first_deposit_on=None if place < newcomers else today - timedelta(days=90),
            )
            for place, (number, person) in enumerate(zip(numbers, people, strict=True))
        ]
        session.add_all(accounts)
        session.flush()
        _sign(session, ports, numbers, accounts, amount_fen=amount_fen, channel=channel)
        return [account.id for account in accounts]

    return ports.transact(insert)


def _person(ports: Ports, number: int) -> Contributor:
    seal = ports.vault.seal
    return Contributor(
        document_kind=DocumentKind.RESIDENT_ID,
        document_index=(number + 2**64).to_bytes(32),
        document_no=seal(str(number), context="contributor.document_no"),
        real_name=seal("测试用户", context="contributor.real_name"),
        phone=seal("13800000000", context="contributor.phone"),
        phone_index=bytes(32),
        birth_date=seal("1990-01-01", context="contributor.birth_date"),
        key_id=ports.vault.active_key_id,
        employment_form=EmploymentForm.NEW_FORM,
        industry_tags=[],
        declared_facts={},
        enrolled_at=ports.now(),
    )


def _sign(
    session: Session,
    ports: Ports,
    numbers: Sequence[int],
    accounts: Sequence[Account],
    *,
    amount_fen: int,
    channel: str,
) -> None:
    now = ports.now()
    agreements = [
        Agreement(
            agreement_no=f"G{number:031d}",
            account_id=account.id,
            live_account_id=account.id,
            state=AgreementState.ACTIVE,
            created_at=now,
        )
        for number, account in zip(numbers, accounts, strict=True)
    ]
    mandates = [
        _mandate(ports, number, account.id, channel=channel)
        for number, account in zip(numbers, accounts, strict=True)
    ]
    session.add_all([*agreements, *mandates])
    session.flush()
    today = business_day(now)
    session.add_all(
        MandateStateChange(
            mandate_id=mandate.id,
            number=1,
            from_state=None,
            to_state=MandateState.ACTIVE,
            actor="system",
            reason="测试",
            at=now,
        )
        for mandate in mandates
    )
    session.add_all(
        DebitInstruction(
            account_id=agreement.account_id,
            agreement_id=agreement.id,
            terms_version=1,
            period=f"{today:%Y-%m}",
            channel=DebitChannel(channel),
            amount_fen=amount_fen,
            due_on=today,
            retry_until=date(today.year, today.month, 28),
            state=InstructionState.SCHEDULED,
            next_attempt_on=today,
            created_at=now - timedelta(days=1),
        )
        for agreement in agreements
    )


def _mandate(ports: Ports, number: int, account_id: int, *, channel: str) -> Mandate:
    now = ports.now()
    today = business_day(now)
    return Mandate(
        mandate_no=f"N{number:031d}",
        account_id=account_id,
        channel=channel,
        state=MandateState.ACTIVE,
        slot=Slot.ACTIVE,
        cap_fen=1_000_000,
        period_cap_fen=1_000_000,
        cycle=Cycle.MONTH,
        first_due_on=today,
        valid_from=today - timedelta(days=365),
        valid_to=today + timedelta(days=365),
        payer=b"sealed",
        key_id=ports.vault.active_key_id,
        reference=f"K{number:011d}",
        request_key=f"due-{number}",
        request_digest=bytes(32),
        created_at=now,
        expires_at=now,
        changed_at=now,
        activated_at=now,
        move_count=1,
    )
