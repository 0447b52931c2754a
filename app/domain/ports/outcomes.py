"""What a channel answers about one of our numbers, in our words.

Amounts are integer fen; instants are timezone-aware UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class OutcomeKind(StrEnum):
    """What an answer says of the money.

    UNKNOWN covers a timeout, a bad signature, an unlisted code and an answer that cannot be
    read: the money may or may not have moved, and only a later query or a bill can tell.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why, in our own words; each channel's codes are mapped to these by `config/reasons`."""

    OK = "ok"
    NOT_PAID = "not_paid"
    PROCESSING = "processing"
    CLOSED = "closed"
    NOT_FOUND = "not_found"
    ALREADY_PAID = "already_paid"
    ALREADY_REFUNDED = "already_refunded"
    MERCHANT_FUNDS_SHORT = "merchant_funds_short"
    PAYER_REFUSED = "payer_refused"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    AMOUNT_LIMIT = "amount_limit"
    """Above what the payer or the product may pay at once or in a day."""
    PERIOD_LIMIT = "period_limit"
    """Above what may be taken in this month or quarter."""
    ISSUER_REFUSED = "issuer_refused"
    ACCOUNT_FROZEN = "account_frozen"
    """The payer's account or card takes no debits for now."""
    ACCOUNT_INVALID = "account_invalid"
    """The payer's account or card is closed or does not exist."""
    NO_MANDATE = "no_mandate"
    IDENTITY_MISMATCH = "identity_mismatch"
    NOT_SUPPORTED = "not_supported"
    WRONG_CODE = "wrong_code"
    TOO_MANY_TRIES = "too_many_tries"
    NOT_RECEIVED = "not_received"
    """A debit that provably never reached the channel."""
    OUR_FAULT = "our_fault"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    BAD_ANSWER = "bad_answer"
    UNLISTED = "unlisted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One answer of a channel about one of our numbers, in our words.

    Attributes:
        number: our order_no or refund_no that the answer is about.
        amount_fen: the total that the channel has booked under `number`; None if not said.
        reference: the channel's own number: prepay_id or trade_no for a prepared payment,
            transaction id for a payment, refund id for a refund.
        payer_ref: who paid, as the channel names them (openid, open_id).
        occurred_at: when the money moved, by the channel's clock.
        raw_code: the channel's own code, for staff and for the mapping table.
    """

    kind: OutcomeKind
    reason: Reason
    number: str
    amount_fen: int | None = None
    reference: str | None = None
    payer_ref: str | None = None
    occurred_at: datetime | None = None
    raw_code: str = ""
    raw_message: str = ""
