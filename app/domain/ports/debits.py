"""Taking money under a mandate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.domain.ports.mandates import BankCard
from app.domain.ports.outcomes import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class DebitRequest:
    """One attempt to take `amount_fen` under a mandate.

    `mandate_reference` is the channel's number of the mandate; `card` the account and the holder as
    a file to a bank names them, None where the reference says it all.
    """

    order_no: str
    amount_fen: int
    description: str
    mandate_reference: str
    card: BankCard | None = None


class Debits(Protocol):
    """Taking money under a mandate, one by one. Trouble on the way is UNKNOWN."""

    def submit_debit(self, request: DebitRequest) -> Outcome:
        """Ask for the money. ACCEPTED means that the result is still to come.

        The same number with the same content again is never a second debit.
        """

    def query_debit(self, order_no: str) -> Outcome:
        """Ask what became of it. FAILED with NOT_FOUND: the channel knows no such number (yet)."""
