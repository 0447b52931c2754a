"""银行代收网关 The bank in real time: agreements, debits, refunds, and its notices.

Translates only. Whatever cannot be relied on is UNKNOWN; it is never raised and never FAILED.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from app.domain.ports.callbacks import CallbackReply, ChannelEvent, RawCallback
from app.domain.ports.debits import DebitRequest
from app.domain.ports.mandates import (
    BankCard,
    Cycle,
    MandateAnswer,
    MandateLimits,
    MandateRequest,
    MandateStanding,
)
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.ports.payments import RefundRequest
from app.payments.asking import Asker, Shortfall
from app.payments.bank.answers import read_debit, read_mandate
from app.payments.bank.callbacks import DEBIT_ENDPOINT, MANDATE_ENDPOINT, CallbackReader
from app.payments.bank.client import BankClient
from app.payments.bank.envelope import Fields, Seals, read_fen, read_text
from app.payments.bank.keys import BankKeys
from app.payments.reasons import ReasonTable
from app.payments.values import Unreadable, read_number, read_spaced_time

if TYPE_CHECKING:
    from config.settings import BankSettings

_TEXT_LENGTH = 60
_REASON_LENGTH = 100
_DONE = "00"

_DOCUMENTS = {
    "resident_id": "01",
    "hk_mo_tw_residence_permit": "01",
    "foreign_permanent_resident_card": "04",
    "hk_mo_travel_permit": "05",
    "tw_travel_permit": "06",
}
"""Our kinds of documents as the bank numbers them."""

# What a refusal says of an agreement; what leaves it open stays UNKNOWN.
_STANDINGS = {
    OutcomeKind.FAILED: MandateStanding.REFUSED,
    OutcomeKind.ACCEPTED: MandateStanding.AWAITING,
}


class BankGateway:
    """Mandates, Debits, Refunds and Callbacks of one merchant of one bank.

    Args:
        callback_base_url: where the bank reaches us, without a path of ours.
        reasons: the rows of `config/reasons/bank.yaml`.
        connect_timeout, read_timeout: seconds; the latter bounds the whole answer.
        now: the current instant, UTC.

    Raises:
        ValueError: settings that cannot work.
    """

    def __init__(
        self,
        settings: BankSettings,
        *,
        callback_base_url: str,
        reasons: ReasonTable,
        connect_timeout: float,
        read_timeout: float,
        now: Callable[[], datetime],
    ) -> None:
        reasons.require(
            *("start_mandate", "confirm_mandate", "query_mandate", "end_mandate"),
            *("submit_debit", "query_debit", "debit_result", "refund", "query_refund"),
        )
        if not settings.merchant_id:
            raise ValueError("the bank's merchant id must be set")
        self._reasons = reasons
        self._ask = Asker("bank", reasons)
        self._cap_fen_max = settings.mandate_cap_fen_max
        self._callbacks_at = callback_base_url.rstrip("/") + "/callbacks/bank/"
        seals = Seals(merchant_id=settings.merchant_id, keys=BankKeys(settings), now=now)
        self._client = BankClient(
            gateway_url=settings.gateway_url,
            seals=seals,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
        )
        self._callback_reader = CallbackReader(
            merchant_id=settings.merchant_id,
            base_url=self._callbacks_at,
            seals=seals,
            reasons=reasons,
        )

    # Mandates

    @property
    def limits(self) -> MandateLimits:
        """What the bank's contract lets an agreement be."""
        return MandateLimits(
            cap_fen_max=self._cap_fen_max, cycles=frozenset(Cycle), needs_card=True
        )

    def start_mandate(self, request: MandateRequest) -> MandateAnswer:
        """Have the four elements checked and a code sent (签约申请)."""
        card = request.card
        if card is None or card.document_kind not in _DOCUMENTS:
            return MandateAnswer(
                standing=MandateStanding.REFUSED,
                reason=Reason.NOT_SUPPORTED,
                mandate_no=request.mandate_no,
                raw_message="该证件类型不能用于银行卡签约" if card else "缺少银行卡",
            )

        def understand(answer: Fields) -> MandateAnswer:
            _expect(answer, "agreement_no", request.mandate_no)
            return MandateAnswer(
                standing=MandateStanding.AWAITING,
                reason=Reason.PROCESSING,
                mandate_no=request.mandate_no,
                start_reference=read_number(read_text(answer, "sms_serial")),
                raw_code=_DONE,
            )

        return self._ask_mandate(
            "start_mandate",
            "sign/start",
            request.mandate_no,
            self._terms(request, card),
            understand,
        )

    def _terms(self, request: MandateRequest, card: BankCard) -> dict[str, object]:
        return {
            "agreement_no": request.mandate_no,
            "name": card.holder_name,
            "id_kind": _DOCUMENTS[card.document_kind],
            "id_no": card.document_no,
            "card_no": card.card_no,
            "phone": card.phone,
            "cap_fen": request.cap_fen,
            "period_cap_fen": request.period_cap_fen,
            "cycle": request.cycle.value.upper(),
            "debit_day": request.first_due_on.day,
            "valid_from": f"{request.valid_from:%Y%m%d}",
            "valid_to": f"{request.valid_to:%Y%m%d}",
            "purpose": _fit(request.display_name, _TEXT_LENGTH),
            "notify_url": self._callbacks_at + MANDATE_ENDPOINT,
        }

    def signing_action(self, request: MandateRequest) -> Mapping[str, str]:
        """Return nothing: the code is typed into our own page."""
        return {}

    def confirm_mandate(self, *, mandate_no: str, start_reference: str, code: str) -> MandateAnswer:
        """Show the code (签约确认). A wrong one leaves it AWAITING, until they were too many."""
        content = {"agreement_no": mandate_no, "sms_serial": start_reference, "sms_code": code}

        def understand(answer: Fields) -> MandateAnswer:
            found = _mandate_of(answer, mandate_no)
            if found.standing is not MandateStanding.ACTIVE:
                raise Unreadable("confirmed and not in force")
            return found

        return self._ask_mandate("confirm_mandate", "sign/confirm", mandate_no, content, understand)

    def query_mandate(self, *, mandate_no: str, reference: str | None) -> MandateAnswer:
        """Ask how an agreement stands (签约查询)."""
        return self._ask_mandate(
            "query_mandate",
            "sign/query",
            mandate_no,
            {"agreement_no": mandate_no},
            lambda answer: _mandate_of(answer, mandate_no),
        )

    def end_mandate(self, *, mandate_no: str, reference: str | None) -> MandateAnswer:
        """End an agreement (解约)."""

        def understand(answer: Fields) -> MandateAnswer:
            found = _mandate_of(answer, mandate_no)
            if found.standing not in (MandateStanding.ENDED, MandateStanding.REFUSED):
                raise Unreadable("cancelled and still in force")
            return found

        return self._ask_mandate(
            "end_mandate", "sign/cancel", mandate_no, {"agreement_no": mandate_no}, understand
        )

    def _ask_mandate(
        self,
        call: str,
        name: str,
        mandate_no: str,
        content: Mapping[str, object],
        understand: Callable[[Fields], MandateAnswer],
    ) -> MandateAnswer:
        found = self._ask.attempt(call, partial(self._client.call, name, content), understand)
        if not isinstance(found, Shortfall):
            return found
        standing = _STANDINGS.get(found.kind, MandateStanding.UNKNOWN)
        if standing is MandateStanding.REFUSED and found.reason is Reason.NOT_FOUND:
            standing = MandateStanding.NOT_FOUND
        return MandateAnswer(
            standing=standing,
            reason=found.reason,
            mandate_no=mandate_no,
            raw_code=found.code,
            raw_message=found.message,
        )

    # Debits

    def submit_debit(self, request: DebitRequest) -> Outcome:
        """Debit (代扣). The same number again is answered with what became of the first."""
        content = {
            "order_no": request.order_no,
            "channel_agreement_no": request.mandate_reference,
            "amount_fen": request.amount_fen,
            "purpose": _fit(request.description, _TEXT_LENGTH),
            "notify_url": self._callbacks_at + DEBIT_ENDPOINT,
        }

        def understand(answer: Fields) -> Outcome:
            if read_fen(answer, "amount_fen") != request.amount_fen:
                raise Unreadable("another amount")
            return self._debit_of(answer, request.order_no)

        debit = partial(self._client.call, "debit", content)
        return self._ask("submit_debit", request.order_no, debit, understand)

    def query_debit(self, order_no: str) -> Outcome:
        """Ask for a debit (代扣查询)."""
        return self._ask(
            "query_debit",
            order_no,
            partial(self._client.call, "debit/query", {"order_no": order_no}),
            lambda answer: self._debit_of(answer, order_no),
        )

    def _debit_of(self, answer: Fields, order_no: str) -> Outcome:
        _expect(answer, "order_no", order_no)
        return read_debit(answer, self._reasons)

    # Refunds

    def refund(self, request: RefundRequest) -> Outcome:
        """Give back all or a part of a debit (退款)."""
        content = {
            "refund_no": request.refund_no,
            "order_no": request.order_no,
            "amount_fen": request.amount_fen,
            "reason": _fit(request.reason, _REASON_LENGTH),
        }

        def understand(answer: Fields) -> Outcome:
            if read_fen(answer, "amount_fen") != request.amount_fen:
                raise Unreadable("another amount")
            return _refund_of(answer, request.order_no, request.refund_no)

        refund = partial(self._client.call, "refund", content)
        return self._ask("refund", request.refund_no, refund, understand)

    def query_refund(self, *, order_no: str, refund_no: str) -> Outcome:
        """Ask for one refund (退款查询)."""
        return self._ask(
            "query_refund",
            refund_no,
            partial(self._client.call, "refund/query", {"refund_no": refund_no}),
            lambda answer: _refund_of(answer, order_no, refund_no),
        )

    # Callbacks

    def read_callback(self, raw: RawCallback) -> ChannelEvent:
        """Verify and normalize a notice to the endpoint `payment` or `mandate`.

        Raises:
            CallbackRejected: not well formed, not genuine, not fresh, or meant for somebody else.
        """
        return self._callback_reader.read(raw)

    def reply(self, *, accepted: bool) -> CallbackReply:
        """Return 00, or 06 (系统繁忙): then the bank sends the notice again."""
        body = '{"code": "00"}' if accepted else '{"code": "06"}'
        return CallbackReply(body=body, content_type="application/json; charset=utf-8")


def _mandate_of(answer: Fields, mandate_no: str) -> MandateAnswer:
    _expect(answer, "agreement_no", mandate_no)
    return read_mandate(answer)


def _refund_of(answer: Fields, order_no: str, refund_no: str) -> Outcome:
    _expect(answer, "order_no", order_no)
    _expect(answer, "refund_no", refund_no)
    amount_fen = read_fen(answer, "amount_fen")
    if not amount_fen:
        raise Unreadable("amount")
    return Outcome(
        kind=OutcomeKind.SUCCEEDED,
        reason=Reason.OK,
        number=refund_no,
        amount_fen=amount_fen,
        reference=read_number(read_text(answer, "bank_ref")),
        occurred_at=read_spaced_time(read_text(answer, "refunded_at")),
        raw_code=_DONE,
    )


def _expect(answer: Fields, name: str, value: str) -> None:
    if read_text(answer, name) != value:
        raise Unreadable(f"another {name}")


def _fit(text: str, length: int) -> str:
    """Return `text` as the bank can take it: no control character, `length` characters."""
    return "".join(character for character in text if character.isprintable())[:length]
