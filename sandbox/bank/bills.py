"""账单 The items of one settlement date, and the statement of one day of the special account.

GB18030 CSV with CRLF: a header, the lines, and a line of totals that starts with 合计. Amounts are
fen; money that leaves the special account is negative.
"""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

from sandbox.bank.accounts import Rules, settle_date, spaced
from sandbox.bank.codes import Refusal
from sandbox.clock import SHANGHAI

ITEMS = "items"
STATEMENT = "statement"

_ITEM_HEADER = [
    "清算日期",
    "交易时间",
    "交易类型",
    "商户订单号",
    "原商户订单号",
    "银行流水号",
    "协议号",
    "卡号后四位",
    "金额（分）",
    "手续费（分）",
    "返回码",
    "批量文件",
]
_STATEMENT_HEADER = [
    "记账时间",
    "账户流水号",
    "业务类型",
    "业务编号",
    "金额（分）",
    "余额（分）",
    "对方账号",
    "对方户名",
    "冲正标志",
    "摘要",
]


def write_bill(books: sqlite3.Connection, kind: str, day: str, now: int, rules: Rules) -> bytes:
    """Return the file of a day.

    Raises:
        Refusal: 98, it is not there yet.
    """
    midnight = datetime.strptime(day, "%Y%m%d").replace(tzinfo=SHANGHAI)
    next_day = midnight.date() + timedelta(days=1)
    if now < datetime.combine(next_day, rules.bill_ready, SHANGHAI).timestamp():
        raise Refusal("98")
    if kind == ITEMS:
        rows = _items(books, day, rules)
        return _file(_ITEM_HEADER, rows, amount_column=8)
    start = int(midnight.timestamp())
    end = int(datetime.combine(next_day, midnight.timetz()).timestamp())
    return _file(_STATEMENT_HEADER, _entries(books, start, end), amount_column=4)


def _items(books: sqlite3.Connection, day: str, rules: Rules) -> list[list[str]]:
    found: list[tuple[int, list[str]]] = []

    def add(
        at: int, kind: str, number: str, original: str, row: sqlite3.Row, amount_fen: int
    ) -> None:
        names = row.keys()
        cells = [
            day,
            spaced(at),
            kind,
            number,
            original,
            row["return_ref"] if kind == "RETURN" else row["bank_ref"],
            row["channel_agreement_no"] if "channel_agreement_no" in names else "",
            row["card_no"][-4:],
            str(amount_fen),
            "0",
            row["code"] if kind in {"DEBIT", "PAYOUT"} else "00",
            (row["batch"] or "") if "batch" in names else "",
        ]
        found.append((at, cells))

    for row in books.execute("SELECT * FROM debit WHERE settle_date = ?", (day,)):
        add(row["decided_at"], "DEBIT", row["order_no"], "", row, row["amount_fen"])
    for row in books.execute(
        "SELECT refund.*, card_no, channel_agreement_no FROM refund JOIN debit USING (order_no)"
        " WHERE refund.settle_date = ?",
        (day,),
    ):
        add(
            row["refunded_at"], "REFUND", row["refund_no"], row["order_no"], row, -row["amount_fen"]
        )
    for row in books.execute("SELECT * FROM payout WHERE settle_date = ?", (day,)):
        add(row["decided_at"], "PAYOUT", row["payout_no"], "", row, -row["amount_fen"])
    for row in books.execute("SELECT * FROM payout WHERE returned_at IS NOT NULL"):
        if settle_date(row["returned_at"], rules) == day:
            number = row["payout_no"]
            add(row["returned_at"], "RETURN", number, number, row, row["amount_fen"])
    return [cells for _, cells in sorted(found, key=lambda item: item[0])]


def _entries(books: sqlite3.Connection, start: int, end: int) -> list[list[str]]:
    return [
        [
            spaced(row["at"]),
            row["serial"],
            row["kind"],
            row["reference"],
            str(row["amount_fen"]),
            str(row["balance_fen"]),
            row["party_card"],
            row["party_name"],
            "Y" if row["is_reversal"] else "N",
            row["summary"],
        ]
        for row in books.execute(
            "SELECT * FROM entry WHERE at >= ? AND at < ? ORDER BY rowid", (start, end)
        )
    ]


def _file(header: Sequence[str], rows: Sequence[Sequence[str]], amount_column: int) -> bytes:
    """Return the file; its last line has the number of lines, what came and what went."""
    amounts = [int(row[amount_column]) for row in rows]
    came = sum(amount for amount in amounts if amount > 0)
    went = sum(amount for amount in amounts if amount < 0)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    writer.writerow(["合计", str(len(rows)), str(came), str(went)])
    return text.getvalue().encode("gb18030")
