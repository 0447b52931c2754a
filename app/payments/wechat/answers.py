"""A contract and a debit of 委托代扣 as WeChat's queries and notices tell of them."""

from __future__ import annotations

from app.domain.ports.mandates import EndedBy, MandateAnswer, MandateStanding
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.reasons import ReasonTable
from app.payments.values import MESSAGE_LENGTH, Unreadable, read_number, read_spaced_time
from app.payments.wechat.envelope import Fields, booked_fen, read_compact_time

ADD, DELETE = "ADD", "DELETE"
"""`change_type` of a notice."""

_SIGNED, _ENDED = "0", "1"

# `contract_termination_mode`. WeChat may add to them: then it says that it ended, and not by whom.
_ENDED_BY = {
    "1": EndedBy.EXPIRY,
    "2": EndedBy.CONTRIBUTOR,
    "3": EndedBy.CENTRE,  # by deletecontract
    "4": EndedBy.CENTRE,  # in the merchant platform
    "5": EndedBy.CHANNEL,  # the WeChat account was closed
}


def read_contract(answer: Fields) -> MandateAnswer:
    """Return how a query says that a contract stands.

    Raises:
        Unreadable: not such a statement.
    """
    state = answer.get("contract_state")
    if state == _SIGNED:
        return _signed(answer, answer.get("contract_signed_time"), raw_code=state)
    if state == _ENDED:
        return _ended(answer, answer.get("contract_terminated_time"), raw_code=state)
    raise Unreadable("contract_state")


def read_change(notice: Fields) -> MandateAnswer | None:
    """Return what a notice says of a contract; None for news that nobody knows yet.

    Raises:
        Unreadable: not such a statement.
    """
    change = notice.get("change_type", "")
    if change == ADD:
        return _signed(notice, notice.get("operate_time"), raw_code=change)
    if change == DELETE:
        return _ended(notice, notice.get("operate_time"), raw_code=change)
    return None


def _signed(fields: Fields, moment: str | None, *, raw_code: str) -> MandateAnswer:
    return MandateAnswer(
        standing=MandateStanding.ACTIVE,
        reason=Reason.OK,
        mandate_no=read_number(fields.get("contract_code")),
        reference=read_number(fields.get("contract_id")),
        payer_ref=fields.get("openid") or None,
        occurred_at=read_spaced_time(moment),
        raw_code=raw_code,
    )


def _ended(fields: Fields, moment: str | None, *, raw_code: str) -> MandateAnswer:
    return MandateAnswer(
        standing=MandateStanding.ENDED,
        reason=Reason.CLOSED,
        mandate_no=read_number(fields.get("contract_code")),
        reference=read_number(fields.get("contract_id")),
        payer_ref=fields.get("openid") or None,
        ended_by=_ENDED_BY.get(fields.get("contract_termination_mode", "")),
        occurred_at=read_spaced_time(moment),
        raw_code=raw_code,
        raw_message=fields.get("contract_termination_remark", "")[:MESSAGE_LENGTH],
    )


def read_debit(fields: Fields, state: str, reasons: ReasonTable) -> Outcome:
    """Return what a query or a notice says of a debit that stands in `state`.

    Raises:
        Unreadable: not such a statement.
    """
    number = read_number(fields.get("out_trade_no"))
    kind, reason = reasons.lookup("debit_state", state)
    if kind is OutcomeKind.SUCCEEDED:
        if fields.get("trade_type") != "PAP":
            raise Unreadable("trade_type")
        return Outcome(
            kind=kind,
            reason=reason,
            number=number,
            amount_fen=booked_fen(fields),
            reference=read_number(fields.get("transaction_id")),
            payer_ref=fields.get("openid") or None,
            occurred_at=read_compact_time(fields.get("time_end")),
            raw_code=state,
        )
    # With other states WeChat may leave something in it that is no code of a failure.
    code = fields.get("err_code", "") if kind is OutcomeKind.FAILED else ""
    if code:
        kind, reason = reasons.lookup("debit_result", code)
    return Outcome(
        kind=kind,
        reason=reason,
        number=number,
        raw_code=(code or state)[:64],
        raw_message=fields.get("err_code_des", "")[:MESSAGE_LENGTH],
    )
