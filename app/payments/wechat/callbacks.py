"""Notices from WeChat Pay: what may be believed of a POST from anybody on the internet.

A payment, a debit and a contract notice are believed for their MD5 signature. A refund notice has
no signature; it is believed because its content could only be sealed by someone who has the API
key. Each comes to its own endpoint only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from app.domain.ports.callbacks import CallbackRejected, ChannelEvent, EventTopic, RawCallback
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.reasons import ReasonTable
from app.payments.values import MESSAGE_LENGTH, Unreadable, read_number, read_spaced_time
from app.payments.wechat.answers import read_change, read_debit
from app.payments.wechat.envelope import (
    Fields,
    booked_fen,
    read_compact_time,
    read_fen,
    read_fields,
)
from app.payments.wechat.signing import is_genuine

MALFORMED = "malformed"
SIGNATURE = "signature"
MERCHANT = "merchant"

PAYMENT_ENDPOINT = "payment"
REFUND_ENDPOINT = "refund"
DEBIT_ENDPOINT = "debit"
"""Where results of debits are told."""
MANDATE_ENDPOINT = "mandate"
"""Where contracts that were signed or ended are told."""

_DEBIT_STATES = {"SUCCESS": "SUCCESS", "FAIL": "PAY_FAIL"}
"""What the result of a debit is called in a query."""


class CallbackReader:
    """Verifies and normalizes the notices to one merchant and app."""

    def __init__(
        self, *, app_id: str, merchant_id: str, api_key: str, reasons: ReasonTable
    ) -> None:
        self._app_id = app_id
        self._merchant_id = merchant_id
        self._api_key = api_key
        self._reasons = reasons
        digest = hashlib.md5(api_key.encode(), usedforsecurity=False).hexdigest()
        self._refund_key = digest.encode()
        self._readers = {
            PAYMENT_ENDPOINT: self._read_payment,
            REFUND_ENDPOINT: self._read_refund,
            DEBIT_ENDPOINT: self._read_debit,
            MANDATE_ENDPOINT: self._read_contract,
        }

    def read(self, raw: RawCallback) -> ChannelEvent:
        """Return what a genuine notice says.

        Raises:
            CallbackRejected: for everything else.
        """
        try:
            fields = read_fields(raw.body)
            if fields.get("return_code") != "SUCCESS":
                raise Unreadable("return_code")
            reader = self._readers.get(raw.endpoint)
            if reader is None:
                raise Unreadable("endpoint")
            return reader(fields)
        except Unreadable:
            raise CallbackRejected(MALFORMED) from None

    def _check_signature(self, fields: Fields) -> None:
        if not is_genuine(fields, self._api_key):
            raise CallbackRejected(SIGNATURE)

    def _check_merchant(self, fields: Fields, *, app_id: str | None) -> None:
        ours = (
            app_id == self._app_id
            and fields.get("mch_id") == self._merchant_id
            # Set only when the money went to a sub-merchant of a service provider.
            and not fields.get("sub_mch_id")
        )
        if not ours:
            raise CallbackRejected(MERCHANT)

    def _read_payment(self, fields: Fields) -> ChannelEvent:
        if "req_info" in fields or "out_refund_no" in fields:
            raise Unreadable("a refund notice")
        self._check_signature(fields)
        self._check_merchant(fields, app_id=fields.get("appid"))
        order_no = read_number(fields.get("out_trade_no"))
        if fields.get("result_code") == "FAIL" and fields.get("trade_type") != "PAP":
            # One try of the payer failed; the order can still be paid.
            outcome = Outcome(
                kind=OutcomeKind.ACCEPTED,
                reason=Reason.NOT_PAID,
                number=order_no,
                raw_code=fields.get("err_code", ""),
                raw_message=fields.get("err_code_des", "")[:MESSAGE_LENGTH],
            )
            return ChannelEvent(topic=EventTopic.PAYMENT, outcome=outcome)
        if fields.get("result_code") != "SUCCESS" or fields.get("trade_type") != "JSAPI":
            raise Unreadable("result_code or trade_type")
        outcome = Outcome(
            kind=OutcomeKind.SUCCEEDED,
            reason=Reason.OK,
            number=order_no,
            amount_fen=booked_fen(fields),
            reference=read_number(fields.get("transaction_id")),
            payer_ref=fields.get("openid") or None,
            occurred_at=read_compact_time(fields.get("time_end")),
            raw_code="SUCCESS",
        )
        return ChannelEvent(topic=EventTopic.PAYMENT, outcome=outcome)

    def _read_debit(self, fields: Fields) -> ChannelEvent:
        self._check_signature(fields)
        self._check_merchant(fields, app_id=fields.get("appid"))
        result = fields.get("result_code")
        if fields.get("trade_type") != "PAP" or result not in _DEBIT_STATES:
            raise Unreadable("result_code or trade_type")
        state = _DEBIT_STATES[result]
        if fields.get("trade_state", state) != state:
            raise Unreadable("result_code and trade_state")
        outcome = read_debit(fields, state, self._reasons)
        return ChannelEvent(topic=EventTopic.PAYMENT, outcome=outcome)

    def _read_contract(self, fields: Fields) -> ChannelEvent:
        if "out_trade_no" in fields:
            raise Unreadable("a notice of money")
        self._check_signature(fields)
        # A notice about a contract need not name the app.
        self._check_merchant(fields, app_id=fields.get("appid") or self._app_id)
        if fields.get("result_code") != "SUCCESS":
            note = f"contract {fields.get('err_code', '')}"
            return ChannelEvent(topic=EventTopic.IGNORED, outcome=None, note=note[:64])
        mandate = read_change(fields)
        if mandate is None:
            note = f"contract {fields.get('change_type', '')}"
            return ChannelEvent(topic=EventTopic.IGNORED, outcome=None, note=note[:64])
        return ChannelEvent(topic=EventTopic.MANDATE, outcome=None, mandate=mandate)

    def _read_refund(self, fields: Fields) -> ChannelEvent:
        if not fields.get("req_info"):
            raise Unreadable("no req_info")
        self._check_merchant(fields, app_id=fields.get("appid"))
        inner = read_fields(self._open(fields["req_info"]), root="root")
        status = inner.get("refund_status", "")
        kind, reason = self._reasons.lookup("refund_status", status)
        read_number(inner.get("out_trade_no"))
        outcome = Outcome(
            kind=kind,
            reason=reason,
            number=read_number(inner.get("out_refund_no")),
            amount_fen=read_fen(inner.get("refund_fee")),
            reference=read_number(inner.get("refund_id")),
            occurred_at=read_spaced_time(inner.get("success_time")),
            raw_code=status,
        )
        return ChannelEvent(topic=EventTopic.REFUND, outcome=outcome)

    def _open(self, sealed: str) -> bytes:
        """Decrypt req_info: AES-256-ECB with PKCS7, as the protocol prescribes."""
        try:
            ciphertext = base64.b64decode(sealed, validate=True)
        except (binascii.Error, ValueError):
            raise Unreadable("req_info") from None
        decryptor = Cipher(algorithms.AES(self._refund_key), modes.ECB()).decryptor()  # noqa: S305  # nosec B305  # the protocol's
        unpadder = PKCS7(algorithms.AES.block_size).unpadder()
        try:
            padded = decryptor.update(ciphertext) + decryptor.finalize()
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError:
            raise CallbackRejected(SIGNATURE) from None
