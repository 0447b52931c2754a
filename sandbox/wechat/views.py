"""账簿视图 The books as the control API shows them."""

from __future__ import annotations

import sqlite3

from sandbox.wechat.accounts import beijing, merchant_balance
from sandbox.wechat.orders import Orders


def books_view(books: sqlite3.Connection, orders: Orders) -> dict[str, object]:
    """Return everything that happened, oldest first."""
    trades = books.execute(
        "SELECT *, (SELECT COALESCE(SUM(amount_fen), 0) FROM refund WHERE"
        " refund.out_trade_no = trade.out_trade_no AND refund.state = 'SUCCESS')"
        " AS refunded_fen FROM trade ORDER BY rowid"
    ).fetchall()
    return {
        "trades": [
            {
                "out_trade_no": trade["out_trade_no"],
                "reference": trade["transaction_id"],
                "payer": trade["openid"],
                "amount_fen": trade["amount_fen"],
                "refunded_fen": trade["refunded_fen"],
                "state": orders.trade_state(trade),
                "created_at": _instant(trade["created_at"]),
                "paid_at": _instant(trade["paid_at"]),
            }
            for trade in trades
        ],
        "refunds": [
            {
                "out_refund_no": refund["out_refund_no"],
                "out_trade_no": refund["out_trade_no"],
                "reference": refund["refund_id"],
                "amount_fen": refund["amount_fen"],
                "state": refund["state"],
            }
            for refund in books.execute("SELECT * FROM refund ORDER BY rowid")
        ],
        "payers": [
            {"payer": payer["openid"], "balance_fen": payer["balance_fen"]}
            for payer in books.execute("SELECT * FROM payer ORDER BY rowid")
        ],
        "contracts": [
            {
                "contract_code": contract["contract_code"],
                "contract_id": contract["contract_id"],
                "plan_id": contract["plan_id"],
                "payer": contract["openid"],
                "state": contract["state"],
                "mode": contract["mode"],
                "signed_at": _instant(contract["signed_at"]),
                "expires_at": _instant(contract["expires_at"]),
                "ended_at": _instant(contract["ended_at"]),
            }
            for contract in books.execute("SELECT * FROM contract ORDER BY rowid")
        ],
        "debits": [
            {
                "out_trade_no": debit["out_trade_no"],
                "contract_id": debit["contract_id"],
                "amount_fen": debit["amount_fen"],
                "state": debit["state"],
                "code": debit["code"],
                "due_at": _instant(debit["due_at"]),
                "decided_at": _instant(debit["decided_at"]),
            }
            for debit in books.execute(
                "SELECT debit.*, amount_fen, state FROM debit JOIN trade USING (out_trade_no)"
                " ORDER BY debit.rowid"
            )
        ],
        "merchant_balance_fen": merchant_balance(books),
    }


def _instant(seconds: int | None) -> str | None:
    return None if seconds is None else beijing(seconds).isoformat()
