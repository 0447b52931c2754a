"""账簿视图 The books as the control API shows them."""

from __future__ import annotations

import sqlite3

from sandbox.wechat.accounts import beijing, merchant_balance
from sandbox.wechat.orders import Orders

_TRADES = (
    "SELECT *, (SELECT COALESCE(SUM(amount_fen), 0) FROM refund WHERE"
    " refund.out_trade_no = trade.out_trade_no AND refund.state = 'SUCCESS')"
    " AS refunded_fen FROM trade ORDER BY rowid"
)
_DEBITS = (
    "SELECT debit.*, amount_fen, state FROM debit JOIN trade USING (out_trade_no)"
    " ORDER BY debit.rowid"
)


def books_view(books: sqlite3.Connection, orders: Orders) -> dict[str, object]:
    """Return everything that happened, oldest first."""
    return {
        "trades": [_trade(row, orders.trade_state(row)) for row in books.execute(_TRADES)],
        "refunds": [_refund(row) for row in books.execute("SELECT * FROM refund ORDER BY rowid")],
        "payers": [
            {"payer": payer["openid"], "balance_fen": payer["balance_fen"]}
            for payer in books.execute("SELECT * FROM payer ORDER BY rowid")
        ],
        "contracts": [
            _contract(row) for row in books.execute("SELECT * FROM contract ORDER BY rowid")
        ],
        "debits": [_debit(row) for row in books.execute(_DEBITS)],
        "announcements": [
            _announcement(row) for row in books.execute("SELECT * FROM announcement ORDER BY id")
        ],
        "merchant_balance_fen": merchant_balance(books),
    }


def _trade(trade: sqlite3.Row, state: str) -> dict[str, object]:
    return {
        "out_trade_no": trade["out_trade_no"],
        "reference": trade["transaction_id"],
        "payer": trade["openid"],
        "amount_fen": trade["amount_fen"],
        "refunded_fen": trade["refunded_fen"],
        "state": state,
        **_moments(trade, "created_at", "paid_at"),
    }


def _refund(refund: sqlite3.Row) -> dict[str, object]:
    names = ("out_refund_no", "out_trade_no", "amount_fen", "state")
    return {"reference": refund["refund_id"], **{name: refund[name] for name in names}}


def _contract(contract: sqlite3.Row) -> dict[str, object]:
    names = ("contract_code", "contract_id", "plan_id", "state", "mode")
    return {
        "payer": contract["openid"],
        **{name: contract[name] for name in names},
        **_moments(contract, "signed_at", "expires_at", "ended_at"),
    }


def _debit(debit: sqlite3.Row) -> dict[str, object]:
    names = ("out_trade_no", "contract_id", "amount_fen", "state", "code")
    return {**{name: debit[name] for name in names}, **_moments(debit, "due_at", "decided_at")}


def _announcement(announcement: sqlite3.Row) -> dict[str, object]:
    names = ("contract_id", "amount_fen", "first_day", "last_day")
    return {
        **{name: announcement[name] for name in names},
        "is_used": bool(announcement["is_used"]),
        **_moments(announcement, "announced_at"),
    }


def _moments(row: sqlite3.Row, *names: str) -> dict[str, str | None]:
    return {name: None if row[name] is None else beijing(row[name]).isoformat() for name in names}
