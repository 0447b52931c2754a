"""网关账户 The gateway's tables, and the money of payers and of the merchant in them.

Amounts are integer fen, instants are virtual seconds since 1970.
"""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from sandbox.clock import SHANGHAI, Clock

SCHEMA = """
CREATE TABLE IF NOT EXISTS payer (
    openid TEXT PRIMARY KEY,
    balance_fen INTEGER NOT NULL CHECK (balance_fen >= 0)
);
CREATE TABLE IF NOT EXISTS login_code (
    code TEXT PRIMARY KEY,
    openid TEXT NOT NULL REFERENCES payer (openid),
    created_at INTEGER NOT NULL,
    is_used INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS trade (
    out_trade_no TEXT PRIMARY KEY,
    content TEXT NOT NULL,             -- what a repeat must not change, as JSON
    openid TEXT NOT NULL REFERENCES payer (openid),
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    body TEXT NOT NULL,
    attach TEXT NOT NULL,
    device_info TEXT NOT NULL,
    notify_url TEXT NOT NULL,
    sign_type TEXT NOT NULL,
    prepay_id TEXT NOT NULL UNIQUE,
    prepay_at INTEGER NOT NULL,
    state TEXT NOT NULL,               -- trade_state; REFUND is not stored but follows from refunds
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    paid_at INTEGER,
    transaction_id TEXT UNIQUE,
    fee_fen INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS trade_paid ON trade (paid_at);
CREATE TABLE IF NOT EXISTS refund (
    out_refund_no TEXT PRIMARY KEY,
    refund_id TEXT NOT NULL UNIQUE,
    out_trade_no TEXT NOT NULL REFERENCES trade (out_trade_no),
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    fee_back_fen INTEGER NOT NULL,     -- handling fee that the merchant gets back
    reason TEXT NOT NULL,
    notify_url TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PROCESSING', 'SUCCESS', 'REFUNDCLOSE')),
    accepted_at INTEGER NOT NULL,
    finished_at INTEGER
);
CREATE INDEX IF NOT EXISTS refund_trade ON refund (out_trade_no);
CREATE INDEX IF NOT EXISTS refund_accepted ON refund (accepted_at);
CREATE TABLE IF NOT EXISTS movement (      -- the merchant's account
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    reference TEXT NOT NULL,           -- transaction_id, refund_id, or a payout's own number
    voucher TEXT NOT NULL,
    amount_fen INTEGER NOT NULL,       -- positive: to the merchant
    balance_fen INTEGER NOT NULL CHECK (balance_fen >= 0),
    remark TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS movement_at ON movement (at);
CREATE TABLE IF NOT EXISTS plan (          -- templates of 委托代扣 that the platform has approved
    plan_id TEXT PRIMARY KEY,
    mode TEXT NOT NULL CHECK (mode IN ('AFTER_24_HOURS', 'PRE_NOTICE', 'AT_ONCE')),
    limit_fen INTEGER NOT NULL CHECK (limit_fen > 0),  -- of a single debit
    termination_url TEXT NOT NULL          -- set in the back office; empty: that of the signing
);
CREATE TABLE IF NOT EXISTS contract (
    contract_code TEXT PRIMARY KEY,        -- the merchant's own
    content TEXT NOT NULL,                 -- what a repeat must not change, as JSON
    contract_id TEXT UNIQUE,               -- the platform's; NULL: the person said no
    plan_id TEXT NOT NULL REFERENCES plan (plan_id),
    openid TEXT NOT NULL REFERENCES payer (openid),
    display_account TEXT NOT NULL,
    request_serial TEXT NOT NULL,
    notify_url TEXT NOT NULL,
    sign_type TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('DENIED', 'SIGNED', 'TERMINATED')),
    signed_at INTEGER,
    expires_at INTEGER,
    hidden_until INTEGER NOT NULL DEFAULT 0,
    is_told INTEGER NOT NULL DEFAULT 0,
    ended_at INTEGER,
    mode INTEGER NOT NULL DEFAULT 0,       -- contract_termination_mode
    remark TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS contract_expires ON contract (state, expires_at);
CREATE TABLE IF NOT EXISTS debit (         -- what makes a trade one of 委托代扣
    out_trade_no TEXT PRIMARY KEY REFERENCES trade (out_trade_no),
    contract_id TEXT NOT NULL REFERENCES contract (contract_id),
    announcement INTEGER,                  -- that it was taken under, if it needs one
    due_at INTEGER,                        -- NULL: when the platform's staff says so
    wanted_code TEXT NOT NULL DEFAULT '',  -- what it is to end with, whatever the rules say
    decided_at INTEGER,
    code TEXT NOT NULL DEFAULT '',         -- err_code of one that failed
    message TEXT NOT NULL DEFAULT '',
    hidden_until INTEGER NOT NULL DEFAULT 0,
    is_lost INTEGER NOT NULL DEFAULT 0,    -- while hidden, queries do not find it
    is_told INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS debit_open ON debit (is_told, due_at);
CREATE INDEX IF NOT EXISTS debit_contract ON debit (contract_id);
CREATE TABLE IF NOT EXISTS announcement (  -- 预扣费通知
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    contract_id TEXT NOT NULL REFERENCES contract (contract_id),
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    announced_at INTEGER NOT NULL,
    first_day TEXT NOT NULL,               -- yyyymmdd in Beijing, both inclusive
    last_day TEXT NOT NULL,
    is_used INTEGER NOT NULL DEFAULT 0     -- a debit under it has succeeded
);
CREATE INDEX IF NOT EXISTS announcement_contract ON announcement (contract_id);
"""


