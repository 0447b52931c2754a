"""Permissions to debit (授权): what is asked of a person, and what a channel says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from app.domain.ports.outcomes import Reason


class MandateStanding(StrEnum):
    """What a channel says of a mandate. UNKNOWN as in `OutcomeKind`: only a query can tell."""

    AWAITING = "awaiting"
    """The person has not confirmed yet."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    ENDED = "ended"
    REFUSED = "refused"
    """It was never made and never will be under this number."""
    NOT_FOUND = "not_found"
    """The channel knows no such number: for a wallet, nobody has opened the signing page."""
    UNKNOWN = "unknown"


class EndedBy(StrEnum):
    """Who ended a mandate."""

    CONTRIBUTOR = "contributor"
    CHANNEL = "channel"
    CENTRE = "centre"
    EXPIRY = "expiry"


class Cycle(StrEnum):
    """How often a mandate may debit."""

    MONTH = "month"
    QUARTER = "quarter"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankCard:
    """The four elements (四要素) of a card, as its bank knows them.

    `document_kind` is a `DocumentKind` value: the card may have been opened with another document
    than the one that the person enrolled with.
    """

    card_no: str = field(repr=False)
    holder_name: str = field(repr=False)
    document_kind: str
    document_no: str = field(repr=False)
    phone: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateRequest:
    """A permission to debit that is asked of a person.

    Attributes:
        mandate_no: ours, unique for ever, stored before it is sent.
        cap_fen, period_cap_fen: the most that one debit, and all debits of one cycle, may take.
        first_due_on: day of the first debit under it; its day of the month is the debit day.
        payer_ref: the person's id at the channel; None where the channel knows cards only.
        card: for channels that debit cards.
        display_name: what the person reads in the channel's app as the account that is paid into.
    """

    mandate_no: str
    cap_fen: int
    period_cap_fen: int
    cycle: Cycle
    first_due_on: date
    valid_from: date
    valid_to: date
    display_name: str
    payer_ref: str | None = field(default=None, repr=False)
    card: BankCard | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateAnswer:
    """One answer of a channel about one of our mandates.

    Attributes:
        reference: the channel's own number of the mandate, once it is active.
        start_reference: what `confirm_mandate` has to show (the serial of a text message).
        payer_ref: who signed, as the channel names them.
        occurred_at: when it came to stand so, by the channel's clock.
    """

    standing: MandateStanding
    reason: Reason
    mandate_no: str
    reference: str | None = None
    start_reference: str | None = None
    payer_ref: str | None = field(default=None, repr=False)
    ended_by: EndedBy | None = None
    occurred_at: datetime | None = None
    raw_code: str = ""
    raw_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateLimits:
    """What a channel's product lets a mandate be.

    Attributes:
        cap_fen_max: the most for one debit; None where the channel sets none.
        cycles: how often it can debit.
        needs_card: the person gives a bank card, and confirms by a code sent to the phone.
    """

    cap_fen_max: int | None
    cycles: frozenset[Cycle]
    needs_card: bool


class Mandates(Protocol):
    """Permissions to debit (授权). Trouble on the way is an answer of standing UNKNOWN."""

    @property
    def limits(self) -> MandateLimits:
        """What the product that was contracted lets a mandate be."""

    def start_mandate(self, request: MandateRequest) -> MandateAnswer:
        """Begin. Repeating it with the same number and content begins nothing a second time.

        A bank checks the card and sends a code (AWAITING with `start_reference`); a wallet asks
        nothing yet: AWAITING, with no network.
        """

    def signing_action(self, request: MandateRequest) -> Mapping[str, str]:
        """Build what the phone hands to the wallet's signing page; empty for a bank. No network."""

    def confirm_mandate(self, *, mandate_no: str, start_reference: str, code: str) -> MandateAnswer:
        """Show the code that the person got. A wallet needs none and answers as for a query."""

    def query_mandate(self, *, mandate_no: str, reference: str | None) -> MandateAnswer:
        """Ask how a mandate stands."""

    def end_mandate(self, *, mandate_no: str, reference: str | None) -> MandateAnswer:
        """End it; ENDED also when it had ended before."""
