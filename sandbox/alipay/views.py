"""账簿视图 The books as the control API shows them."""

from __future__ import annotations

import sqlite3

from sandbox.alipay.accounts import beijing, refunded_fen, seller_balance
from sandbox.alipay.trades import Trades


def books_view(books: sqlite3.Connection, trades: Trades) -> dict[str, object]:
    """Return everything that happened, oldest first."""
    all_trades = books.execute("SELECT * FROM trade ORDER BY rowid").fetchall()
    refunds = books.execute(
        "SELECT refund.*, out_trade_no FROM refund JOIN trade USING (trade_no)"
        " ORDER BY refund.rowid"
    ).fetchall()
    debits = books.execute(
        "SELECT out_trade_no, agreement_no, amount_fen, state FROM debit"
        " JOIN trade USING (trade_no) ORDER BY debit.rowid"
    ).fetchall()
    return {
        "trades": [
            {
                "out_trade_no": trade["out_trade_no"],
                "reference": trade["trade_no"] if trade["paid_at"] is not None else None,
                "payer": trade["open_id"],
                "amount_fen": trade["amount_fen"],
                "refunded_fen": refunded_fen(books, trade["trade_no"]),
                "state": trades.status(trade),
                "created_at": _moment(trade["created_at"]),
                "paid_at": _moment(trade["paid_at"]),
            }
            for trade in all_trades
        ],
        "refunds": [
            {
                "out_refund_no": refund["out_request_no"],
                "out_trade_no": refund["out_trade_no"],
                "reference": refund["trade_no"],
                "amount_fen": refund["amount_fen"],
                "state": refund["state"],
            }
            for refund in refunds
        ],
        "payers": [
            {"payer": payer["open_id"], "balance_fen": payer["balance_fen"]}
            for payer in books.execute("SELECT * FROM payer ORDER BY rowid")
        ],
        "agreements": [
            _agreement(row) for row in books.execute("SELECT * FROM agreement ORDER BY rowid")
        ],
        "debits": [dict(row) for row in debits],
        "merchant_balance_fen": seller_balance(books),
    }


def _agreement(agreement: sqlite3.Row) -> dict[str, object]:
    names = ("agreement_no", "external_agreement_no", "product", "state", "next_due")
    moments = ("signed_at", "expires_at", "ended_at")
    return {
        "payer": agreement["open_id"],
        **{name: agreement[name] for name in names},
        **{name: _moment(agreement[name]) for name in moments},
    }


def _moment(seconds: int | None) -> str | None:
    return None if seconds is None else beijing(seconds).isoformat()