@dataclass(frozen=True)
class Merchant:
    """Who we serve: one merchant with one mini-program; and the keys of both sides for API v3."""

    app_id: str
    app_secret: str
    merchant_id: str
    api_key: str
    plan_id: str
    serial_no: str
    merchant_key: RSAPublicKey
    platform_key_id: str
    platform_key: RSAPrivateKey


@dataclass(frozen=True)
class Rules:
    """What the gateway has agreed with the merchant, or may decide for itself."""

    fee_per_mille: int = 6
    """Handling fee; 6 is 0.60 %. Rounded half up to the fen."""
    close_wait_seconds: int = 0
    """How long after placing it an order cannot be closed; the real service asks for 300."""
    debit_limit_fen: int = 500_000
    """The most that one debit under a new plan may take."""
    contract_days: int = 3650
    """How long a contract is in force."""

    def fee_fen(self, amount_fen: int) -> int:
        return (amount_fen * self.fee_per_mille + 500) // 1000

    @property
    def fee_rate(self) -> str:
        return f"{self.fee_per_mille // 10}.{self.fee_per_mille % 10}0%"


def seconds_now(clock: Clock) -> int:
    return int(clock.now().timestamp())


def beijing(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone(SHANGHAI)


def compact(seconds: int) -> str:
    return beijing(seconds).strftime("%Y%m%d%H%M%S")


def spaced(seconds: int) -> str:
    return beijing(seconds).strftime("%Y-%m-%d %H:%M:%S")


def day_of(seconds: int) -> str:
    return beijing(seconds).strftime("%Y%m%d")


def new_number(prefix: str, seconds: int, length: int) -> str:
    """Return a number of the platform's: prefix, Beijing day, random digits."""
    start = prefix + beijing(seconds).strftime("%Y%m%d")
    count = length - len(start)
    return start + str(secrets.randbelow(10**count)).zfill(count)


def move_payer(books: sqlite3.Connection, openid: str, amount_fen: int) -> None:
    """Change a wallet; SQLite refuses to let it fall below nothing."""
    books.execute(
        "UPDATE payer SET balance_fen = balance_fen + ? WHERE openid = ?", (amount_fen, openid)
    )


def merchant_balance(books: sqlite3.Connection) -> int:
    last = books.execute("SELECT balance_fen FROM movement ORDER BY id DESC LIMIT 1").fetchone()
    return 0 if last is None else int(last["balance_fen"])


def move_merchant(
    books: sqlite3.Connection,
    at: int,
    name: str,
    amount_fen: int,
    *,
    reference: str,
    voucher: str,
    remark: str = "",
) -> None:
    """Change the merchant's account; SQLite refuses to let it fall below nothing."""
    if amount_fen == 0:
        return
    books.execute(
        "INSERT INTO movement (at, name, reference, voucher, amount_fen, balance_fen, remark)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            at,
            name,
            reference,
            voucher,
            amount_fen,
            merchant_balance(books) + amount_fen,
            remark,
        ),
    )
