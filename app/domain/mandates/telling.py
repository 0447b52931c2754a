"""Which moves of a mandate its person is told of, and in what words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from app.domain.agreements.rules import DebitChannel
from app.domain.agreements.wording import CHANNEL_TEXTS
from app.domain.mandates.models import Mandate
from app.domain.mandates.rules import IN_FORCE, EndReason, MandateState
from app.domain.outbox.operations import enqueue
from app.domain.outbox.rules import amount_text, day_text
from app.domain.ports.mandates import EndedBy
from app.domain.ports.messages import MessageTopic

# Short enough for the line of a message on the phone: twenty characters.
_ENDED_BY_TEXTS = {
    EndedBy.CONTRIBUTOR: "您本人解约",
    EndedBy.CHANNEL: "渠道解约",
    EndedBy.CENTRE: "公积金中心解约",
    EndedBy.EXPIRY: "有效期已满",
}
_NOT_OWN_ACCOUNT = "签约账户不是您本人的账户"
_SIGN_AGAIN = "不再自动扣款，如需继续请重新签约"
_SIGN_WITH_OWN = "请用本人账户重新签约"
_PAY_BY_HAND = "恢复前不自动扣款，可自行缴存"


def tell_person(session: Session, mandate: Mandate, before: MandateState, *, at: datetime) -> None:
    """Store a message about the move that a mandate has just made, if it is one to hear of.

    Told is what begins, pauses or ends debits. Not told is what the person is doing on the screen
    at that moment (signing, calling it off), the channel's confirmation of an end told before, and
    the end of a mandate that a newer one of theirs has replaced.
    """
    topic = _topic_of(mandate, before)
    if topic is None:
        return
    enqueue(
        session,
        account_id=mandate.account_id,
        topic=topic,
        event_key=f"mandate:{mandate.mandate_no}:{mandate.move_count}",
        fields={"channel": _channel_text(mandate), **_more_fields(mandate, topic)},
        at=at,
    )


def _topic_of(mandate: Mandate, before: MandateState) -> MessageTopic | None:
    match mandate.state:
        case MandateState.ACTIVE:
            return MessageTopic.MANDATE_ACTIVE
        case MandateState.SUSPENDED:
            return MessageTopic.MANDATE_SUSPENDED
        case MandateState.ENDING | MandateState.ENDED:
            over = before in IN_FORCE and mandate.end_reason is not EndReason.REPLACED
            refused = before is not MandateState.ENDING and _is_of_another(mandate)
            return MessageTopic.MANDATE_ENDED if over or refused else None
    return None


def _more_fields(mandate: Mandate, topic: MessageTopic) -> Mapping[str, str]:
    if topic is MessageTopic.MANDATE_ACTIVE:
        return {"cap": amount_text(mandate.cap_fen), "valid_to": day_text(mandate.valid_to)}
    if topic is MessageTopic.MANDATE_SUSPENDED:
        return {"what_next": _PAY_BY_HAND}
    if _is_of_another(mandate):
        return {"ended_by": _NOT_OWN_ACCOUNT, "what_next": _SIGN_WITH_OWN}
    ended_by = mandate.ended_by or EndedBy.CHANNEL
    return {"ended_by": _ENDED_BY_TEXTS[ended_by], "what_next": _SIGN_AGAIN}


def _channel_text(mandate: Mandate) -> str:
    text = CHANNEL_TEXTS[DebitChannel(mandate.channel)]
    return f"{text}（尾号{mandate.card_tail}）" if mandate.card_tail else text


def _is_of_another(mandate: Mandate) -> bool:
    return mandate.end_reason is EndReason.OTHER_SIGNER
