"""微信支付 WeChat Pay v2: payments confirmed in WeChat, refunds, and its notices.

Translates only. Whatever cannot be relied on is UNKNOWN; it is never raised and never FAILED.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from app.domain.calendar import SHANGHAI
from app.domain.ports.callbacks import CallbackReply, ChannelEvent, RawCallback
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.domain.ports.payments import PaymentRequest, RefundRequest
from app.payments.asking import Asker
from app.payments.reasons import ReasonTable
from app.payments.values import MESSAGE_LENGTH, Unreadable, read_number, read_spaced_time
from app.payments.wechat.callbacks import PAYMENT_ENDPOINT, REFUND_ENDPOINT, CallbackReader
from app.payments.wechat.client import open_client
from app.payments.wechat.envelope import (
    Fields,
    booked_fen,
    expect,
    fit,
    read_compact_time,
    read_fen,
)

if TYPE_CHECKING:
    from config.settings import WeChatSettings

_BODY_BYTES = 127
_REFUND_REASON_BYTES = 80
_REPLY = (
    "<xml><return_code><![CDATA[{code}]]></return_code>"
    "<return_msg><![CDATA[{message}]]></return_msg></xml>"
)


class WeChatPay:
    """PhonePayments, Refunds and Callbacks of one WeChat Pay merchant.

    Args:
        callback_base_url: where WeChat reaches us, without a path of ours.
        reasons: the rows of `config/reasons/wechat.yaml`.
        connect_timeout, read_timeout: seconds; the latter bounds the whole answer.
        now: the current instant, UTC.

    Raises:
        ValueError: settings that cannot work.
    """

    def __init__(
        self,
        settings: WeChatSettings,
        *,
        callback_base_url: str,
        reasons: ReasonTable,
        connect_timeout: float,
        read_timeout: float,
        now: Callable[[], datetime],
    ) -> None:
        reasons.require(
            *("prepare_payment", "query_payment", "trade_state", "close_payment"),
            *("refund", "query_refund", "refund_status", "debit_state", "debit_result"),
        )
        self._reasons = reasons
        self._ask = Asker("wechat", reasons)
        self._now = now
        self._callbacks_at = callback_base_url.rstrip("/") + "/callbacks/wechat/"
        self._client = open_client(
            settings, connect_timeout=connect_timeout, read_timeout=read_timeout
        )
        self._callback_reader = CallbackReader(
            app_id=settings.app_id,
            merchant_id=settings.merchant_id,
            api_key=self._client.api_key,
            reasons=reasons,
        )

    # Payments

    def prepare_payment(self, request: PaymentRequest) -> Outcome:
        """Place a JSAPI order (统一下单). `reference` is the prepay_id."""

        place = partial(
            self._client.order.create,
            trade_type="JSAPI",
            body=fit(request.description, _BODY_BYTES),
            total_fee=request.amount_fen,
            notify_url=self._callbacks_at + PAYMENT_ENDPOINT,
            client_ip=_address(request.client_ip),
            user_id=request.payer_ref,
            out_trade_no=request.order_no,
            time_start=self._now().astimezone(SHANGHAI),
            time_expire=request.expires_at.astimezone(SHANGHAI),
        )

        def understand(answer: Fields) -> Outcome:
            if answer.get("trade_type") != "JSAPI":
                raise Unreadable("trade_type")
            if answer.get("out_trade_no", request.order_no) != request.order_no:
                raise Unreadable("another order")
            if "total_fee" in answer and read_fen(answer["total_fee"]) != request.amount_fen:
                raise Unreadable("another amount")
            return Outcome(
                kind=OutcomeKind.ACCEPTED,
                reason=Reason.NOT_PAID,
                number=request.order_no,
                reference=read_number(answer.get("prepay_id")),
                raw_code="SUCCESS",
            )

        return self._ask("prepare_payment", request.order_no, place, understand)

    def payer_action(self, prepay_reference: str) -> Mapping[str, str]:
        """Return what wx.requestPayment needs. Signed here, no network."""
        signed = self._client.jsapi.get_jsapi_params(
            prepay_reference,
            timestamp=str(int(self._now().timestamp())),
            nonce_str=secrets.token_hex(16),
        )
        names = ("timeStamp", "nonceStr", "package", "signType", "paySign")
        return {name: str(signed[name]) for name in names}

    def query_payment(self, order_no: str) -> Outcome:
        """Ask for the order (查询订单). A payment that was refunded later is still a payment."""

        ask = partial(self._client.order.query, out_trade_no=order_no)

        def understand(answer: Fields) -> Outcome:
            expect(answer, "out_trade_no", order_no)
            state = answer.get("trade_state", "")
            kind, reason = self._reasons.lookup("trade_state", state)
            if kind is not OutcomeKind.SUCCEEDED:
                return Outcome(
                    kind=kind,
                    reason=reason,
                    number=order_no,
                    raw_code=state,
                    raw_message=answer.get("trade_state_desc", "")[:MESSAGE_LENGTH],
                )
            if answer.get("trade_type") != "JSAPI":
                raise Unreadable("trade_type")
            return Outcome(
                kind=kind,
                reason=reason,
                number=order_no,
                amount_fen=booked_fen(answer),
                reference=read_number(answer.get("transaction_id")),
                payer_ref=answer.get("openid") or None,
                occurred_at=read_compact_time(answer.get("time_end")),
                raw_code=state,
            )

        return self._ask("query_payment", order_no, ask, understand)

    def close_payment(self, order_no: str) -> Outcome:
        """Close the order (关闭订单)."""

        close = partial(self._client.order.close, order_no)

        def understand(answer: Fields) -> Outcome:
            if answer.get("out_trade_no", order_no) != order_no:
                raise Unreadable("another order")
            return Outcome(
                kind=OutcomeKind.SUCCEEDED,
                reason=Reason.CLOSED,
                number=order_no,
                raw_code="SUCCESS",
            )

        return self._ask("close_payment", order_no, close, understand)

    # Refunds

    def refund(self, request: RefundRequest) -> Outcome:
        """Apply for a refund (申请退款). WeChat's SUCCESS means that it took the application."""

        apply = partial(
            self._client.refund.apply,
            total_fee=request.total_fen,
            refund_fee=request.amount_fen,
            out_refund_no=request.refund_no,
            out_trade_no=request.order_no,
            refund_account=None,
            refund_desc=fit(request.reason, _REFUND_REASON_BYTES) or None,
            notify_url=self._callbacks_at + REFUND_ENDPOINT,
        )

        def understand(answer: Fields) -> Outcome:
            expect(answer, "out_trade_no", request.order_no)
            expect(answer, "out_refund_no", request.refund_no)
            if read_fen(answer.get("refund_fee")) != request.amount_fen:
                raise Unreadable("another amount")
            if read_fen(answer.get("total_fee")) != request.total_fen:
                raise Unreadable("another total")
            return Outcome(
                kind=OutcomeKind.ACCEPTED,
                reason=Reason.PROCESSING,
                number=request.refund_no,
                amount_fen=request.amount_fen,
                reference=read_number(answer.get("refund_id")),
                raw_code="SUCCESS",
            )

        return self._ask("refund", request.refund_no, apply, understand)

    def query_refund(self, *, order_no: str, refund_no: str) -> Outcome:
        """Ask for one refund (查询退款)."""

        ask = partial(self._client.refund.query, out_refund_no=refund_no)

        def understand(answer: Fields) -> Outcome:
            expect(answer, "out_trade_no", order_no)
            place = _place_of_refund(answer, refund_no)
            status = answer.get(f"refund_status_{place}", "")
            kind, reason = self._reasons.lookup("refund_status", status)
            return Outcome(
                kind=kind,
                reason=reason,
                number=refund_no,
                amount_fen=read_fen(answer.get(f"refund_fee_{place}")),
                reference=read_number(answer.get(f"refund_id_{place}")),
                occurred_at=read_spaced_time(answer.get(f"refund_success_time_{place}")),
                raw_code=status,
            )

        return self._ask("query_refund", refund_no, ask, understand)

    # Callbacks

    def read_callback(self, raw: RawCallback) -> ChannelEvent:
        """Verify and normalize a notice to the endpoint `payment`, `refund`, `debit` or `mandate`.

        Raises:
            CallbackRejected: not well formed, not genuine, or meant for another merchant.
        """
        return self._callback_reader.read(raw)

    def reply(self, *, accepted: bool) -> CallbackReply:
        """Return SUCCESS, or FAIL: then WeChat sends the notice again."""
        body = _REPLY.format(
            code="SUCCESS" if accepted else "FAIL", message="OK" if accepted else "未受理"
        )
        return CallbackReply(body=body, content_type="text/xml; charset=utf-8")


def _place_of_refund(answer: Fields, refund_no: str) -> str:
    """Return the n of out_refund_no_n: one answer may list up to fifty refunds."""
    prefix = "out_refund_no_"
    places = [
        name.removeprefix(prefix)
        for name, value in answer.items()
        if name.startswith(prefix) and value == refund_no
    ]
    if len(places) != 1:
        raise Unreadable("another refund")
    return places[0]


def _address(client_ip: str) -> str:
    """Return the payer's address, or a stand-in for one that cannot be an address.

    A forwarded address is text from outside; without any address wechatpy asks the DNS for one.
    """
    try:
        return str(ipaddress.ip_address(client_ip))
    except ValueError:
        return "127.0.0.1"
