"""What a deposit (缴存) must satisfy, and which months count. Pure; amounts in fen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from app.domain.errors import Conflict, RuleViolation
from app.domain.money import format_yuan


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


def digest_request(**fields: str | int) -> bytes:
    """Return the fingerprint by which a repeated request is told from a reused key."""
    text = "\n".join(f"{name}={fields[name]}" for name in sorted(fields))
    return hashlib.sha256(text.encode()).digest()


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
