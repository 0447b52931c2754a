"""People whose debit is due, as the product would have left them, by the database alone.

Each has paid by hand once, with the opening subsidy, has an agreement over 500.00 on the 10th of
each month from December on, and a mandate at WeChat.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import pymysql

JOINED_ON = date(2026, 11, 24)
JOINED_AT = datetime(2026, 11, 24, 2)  # noqa: DTZ001  UTC, as it is stored
PLANS_AT = datetime.fromisoformat("2026-12-09T10:00:00+08:00")
SENDS_AT = datetime.fromisoformat("2026-12-10T10:00:00+08:00")
DUE_ON = date(2026, 12, 10)
AMOUNT_FEN = 50_000

SETTINGS = (
    "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
    "tx_isolation = 'READ-COMMITTED'"
)

# {n} people; {p} is prime, so that agreements do not stand in the order of the accounts.
_TABLES = {
    "contributor": """
        (id, document_kind, document_index, document_no, real_name, phone, phone_index, birth_date,
         key_id, employment_form, industry_tags, declared_facts, subsidy_paid_fen, enrolled_at)
        SELECT seq, 'resident_id', UNHEX(SHA2(CONCAT('person', seq), 256)), REPEAT('x', 60),
               REPEAT('x', 60), REPEAT('x', 60), UNHEX(SHA2(CONCAT('phone', seq), 256)),
               REPEAT('x', 60), 'k1', 'new_form', '[]', '{{}}', 20000, %(at)s FROM {seq}""",
    "account": """
        (id, contributor_id, account_no, status, balance_fen, held_fen, order_count,
         first_deposit_on, opened_on)
        SELECT seq, seq, LPAD(seq, 12, '0'), 'normal', 70000, 0, 1, %(day)s, %(day)s FROM {seq}""",
    "agreement": """
        (id, agreement_no, account_id, live_account_id, state, version_count, created_at)
        SELECT seq, CONCAT('X', LPAD(seq, 31, '0')), 1 + seq * {p} %% {n}, 1 + seq * {p} %% {n},
               'active', 1, %(at)s FROM {seq}""",
    "agreement_terms": """
        (id, agreement_id, account_id, version, frequency, amount_fen, debit_day, channel,
         first_period, applies_from, text_version, text_sha256, signed_at, request_key,
         request_digest)
        SELECT seq, seq, 1 + seq * {p} %% {n}, 1, 'monthly', %(fen)s, 10, 'wechat', '2026-12',
               '2026-12-01', '2026-11', REPEAT('x', 32), %(at)s, 'sign', REPEAT('x', 32)
        FROM {seq}""",
    "agreement_state_change": """
        (agreement_id, number, from_state, to_state, actor, reason, at)
        SELECT s.seq, m.seq, IF(m.seq = 1, NULL, 'draft'), IF(m.seq = 1, 'draft', 'active'),
               CONCAT('contributor:', s.seq), '缴存人签署', %(at)s
        FROM {seq} s JOIN seq_1_to_2 m""",
    "mandate": """
        (id, mandate_no, account_id, channel, state, slot, cap_fen, period_cap_fen, cycle,
         first_due_on, valid_from, valid_to, payer, key_id, reference, request_key, request_digest,
         created_at, expires_at, changed_at, activated_at, move_count)
        SELECT seq, CONCAT('M', LPAD(seq, 31, '0')), seq, 'wechat', 'active', 'active', 100000,
               100000, 'month', '2026-12-10', %(day)s, '2031-11-24', REPEAT('x', 120), 'k1',
               CONCAT('C', LPAD(seq, 27, '0')), 'mandate', REPEAT('x', 32),
               %(at)s, %(at)s, %(at)s, %(at)s, 1 FROM {seq}""",
    "mandate_state_change": """
        (mandate_id, number, from_state, to_state, actor, reason, at)
        SELECT seq, 1, NULL, 'active', CONCAT('contributor:', seq), '签约', %(at)s FROM {seq}""",
    "payment_order": """
        (id, order_no, account_id, channel, amount_fen, state, request_key, request_digest,
         created_at, expires_at, channel_reference, raw_code, paid_at, ended_at, credited_on,
         contribution_month)
        SELECT seq, CONCAT('D', LPAD(seq, 31, '0')), seq, 'wechat', 50000, 'succeeded', 'first',
               REPEAT('x', 32), %(at)s, %(at)s, CONCAT('42', LPAD(seq, 26, '0')), 'SUCCESS',
               %(at)s, %(at)s, %(day)s, '2026-11' FROM {seq}""",
    "subsidy_grant": """
        (grant_key, contributor_id, account_id, kind, due_fen, paid_fen, working, granted_on)
        SELECT CONCAT('opening-subsidy:', seq, ':1'), seq, seq, 'opening', 20000, 20000, '{{}}',
               %(day)s FROM {seq}""",
    "business_day": "(day) SELECT %(day)s WHERE NOT EXISTS (SELECT 1 FROM business_day)",
    "journal_entry": """
        (id, posting_key, kind, business_date, value_date, posted_at, memo)
        SELECT 2 * s.seq + m.seq - 2,
               IF(m.seq = 1, CONCAT('deposit:D', LPAD(s.seq, 31, '0')),
                  CONCAT('opening-subsidy:', s.seq, ':1')),
               IF(m.seq = 1, 'deposit', 'opening_subsidy'), %(day)s, %(day)s, %(at)s,
               IF(m.seq = 1, '灵活缴存', '开户补贴')
        FROM {seq} s JOIN seq_1_to_2 m""",
    "journal_line": """
        (entry_id, line_no, code, account_id, channel, amount_fen)
        SELECT 2 * s.seq + m.seq - 2, l.seq,
               IF(l.seq = 2, '20102', IF(m.seq = 1, '11901', '41104')),
               IF(l.seq = 2, s.seq, NULL), IF(l.seq = 1 AND m.seq = 1, 'wechat', NULL),
               IF(l.seq = 1, 1, -1) * IF(m.seq = 1, 50000, 20000)
        FROM {seq} s JOIN seq_1_to_2 m JOIN seq_1_to_2 l""",
}
# A connection remembers which days are open: they stay.
_EMPTIED = (*(_TABLES.keys() - {"business_day"}), "debit_instruction")


def settle_people(database: Mapping[str, Any], count: int) -> None:
    """Empty the tables and fill them with so many people."""
    values = {"at": JOINED_AT, "day": JOINED_ON, "fen": AMOUNT_FEN}
    with pymysql.connect(**database, init_command=SETTINGS, autocommit=True) as connection:
        cursor = connection.cursor()
        # Truncating passes by the triggers that keep the journal; so do the keys, which would be
        # compared row by row though the rows are made to fit. The books are verified at the end.
        cursor.execute("SET foreign_key_checks = 0, unique_checks = 0")
        for table in _EMPTIED:
            cursor.execute(f"TRUNCATE {table}")
        for table, rows in _TABLES.items():
            words = {"n": count, "p": 7919, "seq": f"seq_1_to_{count}"}
            cursor.execute(f"INSERT INTO {table} {rows.format(**words)}", values)
        cursor.execute(f"ANALYZE TABLE {', '.join(_EMPTIED)}")
