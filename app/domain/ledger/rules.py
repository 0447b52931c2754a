"""What makes an entry right, and how a day is sealed. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from app.domain.errors import BooksBroken

GENESIS = bytes(32)
"""What stands before the first seal."""


@dataclass(frozen=True, slots=True)
class Line:
    """One side of an entry to be posted; `amount_fen` positive debit, negative credit."""

    code: str
    amount_fen: int
    account_id: int | None = None
    channel: str | None = None


class Unbalanced(BooksBroken):
    """An entry whose lines do not sum to zero, or with fewer than two sides."""

    code = "unbalanced"


def check_lines(lines: Sequence[Line]) -> None:
    """Refuse lines that are not one balanced entry of whole, non-zero fen."""
    if len(lines) < 2:
        raise Unbalanced("分录少于两行")
    for line in lines:
        if type(line.amount_fen) is not int or line.amount_fen == 0:
            raise Unbalanced("分录金额必须是非零整数分", code_=line.code)
    if sum(line.amount_fen for line in lines):
        raise Unbalanced("借贷不平", sum_fen=sum(line.amount_fen for line in lines))


@dataclass(frozen=True, slots=True)
class PostedLine:
    """A line as it stands in the journal, with what the seal needs of its entry."""

    entry_id: int
    posting_key: str
    kind: str
    value_date: date
    posted_at: datetime
    memo: str
    line_no: int
    code: str
    account_id: int | None
    channel: str | None
    amount_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayTotals:
    """What a seal says of its day.

    `by_code` maps a code to [debit_fen, credit_fen, balance_fen].
    """

    entry_count: int
    line_count: int
    debit_fen: int
    by_code: dict[str, list[int]]
    hash: bytes


def total_day(
    lines: Iterable[PostedLine],
    *,
    day: date,
    previous_hash: bytes,
    opening_fen: Mapping[str, int],
) -> DayTotals:
    """Fold the lines of a day, in (entry, line) order, into its totals and seal hash.

    Args:
        opening_fen: balance by code (debit positive) at the end of the day sealed before.
    Returns: totals; the hash is SHA-256 over the previous hash, the day and every line's fields.
    """
    digest = hashlib.sha256(previous_hash + day.isoformat().encode())
    movement: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    entries, count, last_entry = 0, 0, None
    for line in lines:
        digest.update(_canonical(line))
        count += 1
        if line.entry_id != last_entry:
            entries, last_entry = entries + 1, line.entry_id
        side = 0 if line.amount_fen > 0 else 1
        movement[line.code][side] += abs(line.amount_fen)
    by_code = {
        code: [*movement[code], opening_fen.get(code, 0) + movement[code][0] - movement[code][1]]
        for code in sorted({*movement, *opening_fen})
    }
    return DayTotals(
        entry_count=entries,
        line_count=count,
        debit_fen=sum(debit for debit, _ in movement.values()),
        by_code=by_code,
        hash=digest.digest(),
    )


def _canonical(line: PostedLine) -> bytes:
    fields = [
        line.entry_id,
        line.posting_key,
        line.kind,
        line.value_date.isoformat(),
        line.posted_at.isoformat(),
        line.memo,
        line.line_no,
        line.code,
        line.account_id,
        line.channel,
        line.amount_fen,
    ]
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
