"""网关账户 The gateway's tables, and the money of payers and of the seller in them.

Amounts are integer fen, instants are virtual seconds since 1970.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from sandbox.clock import SHANGHAI, Clock
from sandbox.credentials import ALIPAY_WITHHOLDING_LIMIT_FEN

SCHEMA = """
CREATE TABLE IF NOT EXISTS payer (
    open_id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL,              -- an open_id means something to one application only
    logon_id TEXT NOT NULL,
    balance_fen INTEGER NOT NULL CHECK (balance_fen >= 0)
);
CREATE TABLE IF NOT EXISTS login_code (
    code TEXT PRIMARY KEY,
    open_id TEXT NOT NULL REFERENCES payer (open_id),
    created_at INTEGER NOT NULL,
    is_used INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS seller (
    seller_id TEXT PRIMARY KEY,
    balance_fen INTEGER NOT NULL CHECK (balance_fen >= 0)
);
CREATE TABLE IF NOT EXISTS counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS trade (
    trade_no TEXT PRIMARY KEY,
    out_trade_no TEXT NOT NULL UNIQUE,
    content TEXT NOT NULL,             -- what a repeat must not change, as JSON
    open_id TEXT NOT NULL REFERENCES payer (open_id),
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    passback_params TEXT NOT NULL,
    notify_url TEXT NOT NULL,
    charset TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('WAIT_BUYER_PAY', 'TRADE_SUCCESS', 'TRADE_CLOSED')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    paid_at INTEGER,
    closed_at INTEGER,                 -- unpaid too long, closed, or paid back in full
    fee_fen INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS trade_paid ON trade (paid_at);
CREATE INDEX IF NOT EXISTS trade_expires ON trade (state, expires_at);
CREATE TABLE IF NOT EXISTS refund (
    trade_no TEXT NOT NULL REFERENCES trade (trade_no),
    out_request_no TEXT NOT NULL,
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    fee_back_fen INTEGER NOT NULL,     -- service fee that the seller gets back
    reason TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('REFUND_PROCESSING', 'REFUND_SUCCESS', 'REFUND_FAIL')),
    accepted_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (trade_no, out_request_no)
);
CREATE INDEX IF NOT EXISTS refund_finished ON refund (finished_at);
CREATE TABLE IF NOT EXISTS agreement (
    agreement_no TEXT PRIMARY KEY,
    external_agreement_no TEXT NOT NULL UNIQUE,  -- the merchant's own
    open_id TEXT NOT NULL REFERENCES payer (open_id),
    product TEXT NOT NULL CHECK (product IN ('CYCLE_PAY_AUTH_P', 'GENERAL_WITHHOLDING_P')),
    sign_scene TEXT NOT NULL,
    notify_url TEXT NOT NULL,
    charset TEXT NOT NULL,
    period_type TEXT NOT NULL,             -- this and the next five: 周期扣款 only
    period INTEGER NOT NULL,
    next_due TEXT NOT NULL,                -- yyyy-MM-dd in Beijing
    single_fen INTEGER NOT NULL,
    total_fen INTEGER,
    total_payments INTEGER,
    state TEXT NOT NULL CHECK (state IN ('NORMAL', 'UNSIGN', 'STOP')),
    signed_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at INTEGER
);
CREATE TABLE IF NOT EXISTS debit (         -- what makes a trade one under an agreement
    trade_no TEXT PRIMARY KEY REFERENCES trade (trade_no),
    agreement_no TEXT NOT NULL REFERENCES agreement (agreement_no),
    due_at INTEGER NOT NULL
);
"""


@dataclass(frozen=True)
class Merchant:
    """Who we serve: one seller with one mini-program; and the keys of both sides."""

    app_id: str
    seller_id: str
    app_key: RSAPublicKey
    gateway_key: RSAPrivateKey


@dataclass(frozen=True)
class Rules:
    """What the gateway has agreed with the seller, or may decide for itself."""

    fee_per_mille: int = 6
    """Service fee; 6 is 0.60 %. Rounded half up to the fen."""
    refund_days: int = 365
    """How long after payment money can go back; then the trade is TRADE_FINISHED."""
    cancel_hours: int = 24
    """How long after payment a trade can be cancelled."""
    announces_closing: bool = False
    """Whether a trade that is closed unpaid sends a TRADE_CLOSED notice; products differ."""
    timestamp_tolerance_seconds: int | None = 600
    """How far a request's timestamp may be off; None: any well-formed one will do."""
    cycle_limit_fen: int = 100_00
    """The most that one debit of 周期扣款 may take."""
    cycle_day_limit_fen: int = 1_000_00
    cycle_month_limit_fen: int = 30_000_00
    """The most that all debits of 周期扣款 may take from one person in a day and in a month."""
    cycle_window_days: int = 5
    """How many days before its due day a debit of 周期扣款 may be taken."""
    withholding_limit_fen: int = ALIPAY_WITHHOLDING_LIMIT_FEN
    """The most that one debit of 商家扣款 may take."""
    shows_expired: bool = True
    """Whether a query still finds an agreement that has run out, as STOP; the documents leave it
    open. One that was ended is never found."""
    signs_refusals: bool = True
    """Whether refusals at the door are signed; that of an unknown application never is."""
    plain_answers: bool = False
    """Whether all answers have the one shape that the simplest reader understands."""

    def fee_fen(self, amount_fen: int) -> int:
        return (amount_fen * self.fee_per_mille + 500) // 1000


def seconds_now(clock: Clock) -> int:
    return int(clock.now().timestamp())


def beijing(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone(SHANGHAI)


def spaced(seconds: int) -> str:
    return beijing(seconds).strftime("%Y-%m-%d %H:%M:%S")


def read_spaced(text: str) -> int:
    """Return the instant of a Beijing time `yyyy-MM-dd HH:mm:ss`; ValueError if it is none."""
    instant = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=SHANGHAI)
    if instant.strftime("%Y-%m-%d %H:%M:%S") != text:
        raise ValueError(text)
    return int(instant.timestamp())


def yuan(amount_fen: int) -> str:
    """Return yuan with two decimals."""
    sign = "-" if amount_fen < 0 else ""
    return f"{sign}{abs(amount_fen) // 100}.{abs(amount_fen) % 100:02d}"


def next_number(books: sqlite3.Connection, name: str) -> int:
    """Return 1, 2, 3 … for each name, without gaps as far as transactions commit."""
    [row] = books.execute(
        "INSERT INTO counter VALUES (?, 1)"
        " ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
        (name,),
    ).fetchall()
    return int(row["value"])


def new_trade_no(books: sqlite3.Connection, now: int) -> str:
    return f"{beijing(now):%Y%m%d}22001400{next_number(books, 'trade'):012d}"


def new_notify_id(books: sqlite3.Connection, now: int) -> str:
    return f"{beijing(now):%Y%m%d00222%H%M%S}{next_number(books, 'notice'):015d}"


def move_payer(books: sqlite3.Connection, open_id: str, amount_fen: int) -> None:
    """Change a wallet; SQLite refuses to let it fall below nothing."""
    books.execute(
        "UPDATE payer SET balance_fen = balance_fen + ? WHERE open_id = ?", (amount_fen, open_id)
    )


def seller_balance(books: sqlite3.Connection) -> int:
    row = books.execute("SELECT COALESCE(SUM(balance_fen), 0) AS fen FROM seller").fetchone()
    return int(row["fen"])


def move_seller(books: sqlite3.Connection, merchant: Merchant, amount_fen: int) -> None:
    """Change the seller's account; SQLite refuses to let it fall below nothing."""
    books.execute("INSERT OR IGNORE INTO seller VALUES (?, 0)", (merchant.seller_id,))
    books.execute(
        "UPDATE seller SET balance_fen = balance_fen + ? WHERE seller_id = ?",
        (amount_fen, merchant.seller_id),
    )


def refunded_fen(books: sqlite3.Connection, trade_no: str) -> int:
    """Return how much of a trade has reached the payer again."""
    row = books.execute(
        "SELECT COALESCE(SUM(amount_fen), 0) AS fen FROM refund"
        " WHERE trade_no = ? AND state = 'REFUND_SUCCESS'",
        (trade_no,),
    ).fetchone()
    return int(row["fen"])
