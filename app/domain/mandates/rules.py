"""What a mandate (授权) may be, which card may be given, what an answer does. Pure; fen."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import date, timedelta
from enum import StrEnum

from stdnum import luhn

from app.domain.agreements.rules import Frequency, Span
from app.domain.errors import Conflict, Invalid, RuleViolation
from app.domain.money import format_yuan
from app.domain.ports.mandates import Cycle, MandateLimits, MandateStanding

CLAUSE = "试点方案 第二条"

SIGNABLE_FOR = timedelta(minutes=30)
"""How long a person may take to sign or to type the code."""

LATE_SIGNING_AFTER = timedelta(days=1)
"""When to look once more whether somebody signed on a page that was open past the deadline."""

UNDECIDED_AFTER = timedelta(days=1)
"""A mandate without an end so long after its deadline is shown to staff; asking goes on."""

CARD_DIGITS_MIN, CARD_DIGITS_MAX, CARD_TAIL = 13, 19, 4

_CARD = re.compile(rf"[0-9]{{{CARD_DIGITS_MIN},{CARD_DIGITS_MAX}}}")
# By which a card of a national bank begins: UnionPay's 62, and the older ones of 60, 68 and 9.
_CARD_PREFIXES = ("62", "60", "68", "9")


class MandateState(StrEnum):
    """Where a mandate stands. Only ACTIVE may debit."""

    SENDING = "sending"
    """Stored; the call to the channel has begun and its answer is not recorded yet."""
    AWAITING = "awaiting"
    """The person is to sign, or to type the code."""
    UNKNOWN = "unknown"
    """The channel's answer was lost or unreadable; a query will tell. Never signed anew."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    """The channel takes no debits under it for now."""
    ENDING = "ending"
    """Over for us; the channel has not confirmed it yet."""
    ENDED = "ended"
    FAILED = "failed"


SIGNING = frozenset({MandateState.SENDING, MandateState.AWAITING, MandateState.UNKNOWN})
UNDECIDED = SIGNING | {MandateState.ENDING}
IN_FORCE = frozenset({MandateState.ACTIVE, MandateState.SUSPENDED})


class EndReason(StrEnum):
    """Why a mandate is over."""

    ASKED = "asked"
    """The contributor ended it here."""
    REPLACED = "replaced"
    ENDED_AT_CHANNEL = "ended_at_channel"
    EXPIRED = "expired"
    OTHER_SIGNER = "other_signer"
    """Somebody else's account at the channel signed it."""


class Hearing(StrEnum):
    """How an answer came to us."""

    NOTICE = "notice"
    CALL = "call"
    """The answer to starting, confirming or ending."""
    QUERY = "query"


class MandatesNotOffered(RuleViolation):
    """No mandate can be signed at this channel here."""

    code = "mandates_not_offered"


class NothingToDebit(RuleViolation):
    """A mandate serves an agreement with debits."""

    code = "nothing_to_debit"


class CapTooLow(RuleViolation):
    """The agreement's own debits would not fit."""

    code = "cap_too_low"


class CapTooHigh(RuleViolation):
    """More than the channel's product may debit, or than may be paid in within a year."""

    code = "cap_too_high"


class MandateBeingSigned(Conflict):
    """One mandate at a time is signed at a channel."""

    code = "mandate_being_signed"
    default_message = "您在该渠道已有签约正在办理，请先完成或取消"


class MandateUndecided(Conflict):
    """Nothing can be done before the channel has said how it stands."""

    code = "mandate_undecided"
    default_message = "签约结果确认中，请稍后查看，请勿重复签约"


class SigningExpired(Conflict):
    """The time to sign is over."""

    code = "signing_expired"
    default_message = "签约已超时，请重新发起"


class WrongCode(Invalid):
    """The code is not the one of the text message."""

    code = "wrong_code"


class TooManyCodes(Conflict):
    """No code is taken any more under this mandate."""

    code = "too_many_codes"
    default_message = "验证码错误次数过多，请取消后重新发起签约"


class TooManyStarts(Conflict):
    """No further card is checked for this person today."""

    code = "too_many_starts"
    default_message = "今日银行卡签约次数过多，请明日再试"


class CardInvalid(Invalid):
    """No number of a debit card. The message never says which digit."""

    code = "card_invalid"
    default_message = "银行卡号不正确，请核对后重新填写"


class CardOfAnother(RuleViolation):
    """A person's card is in their own name."""

    code = "card_of_another"
    default_message = "银行卡须为本人名下，持卡人姓名与开户姓名不一致"


class CardRequired(Invalid):
    """The channel debits cards."""

    code = "card_required"
    default_message = "请填写银行卡信息"


class CardNotTaken(Invalid):
    """The channel knows its own accounts."""

    code = "card_not_taken"
    default_message = "该渠道在其应用内签约，无需填写银行卡信息"


def clean_card_no(card_no: str) -> str:
    """Return a card number of ASCII digits, blanks and hyphens taken out.

    Length, prefix and the Luhn digit (GB/T 15694.1) say whether it can be one; whether it is, and
    whose, and no credit card, is for the bank.

    Raises:
        CardInvalid: it cannot be the number of a card.
    """
    cleaned = re.sub(r"[ -]", "", unicodedata.normalize("NFKC", card_no).strip())
    if not _CARD.fullmatch(cleaned) or len(set(cleaned)) == 1 or not luhn.is_valid(cleaned):
        raise CardInvalid(field="card.card_no")
    if not cleaned.startswith(_CARD_PREFIXES):
        raise CardInvalid("仅支持境内银行发行的借记卡", field="card.card_no")
    return cleaned


