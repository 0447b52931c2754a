"""What a person is told of their debits, as rows of the event's own transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app.domain.agreements.rules import DebitChannel
from app.domain.agreements.wording import CHANNEL_TEXTS
from app.domain.debits.rules import EndReason
from app.domain.debits.wording import END_REASON_TEXTS, reason_text
from app.domain.outbox.operations import Message, enqueue_all
from app.domain.outbox.rules import amount_text, day_text, period_text
from app.domain.periods import Period
from app.domain.ports.messages import MessageTopic
from app.domain.ports.outcomes import Reason

_PAY_BY_HAND = "可在小程序“扣款记录”中补缴"
_RESUME = "备足款项后可在小程序恢复协议"

# Told the day before that money would be taken, the person hears why it was not.
_UNEXPECTED = {
    EndReason.OVER_CAP,
    EndReason.CAP_NOT_PUBLISHED,
    EndReason.ACCOUNT_NOT_USABLE,
    EndReason.PROGRAMME_NOT_IN_FORCE,
}


def tell_planned(session: Session, planned: Sequence[Mapping[str, Any]], *, at: datetime) -> None:
    """Announce debits: amount, day and channel, which stand from now on.

    Args:
        planned: the columns of the instructions.
    """
    messages = [
        Message(
            account_id=row["account_id"],
            topic=MessageTopic.DEBIT_DUE,
            event_key=f"debit-due:{row['account_id']}:{row['period']}",
            fields={
                "amount": amount_text(row["amount_fen"]),
                "day": day_text(row["next_attempt_on"]),
                "channel": CHANNEL_TEXTS[DebitChannel(row["channel"])],
            },
        )
        for row in planned
    ]
    enqueue_all(session, messages, at=at)


def tell_paid(session: Session, paid: Sequence[tuple[Row[Any], str]], *, at: datetime) -> None:
    """Tell that money was debited: instructions, each with the number of its order."""
    messages = [
        Message(
            account_id=row.account_id,
            topic=MessageTopic.DEBIT_SUCCEEDED,
            event_key=f"debit-paid:{order_no}",
            fields={"period": _period_text(row), "amount": amount_text(row.amount_fen)},
        )
        for row, order_no in paid
    ]
    enqueue_all(session, messages, at=at)


def tell_failed(
    session: Session,
    row: Row[Any],
    reason: Reason,
    *,
    attempts: int,
    next_on: date | None,
    at: datetime,
) -> None:
    """Tell why a debit failed, and when it is tried again or how to pay by hand."""
    why = {"period": _period_text(row), "reason": reason_text(reason)}
    if next_on is None:
        message = Message(
            account_id=row.account_id,
            topic=MessageTopic.DEBIT_MISSED,
            event_key=f"debit-missed:{row.id}",
            fields={**why, "how_to_pay": _PAY_BY_HAND},
        )
    else:
        message = Message(
            account_id=row.account_id,
            topic=MessageTopic.DEBIT_FAILED,
            event_key=f"debit-failed:{row.id}:{attempts}",
            fields={
                **why,
                "amount": amount_text(row.amount_fen),
                "next_try": day_text(next_on),
            },
        )
    enqueue_all(session, [message], at=at)


def tell_not_sent(
    session: Session, ended: Sequence[tuple[Row[Any], EndReason]], *, at: datetime
) -> None:
    """Tell why an announced debit is not sent, where the person did not bring it about."""
    messages = [
        Message(
            account_id=row.account_id,
            topic=MessageTopic.DEBIT_FAILED,
            event_key=f"debit-not-sent:{row.id}",
            fields={"period": _period_text(row), "reason": END_REASON_TEXTS[end_reason]},
        )
        for row, end_reason in ended
        if end_reason in _UNEXPECTED
    ]
    enqueue_all(session, messages, at=at)


def tell_suspended(session: Session, row: Row[Any], *, periods: int, at: datetime) -> None:
    """Tell that the agreement is suspended after so many missed periods, this one the last."""
    message = Message(
        account_id=row.account_id,
        topic=MessageTopic.AGREEMENT_SUSPENDED,
        event_key=f"agreement-suspended:{row.id}",
        fields={"missed": str(periods), "what_next": _RESUME},
    )
    enqueue_all(session, [message], at=at)


def _period_text(row: Row[Any]) -> str:
    return period_text(Period.parse(row.period))
