"""Reading mandates: one's own, what waits to be asked about, the person's own export. Fen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.calendar import business_day, local_iso
from app.domain.errors import NotFound
from app.domain.mandates.models import Mandate, MandateStateChange
from app.domain.mandates.moves import NOT_FOUND
from app.domain.mandates.payers import open_payer
from app.domain.mandates.rules import IN_FORCE, EndReason, MandateState
from app.domain.pii import Vault
from app.domain.policy.queries import Policy
from app.domain.ports.mandates import Cycle, EndedBy

MANDATE = table_of(Mandate)


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateChange:
    """One move of the state."""

    to_state: MandateState
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateView:
    """A mandate as the contributor sees it.

    Attributes:
        code_tries_left: how often a code may still be typed; None where none is to be typed.
    """

    mandate_no: str
    channel: str
    state: MandateState
    cap_fen: int
    period_cap_fen: int
    cycle: Cycle
    valid_from: date
    valid_to: date
    card_tail: str | None
    code_tries_left: int | None
    created_at: datetime
    expires_at: datetime
    activated_at: datetime | None
    ended_at: datetime | None
    ended_by: EndedBy | None
    end_reason: EndReason | None
    history: list[MandateChange]


def get_mandate(
    session: Session, *, account_id: int, mandate_no: str, now: datetime
) -> MandateView:
    """Return one's own mandate.

    Raises:
        NotFound: no such mandate, or somebody else's.
    """
    found = session.scalars(
        select(Mandate).where(Mandate.account_id == account_id, Mandate.mandate_no == mandate_no)
    ).one_or_none()
    if found is None:
        raise NotFound(NOT_FOUND)
    return _view(session, found, now=now)


def list_mandates(session: Session, *, account_id: int, now: datetime) -> list[MandateView]:
    """Return all mandates of an account, newest first."""
    query = select(Mandate).where(Mandate.account_id == account_id).order_by(Mandate.id.desc())
    return [_view(session, mandate, now=now) for mandate in session.scalars(query).all()]


def export_mandates(session: Session, vault: Vault, *, account_id: int) -> list[dict[str, Any]]:
    """Return all that is held on a person's mandates, for the person alone, as plain JSON."""
    query = select(Mandate).where(Mandate.account_id == account_id).order_by(Mandate.id)
    return [_export(session, vault, mandate) for mandate in session.scalars(query).all()]


def is_due(*, now: datetime) -> ColumnElement[bool]:
    """Return the condition of mandates whose next question has come."""
    return MANDATE.c.next_query_at <= now


def stands() -> ColumnElement[bool]:
    """Return the condition of mandates that are in force, suspended or not."""
    return MANDATE.c.state.in_(sorted(IN_FORCE))


def count_due_mandates(session: Session, *, now: datetime) -> int:
    """Return how many mandates would be asked about."""
    return session.scalar(select(func.count()).where(is_due(now=now))) or 0


def count_standing_mandates(session: Session) -> int:
    """Return how many mandates would be compared."""
    return session.scalar(select(func.count()).where(stands())) or 0


def _view(session: Session, mandate: Mandate, *, now: datetime) -> MandateView:
    types_code = mandate.state is MandateState.AWAITING and mandate.start_reference is not None
    tries_left = None
    if types_code:
        tries_max = Policy.on(session, business_day(now)).mandate.code_tries_max
        tries_left = max(0, tries_max - mandate.confirm_count)
    return MandateView(
        mandate_no=mandate.mandate_no,
        channel=mandate.channel,
        state=mandate.state,
        cap_fen=mandate.cap_fen,
        period_cap_fen=mandate.period_cap_fen,
        cycle=mandate.cycle,
        valid_from=mandate.valid_from,
        valid_to=mandate.valid_to,
        card_tail=mandate.card_tail,
        code_tries_left=tries_left,
        created_at=mandate.created_at,
        expires_at=mandate.expires_at,
        activated_at=mandate.activated_at,
        ended_at=mandate.ended_at,
        ended_by=mandate.ended_by,
        end_reason=mandate.end_reason,
        history=[
            MandateChange(to_state=change.to_state, reason=change.reason, at=change.at)
            for change in _changes_of(session, mandate.id)
        ],
    )


def _export(session: Session, vault: Vault, mandate: Mandate) -> dict[str, Any]:
    payer = open_payer(vault, mandate.payer)
    card = payer.card
    return {
        "mandate_no": mandate.mandate_no,
        "channel": mandate.channel,
        "state": mandate.state.value,
        "cap_fen": mandate.cap_fen,
        "valid_from": mandate.valid_from.isoformat(),
        "valid_to": mandate.valid_to.isoformat(),
        "payer_ref": payer.payer_ref,
        "card": None
        if card is None
        else {
            "card_no": card.card_no,
            "holder_name": card.holder_name,
            "document_kind": card.document_kind,
            "document_no": card.document_no,
            "phone": card.phone,
        },
        "history": [
            {"state": change.to_state.value, "reason": change.reason, "at": local_iso(change.at)}
            for change in _changes_of(session, mandate.id)
        ],
    }


def _changes_of(session: Session, mandate_id: int) -> Sequence[MandateStateChange]:
    return session.scalars(
        select(MandateStateChange)
        .where(MandateStateChange.mandate_id == mandate_id)
        .order_by(MandateStateChange.number)
    ).all()
