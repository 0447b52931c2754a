"""银行账户 The bank's tables, its times and numbers, and the fund's special account (专户).

Amounts are integer fen, instants are virtual seconds since 1970, days are `yyyymmdd` in Beijing.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from sandbox.clock import SHANGHAI, Clock

SCHEMA = """
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS nonce (nonce TEXT PRIMARY KEY, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS address (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    url TEXT NOT NULL                      -- of notices that answer no request of the merchant's
);
CREATE TABLE IF NOT EXISTS card (
    card_no TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('debit', 'credit')),
    name TEXT NOT NULL,
    id_kind TEXT NOT NULL,
    id_no TEXT NOT NULL,
    phone TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('normal', 'frozen', 'lost', 'closed')),
    balance_fen INTEGER NOT NULL CHECK (balance_fen >= 0),
    daily_limit_fen INTEGER                -- NULL: none
);
CREATE TABLE IF NOT EXISTS mandate (
    agreement_no TEXT PRIMARY KEY,         -- the merchant's own
    content TEXT NOT NULL,                 -- what a repeat must not change, as JSON
    channel_agreement_no TEXT UNIQUE,      -- the bank's, from the confirmation on
    card_no TEXT NOT NULL REFERENCES card (card_no),
    cap_fen INTEGER NOT NULL,
    period_cap_fen INTEGER NOT NULL,
    cycle TEXT NOT NULL CHECK (cycle IN ('MONTH', 'QUARTER')),
    debit_day INTEGER NOT NULL CHECK (debit_day BETWEEN 1 AND 28),
    valid_from TEXT NOT NULL,
    valid_to TEXT NOT NULL,
    purpose TEXT NOT NULL,
    notify_url TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('SMS_SENT', 'ACTIVE', 'SUSPENDED', 'CANCELLED', 'FAILED')),
    sms_serial TEXT NOT NULL UNIQUE,
    sms_code TEXT NOT NULL,
    sms_at INTEGER NOT NULL,
    wrong_codes INTEGER NOT NULL DEFAULT 0,
    signed_at INTEGER,
    ended_at INTEGER,
    ended_by TEXT NOT NULL DEFAULT '',     -- merchant, user, bank
    reason TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS card_check (    -- tries of the four elements
    id_no TEXT NOT NULL,
    at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS card_check_person ON card_check (id_no, at);
CREATE TABLE IF NOT EXISTS debit (
    order_no TEXT PRIMARY KEY,
    content TEXT NOT NULL,
    channel_agreement_no TEXT NOT NULL,    -- as given, known or not
    card_no TEXT,                          -- NULL: the agreement is not known
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    purpose TEXT NOT NULL,
    notify_url TEXT NOT NULL,
    batch TEXT,                            -- name of the file; NULL: real time
    line INTEGER,
    period TEXT NOT NULL DEFAULT '',       -- of the agreement, in which it was taken
    state TEXT NOT NULL CHECK (state IN ('PROCESSING', 'SUCCEEDED', 'FAILED')),
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    wanted_code TEXT NOT NULL DEFAULT '',  -- what it is to end with, whatever the rules say
    decide_at INTEGER,                     -- NULL: when the bank's staff says so
    hidden_until INTEGER NOT NULL DEFAULT 0,
    hidden_code TEXT NOT NULL DEFAULT '',  -- what queries are told until then
    is_told INTEGER NOT NULL DEFAULT 0,
    accepted_at INTEGER NOT NULL,
    decided_at INTEGER,
    bank_ref TEXT UNIQUE,
    settle_date TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS debit_open ON debit (is_told, decide_at);
CREATE INDEX IF NOT EXISTS debit_batch ON debit (batch, line);
CREATE TABLE IF NOT EXISTS refund (
    refund_no TEXT PRIMARY KEY,
    order_no TEXT NOT NULL REFERENCES debit (order_no),
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    reason TEXT NOT NULL,
    bank_ref TEXT NOT NULL UNIQUE,
    refunded_at INTEGER NOT NULL,
    settle_date TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS refund_order ON refund (order_no);
CREATE TABLE IF NOT EXISTS payout (
    payout_no TEXT PRIMARY KEY,
    content TEXT NOT NULL,
    card_no TEXT NOT NULL,
    name TEXT NOT NULL,
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    purpose TEXT NOT NULL,
    notify_url TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PROCESSING', 'SUCCEEDED', 'FAILED', 'RETURNED')),
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    wanted_code TEXT NOT NULL DEFAULT '',
    decide_at INTEGER,
    hidden_until INTEGER NOT NULL DEFAULT 0,
    hidden_code TEXT NOT NULL DEFAULT '',
    is_told INTEGER NOT NULL DEFAULT 0,
    accepted_at INTEGER NOT NULL,
    decided_at INTEGER,
    bank_ref TEXT UNIQUE,
    settle_date TEXT NOT NULL DEFAULT '',
    returned_at INTEGER,
    return_ref TEXT UNIQUE,
    return_reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS payout_open ON payout (is_told, decide_at);
CREATE TABLE IF NOT EXISTS entry (         -- the special account
    serial TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,                    -- DEBIT, BATCH, REFUND, PAYOUT, RETURN, DEPOSIT
    reference TEXT NOT NULL,               -- order, refund or payout number, or name of the file
    amount_fen INTEGER NOT NULL,           -- positive: into the account
    balance_fen INTEGER NOT NULL CHECK (balance_fen >= 0),
    party_card TEXT NOT NULL,
    party_name TEXT NOT NULL,
    is_reversal INTEGER NOT NULL,
    summary TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entry_at ON entry (at);
CREATE TABLE IF NOT EXISTS batch (
    name TEXT PRIMARY KEY,                 -- DK_… without .txt
    content BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('REJECTED', 'ACCEPTED', 'RESULTED')),
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    line INTEGER NOT NULL,                 -- where it went wrong; 0: the file as a whole
    received_at INTEGER NOT NULL,
    result_at INTEGER
);
CREATE TABLE IF NOT EXISTS outgoing (      -- files on their way to the outbox
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    batch TEXT NOT NULL,
    name TEXT NOT NULL,
    content BLOB NOT NULL,
    signature TEXT,                        -- NULL: none is put beside it
    due_at INTEGER,                        -- NULL: when the bank's staff says so
    published_at INTEGER
);
"""


@dataclass(frozen=True)
class Merchant:
    """Who we serve: one fund centre with one special account; and the keys of both sides."""

    merchant_id: str
    account_no: str
    key_id: str
    key: RSAPublicKey
    bank_key_id: str
    bank_key: RSAPrivateKey


@dataclass(frozen=True)
class Rules:
    """What the bank has agreed with the merchant, or may decide for itself."""

    timestamp_tolerance_seconds: int = 300
    sms_seconds: int = 600
    """How long a code is good."""
    most_wrong_codes: int = 5
    """The last of them ends the signing."""
    most_card_checks: int = 5
    """Signings started for one identity document on one day."""
    day_cut: time = time(23)
    """From then on an item belongs to the next settlement date."""
    bill_ready: time = time(6)
    """When the files of a day can be had, on the next."""
    batch_seconds: int = 7200
    """From the acknowledgement of a file until its results."""
    most_lines: int = 10_000
    most_file_bytes: int = 4_000_000


def seconds_now(clock: Clock) -> int:
    return int(clock.now().timestamp())


def beijing(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone(SHANGHAI)


def spaced(seconds: int) -> str:
    return beijing(seconds).strftime("%Y-%m-%d %H:%M:%S")


def day_of(seconds: int) -> str:
    return beijing(seconds).strftime("%Y%m%d")


def settle_date(seconds: int, rules: Rules) -> str:
    """Return the settlement date of an item of this moment."""
    moment = beijing(seconds)
    late = moment.time() >= rules.day_cut
    return (moment.date() + timedelta(days=int(late))).strftime("%Y%m%d")


def next_number(books: sqlite3.Connection, name: str) -> int:
    """Return 1, 2, 3 … for each name, without gaps as far as transactions commit."""
    [row] = books.execute(
        "INSERT INTO counter VALUES (?, 1)"
        " ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
        (name,),
    ).fetchall()
    return int(row["value"])


def new_reference(books: sqlite3.Connection, now: int) -> str:
    return f"{day_of(now)}{next_number(books, 'reference'):010d}"


def account_balance(books: sqlite3.Connection) -> int:
    last = books.execute("SELECT balance_fen FROM entry ORDER BY rowid DESC LIMIT 1").fetchone()
    return 0 if last is None else int(last["balance_fen"])


def move_account(
    books: sqlite3.Connection,
    at: int,
    kind: str,
    amount_fen: int,
    *,
    reference: str,
    party: sqlite3.Row | None = None,
    is_reversal: bool = False,
    summary: str = "",
) -> sqlite3.Row:
    """Change the special account and return the entry; it never falls below nothing.

    Args:
        party: a row with `card_no` and `name`; None: no single one, as for the sum of a file.
    """
    serial = f"{day_of(at)}{next_number(books, 'entry'):08d}"
    books.execute(
        "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            serial,
            at,
            kind,
            reference,
            amount_fen,
            account_balance(books) + amount_fen,
            "" if party is None else party["card_no"],
            "" if party is None else party["name"],
            is_reversal,
            summary,
        ),
    )
    entry: sqlite3.Row = books.execute("SELECT * FROM entry WHERE serial = ?", (serial,)).fetchone()
    return entry
