"""账单 The bill (业务明细) of one Beijing day: two GBK files in a zip, fetched within 30 seconds.

Payments count on the day they were paid, refunds on the day they were done.
"""

from __future__ import annotations

import hmac
import io
import re
import secrets
import sqlite3
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from urllib.parse import urlencode

from sandbox.alipay.accounts import Merchant, seconds_now, spaced, yuan
from sandbox.alipay.checks import Content, Refusal, read_text
from sandbox.books import Books
from sandbox.clock import SHANGHAI, Clock
from sandbox.control import Refused

URL_SECONDS = 30
SPOILS = frozenset({"missing_row", "changed_fee", "changed_amount"})

_READY = time(9)
_WRITTEN = time(6, 27, 10)
_ACCOUNT_TAIL = "0156"
_TAB = "\t"

_DETAIL_HEADER = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"  # noqa: E501
_SUMMARY_HEADER = "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,支付宝优惠（元）,商家优惠（元）,卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）"  # noqa: E501


@dataclass(frozen=True)
class Line:
    """One line of the detail file; a refund has a request number and a negative amount."""

    trade_no: str
    out_trade_no: str
    subject: str
    created_at: int
    done_at: int
    payer: str
    amount_fen: int
    fee_fen: int
    """What the seller paid for the service: negative, or positive when it comes back."""
    remark: str
    out_request_no: str = ""


class Bills:
    """The bills of one seller, and the addresses they can be fetched from."""

    def __init__(self, books: Books, clock: Clock, merchant: Merchant) -> None:
        self._books = books
        self._clock = clock
        self._merchant = merchant
        self._secret = secrets.token_bytes(32)
        self._spoilt: dict[str, str] = {}

    def spoil(self, out_trade_no: str, defect: str) -> None:
        """Have the bill say something else of this trade's payment than the books do.

        Raises:
            Refused: no such trade or no such defect.
        """
        if defect not in SPOILS:
            raise Refused(f"defect 应为 {'、'.join(sorted(SPOILS))}")
        with self._books.transaction() as books:
            found = books.execute(
                "SELECT 1 FROM trade WHERE out_trade_no = ?", (out_trade_no,)
            ).fetchone()
        if found is None:
            raise Refused("没有这笔交易")
        self._spoilt[out_trade_no] = defect

    def address(self, content: Content, root: str) -> str:
        """`alipay.data.dataservice.bill.downloadurl.query`: return where the bill is.

        Raises:
            Refusal: there is none, or not yet.
        """
        bill_type = read_text(content, "bill_type", 20, required=True)
        day = _read_day(read_text(content, "bill_date", 15, required=True))
        if bill_type != "trade" or day is None or _at(day, time()) > seconds_now(self._clock):
            raise Refusal("isv.invalid_arguments", "入参不合法")
        too_early = seconds_now(self._clock) < _at(day + timedelta(days=1), _READY)
        if too_early or not self._lines(day):
            raise Refusal("isp.bill_not_exist", "账单不存在")
        name = f"{self.account}_{day:%Y%m%d}.csv.zip"
        issued_at = str(seconds_now(self._clock))
        query = urlencode({"timestamp": issued_at, "token": self._token(name, issued_at)})
        return f"{root}bills/{name}?{query}"

    @property
    def account(self) -> str:
        return self._merchant.seller_id + _ACCOUNT_TAIL

    def fetch(self, name: str, query: Mapping[str, str]) -> bytes | None:
        """Return the zip, or None if the address was not issued by us within 30 seconds."""
        issued_at = query.get("timestamp", "")
        expected = self._token(name, issued_at)
        if not hmac.compare_digest(expected.encode(), query.get("token", "").encode()):
            return None
        if not 0 <= seconds_now(self._clock) - int(issued_at) < URL_SECONDS:
            return None
        day = datetime.strptime(name.split("_")[1][:8], "%Y%m%d").replace(tzinfo=SHANGHAI)
        return write_bill(self.account, day, self._lines(day))

    def _token(self, name: str, issued_at: str) -> str:
        return hmac.digest(self._secret, f"{name}?{issued_at}".encode(), "sha256").hex()

    def _lines(self, day: datetime) -> list[Line]:
        span = (_at(day, time()), _at(day + timedelta(days=1), time()))
        with self._books.transaction() as books:
            paid = books.execute(
                "SELECT trade.*, logon_id, paid_at AS done_at, amount_fen AS line_fen,"
                " -fee_fen AS line_fee_fen, '' AS out_request_no FROM trade"
                " JOIN payer USING (open_id) WHERE paid_at >= ? AND paid_at < ?",
                span,
            ).fetchall()
            refunded = books.execute(
                "SELECT trade.*, logon_id, finished_at AS done_at, -refund.amount_fen AS line_fen,"
                " fee_back_fen AS line_fee_fen, out_request_no"
                " FROM refund JOIN trade USING (trade_no) JOIN payer USING (open_id)"
                " WHERE refund.state = 'REFUND_SUCCESS' AND finished_at >= ? AND finished_at < ?",
                span,
            ).fetchall()
        lines = [_line(row) for row in (*paid, *refunded)]
        lines.sort(key=lambda line: (line.done_at, line.trade_no, line.out_request_no))
        return [line for line in map(self._spoil_line, lines) if line is not None]

    def _spoil_line(self, line: Line) -> Line | None:
        defect = None if line.out_request_no else self._spoilt.get(line.out_trade_no)
        match defect:
            case "missing_row":
                return None
            case "changed_fee":
                return replace(line, fee_fen=line.fee_fen - 1)
            case "changed_amount":
                return replace(line, amount_fen=line.amount_fen + 1)
        return line


