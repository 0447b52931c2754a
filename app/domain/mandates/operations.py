"""What a channel's word does to a mandate: the one place for calls, queries and notices."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.breaks.models import BreakKind
from app.domain.breaks.operations import open_break
from app.domain.mandates.models import Mandate, Slot
from app.domain.mandates.moves import end, lock, move
from app.domain.mandates.payers import open_payer
from app.domain.mandates.rules import (
    IN_FORCE,
    LATE_SIGNING_AFTER,
    SIGNING,
    EndReason,
    Hearing,
    MandateState,
    contradicts,
    may_be_believed,
    next_state,
)
from app.domain.pii import Vault
from app.domain.ports.mandates import EndedBy, MandateAnswer, MandateStanding

_BECAUSE = {
    MandateState.AWAITING: "渠道已受理，待本人确认",
    MandateState.UNKNOWN: "渠道应答不明，待查询",
    MandateState.ACTIVE: "渠道确认授权生效",
    MandateState.SUSPENDED: "渠道暂停授权",
    MandateState.ENDED: "渠道确认授权已解除",
    MandateState.FAILED: "签约未成功",
}
_ALIVE = {MandateStanding.ACTIVE, MandateStanding.SUSPENDED}
_SETTLED = {MandateState.FAILED, MandateState.ENDED} | IN_FORCE


class MandateEffect(StrEnum):
    """What an answer did."""

    AWAITING = "awaiting"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    ENDED = "ended"
    FAILED = "failed"
    UNKNOWN = "unknown"
    ENDING = "ending"
    """It is in force at the channel and not to be: it will be ended there."""
    ASKED = "asked"
    """Nothing yet: the channel will be asked how it stands."""
    MISMATCH = "mismatch"
    """Not ours, or with another's data: a break for staff, and nothing changed."""
    CONTRADICTED = "contradicted"
    """What no event explains: a break for staff, and nothing changed."""
    NOTHING = "nothing"


def apply_mandate_answer(
    session: Session,
    vault: Vault,
    *,
    channel: str,
    answer: MandateAnswer,
    hearing: Hearing,
    asked_at_move: int | None,
    now: datetime,
) -> MandateEffect:
    """Apply one answer, however often and in whatever order answers come.

    Args:
        hearing: how it came. A notice is believed only where being late cannot make it wrong.
        asked_at_move: the mandate's `move_count` when the question was put; None for a notice. If
            it has moved since, the answer is stale, and unless it agrees it is asked again.
    """
    mandate = lock(session, answer.mandate_no)
    if mandate is None or mandate.channel != channel:
        _tell_staff(session, BreakKind.UNKNOWN_MANDATE, channel, answer, now=now)
        return MandateEffect.MISMATCH
    if _is_of_another(session, mandate, answer):
        return _refuse(session, mandate, answer, now=now)
    signed = hearing is Hearing.NOTICE or answer.standing in _ALIVE
    if signed and _is_of_another_signer(vault, mandate, answer):
        return _refuse_signer(session, mandate, answer, hearing=hearing, now=now)
    target = next_state(
        mandate.state, answer.standing, hearing=hearing, overdue=now >= mandate.expires_at
    )
    if target in IN_FORCE and not (answer.reference or mandate.reference):
        # In force, and yet without the number that a debit has to name: ask again.
        return _ask(mandate, now=now)
    if hearing is Hearing.NOTICE:
        sure = may_be_believed(mandate.state, answer.standing)
        return (
            _settle(session, mandate, target, answer, now=now)
            if sure
            else _doubt(mandate, target, answer, now=now)
        )
    if asked_at_move != mandate.move_count:
        return MandateEffect.NOTHING if target is mandate.state else _ask(mandate, now=now)
    if contradicts(mandate.state, answer.standing):
        return _contradict(session, mandate, answer, now=now)
    return _settle(session, mandate, target, answer, now=now)


