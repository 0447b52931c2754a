"""What a deposit (缴存) must satisfy, and which months count. Pure; amounts in fen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from app.domain.errors import Conflict, RuleViolation
from app.domain.money import format_yuan
from app.domain.periods import Period


class AmountBelowMinimum(RuleViolation):
    """Clause 2: at least the local minimum wage times the lowest contribution rate."""

    code = "amount_below_minimum"


class YearlyCapExceeded(RuleViolation):
    """Deposits of a calendar year stay within the yearly cap (年度缴存上限)."""

    code = "yearly_cap_exceeded"


class AccountNotUsable(RuleViolation):
    """Only an account in normal state takes deposits."""

    code = "account_not_usable"
    default_message = "账户当前状态不能缴存，请联系公积金中心"


class DebitUnderWay(Conflict):
    """A debit was sent and its outcome is not known: paying by hand may pay the period twice."""

    code = "debit_under_way"
    default_message = (
        "您有一笔自动扣款正在处理，仍可能扣款成功；如仍要缴存，请确认后重试，两笔均会计入您的账户"
    )


class MakeUpUnderWay(Conflict):
    """A period is made up by one order at a time; `order_no` in the detail says by which."""

    code = "make_up_under_way"
    default_message = "该期已有一笔补缴订单，请完成支付，或待其关闭后再试"


class IdempotencyKeyReused(Conflict):
    """The same Idempotency-Key came with another content."""

    code = "idempotency_key_reused"
    default_message = "同一请求标识对应了不同的内容，请刷新后重试"


def check_amount(amount_fen: int, *, minimum_fen: int) -> None:
    """Refuse an amount under the monthly minimum (试点方案 第二条).

    Raises:
        AmountBelowMinimum: with the minimum in its detail.
    """
    if amount_fen < minimum_fen:
        raise AmountBelowMinimum(
            f"单次缴存金额不得低于最低月缴存额 {format_yuan(minimum_fen)} 元",
            clause="试点方案 第二条",
            minimum_fen=minimum_fen,
        )


def check_room(amount_fen: int, *, room_fen: int, cap_fen: int) -> None:
    """Refuse an amount above what the yearly cap leaves.

    Args:
        room_fen: cap less what is credited or still payable this calendar year.
    Raises:
        YearlyCapExceeded: with the room in its detail.
    """
    if amount_fen > room_fen:
        raise YearlyCapExceeded(
            f"本自然年度还可缴存 {format_yuan(max(room_fen, 0))} 元"
            f"（年度上限 {format_yuan(cap_fen)} 元，含待支付订单）",
            clause="年度缴存上限",
            room_fen=max(room_fen, 0),
            cap_fen=cap_fen,
        )


def check_no_debit_under_way(open_debits: int, *, despite: bool) -> None:
    """Refuse to pay by hand while a debit is under way, unless the person knows of it.

    Raises:
        DebitUnderWay: one is.
    """
    if open_debits and not despite:
        raise DebitUnderWay


def digest_request(**fields: str | int) -> bytes:
    """Return the fingerprint by which a repeated request is told from a reused key."""
    text = "\n".join(f"{name}={fields[name]}" for name in sorted(fields))
    return hashlib.sha256(text.encode()).digest()


def spread_periods(
    net_fen_by_period: Mapping[str, int], *, minimum_fen_of: Callable[[str], int]
) -> dict[str, int]:
    """Return the same money by month: what was debited for a quarter fills its months in order.

    Source: 试点方案 第二条 (按季缴存). Each month takes what it lacks of its minimum, so that a
    quarter paid in full counts for three months; what is left over stays with the last one.

    Args:
        net_fen_by_period: credited less refunded, e.g. ``{"2026-11": 12150, "2026Q4": 36450}``.
    """
    months = {key: fen for key, fen in net_fen_by_period.items() if "Q" not in key}
    for key in sorted(net_fen_by_period.keys() - months.keys()):
        left_fen = net_fen_by_period[key]
        *first, last = Period.parse(key).months
        for month in first:
            lacking_fen = max(0, minimum_fen_of(month) - months.get(month, 0))
            taken_fen = min(left_fen, lacking_fen)
            months[month] = months.get(month, 0) + taken_fen
            left_fen -= taken_fen
        months[last] = months.get(last, 0) + left_fen
    return months


def count_months(
    net_fen_by_month: Mapping[str, int], *, minimum_fen_of: Callable[[str], int]
) -> list[str]:
    """Return the contribution months that count, oldest first.

    A month counts once, when what is credited for it less refunds reaches the month's minimum;
    gaps do not matter and missed months are never filled (试点方案 第五条 「累计」).

    Args:
        net_fen_by_month: credited less refunded by month, e.g. ``{"2026-11": 12150}``.
        minimum_fen_of: the monthly minimum in force for a month.
    """
    return [
        month
        for month in sorted(net_fen_by_month)
        if net_fen_by_month[month] > 0 and net_fen_by_month[month] >= minimum_fen_of(month)
    ]
