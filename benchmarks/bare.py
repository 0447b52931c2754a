"""The bare minimum: the statements of one deposit by the driver alone, one transaction each.

Same tables, same rows, same locks and guards as the product; no web, no verification, no ORM.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pymysql

from benchmarks.load import Sent
from benchmarks.town import Notice

SETTINGS = (
    "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
    "tx_isolation = 'READ-COMMITTED'"
)
_READ = """
    SELECT o.id, o.account_id, o.amount_fen, o.state, o.channel_reference,
           a.contributor_id, a.status, a.first_deposit_on
    FROM payment_order o JOIN account a ON a.id = o.account_id
    WHERE o.order_no = %s AND o.channel = %s FOR UPDATE
"""
_MOVE = """
    UPDATE payment_order
    SET state = 'succeeded', channel_reference = %s, paid_at = %s, ended_at = %s,
        next_query_at = NULL, raw_code = 'SUCCESS', credited_on = %s, contribution_month = %s
    WHERE id = %s AND state IN ('sending', 'unknown', 'awaiting_payment', 'closing')
"""
_ENTRY = """
    INSERT INTO journal_entry (posting_key, kind, business_date, value_date, posted_at, memo)
    VALUES (%s, 'deposit', %s, %s, %s, '灵活缴存')
"""
_LINES = """
    INSERT INTO journal_line (entry_id, line_no, code, account_id, channel, amount_fen)
    VALUES (%s, 1, '11901', NULL, %s, %s), (%s, 2, '20102', %s, NULL, %s)
"""
_CREDIT = "UPDATE account SET balance_fen = balance_fen + %s WHERE id = %s"
_KEEP = """
    INSERT INTO channel_callback
        (channel, endpoint, content_type, number, result, body, key_id, received_at)
    VALUES (%s, 'payment', %s, %s, 'credited', %s, 'k1', %s)
"""


def record(
    database: Mapping[str, Any], notices: list[Notice], *, day: date, seconds: float
) -> Sent:
    """Record deposits one after the other on one connection; `day` is open already."""
    sent, connection = Sent(), pymysql.connect(**database, init_command=SETTINGS)
    begun, cpu_begun = time.perf_counter(), time.process_time()
    with connection.cursor() as cursor:
        for notice in notices:
            sent_at = time.perf_counter()
            if sent_at > begun + seconds:
                break
            _record_one(cursor, notice, day)
            connection.commit()
            sent.latencies.append(time.perf_counter() - sent_at)
    sent.taken = sent.accepted = len(sent.latencies)
    sent.seconds = time.perf_counter() - begun
    sent.cpu_seconds = time.process_time() - cpu_begun
    return sent


def _record_one(cursor: Any, notice: Notice, day: date) -> None:
    now, channel = datetime.now(UTC).replace(tzinfo=None), notice.channel  # noqa: TID251
    cursor.execute(_READ, (notice.order_no, channel))
    order_id, account_id, amount_fen, *_ = cursor.fetchone()
    cursor.execute(_MOVE, (notice.reference, now, now, day, f"{day:%Y-%m}", order_id))
    cursor.execute(_ENTRY, (f"deposit:{notice.order_no}", day, day, now))
    entry_id = cursor.lastrowid
    cursor.execute(_LINES, (entry_id, channel, amount_fen, entry_id, account_id, -amount_fen))
    cursor.execute(_CREDIT, (amount_fen, account_id))
    cursor.execute(_KEEP, (channel, notice.content_type, notice.order_no, notice.body, now))
