"""Payments that people confirm on their phones, and money back to where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.domain.ports.outcomes import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRequest:
    """A payment to be prepared for the payer's phone.

    `description` holds no comma, quote or line break, so that no channel's bill can be torn
    by it. `payer_ref` is the payer's openid / open_id at this channel.
    """

    order_no: str
    amount_fen: int
    description: str
    payer_ref: str
    expires_at: datetime
    client_ip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """A refund of `amount_fen` out of a payment of `total_fen` made under `order_no`."""

    order_no: str
    refund_no: str
    amount_fen: int
    total_fen: int
    reason: str


class PhonePayments(Protocol):
    """Payments that the payer confirms in the channel's own app.

    None of these raises for trouble on the way: trouble is an Outcome of kind UNKNOWN.
    """

    def prepare_payment(self, request: PaymentRequest) -> Outcome:
        """Place the order. ACCEPTED carries in `reference` what `payer_action` needs."""

    def payer_action(self, prepay_reference: str) -> Mapping[str, str]:
        """Build the parameters that the phone hands to the channel's app. No network."""

    def query_payment(self, order_no: str) -> Outcome:
        """Ask what became of the payment. ACCEPTED means not paid yet."""

    def close_payment(self, order_no: str) -> Outcome:
        """Make the order unpayable. SUCCEEDED means that it is closed and was not paid."""


class Refunds(Protocol):
    """Money back to where a payment came from."""

    def refund(self, request: RefundRequest) -> Outcome:
        """Ask for a refund; repeating it with the same refund_no is safe. ACCEPTED is not done."""

    def query_refund(self, *, order_no: str, refund_no: str) -> Outcome:
        """Ask what became of a refund."""
