"""Money (金额) is integer fen; rates are Decimal; rounding is half-up to the fen."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal


def round_to_fen(amount: Decimal) -> int:
    """Return `amount` fen rounded half-up to a whole fen."""
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def format_yuan(amount_fen: int) -> str:
    """Return fen as yuan for people, e.g. 123456789 as ``1,234,567.89``."""
    sign = "-" if amount_fen < 0 else ""
    yuan, fen = divmod(abs(amount_fen), 100)
    return f"{sign}{yuan:,}.{fen:02d}"
