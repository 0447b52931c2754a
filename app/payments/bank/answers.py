"""A debit and an agreement as the bank's queries and notices tell of them."""

from __future__ import annotations

from datetime import datetime

from app.domain.ports.mandates import EndedBy, MandateAnswer, MandateStanding
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.bank.envelope import Fields, read_fen, read_text
from app.payments.reasons import ReasonTable
from app.payments.values import MESSAGE_LENGTH, Unreadable, read_number, read_spaced_time

# What a code may mean in each state. A code that leaves it open (42, 74, 75, an unlisted one) may
# stand in any.
_KINDS = {
    "PROCESSING": OutcomeKind.ACCEPTED,
    "SUCCEEDED": OutcomeKind.SUCCEEDED,
    "FAILED": OutcomeKind.FAILED,
}
_STANDINGS = {
    "SMS_SENT": (MandateStanding.AWAITING, Reason.PROCESSING),
    "ACTIVE": (MandateStanding.ACTIVE, Reason.OK),
    "SUSPENDED": (MandateStanding.SUSPENDED, Reason.OK),
    "CANCELLED": (MandateStanding.ENDED, Reason.CLOSED),
    "EXPIRED": (MandateStanding.ENDED, Reason.CLOSED),
    # Too many wrong codes end a signing.
    "FAILED": (MandateStanding.REFUSED, Reason.TOO_MANY_TRIES),
}
_ENDED_BY = {
    "user": EndedBy.CONTRIBUTOR,
    "bank": EndedBy.CHANNEL,
    "merchant": EndedBy.CENTRE,
    "": None,
}


def read_debit(fields: Fields, reasons: ReasonTable) -> Outcome:
    """Return what the bank says of a debit.

    Raises:
        Unreadable: not such a statement, or one at odds with itself.
    """
    number = read_number(read_text(fields, "order_no"))
    asked_fen, actual_fen = read_fen(fields, "amount_fen"), read_fen(fields, "actual_fen")
    code = read_text(fields, "orig_code")
    kind, reason = reasons.lookup("debit_result", code)
    expected = _KINDS.get(read_text(fields, "state"))
    if expected is None or kind not in (expected, OutcomeKind.UNKNOWN):
        raise Unreadable("code and state")
    if (actual_fen > 0) != (expected is OutcomeKind.SUCCEEDED) or actual_fen > asked_fen:
        raise Unreadable("amount and state")
    has_money = actual_fen > 0
    return Outcome(
        kind=kind,
        reason=reason,
        number=number,
        amount_fen=actual_fen if has_money else None,
        reference=read_number(read_text(fields, "bank_ref")) if has_money else None,
        occurred_at=read_spaced_time(read_text(fields, "decided_at")) if has_money else None,
        raw_code=code,
        raw_message=read_text(fields, "orig_message")[:MESSAGE_LENGTH],
    )


def read_mandate(fields: Fields) -> MandateAnswer:
    """Return how the bank says that an agreement stands.

    Raises:
        Unreadable: not such a statement.
    """
    state = read_text(fields, "state")
    if state not in _STANDINGS:
        raise Unreadable("state")
    standing, reason = _STANDINGS[state]
    reference = read_text(fields, "channel_agreement_no")
    is_in_force = standing in (MandateStanding.ACTIVE, MandateStanding.SUSPENDED)
    if is_in_force and not reference:
        raise Unreadable("an agreement without a number")
    return MandateAnswer(
        standing=standing,
        reason=reason,
        mandate_no=read_number(read_text(fields, "agreement_no")),
        reference=read_number(reference) if reference else None,
        ended_by=_read_ended_by(fields) if standing is MandateStanding.ENDED else None,
        occurred_at=_read_moment(fields, standing),
        raw_code=state,
        raw_message=read_text(fields, "reason")[:MESSAGE_LENGTH],
    )


def _read_ended_by(fields: Fields) -> EndedBy | None:
    if read_text(fields, "state") == "EXPIRED":
        return EndedBy.EXPIRY
    word = read_text(fields, "ended_by")
    if word not in _ENDED_BY:
        raise Unreadable("ended_by")
    return _ENDED_BY[word]


def _read_moment(fields: Fields, standing: MandateStanding) -> datetime | None:
    name = {MandateStanding.ACTIVE: "signed_at", MandateStanding.ENDED: "ended_at"}.get(standing)
    return read_spaced_time(read_text(fields, name)) if name else None
