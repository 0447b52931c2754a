"""支付宝 Alipay: payments confirmed in its mini-program, refunds, and its notices.

Translates only. Whatever cannot be relied on is UNKNOWN; it is never raised and never FAILED.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from app.domain.ports.callbacks import CallbackReply, ChannelEvent, RawCallback
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.ports.payments import PaymentRequest, RefundRequest
from app.payments.alipay.amounts import to_yuan
from app.payments.alipay.answers import expect, fen, fit, number, read_trade, text
from app.payments.alipay.callbacks import PAYMENT_ENDPOINT, CallbackReader
from app.payments.asking import Asker
from app.payments.reasons import ReasonTable
from app.payments.values import Unreadable, read_spaced_time
from app.platforms.alipay.answers import Node
from app.platforms.alipay.client import DONE, AlipayClient, beijing_time
from app.platforms.alipay.keys import AlipayKeys

if TYPE_CHECKING:
    from config.settings import AlipaySettings

_PRODUCT = "JSAPI_PAY"
_USER_ID = re.compile(r"2088[0-9]{12}")
"""Sellers and payers of Alipay alike; an open_id is longer and has letters."""


class AlipayPay:
    """PhonePayments, Refunds and Callbacks of one Alipay seller and mini-program.

    Args:
        callback_base_url: where Alipay reaches us, without a path of ours.
        reasons: the rows of `config/reasons/alipay.yaml`.
        connect_timeout, read_timeout: seconds; the latter bounds the whole answer.
        now: the current instant, UTC.

    Raises:
        ValueError: settings that cannot work.
    """

    def __init__(
        self,
        settings: AlipaySettings,
        *,
        callback_base_url: str,
        reasons: ReasonTable,
        connect_timeout: float,
        read_timeout: float,
        now: Callable[[], datetime],
    ) -> None:
        reasons.require(
            *("prepare_payment", "query_payment", "trade_status", "close_payment"),
            *("refund", "query_refund", "refund_status"),
        )
        if not _USER_ID.fullmatch(settings.seller_id):
            raise ValueError("the Alipay seller id must be 16 digits that begin with 2088")
        self._reasons = reasons
        self._ask = Asker("alipay", reasons)
        self._app_id = settings.app_id
        self._op_app_id = settings.op_app_id or settings.app_id
        self._seller_id = settings.seller_id
        self._callback_url = f"{callback_base_url.rstrip('/')}/callbacks/alipay/{PAYMENT_ENDPOINT}"
        keys = AlipayKeys(settings)
        self._client = AlipayClient(
            settings, keys, now=now, connect_timeout=connect_timeout, read_timeout=read_timeout
        )
        self._callback_reader = CallbackReader(
            app_id=settings.app_id,
            seller_id=settings.seller_id,
            keys=keys,
            reasons=reasons,
            now=now,
        )

    # Payments

    def prepare_payment(self, request: PaymentRequest) -> Outcome:
        """Create a trade (统一收单交易创建). `reference` is the trade_no."""

        content = {
            "out_trade_no": request.order_no,
            "total_amount": to_yuan(request.amount_fen),
            "subject": fit(request.description),
            "product_code": _PRODUCT,
            "op_app_id": self._op_app_id,
            "seller_id": self._seller_id,
            self._buyer_field(request.payer_ref): request.payer_ref,
            "time_expire": beijing_time(request.expires_at),
        }
        create = partial(
            self._client.call, "alipay.trade.create", content, notify_url=self._callback_url
        )

        def understand(answer: Node) -> Outcome:
            expect(answer, "out_trade_no", request.order_no)
            if "total_amount" in answer and fen(answer, "total_amount") != request.amount_fen:
                raise Unreadable("another amount")
            return Outcome(
                kind=OutcomeKind.ACCEPTED,
                reason=Reason.NOT_PAID,
                number=request.order_no,
                reference=number(answer, "trade_no"),
                raw_code=DONE,
            )

        return self._ask("prepare_payment", request.order_no, create, understand)

    def payer_action(self, prepay_reference: str) -> Mapping[str, str]:
        """Return what my.tradePay needs. Its name ends in two capitals."""
        return {"tradeNO": prepay_reference}

    def query_payment(self, order_no: str) -> Outcome:
        """Ask for the trade (统一收单交易查询). A payment refunded later is still a payment."""

        ask = partial(self._client.call, "alipay.trade.query", {"out_trade_no": order_no})

        lookup = partial(self._reasons.lookup, "trade_status")
        return self._ask(
            "query_payment", order_no, ask, lambda answer: read_trade(answer, order_no, lookup)
        )

    def close_payment(self, order_no: str) -> Outcome:
        """Close the trade (统一收单交易关闭)."""

        close = partial(self._client.call, "alipay.trade.close", {"out_trade_no": order_no})

        def understand(answer: Node) -> Outcome:
            expect(answer, "out_trade_no", order_no)
            return Outcome(
                kind=OutcomeKind.SUCCEEDED, reason=Reason.CLOSED, number=order_no, raw_code=DONE
            )

        return self._ask("close_payment", order_no, close, understand)

    # Refunds

    def refund(self, request: RefundRequest) -> Outcome:
        """Refund (统一收单交易退款). Only `fund_change` Y says that this call moved money."""

        content = {
            "out_trade_no": request.order_no,
            "out_request_no": request.refund_no,
            "refund_amount": to_yuan(request.amount_fen),
        }
        if reason := fit(request.reason):
            content["refund_reason"] = reason
        refund = partial(self._client.call, "alipay.trade.refund", content)

        def understand(answer: Node) -> Outcome:
            expect(answer, "out_trade_no", request.order_no)
            change = text(answer, "fund_change")
            if change != "Y":
                return Outcome(
                    kind=OutcomeKind.ACCEPTED,
                    reason=Reason.PROCESSING,
                    number=request.refund_no,
                    reference=number(answer, "trade_no"),
                    raw_code=f"fund_change={change}",
                )
            # refund_fee is the sum of all refunds of the trade.
            if not request.amount_fen <= fen(answer, "refund_fee") <= request.total_fen:
                raise Unreadable("another amount")
            return Outcome(
                kind=OutcomeKind.SUCCEEDED,
                reason=Reason.OK,
                number=request.refund_no,
                amount_fen=request.amount_fen,
                reference=number(answer, "trade_no"),
                occurred_at=read_spaced_time(text(answer, "gmt_refund_pay")),
                raw_code="fund_change=Y",
            )

        return self._ask("refund", request.refund_no, refund, understand)

    def query_refund(self, *, order_no: str, refund_no: str) -> Outcome:
        """Ask for one refund (统一收单交易退款查询). Only REFUND_SUCCESS is done."""

        content = {
            "out_trade_no": order_no,
            "out_request_no": refund_no,
            "query_options": ["gmt_refund_pay"],
        }
        ask = partial(self._client.call, "alipay.trade.fastpay.refund.query", content)

        def understand(answer: Node) -> Outcome:
            if "out_request_no" not in answer and "out_trade_no" not in answer:
                # So Alipay says, with success, that it knows no such refund.
                return Outcome(
                    kind=OutcomeKind.FAILED,
                    reason=Reason.NOT_FOUND,
                    number=refund_no,
                    raw_code=DONE,
                )
            expect(answer, "out_trade_no", order_no)
            expect(answer, "out_request_no", refund_no)
            status = text(answer, "refund_status")
            kind, reason = OutcomeKind.ACCEPTED, Reason.PROCESSING
            if status:
                kind, reason = self._reasons.lookup("refund_status", status)
            return Outcome(
                kind=kind,
                reason=reason,
                number=refund_no,
                amount_fen=fen(answer, "refund_amount"),
                reference=number(answer, "trade_no"),
                occurred_at=read_spaced_time(text(answer, "gmt_refund_pay")),
                raw_code=status,
            )

        return self._ask("query_refund", refund_no, ask, understand)

    # Callbacks

    def read_callback(self, raw: RawCallback) -> ChannelEvent:
        """Verify and normalize a notice to the endpoint `payment`, `mandate` or `gateway`.

        Raises:
            CallbackRejected: not well formed, not genuine, or meant for another seller.
        """
        return self._callback_reader.read(raw)

    def reply(self, *, accepted: bool) -> CallbackReply:
        """Return the bare word that ends the notices, or one that brings them again."""
        body = "success" if accepted else "fail"
        return CallbackReply(body=body, content_type="text/plain; charset=utf-8")

    def _buyer_field(self, payer_ref: str) -> str:
        """Return the field for this kind of id: an open_id belongs to one application."""
        if _USER_ID.fullmatch(payer_ref):
            return "buyer_id"
        return "buyer_open_id" if self._op_app_id == self._app_id else "op_buyer_open_id"
