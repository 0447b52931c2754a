"""Notices from the bank: what may be believed of a POST from anybody on the internet.

A notice is believed for its signature over the headers, the path that the bank was given and the
body, by a pinned key, in the five minutes around its timestamp, once.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from app.domain.ports.callbacks import CallbackRejected, ChannelEvent, EventTopic, RawCallback
from app.payments.bank.answers import read_debit, read_mandate
from app.payments.bank.envelope import Fields, Seals, Untrue, read_object, read_text
from app.payments.reasons import ReasonTable
from app.payments.values import Unreadable

MALFORMED = "malformed"
MERCHANT = "merchant"

DEBIT_ENDPOINT = "payment"
"""Where results of debits are told."""
MANDATE_ENDPOINT = "mandate"
"""Where changes of agreements are told."""

_EVENTS = {"debit.result": DEBIT_ENDPOINT, "mandate.changed": MANDATE_ENDPOINT}


class CallbackReader:
    """Verifies and normalizes the notices to one merchant.

    Args:
        base_url: the address under which the endpoints stand, as the bank was told.
    """

    def __init__(
        self, *, merchant_id: str, base_url: str, seals: Seals, reasons: ReasonTable
    ) -> None:
        self._merchant_id = merchant_id
        self._path = urlsplit(base_url).path
        self._seals = seals
        self._reasons = reasons

    def read(self, raw: RawCallback) -> ChannelEvent:
        """Return what a genuine notice says.

        Raises:
            CallbackRejected: for everything else.
        """
        if raw.endpoint not in (DEBIT_ENDPOINT, MANDATE_ENDPOINT):
            raise CallbackRejected(MALFORMED)
        try:
            if not raw.is_kept:
                self._seals.verify(f"POST {self._path}{raw.endpoint}", raw.headers, raw.body)
            fields = read_object(raw.body)
            if read_text(fields, "merchant_id") != self._merchant_id:
                raise CallbackRejected(MERCHANT)
            event = self._read_event(fields, raw.endpoint)
            if not raw.is_kept:
                self._seals.use_up(raw.headers)
        except Untrue as untrue:
            raise CallbackRejected(untrue.reason) from None
        except Unreadable:
            raise CallbackRejected(MALFORMED) from None
        return event

    def _read_event(self, fields: Fields, endpoint: str) -> ChannelEvent:
        name = read_text(fields, "event")
        if _EVENTS.get(name, endpoint) != endpoint:
            raise Unreadable("the other endpoint")
        if name == "debit.result":
            outcome = read_debit(fields, self._reasons)
            return ChannelEvent(topic=EventTopic.PAYMENT, outcome=outcome)
        if name == "mandate.changed":
            mandate = read_mandate(fields)
            return ChannelEvent(topic=EventTopic.MANDATE, outcome=None, mandate=mandate)
        return ChannelEvent(topic=EventTopic.IGNORED, outcome=None, note=name[:64])
