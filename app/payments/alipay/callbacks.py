"""Notices from Alipay: what may be believed of a POST from anybody on the internet.

A trade's payment and its refunds are told to one and the same address, with the same type and
often the same status; what tells them apart is read strictly.

An agreement that the person ends is told to the address of the application alone (应用网关), one
that runs out is told nowhere.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from urllib.parse import parse_qsl

from app.domain.ports.callbacks import CallbackRejected, ChannelEvent, EventTopic, RawCallback
from app.domain.ports.mandates import EndedBy
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.alipay.amounts import read_yuan
from app.payments.alipay.answers import read_agreement
from app.payments.reasons import ReasonTable
from app.payments.values import Unreadable, read_number, read_spaced_time
from app.platforms.alipay.keys import AlipayKeys

MALFORMED = "malformed"
SIGNATURE = "signature"
MERCHANT = "merchant"

PAYMENT_ENDPOINT = "payment"
"""Where trades are told of, their refunds too."""
MANDATE_ENDPOINT = "mandate"
"""Where agreements signed, and those that we have ended, are told of."""
GATEWAY_ENDPOINT = "gateway"
"""应用网关: where the platform sends its own messages, and what a person has ended."""

_logger = logging.getLogger(__name__)

_MAX_BYTES = 64 * 1024
_MAX_FIELDS = 200
_FORM = "application/x-www-form-urlencoded"
_TRADE = "trade_status_sync"
_AGREEMENT_STATUSES = {"dut_user_sign": "NORMAL", "dut_user_unsign": "UNSIGN"}
_ENDPOINTS = {
    _TRADE: frozenset({PAYMENT_ENDPOINT}),
    **dict.fromkeys(_AGREEMENT_STATUSES, frozenset({MANDATE_ENDPOINT, GATEWAY_ENDPOINT})),
}
_ALL_ENDPOINTS = frozenset({PAYMENT_ENDPOINT, MANDATE_ENDPOINT, GATEWAY_ENDPOINT})
_CODECS = {"": "utf-8", "utf-8": "utf-8", "gbk": "gb18030", "gb2312": "gb18030"}
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# The signed text joins fields with "&": a value like this could have been fields of their own.
_FIELDS_IN_VALUE = re.compile(r"&[a-z_]+=")


class CallbackReader:
    """Verifies and normalizes the notices to one seller and application.

    Agreements are read whether or not debits are offered now: one of earlier days may end.
    """

    def __init__(
        self,
        *,
        app_id: str,
        seller_id: str,
        keys: AlipayKeys,
        reasons: ReasonTable,
        now: Callable[[], datetime],
    ) -> None:
        self._app_id = app_id
        self._seller_id = seller_id
        self._keys = keys
        self._reasons = reasons
        self._now = now

    def read(self, raw: RawCallback) -> ChannelEvent:
        """Return what a genuine notice says.

        Raises:
            CallbackRejected: for everything else.
        """
        try:
            if raw.endpoint not in _ALL_ENDPOINTS:
                raise Unreadable("endpoint")
            sent = _read_form(raw)
            self._check_signature(sent)
            fields = _decode(sent)
            if fields.get("app_id") != self._app_id:
                raise CallbackRejected(MERCHANT)
            return self._read_event(fields, raw.endpoint)
        except Unreadable:
            raise CallbackRejected(MALFORMED) from None

    def _check_signature(self, sent: Mapping[str, str]) -> None:
        """Check the signature over the bytes as they were sent.

        Notices of trades and agreements leave `sign_type` out of what is signed (V1), messages of
        the platform keep it (V2).
        """
        if sent.get("sign_type") != "RSA2":
            raise CallbackRejected(SIGNATURE)
        signature = sent.get("sign", "")
        for rule, left_out in (("V1", {"sign", "sign_type"}), ("V2", {"sign"})):
            text = "&".join(f"{name}={sent[name]}" for name in sorted(sent.keys() - left_out))
            if self._keys.is_genuine(text.encode("latin-1"), signature):
                _logger.debug("alipay notice verified by %s", rule)
                return
        raise CallbackRejected(SIGNATURE)

    def _read_event(self, fields: Mapping[str, str], endpoint: str) -> ChannelEvent:
        kind = fields.get("notify_type", "")
        if kind not in _ENDPOINTS:
            return ChannelEvent(topic=EventTopic.IGNORED, outcome=None, note=kind[:64])
        if endpoint not in _ENDPOINTS[kind]:
            raise Unreadable("another endpoint")
        if any(_FIELDS_IN_VALUE.search(value) for value in fields.values()):
            raise Unreadable("fields in a value")
        return (
            self._read_trade(fields) if kind == _TRADE else self._read_agreement(fields, endpoint)
        )

    def _read_agreement(self, fields: Mapping[str, str], endpoint: str) -> ChannelEvent:
        kind = fields["notify_type"]
        if fields.get("status") != _AGREEMENT_STATUSES[kind]:
            raise Unreadable("type and status")
        if not fields.get("external_agreement_no"):
            # None of ours was signed without a number.
            return ChannelEvent(topic=EventTopic.IGNORED, outcome=None, note=kind)
        mandate = read_agreement(fields, now=self._now())
        if mandate.raw_code == "UNSIGN":
            # The notice does not say who; what we end is told to the address that we named.
            by_person = endpoint == GATEWAY_ENDPOINT
            ended_by = EndedBy.CONTRIBUTOR if by_person else EndedBy.CENTRE
            mandate = replace(mandate, ended_by=ended_by)
        return ChannelEvent(topic=EventTopic.MANDATE, outcome=None, mandate=mandate)

    def _read_trade(self, fields: Mapping[str, str]) -> ChannelEvent:
        if fields.get("seller_id") != self._seller_id:
            raise CallbackRejected(MERCHANT)
        order_no = read_number(fields.get("out_trade_no"))
        status = fields.get("trade_status", "")
        if _is_of_refund(fields):
            return _refund_event(fields, status)
        kind, _ = self._reasons.lookup("trade_status", status)
        if kind is not OutcomeKind.SUCCEEDED:
            return ChannelEvent(topic=EventTopic.IGNORED, outcome=None, note=status[:64])
        outcome = Outcome(
            kind=kind,
            reason=Reason.OK,
            number=order_no,
            amount_fen=read_yuan(fields.get("total_amount", "")),
            reference=read_number(fields.get("trade_no")),
            payer_ref=fields.get("buyer_open_id") or fields.get("buyer_id") or None,
            occurred_at=read_spaced_time(fields.get("gmt_payment")),
            raw_code=status,
        )
        return ChannelEvent(topic=EventTopic.PAYMENT, outcome=outcome)


def _is_of_refund(fields: Mapping[str, str]) -> bool:
    """Whether money has gone back; a trade that nobody paid in time may carry a fee of 0.00."""
    gone_back = fields.get("refund_fee", "") not in ("", "0.00")
    return gone_back or bool(fields.get("gmt_refund") or fields.get("out_biz_no"))


def _refund_event(fields: Mapping[str, str], status: str) -> ChannelEvent:
    """Say which refund to ask about: `refund_fee` is the sum of all refunds of the trade."""
    if not fields.get("out_biz_no"):
        return ChannelEvent(topic=EventTopic.IGNORED, outcome=None, note="refund without a number")
    outcome = Outcome(
        kind=OutcomeKind.ACCEPTED,
        reason=Reason.PROCESSING,
        number=read_number(fields["out_biz_no"]),
        reference=read_number(fields.get("trade_no")),
        raw_code=status[:64],
    )
    return ChannelEvent(topic=EventTopic.REFUND, outcome=outcome)


def _read_form(raw: RawCallback) -> dict[str, str]:
    """Return the fields as they were sent: each character stands for one byte.

    Raises:
        Unreadable: no form, too long, a name twice.
    """
    if raw.content_type.partition(";")[0].strip().lower() != _FORM:
        raise Unreadable("content type")
    if len(raw.body) > _MAX_BYTES:
        raise Unreadable("too long")
    try:
        pairs = parse_qsl(
            raw.body.decode("ascii"),
            keep_blank_values=True,  # they are signed too
            strict_parsing=True,
            encoding="latin-1",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError:
        raise Unreadable("no form") from None
    sent = dict(pairs)
    if not sent or len(sent) != len(pairs):
        raise Unreadable("no field, or one twice")
    if not all(_NAME.fullmatch(name) for name in sent):
        raise Unreadable("an odd name")
    return sent


def _decode(sent: Mapping[str, str]) -> dict[str, str]:
    codec = _CODECS.get(sent.get("charset", "").lower())
    if codec is None:
        raise Unreadable("charset")
    try:
        return {name: value.encode("latin-1").decode(codec) for name, value in sent.items()}
    except UnicodeDecodeError:
        raise Unreadable("charset") from None
