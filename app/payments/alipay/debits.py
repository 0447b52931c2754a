"""支付宝代扣 Agreements that let Alipay be debited (商家扣款 or 周期扣款), and debits under them.

Translates only. Whatever cannot be relied on is UNKNOWN; it is never raised and never FAILED.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from app.domain.ports.debits import DebitRequest
from app.domain.ports.mandates import (
    Cycle,
    EndedBy,
    MandateAnswer,
    MandateLimits,
    MandateRequest,
    MandateStanding,
)
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.alipay.amounts import to_yuan
from app.payments.alipay.answers import (
    expect,
    fen,
    fit,
    number,
    read_agreement,
    read_paid,
    read_trade,
    text,
)
from app.payments.alipay.callbacks import MANDATE_ENDPOINT, PAYMENT_ENDPOINT
from app.payments.asking import Asker, Shortfall
from app.payments.reasons import ReasonTable
from app.payments.values import Unreadable
from app.platforms.alipay.answers import Node
from app.platforms.alipay.client import DONE, PAYING, TRADE_PAY, AlipayClient
from app.platforms.alipay.keys import AlipayKeys

if TYPE_CHECKING:
    from config.settings import AlipaySettings

_PAGE_SIGN = "alipay.user.agreement.page.sign"
_QUERY = "alipay.user.agreement.query"
_UNSIGN = "alipay.user.agreement.unsign"

_FROM_THE_WALLET = {"channel": "ALIPAYAPP"}
_MONTHS = {Cycle.MONTH: 1, Cycle.QUARTER: 3}

_AT_ONCE = frozenset({"", "SYNC_DIRECT_PAY"})
"""异步支付模式 (async_payment_mode) in which an answer of success means that it was paid."""

_OVER = frozenset({Reason.NOT_FOUND, Reason.NO_MANDATE})


@dataclass(frozen=True, slots=True)
class _Product:
    """What Alipay calls a product, in trades and in agreements, and where its debits end."""

    trade_code: str
    agreement_code: str
    cap_fen_max: int | None
    has_rule: bool
    """周期扣款 alone is told beforehand when it will debit, and how much at most."""


_PRODUCTS = {
    "merchant_deduct": _Product("GENERAL_WITHHOLDING", "GENERAL_WITHHOLDING_P", None, False),
    "cycle_pay": _Product("CYCLE_PAY_AUTH", "CYCLE_PAY_AUTH_P", 100_00, True),
}


class AlipayDebits:
    """Mandates and Debits of one Alipay seller, by the product that Alipay has granted.

    Args:
        callback_base_url: where Alipay reaches us, without a path of ours.
        reasons: the rows of `config/reasons/alipay.yaml`.
        connect_timeout, read_timeout: seconds; the latter bounds the whole answer.
        now: the current instant, UTC.

    Raises:
        ValueError: settings that cannot work, or without a product.
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
            *("query_mandate", "end_mandate", "submit_debit", "query_debit", "debit_status")
        )
        if settings.debit_product not in _PRODUCTS:
            raise ValueError("no product for debits through Alipay is set")
        self._product = _PRODUCTS[settings.debit_product]
        self._sign_scene = settings.sign_scene
        self._contract_cap_fen = settings.mandate_cap_fen_max
        self._reasons = reasons
        self._ask = Asker("alipay", reasons)
        self._now = now
        callbacks_at = callback_base_url.rstrip("/") + "/callbacks/alipay/"
        self._mandates_at = callbacks_at + MANDATE_ENDPOINT
        self._payments_at = callbacks_at + PAYMENT_ENDPOINT
        self._client = AlipayClient(
            settings,
            AlipayKeys(settings),
            now=now,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
        )

    # Mandates

    @property
    def limits(self) -> MandateLimits:
        """What the product and the contract let an agreement be, the lower of the two."""
        caps = [cap for cap in (self._product.cap_fen_max, self._contract_cap_fen) if cap]
        return MandateLimits(
            cap_fen_max=min(caps, default=None), cycles=frozenset(Cycle), needs_card=False
        )

    def start_mandate(self, request: MandateRequest) -> MandateAnswer:
        """Return AWAITING: Alipay hears of it when the person opens the signing page."""
        return MandateAnswer(
            standing=MandateStanding.AWAITING,
            reason=Reason.PROCESSING,
            mandate_no=request.mandate_no,
        )

    def signing_action(self, request: MandateRequest) -> Mapping[str, str]:
        """Return what my.paySignCenter needs (支付宝个人协议页面签约).

        Without a return_url: with one, the mini-program reads after success that it was cancelled.
        """
        content: dict[str, object] = {
            "product_code": self._product.trade_code,
            **self._named(request.mandate_no),
            "external_logon_id": fit(request.display_name),
            "access_params": _FROM_THE_WALLET,
            # Counted from the moment of signing, so the last day is in it to its end.
            "sign_validity_period": f"{(request.valid_to - request.valid_from).days + 1}d",
        }
        if self._product.has_rule:
            content["period_rule_params"] = {
                "period_type": "MONTH",
                "period": _MONTHS[request.cycle],
                "execute_time": f"{request.first_due_on:%Y-%m-%d}",
                "single_amount": to_yuan(request.cap_fen),
            }
        return {
            "signStr": self._client.sign_page(_PAGE_SIGN, content, notify_url=self._mandates_at)
        }

    def confirm_mandate(self, *, mandate_no: str, start_reference: str, code: str) -> MandateAnswer:
        """Ask how it stands: a person confirms in the wallet."""
        return self.query_mandate(mandate_no=mandate_no, reference=None)

    def query_mandate(self, *, mandate_no: str, reference: str | None) -> MandateAnswer:
        """Ask for an agreement (支付宝个人代扣协议查询接口).

        «None» about a number of Alipay's own (`reference`) says that it is over: it was signed
        once.
        """

        def understand(answer: Node) -> MandateAnswer:
            expect(answer, "external_agreement_no", mandate_no)
            if reference is not None:
                expect(answer, "agreement_no", reference)
            return read_agreement(answer, now=self._now())

        ask = partial(self._client.call, _QUERY, self._about(mandate_no, reference))
        return self._ask_mandate("query_mandate", mandate_no, reference, ask, understand)

    def end_mandate(self, *, mandate_no: str, reference: str | None) -> MandateAnswer:
        """End an agreement (支付宝个人代扣协议解约接口). Its answer says nothing but «done»."""

        def understand(_answer: Node) -> MandateAnswer:
            return MandateAnswer(
                standing=MandateStanding.ENDED,
                reason=Reason.CLOSED,
                mandate_no=mandate_no,
                reference=reference,
                ended_by=EndedBy.CENTRE,
                raw_code=DONE,
            )

        end = partial(
            self._client.call,
            _UNSIGN,
            self._about(mandate_no, reference),
            notify_url=self._mandates_at,
        )
        return self._ask_mandate("end_mandate", mandate_no, reference, end, understand)

    def _ask_mandate(
        self,
        call: str,
        mandate_no: str,
        reference: str | None,
        send: Callable[[], Node],
        understand: Callable[[Node], MandateAnswer],
    ) -> MandateAnswer:
        found = self._ask.attempt(call, send, understand)
        if not isinstance(found, Shortfall):
            return found
        standing, reason = MandateStanding.UNKNOWN, found.reason
        if found.kind is OutcomeKind.FAILED and reason in _OVER:
            was_signed = reference is not None or reason is Reason.NO_MANDATE
            standing = MandateStanding.ENDED if was_signed else MandateStanding.NOT_FOUND
            reason = Reason.CLOSED if was_signed else Reason.NOT_FOUND
        return MandateAnswer(
            standing=standing,
            reason=reason,
            mandate_no=mandate_no,
            reference=reference if standing is MandateStanding.ENDED else None,
            raw_code=found.code,
            raw_message=found.message,
        )

    def _about(self, mandate_no: str, reference: str | None) -> dict[str, object]:
        return self._named(mandate_no) if reference is None else {"agreement_no": reference}

    def _named(self, mandate_no: str) -> dict[str, object]:
        """Return our own name of an agreement: the number alone is not enough."""
        return {
            "external_agreement_no": mandate_no,
            "personal_product_code": self._product.agreement_code,
            "sign_scene": self._sign_scene,
        }

    # Debits

    def submit_debit(self, request: DebitRequest) -> Outcome:
        """Debit (统一收单交易支付). A number that was paid already is UNKNOWN: a query tells."""
        content = {
            "out_trade_no": request.order_no,
            "total_amount": to_yuan(request.amount_fen),
            "subject": fit(request.description),
            "product_code": self._product.trade_code,
            "agreement_params": {"agreement_no": request.mandate_reference},
        }
        debit = partial(self._client.call, TRADE_PAY, content, notify_url=self._payments_at)

        def understand(answer: Node) -> Outcome:
            expect(answer, "out_trade_no", request.order_no)
            code = text(answer, "code")
            if code == PAYING or text(answer, "async_payment_mode") not in _AT_ONCE:
                return Outcome(
                    kind=OutcomeKind.ACCEPTED,
                    reason=Reason.PROCESSING,
                    number=request.order_no,
                    reference=number(answer, "trade_no"),
                    raw_code=code,
                )
            if fen(answer, "total_amount") != request.amount_fen:
                raise Unreadable("another amount")
            if not text(answer, "gmt_payment"):
                raise Unreadable("paid at no time")
            return read_paid(answer, request.order_no, paid_at="gmt_payment", raw_code=code)

        return self._ask("submit_debit", request.order_no, debit, understand)

    def query_debit(self, order_no: str) -> Outcome:
        """Ask for a debit (统一收单交易查询)."""
        ask = partial(self._client.call, "alipay.trade.query", {"out_trade_no": order_no})
        lookup = partial(self._reasons.lookup, "debit_status")
        return self._ask(
            "query_debit", order_no, ask, lambda answer: read_trade(answer, order_no, lookup)
        )
