"""Every move of a mandate's state, and what goes with it: slots, times, the next question."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.mandates.models import MANDATE_STATES, Mandate, MandateStateChange, Slot
from app.domain.mandates.rules import IN_FORCE, SIGNING, UNDECIDED, EndReason, MandateState
from app.domain.mandates.telling import tell_person
from app.domain.payment_orders.rules import next_query_at
from app.domain.ports.mandates import EndedBy

NOT_FOUND = "未找到签约记录"


def lock(session: Session, mandate_no: str) -> Mandate | None:
    """Return a mandate as it is now, locked."""
    return session.scalars(
        select(Mandate)
        .where(Mandate.mandate_no == mandate_no)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def move(
    session: Session,
    mandate: Mandate,
    target: MandateState,
    *,
    by: str,
    because: str,
    at: datetime,
) -> None:
    """Change the state of a locked mandate, as the table allows, and write the move down.

    One that comes into force takes the place of the one that is: that one is over for us in the
    same transaction, and a job ends it at the channel. What the person should hear of is stored for
    them in that transaction too.
    """
    MANDATE_STATES.check(mandate.state, target)
    if target in IN_FORCE and mandate.slot is not Slot.ACTIVE:
        _free_active_slot(session, mandate, at=at)
        mandate.activated_at = at
    before, mandate.state = mandate.state, target
    mandate.slot = _slot_of(target)
    mandate.changed_at = at
    mandate.query_count = 0
    asked = target in UNDECIDED
    mandate.next_query_at = (
        next_query_at(at, query_count=0, expires_at=deadline_of(mandate)) if asked else None
    )
    if target is MandateState.ENDED:
        mandate.ended_at = at
    write_state_down(session, mandate, before, by=by, because=because, at=at)
    tell_person(session, mandate, before, at=at)


def end(
    session: Session,
    mandate: Mandate,
    *,
    ended_by: EndedBy,
    end_reason: EndReason,
    by: str,
    because: str,
    at: datetime,
) -> None:
    """Make a mandate be over for us; the channel is still to be told."""
    mandate.ended_by, mandate.end_reason = ended_by, end_reason
    move(session, mandate, MandateState.ENDING, by=by, because=because, at=at)


def write_state_down(
    session: Session,
    mandate: Mandate,
    before: MandateState | None,
    *,
    by: str,
    because: str,
    at: datetime,
) -> None:
    """Add the state that a mandate has now to its history."""
    mandate.move_count += 1
    session.add(
        MandateStateChange(
            mandate_id=mandate.id,
            number=mandate.move_count,
            from_state=before,
            to_state=mandate.state,
            actor=by,
            reason=because,
            at=at,
        )
    )
    session.flush()


def deadline_of(mandate: Mandate) -> datetime | None:
    """Return when a mandate that is being signed has to be; None for any other."""
    return mandate.expires_at if mandate.state in SIGNING else None


def _slot_of(state: MandateState) -> Slot | None:
    if state in SIGNING:
        return Slot.SIGNING
    return Slot.ACTIVE if state in IN_FORCE else None


def _free_active_slot(session: Session, coming: Mandate, *, at: datetime) -> None:
    going = session.scalars(
        select(Mandate)
        .where(
            Mandate.account_id == coming.account_id,
            Mandate.channel == coming.channel,
            Mandate.slot == Slot.ACTIVE,
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if going is not None:
        # Written at once: the database would refuse two in force even for a moment.
        end(
            session,
            going,
            ended_by=EndedBy.CENTRE,
            end_reason=EndReason.REPLACED,
            by="system",
            because="新的签约已生效，原签约解除",
            at=at,
        )
