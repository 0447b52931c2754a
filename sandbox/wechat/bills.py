"""账单 The bill and the fund-flow bill of one Beijing day, as files.

A bill is a snapshot of nine o'clock on the next morning: a refund accepted that day and finished
later stays PROCESSING in it for ever. Payments count on the day of `time_end`, refunds on the day
they were accepted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from sandbox.clock import SHANGHAI
from sandbox.wechat.accounts import Merchant, Rules, spaced

BILL_TYPES = frozenset({"ALL", "SUCCESS", "REFUND", "REVOKED"})

_BEFORE = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额"  # noqa: E501
_REFUND = "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态"
_GOODS = "商品名称,商户数据包,手续费,费率,订单金额"
_HEADERS = {
    "ALL": f"{_BEFORE},{_REFUND},{_GOODS},申请退款金额,费率备注",
    "SUCCESS": f"{_BEFORE},{_GOODS},费率备注",
    "REFUND": f"{_BEFORE},退款申请时间,退款成功时间,{_REFUND},{_GOODS},申请退款金额,费率备注",
}
_TOTALS = (
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
)
_FLOW_HEADER = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额（元）,账户结余（元）,资金变更提交申请人,备注,业务凭证号"  # noqa: E501
_FLOW_TOTALS = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"


class NotYet(Exception):
    """The bill of that day is being made (Bill Creating)."""


class NoBill(Exception):
    """There is none: the day is not over, or nothing happened (NO Bill Exist)."""


@dataclass(frozen=True)
class Day:
    """A Beijing day, in seconds: from `start` until before `end`; the bill is ready at `ready`."""

    start: int
    end: int
    ready: int


def open_day(text: str, now: int) -> Day:
    """Return the day `yyyyMMdd` if its bill can be had now.

    Raises:
        ValueError: not a date.
        NoBill, NotYet: too early.
    """
    midnight = datetime.strptime(text, "%Y%m%d").replace(tzinfo=SHANGHAI)
    next_day = midnight.date() + timedelta(days=1)
    end = datetime.combine(next_day, time(), SHANGHAI)
    ready = datetime.combine(next_day, time(9), SHANGHAI)
    day = Day(*(int(instant.timestamp()) for instant in (midnight, end, ready)))
    if now < day.end:
        raise NoBill
    if now < day.ready:
        raise NotYet
    return day


def write_bill(
    books: sqlite3.Connection, day: Day, bill_type: str, merchant: Merchant, rules: Rules
) -> bytes:
    """Return the bill of ALL, SUCCESS or REFUND.

    Raises:
        NoBill: nothing of the kind happened that day.
    """
    lines = _Lines(merchant, rules, day)
    span = (day.start, day.end)
    paid = books.execute(
        "SELECT trade.*, debit.contract_id FROM trade LEFT JOIN debit USING (out_trade_no)"
        " WHERE paid_at >= ? AND paid_at < ?",
        span,
    ).fetchall()
    refunded = books.execute(
        "SELECT refund.*, refund.state AS refund_state, trade.openid, trade.transaction_id,"
        " trade.device_info, trade.body, trade.attach, debit.contract_id"
        " FROM refund JOIN trade USING (out_trade_no) LEFT JOIN debit USING (out_trade_no)"
        " WHERE accepted_at >= ? AND accepted_at < ?",
        span,
    ).fetchall()
    rows: list[tuple[int, list[str]]] = []
    if bill_type in {"ALL", "SUCCESS"}:
        rows += [(row["paid_at"], lines.payment(row, bill_type)) for row in paid]
    else:
        paid = []
    if bill_type in {"ALL", "REFUND"}:
        rows += [(row["accepted_at"], lines.refund(row, bill_type)) for row in refunded]
    else:
        refunded = []
    if not rows:
        raise NoBill
    rows.sort(key=lambda row: row[0])
    paid_fen = sum(row["amount_fen"] for row in paid)
    refunded_fen = sum(row["amount_fen"] for row in refunded)
    fee_fen = sum(row["fee_fen"] for row in paid) - sum(row["fee_back_fen"] for row in refunded)
    totals = [
        str(len(rows)),
        yuan(paid_fen),
        yuan(refunded_fen),
        "0.00",
        _long_yuan(fee_fen),
        yuan(paid_fen),
        yuan(refunded_fen),
    ]
    return _file(_HEADERS[bill_type], (cells for _, cells in rows), _TOTALS, totals)


class _Lines:
    """Writes single lines of a bill."""

    def __init__(self, merchant: Merchant, rules: Rules, day: Day) -> None:
        self._merchant = merchant
        self._rules = rules
        self._day = day

    def payment(self, row: sqlite3.Row, bill_type: str) -> list[str]:
        amount = yuan(row["amount_fen"])
        cells = self._before(row, row["paid_at"], "SUCCESS", amount)
        no_refund = ["0", "0", "0.00", "0.00", "", ""]
        goods = self._goods(row, row["fee_fen"], amount)
        if bill_type == "SUCCESS":
            return [*cells, *goods, ""]
        return [*cells, *no_refund, *goods, "0.00", ""]

    def refund(self, row: sqlite3.Row, bill_type: str) -> list[str]:
        amount = yuan(row["amount_fen"])
        cells = self._before(row, row["accepted_at"], "REFUND", "0.00")
        state = self._state_in_the_morning(row)
        if bill_type == "REFUND":
            done_at = spaced(row["finished_at"]) if state == "SUCCESS" else ""
            cells += [spaced(row["accepted_at"]), done_at]
        numbers = [row["refund_id"], row["out_refund_no"], amount, "0.00", "ORIGINAL", state]
        goods = self._goods(row, -row["fee_back_fen"], "0.00")
        return [*cells, *numbers, *goods, amount, ""]

    def _state_in_the_morning(self, row: sqlite3.Row) -> str:
        if row["finished_at"] is None or row["finished_at"] >= self._day.ready:
            return "PROCESSING"
        return "SUCCESS" if row["refund_state"] == "SUCCESS" else "FAIL"

    def _before(self, row: sqlite3.Row, at: int, state: str, settled: str) -> list[str]:
        return [
            spaced(at),
            self._merchant.app_id,
            self._merchant.merchant_id,
            "0",
            row["device_info"],
            row["transaction_id"],
            row["out_trade_no"],
            row["openid"],
            "JSAPI" if row["contract_id"] is None else "PAP",
            state,
            "OTHERS",
            "CNY",
            settled,
            "0.00",
        ]

    def _goods(self, row: sqlite3.Row, fee_fen: int, amount: str) -> list[str]:
        fee = _long_yuan(fee_fen)
        return [row["body"], row["attach"], fee, self._rules.fee_rate, amount]


def write_fund_flow(books: sqlite3.Connection, day: Day, merchant: Merchant) -> bytes:
    """Return the movements of the merchant's account.

    Raises:
        NoBill: there were none that day.
    """
    movements = books.execute(
        "SELECT * FROM movement WHERE at >= ? AND at < ? ORDER BY id", (day.start, day.end)
    ).fetchall()
    if not movements:
        raise NoBill
    rows = [
        [
            spaced(row["at"]),
            row["reference"],
            f"{merchant.merchant_id}{row['id']:022d}",
            row["name"],
            row["name"],
            "收入" if row["amount_fen"] > 0 else "支出",
            yuan(abs(row["amount_fen"])),
            yuan(row["balance_fen"]),
            "system",
            row["remark"],
            row["voucher"],
        ]
        for row in movements
    ]
    came = [row["amount_fen"] for row in movements if row["amount_fen"] > 0]
    went = [-row["amount_fen"] for row in movements if row["amount_fen"] < 0]
    totals = [
        str(len(rows)),
        str(len(came)),
        yuan(sum(came)),
        str(len(went)),
        yuan(sum(went)),
    ]
    return _file(_FLOW_HEADER, rows, _FLOW_TOTALS, totals)


def yuan(amount_fen: int) -> str:
    """Return yuan with two decimals."""
    sign = "-" if amount_fen < 0 else ""
    return f"{sign}{abs(amount_fen) // 100}.{abs(amount_fen) % 100:02d}"


def _long_yuan(amount_fen: int) -> str:
    """Return yuan with five decimals, as handling fees are written."""
    return f"{yuan(amount_fen)}000"


def _file(
    header: str, rows: Iterable[Sequence[str]], totals_header: str, totals: Sequence[str]
) -> bytes:
    """Return UTF-8 with a byte-order mark and CRLF; a back-quote before every value."""
    lines = [header, *map(_line, rows), totals_header, _line(totals), ""]
    return b"\xef\xbb\xbf" + "\r\n".join(lines).encode()


def _line(cells: Sequence[str]) -> str:
    """Return one line. Commas stay as they are, as in the real files; line ends cannot."""
    return ",".join("`" + " ".join(cell.splitlines()) for cell in cells)