def needed_cap_fen(spans: Iterable[Span], *, on: date) -> tuple[int, Cycle]:
    """Return the largest debit that an agreement's terms ask for from a day on, and how often.

    Terms that debit monthly and terms that debit quarterly fit into a mandate by the month.

    Raises:
        NothingToDebit: the person pays by hand.
    """
    ahead = [span.version.terms for span in spans if span.last_day is None or span.last_day >= on]
    amounts = [terms.amount_fen for terms in ahead if terms.amount_fen is not None]
    if not amounts:
        raise NothingToDebit("自由缴存协议不自动扣款，无需签约", clause=CLAUSE)
    monthly = any(terms.frequency is Frequency.MONTHLY for terms in ahead)
    return max(amounts), Cycle.MONTH if monthly else Cycle.QUARTER


def check_cap(
    cap_fen: int,
    *,
    needed_fen: int,
    cycle: Cycle,
    limits: MandateLimits,
    yearly_cap_fen: int | None,
    channel_text: str,
) -> None:
    """Refuse a cap under which the agreement could not be debited, or that the channel can't take.

    Args:
        needed_fen: the largest debit that the agreement asks for.
        yearly_cap_fen: None while the year's cap is not published.
    Raises:
        CapTooLow, CapTooHigh, MandatesNotOffered: with the limit in the message and the detail.
    """
    if cycle not in limits.cycles:
        text = {Cycle.MONTH: "按月", Cycle.QUARTER: "按季"}[cycle]
        raise MandatesNotOffered(f"{channel_text}不支持{text}扣款，请改用其他渠道")
    if cap_fen < needed_fen:
        raise CapTooLow(
            f"单笔扣款上限不得低于协议约定的每期金额 {format_yuan(needed_fen)} 元",
            clause=CLAUSE,
            field="cap_fen",
            needed_fen=needed_fen,
        )
    most = limits.cap_fen_max
    if most is not None and cap_fen > most:
        raise CapTooHigh(
            f"{channel_text}每笔最多扣款 {format_yuan(most)} 元，"
            f"不足以扣划 {format_yuan(cap_fen)} 元，请改用其他渠道",
            field="cap_fen",
            cap_fen_max=most,
        )
    if yearly_cap_fen is not None and cap_fen > yearly_cap_fen:
        raise CapTooHigh(
            f"单笔扣款上限不得超过年度缴存上限 {format_yuan(yearly_cap_fen)} 元",
            clause="年度缴存上限",
            field="cap_fen",
            cap_fen_max=yearly_cap_fen,
        )


def next_state(
    state: MandateState, standing: MandateStanding, *, hearing: Hearing, overdue: bool
) -> MandateState:
    """Return the state that an answer of the channel leads to; the same one where it changes none.

    Args:
        overdue: the person's time to sign is over.
    """
    match standing:
        case MandateStanding.UNKNOWN:
            # A question that got no answer tells nothing; a call may have had its effect.
            lost = state is MandateState.SENDING or (
                state is MandateState.AWAITING and hearing is Hearing.CALL
            )
            return MandateState.UNKNOWN if lost else state
        case MandateStanding.AWAITING | MandateStanding.NOT_FOUND if state in SIGNING:
            if overdue:
                return MandateState.FAILED
            return MandateState.AWAITING if standing is MandateStanding.AWAITING else state
        case MandateStanding.REFUSED if state in SIGNING:
            return MandateState.FAILED
        case MandateStanding.ACTIVE if state in SIGNING | IN_FORCE | {MandateState.FAILED}:
            return MandateState.ACTIVE
        case MandateStanding.SUSPENDED if state in SIGNING | IN_FORCE | {MandateState.FAILED}:
            return MandateState.SUSPENDED
        case MandateStanding.ENDED if state is not MandateState.FAILED:
            return MandateState.ENDED
        case MandateStanding.NOT_FOUND | MandateStanding.REFUSED if state is MandateState.ENDING:
            return MandateState.ENDED
    return state


def contradicts(state: MandateState, standing: MandateStanding) -> bool:
    """Tell whether a channel says of a mandate what no event between us can explain."""
    if state in IN_FORCE:
        return standing in {
            MandateStanding.AWAITING,
            MandateStanding.NOT_FOUND,
            MandateStanding.REFUSED,
        }
    return state is MandateState.ENDED and standing in {
        MandateStanding.ACTIVE,
        MandateStanding.SUSPENDED,
    }


def may_be_believed(state: MandateState, standing: MandateStanding) -> bool:
    """Tell whether a notice alone may change a mandate; of anything else the channel is asked.

    Notices come late and out of order, so one may begin a mandate that is being signed and end one
    that is not over; it may neither revive what is over nor say how one in force has changed.
    """
    if standing is MandateStanding.ENDED:
        return True
    return state in SIGNING and standing in {
        MandateStanding.ACTIVE,
        MandateStanding.SUSPENDED,
        MandateStanding.REFUSED,
    }