def write_bill(account: str, day: datetime, lines: Sequence[Line]) -> bytes:
    """Return the zip: detail and summary, named in GBK without saying so."""
    start = f"{account}_{day:%Y%m%d}_业务明细"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (
            (f"{start}.csv", detail(account, day, lines)),
            (f"{start}(汇总).csv", summary(account, day, lines)),
        ):
            entry = _GbkEntry(name, (day + timedelta(days=1)).timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text.encode("gb18030"))
    return packed.getvalue()


class _GbkEntry(zipfile.ZipInfo):
    """An entry whose name is written as the real bill writes it, which Python never would."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802  zipfile's own hook
        return self.filename.encode("gbk"), self.flag_bits


def detail(account: str, day: datetime, lines: Sequence[Line]) -> str:
    """Return the detail file."""
    rows = (_cells(line) for line in lines)
    payments = [line for line in lines if not line.out_request_no]
    refunds = [line for line in lines if line.out_request_no]
    return _file(
        "业务明细",
        (account, day),
        [_DETAIL_HEADER, *map(",".join, rows)],
        f"#{'-' * 41}业务明细列表结束{'-' * 36}",
        f"#交易合计：{len(payments)}笔，商家实收共{_total(payments)}元，商家优惠共0.00元",
        f"#退款合计：{len(refunds)}笔，商家实收退款共{_total(refunds)}元，商家优惠退款共0.00元",
    )


def summary(account: str, day: datetime, lines: Sequence[Line]) -> str:
    """Return the summary file; there are no shops, so the total is its only row."""
    refunds = sum(1 for line in lines if line.out_request_no)
    amount, fee_fen = _total(lines), sum(line.fee_fen for line in lines)
    net = yuan(sum(line.amount_fen for line in lines) + fee_fen)
    counts = [f"合计{_TAB}", _TAB, f"{len(lines) - refunds}{_TAB}", f"{refunds}{_TAB}"]
    row = [*counts, amount, amount, "0.00", "0.00", "0.00", yuan(fee_fen), "0.00", net]
    return _file(
        "业务汇总",
        (account, day),
        [_SUMMARY_HEADER, ",".join(row)],
        f"#{'-' * 40}业务汇总列表结束{'-' * 37}",
    )


def _file(title: str, head: tuple[str, datetime], table: Iterable[str], *tail: str) -> str:
    account, day = head
    next_day = day + timedelta(days=1)
    written_at = datetime.combine(next_day.date(), _WRITTEN, SHANGHAI)
    period = f"#起始日期：[{_chinese(day)}]   终止日期：[{_chinese(next_day)}]"
    lines = [
        f"#支付宝{title}查询",
        f"#账号：[{account}]",
        period,
        f"#{'-' * 41}{title}列表{'-' * 40}",
        *table,
        *tail,
        f"#导出时间：[{_chinese(written_at)}]",
        "",
    ]
    return "\r\n".join(lines)


def _cells(line: Line) -> list[str]:
    """Return one row. Nothing is quoted, as in the real files; line ends cannot stay."""
    amount = yuan(line.amount_fen)
    return [
        line.trade_no + _TAB,
        line.out_trade_no + _TAB,
        ("退款" if line.out_request_no else "交易") + _TAB,
        _one_line(line.subject),
        spaced(line.created_at),
        spaced(line.done_at),
        *([_TAB] * 4),
        line.payer + _TAB,
        *(amount, amount),
        *(["0.00"] * 5),
        "",
        "0.00" + _TAB,
        "0.00",
        line.out_request_no + _TAB,
        yuan(line.fee_fen),
        "0.00",
        _one_line(line.remark),
    ]


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _total(lines: Iterable[Line]) -> str:
    return yuan(sum(line.amount_fen for line in lines))


def _line(row: sqlite3.Row) -> Line:
    return Line(
        trade_no=row["trade_no"],
        out_trade_no=row["out_trade_no"],
        subject=row["subject"],
        created_at=row["created_at"],
        done_at=row["done_at"],
        payer=f"*户({row['logon_id']})",
        amount_fen=row["line_fen"],
        fee_fen=row["line_fee_fen"],
        remark=row["body"],
        out_request_no=row["out_request_no"],
    )


def _at(day: datetime, moment: time) -> int:
    return int(datetime.combine(day.date(), moment, SHANGHAI).timestamp())


def _read_day(text: str) -> datetime | None:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=SHANGHAI)
    except ValueError:
        return None


def _chinese(instant: datetime) -> str:
    return instant.strftime("%Y年%m月%d日 %H:%M:%S")
