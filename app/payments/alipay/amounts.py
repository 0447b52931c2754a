"""Fen as Alipay writes them: yuan with two decimals, by integers alone."""

from __future__ import annotations

import re

from app.payments.values import Unreadable

_YUAN = re.compile(r"(0|[1-9][0-9]{0,8})\.([0-9]{2})")


def to_yuan(amount_fen: int) -> str:
    """Return a positive amount in fen as text, e.g. 123405 as ``1234.05``."""
    return f"{amount_fen // 100}.{amount_fen % 100:02d}"


def read_yuan(value: str) -> int:
    """Return a positive amount in fen.

    Raises:
        Unreadable: absent, zero, signed, or not written with exactly two decimals.
    """
    match = _YUAN.fullmatch(value)
    amount_fen = int(match[1]) * 100 + int(match[2]) if match else 0
    if not amount_fen:
        raise Unreadable("amount")
    return amount_fen