def _settle(
    session: Session,
    mandate: Mandate,
    target: MandateState,
    answer: MandateAnswer,
    *,
    now: datetime,
) -> MandateEffect:
    if answer.standing is not MandateStanding.UNKNOWN:
        mandate.reason = answer.reason
    mandate.raw_code = answer.raw_code[:64] or mandate.raw_code
    if mandate.state in SIGNING and answer.start_reference:
        mandate.start_reference = answer.start_reference
    if answer.standing in _ALIVE and mandate.reference is None:
        mandate.reference = answer.reference
    if target is mandate.state:
        if target in _SETTLED and answer.standing is not MandateStanding.UNKNOWN:
            mandate.next_query_at = None
        session.flush()
        return MandateEffect.NOTHING
    by, because = f"channel:{mandate.channel}", _BECAUSE[target]
    if target in IN_FORCE and _has_a_successor(session, mandate):
        # Signed late: the person has signed a newer one since, which stays.
        end(
            session,
            mandate,
            ended_by=EndedBy.CENTRE,
            end_reason=EndReason.REPLACED,
            by="system",
            because="已有更新的签约生效，本签约解除",
            at=now,
        )
        return MandateEffect.ENDING
    overdue = target is MandateState.FAILED and answer.standing is not MandateStanding.REFUSED
    if target is MandateState.ENDED and mandate.ended_by is None:
        mandate.ended_by = answer.ended_by or EndedBy.CHANNEL
        expired = mandate.ended_by is EndedBy.EXPIRY
        mandate.end_reason = EndReason.EXPIRED if expired else EndReason.ENDED_AT_CHANNEL
    never_signed = target is MandateState.ENDED and answer.standing is not MandateStanding.ENDED
    if overdue:
        by, because = "system", "超过签约时限未完成"
    move(session, mandate, target, by=by, because=because, at=now)
    if overdue or never_signed:
        # A page opened before may still be signed, and its notice be lost: look once more.
        mandate.next_query_at = now + LATE_SIGNING_AFTER
        session.flush()
    return MandateEffect(target.value)


def _doubt(
    mandate: Mandate, target: MandateState, answer: MandateAnswer, *, now: datetime
) -> MandateEffect:
    if target is mandate.state and not contradicts(mandate.state, answer.standing):
        return MandateEffect.NOTHING
    return _ask(mandate, now=now)


def _ask(mandate: Mandate, *, now: datetime) -> MandateEffect:
    mandate.next_query_at = now
    return MandateEffect.ASKED


def _contradict(
    session: Session, mandate: Mandate, answer: MandateAnswer, *, now: datetime
) -> MandateEffect:
    here = mandate.end_reason in {EndReason.ASKED, EndReason.REPLACED, EndReason.OTHER_SIGNER}
    if mandate.state is MandateState.ENDED and here:
        # Signed on a page that was still open when it was called off: no riddle.
        return MandateEffect.ENDING
    _tell_staff(session, BreakKind.MANDATE_DRIFT, mandate.channel, answer, now=now)
    return (
        MandateEffect.ENDING if mandate.state is MandateState.ENDED else MandateEffect.CONTRADICTED
    )


def _refuse(
    session: Session, mandate: Mandate, answer: MandateAnswer, *, now: datetime
) -> MandateEffect:
    _tell_staff(session, BreakKind.MANDATE_MISMATCH, mandate.channel, answer, now=now)
    return MandateEffect.MISMATCH


def _refuse_signer(
    session: Session, mandate: Mandate, answer: MandateAnswer, *, hearing: Hearing, now: datetime
) -> MandateEffect:
    _refuse(session, mandate, answer, now=now)
    if hearing is Hearing.NOTICE:
        if mandate.state in SIGNING:
            mandate.next_query_at = now
        return MandateEffect.MISMATCH
    if answer.standing not in _ALIVE or mandate.state not in {*SIGNING, MandateState.FAILED}:
        return MandateEffect.MISMATCH
    mandate.reference = mandate.reference or answer.reference
    end(
        session,
        mandate,
        ended_by=EndedBy.CENTRE,
        end_reason=EndReason.OTHER_SIGNER,
        by="system",
        because="签约账户不是本人在该渠道的账户，已解除",
        at=now,
    )
    return MandateEffect.ENDING


def _is_of_another(session: Session, mandate: Mandate, answer: MandateAnswer) -> bool:
    if answer.reference is None or answer.reference == mandate.reference:
        return False
    if mandate.reference is not None:
        return True
    taken = select(Mandate.id).where(
        Mandate.channel == mandate.channel, Mandate.reference == answer.reference
    )
    return session.scalar(taken) is not None


def _is_of_another_signer(vault: Vault, mandate: Mandate, answer: MandateAnswer) -> bool:
    if answer.payer_ref is None:
        return False
    known = open_payer(vault, mandate.payer).payer_ref
    return known is not None and known != answer.payer_ref


def _has_a_successor(session: Session, mandate: Mandate) -> bool:
    newer = select(Mandate.id).where(
        Mandate.account_id == mandate.account_id,
        Mandate.channel == mandate.channel,
        Mandate.slot == Slot.ACTIVE,
        Mandate.id > mandate.id,
    )
    return session.scalar(newer) is not None


def _tell_staff(
    session: Session, kind: BreakKind, channel: str, answer: MandateAnswer, *, now: datetime
) -> None:
    open_break(
        session,
        kind=kind,
        channel=channel,
        number=answer.mandate_no[:64],
        reference=(answer.reference or "")[:64] or None,
        standing=answer.standing.value,
        raw_code=answer.raw_code,
        now=now,
    )
