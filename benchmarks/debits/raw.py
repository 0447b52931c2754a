"""The bare minimum of a debit day: what must be locked and written, by the driver alone.

Same tables, same rows, same locks, same commits, as many rows to a statement as the product
has. What the product looks at before it sends, the cap of the year, what was paid by hand, is left
out.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pymysql

from benchmarks.debits.town import DUE_ON, SETTINGS

# Every value of an INSERT is a parameter: PyMySQL only then makes one statement of many rows.
_PAGE = """
    SELECT a.id, a.account_id, t.version, t.channel, t.amount_fen
    FROM agreement a JOIN agreement_terms t ON t.agreement_id = a.id
    WHERE a.id > %s AND a.state IN ('active', 'suspended') ORDER BY a.id LIMIT %s
"""
_PLAN = """
    INSERT INTO debit_instruction
        (account_id, agreement_id, terms_version, channel, amount_fen, period, due_on, retry_until,
         state, next_attempt_on, created_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_DUE = """
    SELECT id, account_id, channel, amount_fen, period, attempt_count FROM debit_instruction
    WHERE state = 'scheduled' AND next_attempt_on <= %s AND channel IN ('wechat')
    ORDER BY next_attempt_on, id LIMIT %s FOR UPDATE SKIP LOCKED
"""
_COUNT = "UPDATE account SET order_count = order_count + 1 WHERE id IN %s"
_MANDATES = """
    SELECT account_id, id, reference FROM mandate WHERE account_id IN %s AND state = 'active'
"""
_STORE = """
    INSERT INTO payment_order
        (order_no, account_id, channel, amount_fen, state, request_key, request_digest, created_at,
         expires_at, next_query_at, contribution_month, instruction_id, mandate_id)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_ATTEMPT = """
    UPDATE debit_instruction
    SET state = 'attempting', next_attempt_on = NULL, attempt_count = attempt_count + 1,
        first_attempt_on = COALESCE(first_attempt_on, %s)
    WHERE id IN %s
"""
_LOCK_ORDERS = """
    SELECT o.id, o.order_no, o.account_id, o.amount_fen, o.instruction_id, a.status
    FROM payment_order o JOIN account a ON a.id = o.account_id
    WHERE o.order_no IN %s FOR UPDATE
"""
_PAID = """
    UPDATE payment_order
    SET state = 'succeeded', channel_reference = CASE id {references} END, paid_at = %s,
        ended_at = %s, next_query_at = NULL, raw_code = 'SUCCESS', credited_on = %s
    WHERE id IN %s AND state IN ('sending', 'unknown', 'awaiting_payment', 'closing', 'failed')
"""
_LOCK_INSTRUCTIONS = "SELECT id, state FROM debit_instruction WHERE id IN %s FOR UPDATE"
_FULFIL = """
    UPDATE debit_instruction
    SET state = 'succeeded', paid_order_no = CASE id {numbers} END, ended_at = %s
    WHERE id IN %s AND state = 'attempting'
"""
_ENTRIES = """
    INSERT INTO journal_entry (posting_key, kind, business_date, value_date, posted_at, memo)
    VALUES (%s, %s, %s, %s, %s, %s)
"""
_ENTRY_IDS = "SELECT id, posting_key FROM journal_entry WHERE posting_key IN %s"
_LINES = """
    INSERT INTO journal_line (entry_id, line_no, code, account_id, channel, amount_fen)
    VALUES (%s, %s, %s, %s, %s, %s)
"""
_CREDIT = """
    UPDATE account SET balance_fen = balance_fen + CASE id {amounts} END WHERE id IN %s
"""


class RawDay:
    """A debit day on one connection; a group shares its two transactions, as the product's does."""

    def __init__(self, database: Mapping[str, Any], *, group: int, page: int) -> None:
        self._connection = pymysql.connect(**database, init_command=SETTINGS)
        self._cursor = self._connection.cursor()
        self._group, self._page = group, page
        self._cursor.execute("INSERT IGNORE INTO business_day (day) VALUES (%s)", (DUE_ON,))
        self._connection.commit()

    def plan(self) -> int:
        """Make the instructions; return how many."""
        count, after_id = 0, 0
        same = ("2026-12", DUE_ON, date(2026, 12, 31), "scheduled", DUE_ON, _now())
        while True:
            self._cursor.execute(_PAGE, (after_id, self._page))
            page = self._cursor.fetchall()
            if page:
                self._cursor.executemany(
                    _PLAN,
                    [(account, id_, *terms, *same) for id_, account, *terms in page],
                )
            self._connection.commit()
            if not page:
                return count
            count, after_id = count + len(page), page[-1][0]

    def submit(self, limit: int) -> int:
        """Debit so many, or all that are due; return how many."""
        count = 0
        while count < limit and (numbers := self._claim()):
            self._settle(numbers)
            count += len(numbers)
        return count

    def _claim(self) -> list[str]:
        cursor, now = self._cursor, _now()
        cursor.execute(_DUE, (DUE_ON, self._group))
        due = cursor.fetchall()
        if not due:
            self._connection.commit()
            return []
        accounts = [account for _, account, *_ in due]
        cursor.execute(_COUNT, (accounts,))
        cursor.execute(_MANDATES, (accounts,))
        mandates = {account: mandate for account, mandate, _ in cursor.fetchall()}
        # As the product's: first the time, which keeps neighbours together in the index.
        numbers = [f"A{now:%y%m%d%H%M%S%f}{secrets.token_hex(6)}0" for _ in due]
        expires_at, query_at = now + timedelta(days=2), now + timedelta(seconds=20)
        cursor.executemany(
            _STORE,
            [
                (
                    *(number, account, channel, amount_fen, "sending"),
                    *(f"debit:{id_}:{tries + 1}", bytes(32), now, expires_at, query_at),
                    *(period, id_, mandates[account]),
                )
                for number, (id_, account, channel, amount_fen, period, tries) in zip(
                    numbers, due, strict=True
                )
            ],
        )
        cursor.execute(_ATTEMPT, (DUE_ON, [id_ for id_, *_ in due]))
        self._connection.commit()
        return numbers

    def _settle(self, numbers: Sequence[str]) -> None:
        cursor, now = self._cursor, _now()
        cursor.execute(_LOCK_ORDERS, (numbers,))
        orders = cursor.fetchall()
        assert len(orders) == len(numbers)
        ids = [order[0] for order in orders]
        instructions = [order[4] for order in orders]
        references, values = _cases((id_, f"X{id_:027d}") for id_ in ids)
        cursor.execute(_PAID.format(references=references), (*values, now, now, DUE_ON, ids))
        cursor.execute(_LOCK_INSTRUCTIONS, (instructions,))
        cursor.fetchall()
        names, values = _cases((order[4], order[1]) for order in orders)
        cursor.execute(_FULFIL.format(numbers=names), (*values, now, instructions))
        assert cursor.rowcount == len(numbers)
        keys = [f"deposit:{order[1]}" for order in orders]
        cursor.executemany(
            _ENTRIES, [(key, "deposit", DUE_ON, DUE_ON, now, "灵活缴存") for key in keys]
        )
        cursor.execute(_ENTRY_IDS, (keys,))
        entries = {key: id_ for id_, key in cursor.fetchall()}
        lines: list[tuple[Any, ...]] = []
        for key, (_, _, account, amount_fen, *_) in zip(keys, orders, strict=True):
            lines.append((entries[key], 1, "11901", None, "wechat", amount_fen))
            lines.append((entries[key], 2, "20102", account, None, -amount_fen))
        cursor.executemany(_LINES, lines)
        amounts, values = _cases((order[2], order[3]) for order in orders)
        accounts = [order[2] for order in orders]
        cursor.execute(_CREDIT.format(amounts=amounts), (*values, accounts))
        self._connection.commit()


def _cases(pairs: Any) -> tuple[str, list[Any]]:
    """Return the arms of a CASE, and their values."""
    values = [value for pair in pairs for value in pair]
    return "WHEN %s THEN %s " * (len(values) // 2), values


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)  # noqa: TID251
