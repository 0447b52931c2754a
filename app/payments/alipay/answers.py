"""A trade and an agreement as Alipay's answers and notices tell of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from app.domain.ports.mandates import EndedBy, MandateAnswer, MandateStanding
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.alipay.amounts import read_yuan
from app.payments.values import Unreadable, read_number, read_spaced_time
from app.platforms.alipay.answers import Node, read_text

TEXT_LENGTH = 256

# 协议状态. UNSIGN stands in notices only: whoever asks for such an agreement reads that there is
# none.
_STANDINGS = {
    "TEMP": (MandateStanding.AWAITING, Reason.PROCESSING),
    "NORMAL": (MandateStanding.ACTIVE, Reason.OK),
    "STOP": (MandateStanding.SUSPENDED, Reason.OK),
    "UNSIGN": (MandateStanding.ENDED, Reason.CLOSED),
}
_IN_FORCE = frozenset({MandateStanding.ACTIVE, MandateStanding.SUSPENDED})
_MOMENTS = {MandateStanding.ACTIVE: "sign_time", MandateStanding.ENDED: "unsign_time"}


def text(answer: Node, name: str) -> str:
    """Return a text of an answer, empty where it says none.

    Raises:
        Unreadable: something else than text.
    """
    try:
        return read_text(answer, name)
    except ValueError as error:
        raise Unreadable(str(error)) from None


def fen(answer: Node, name: str) -> int:
    """Return a positive amount of an answer in fen."""
    return read_yuan(text(answer, name))


def number(answer: Node, name: str) -> str:
    """Return a number of an answer."""
    return read_number(text(answer, name))


def expect(answer: Node, name: str, value: str) -> None:
    """Make sure that an answer is about what was asked.

    Raises:
        Unreadable: it is not.
    """
    if text(answer, name) != value:
        raise Unreadable(f"another {name}")


def fit(words: str) -> str:
    """Return `words` as Alipay can take it: no control character, no `/`, `=` or `&`, 256 long."""
    clean = "".join(" " if character in "/=&" else character for character in words)
    return "".join(character for character in clean if character.isprintable())[:TEXT_LENGTH]


def read_trade(
    answer: Node,
    order_no: str,
    lookup_status: Callable[[str], tuple[OutcomeKind, Reason]],
) -> Outcome:
    """Return what a query says of a trade. One that was refunded later was still paid.

    Args:
        lookup_status: what a `trade_status` means for this kind of trade.

    Raises:
        Unreadable: not such a statement, or one about another order.
    """
    expect(answer, "out_trade_no", order_no)
    status = text(answer, "trade_status")
    kind, reason = lookup_status(status)
    if kind is not OutcomeKind.SUCCEEDED and not _was_refunded(answer, reason):
        return Outcome(kind=kind, reason=reason, number=order_no, raw_code=status)
    return read_paid(answer, order_no, paid_at="send_pay_date", raw_code=status)


def read_paid(answer: Node, order_no: str, *, paid_at: str, raw_code: str) -> Outcome:
    """Return what an answer says of a trade that was paid.

    Args:
        paid_at: the name of the field that says when.

    Raises:
        Unreadable: a field that cannot be.
    """
    return Outcome(
        kind=OutcomeKind.SUCCEEDED,
        reason=Reason.OK,
        number=order_no,
        # Not receipt_amount: it leaves out a discount of the seller's, and often is 0.00.
        amount_fen=fen(answer, "total_amount"),
        reference=number(answer, "trade_no"),
        payer_ref=text(answer, "buyer_open_id") or text(answer, "buyer_user_id") or None,
        occurred_at=read_spaced_time(text(answer, paid_at)),
        raw_code=raw_code,
    )


def _was_refunded(answer: Node, reason: Reason) -> bool:
    """Whether a closed trade was paid once and then refunded in full.

    One that nobody paid has no time of payment. The amounts tell nothing: sellers who did not
    ask for details read 0.00 there, paid or not.
    """
    return reason is Reason.CLOSED and bool(text(answer, "send_pay_date"))


def read_agreement(fields: Node, *, now: datetime) -> MandateAnswer:
    """Return how Alipay says that an agreement stands.

    No notice tells of one that has run out, so its last moment (invalid_time) decides, whatever the
    status says.

    Raises:
        Unreadable: not such a statement.
    """
    status = text(fields, "status")
    if status not in _STANDINGS:
        raise Unreadable("status")
    standing, reason = _STANDINGS[status]
    reference = text(fields, "agreement_no")
    if standing in _IN_FORCE and not reference:
        raise Unreadable("an agreement without a number")
    ended_by = None
    moment = _MOMENTS.get(standing)
    occurred_at = read_spaced_time(text(fields, moment)) if moment else None
    runs_out_at = read_spaced_time(text(fields, "invalid_time"))
    if standing is not MandateStanding.ENDED and runs_out_at is not None and runs_out_at <= now:
        standing, reason = MandateStanding.ENDED, Reason.CLOSED
        ended_by, occurred_at = EndedBy.EXPIRY, runs_out_at
    return MandateAnswer(
        standing=standing,
        reason=reason,
        mandate_no=number(fields, "external_agreement_no"),
        reference=read_number(reference) if reference else None,
        payer_ref=_read_signer(fields),
        ended_by=ended_by,
        occurred_at=occurred_at,
        raw_code=status,
    )


def _read_signer(fields: Node) -> str | None:
    """Return who signed. The query of agreements has its own name for an open_id.

    Its principal_id is left alone: it may name the person behind several accounts.
    """
    for name in ("alipay_open_id", "principal_open_id", "alipay_user_id"):
        if signer := text(fields, name):
            return signer
    return None
