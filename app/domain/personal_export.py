"""Everything that the fund holds on one person, for that person (个人信息保护法 第四十五条)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.agreements.queries import export_agreements
from app.domain.calendar import local_iso
from app.domain.contributors.queries import export_personal_data
from app.domain.debits.queries import export_debits
from app.domain.deposits.queries import list_deposits
from app.domain.ledger.queries import statement
from app.domain.mandates.queries import export_mandates
from app.domain.outbox.queries import export_messages
from app.domain.pii import Vault
from app.domain.refunds.models import Refund
from app.domain.subsidies.models import SubsidyGrant

EVERYTHING = 1_000_000


def export_person(
    session: Session, vault: Vault, *, contributor_id: int, account_id: int
) -> dict[str, Any]:
    """Return the person's data and what was agreed, paid, refunded, granted and told, as JSON."""
    refunds = session.scalars(select(Refund).where(Refund.account_id == account_id))
    grants = session.scalars(select(SubsidyGrant).where(SubsidyGrant.account_id == account_id))
    return {
        **export_personal_data(session, vault, contributor_id),
        "deposits": [
            {
                "order_no": deposit.order_no,
                "channel": deposit.channel,
                "amount_fen": deposit.amount_fen,
                "refunded_fen": deposit.refunded_fen,
                "state": deposit.state.value,
                "created_at": local_iso(deposit.created_at),
                "paid_at": local_iso(deposit.paid_at) if deposit.paid_at else None,
                "contribution_month": deposit.contribution_month,
            }
            for deposit in list_deposits(session, account_id=account_id, limit=EVERYTHING)
        ],
        "refunds": [
            {
                "refund_no": refund.refund_no,
                "amount_fen": refund.amount_fen,
                "state": refund.state.value,
                "reason": refund.reason.value,
                "note": refund.note,
                "requested_at": local_iso(refund.requested_at),
            }
            for refund in refunds
        ],
        "agreements": export_agreements(session, vault, account_id=account_id),
        "mandates": export_mandates(session, vault, account_id=account_id),
        "messages": export_messages(session, account_id=account_id),
        "debits": export_debits(session, account_id=account_id),
        "subsidies": [
            {
                "kind": grant.kind.value,
                "paid_fen": grant.paid_fen,
                "granted_on": grant.granted_on.isoformat(),
                "reversed_on": grant.reversed_on.isoformat() if grant.reversed_on else None,
                "working": grant.working,
            }
            for grant in grants
        ],
        "entries": [
            {
                "business_date": line.business_date.isoformat(),
                "kind": line.kind,
                "memo": line.memo,
                "amount_fen": line.amount_fen,
                "balance_fen": line.balance_fen,
            }
            for line in statement(session, account_id=account_id, limit=EVERYTHING)
        ],
    }
