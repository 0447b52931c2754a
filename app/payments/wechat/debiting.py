"""委托代扣 Contracts that people sign in WeChat, and debits under them (API v2).

Translates only. Whatever cannot be relied on is UNKNOWN; it is never raised and never FAILED.
A contract's `contract_code` is our mandate_no, its `contract_id` the reference.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from app.domain.ports.debits import DebitRequest
from app.domain.ports.mandates import (
    Cycle,
    MandateAnswer,
    MandateLimits,
    MandateRequest,
    MandateStanding,
)
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.asking import Asker, Shortfall
from app.payments.reasons import ReasonTable
from app.payments.values import Unreadable
from app.payments.wechat.answers import read_contract, read_debit
from app.payments.wechat.callbacks import DEBIT_ENDPOINT, MANDATE_ENDPOINT
from app.payments.wechat.client import open_client
from app.payments.wechat.envelope import Fields, expect, fit, read_fen
from app.payments.wechat.signing import sign

if TYPE_CHECKING:
    from config.settings import WeChatSettings

_BODY_BYTES = 127
_NAME_BYTES = 32
_VERSION = "1.0"
_REMARK = "停止缴存"

# The machine that asks. WeChat wants an address and compares it with nothing.
_OUR_ADDRESS = "127.0.0.1"

_WIDEST = "\uffff"
"""The page shows no character beyond it (𠮷 and other rare ones in names)."""


class WeChatDebits:
    """Mandates and Debits under one plan of one WeChat Pay merchant.

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
            *("query_mandate", "end_mandate"),
            *("submit_debit", "query_debit", "debit_state", "debit_result"),
        )
        if not (settings.plan_id.isascii() and settings.plan_id.isdigit()):
            raise ValueError("the WeChat Pay plan is a number")
        self._reasons = reasons
        self._ask = Asker("wechat", reasons)
        self._now = now
        self._plan_id = settings.plan_id
        self._cap_fen_max = settings.mandate_cap_fen_max
        self._callbacks_at = callback_base_url.rstrip("/") + "/callbacks/wechat/"
        self._client = open_client(
            settings, connect_timeout=connect_timeout, read_timeout=read_timeout
        )

    # Mandates

    @property
    def limits(self) -> MandateLimits:
        """What the plan lets a contract be: WeChat keeps no cycle, and a cap for all alike."""
        return MandateLimits(
            cap_fen_max=self._cap_fen_max, cycles=frozenset(Cycle), needs_card=False
        )

    def start_mandate(self, request: MandateRequest) -> MandateAnswer:
        """Return AWAITING: WeChat hears of it when the person opens its page. No network."""
        return MandateAnswer(
            standing=MandateStanding.AWAITING,
            reason=Reason.PROCESSING,
            mandate_no=request.mandate_no,
        )

    def signing_action(self, request: MandateRequest) -> Mapping[str, str]:
        """Return the extraData with which the phone opens WeChat's signing mini-program.

        Signed here, no network. wechatpy's own builder takes the time from the machine.
        """
        now = self._now()
        fields = {
            "appid": self._client.appid,
            "mch_id": self._client.mch_id,
            "plan_id": self._plan_id,
            "contract_code": request.mandate_no,
            # Unique, and later ones greater: WeChat orders by it.
            "request_serial": f"{int(now.timestamp() * 1000)}{secrets.randbelow(10**4):04d}",
            "contract_display_account": _shown(request.display_name),
            "notify_url": self._callbacks_at + MANDATE_ENDPOINT,
            "version": _VERSION,
            "timestamp": str(int(now.timestamp())),
        }
        return {**fields, "sign": sign(fields, self._client.api_key)}

    def confirm_mandate(self, *, mandate_no: str, start_reference: str, code: str) -> MandateAnswer:
        """Ask how the contract stands: nothing is confirmed outside WeChat."""
        return self.query_mandate(mandate_no=mandate_no, reference=None)

    def query_mandate(self, *, mandate_no: str, reference: str | None) -> MandateAnswer:
        """Ask for a contract (查询签约关系)."""
        ask = partial(
            self._client.withhold.query_signing,
            **self._names(mandate_no, reference),
            version=_VERSION,
        )

        def understand(answer: Fields) -> MandateAnswer:
            expect(answer, "contract_code", mandate_no)
            if reference is not None:
                expect(answer, "contract_id", reference)
            return read_contract(answer)

        return self._ask_mandate("query_mandate", mandate_no, ask, understand)

    def end_mandate(self, *, mandate_no: str, reference: str | None) -> MandateAnswer:
        """End a contract (申请解约)."""
        end = partial(
            self._client.withhold.apply_cancel_signing,
            **self._names(mandate_no, reference),
            contract_termination_remark=_REMARK,
            version=_VERSION,
        )

        def understand(answer: Fields) -> MandateAnswer:
            if answer.get("contract_code", mandate_no) != mandate_no:
                raise Unreadable("another contract_code")
            if reference is not None and answer.get("contract_id", reference) != reference:
                raise Unreadable("another contract_id")
            return MandateAnswer(
                standing=MandateStanding.ENDED,
                reason=Reason.CLOSED,
                mandate_no=mandate_no,
                reference=reference,
                raw_code="SUCCESS",
            )

        return self._ask_mandate("end_mandate", mandate_no, end, understand)

    def _names(self, mandate_no: str, reference: str | None) -> dict[str, str]:
        # By WeChat's own number a contract is found under whichever plan it was signed.
        if reference is not None:
            return {"contract_id": reference}
        return {"plan_id": self._plan_id, "contract_code": mandate_no}

    def _ask_mandate(
        self,
        call: str,
        mandate_no: str,
        send: Callable[[], Fields],
        understand: Callable[[Fields], MandateAnswer],
    ) -> MandateAnswer:
        found = self._ask.attempt(call, send, understand)
        if not isinstance(found, Shortfall):
            return found
        return MandateAnswer(
            standing=_standing_of(found),
            reason=found.reason,
            mandate_no=mandate_no,
            raw_code=found.code,
            raw_message=found.message,
        )

    # Debits

    def submit_debit(self, request: DebitRequest) -> Outcome:
        """Apply for a debit (申请扣款). WeChat's SUCCESS means that it took the application.

        Not through wechatpy's `apply_deduct`: it asks the DNS for an address at every call.
        """
        apply = partial(
            self._client.post,
            "pay/pappayapply",
            data={
                "appid": self._client.appid,
                "mch_id": self._client.mch_id,
                "body": fit(request.description, _BODY_BYTES),
                "out_trade_no": request.order_no,
                "total_fee": str(request.amount_fen),
                "fee_type": "CNY",
                "spbill_create_ip": _OUR_ADDRESS,
                "notify_url": self._callbacks_at + DEBIT_ENDPOINT,
                "trade_type": "PAP",
                "contract_id": request.mandate_reference,
            },
        )

        def understand(answer: Fields) -> Outcome:
            if answer.get("out_trade_no", request.order_no) != request.order_no:
                raise Unreadable("another order")
            if "total_fee" in answer and read_fen(answer["total_fee"]) != request.amount_fen:
                raise Unreadable("another amount")
            return Outcome(
                kind=OutcomeKind.ACCEPTED,
                reason=Reason.PROCESSING,
                number=request.order_no,
                raw_code="SUCCESS",
            )

        return self._ask("submit_debit", request.order_no, apply, understand)

    def query_debit(self, order_no: str) -> Outcome:
        """Ask for a debit (查询扣款). One that was refunded later was taken all the same."""
        ask = partial(self._client.withhold.query_order, out_trade_no=order_no)

        def understand(answer: Fields) -> Outcome:
            expect(answer, "out_trade_no", order_no)
            return read_debit(answer, answer.get("trade_state", ""), self._reasons)

        return self._ask("query_debit", order_no, ask, understand)


def _standing_of(found: Shortfall) -> MandateStanding:
    """Return what a refusal says of a contract; what leaves it open stays UNKNOWN."""
    if found.kind is OutcomeKind.SUCCEEDED:
        return MandateStanding.ENDED
    if found.kind is OutcomeKind.FAILED and found.reason is Reason.NOT_FOUND:
        return MandateStanding.NOT_FOUND
    return MandateStanding.UNKNOWN


def _shown(name: str) -> str:
    """Return the name of an account as WeChat's page can show it."""
    return fit(
        "".join("?" if character > _WIDEST else character for character in name), _NAME_BYTES
    )
