"""文件格式 The layouts of batch files as data, and what writes and reads them strictly.

GB18030, CRLF, fields between bars. A header, numbered details, and a trailer with the SM3 digest of
all bytes before it. Amounts are fen. Bytes are decoded before they are split: the second byte of
some characters is that of the bar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SM3, Hash

ENCODING = "gb18030"
VERSION = "1.0"

_END = "\r\n"


@dataclass(frozen=True)
class Field:
    """One field of a record; all of its text must match the pattern."""

    name: str
    pattern: str


@dataclass(frozen=True)
class Layout:
    """One kind of file."""

    kind: str
    detail: tuple[Field, ...]
    amount: str
    """The field of the detail that header and trailer add up."""


_NUMBER = r"0|[1-9][0-9]{0,14}"
_TEXT = r"[^\x00-\x1f\x7f|]{1,60}"

_DAY = Field("date", r"[0-9]{8}")
_SEQUENCE = Field("sequence", r"[0-9]{4}")
_TOTALS = (Field("count", _NUMBER), Field("sum_fen", _NUMBER))

HEADER = (
    Field("mark", "H"),
    Field("kind", r"[A-Z]{2,3}"),
    _DAY,
    _SEQUENCE,
    *_TOTALS,
    Field("currency", "CNY"),
    Field("corp", r"[0-9]{6,20}"),
    Field("version", re.escape(VERSION)),
)
TRAILER = (Field("mark", "T"), *_TOTALS, Field("digest", r"[0-9a-f]{64}"))

_DETAIL = (Field("mark", "D"), Field("line", r"[0-9]{8}"))
_ORDER_NO = Field("order_no", r"[0-9A-Za-z]{8,40}")
_CODE = Field("code", r"[0-9A-Z]{2}")

DEBITS = Layout(
    "DK",
    (
        *_DETAIL,
        _ORDER_NO,
        Field("agreement_no", r"[0-9A-Za-z]{1,40}"),
        Field("account", r"[0-9]{13,19}"),
        Field("name", _TEXT),
        Field("amount_fen", r"[1-9][0-9]{0,12}"),
        Field("purpose", _TEXT),
    ),
    "amount_fen",
)
ACKNOWLEDGEMENT = Layout(
    "DKA",
    (
        *_DETAIL,
        Field("file", r"[0-9A-Za-z_.]{1,80}"),
        Field("verdict", "ACCEPTED|REJECTED"),
        _CODE,
        Field("text", _TEXT),
        Field("wrong_line", _NUMBER),
        Field("accepted_fen", _NUMBER),
    ),
    "accepted_fen",
)
RESULTS = Layout(
    "DKR",
    (
        *_DETAIL,
        _ORDER_NO,
        _CODE,
        Field("text", _TEXT),
        Field("actual_fen", _NUMBER),
        Field("bank_ref", r"([0-9]{18})?"),
        Field("bank_date", r"[0-9]{8}"),
    ),
    "actual_fen",
)

Record = Mapping[str, str]


class Unreadable(Exception):
    """A file that is not what its layout says."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        """Counted from 1; 0: the file as a whole."""


def render(layout: Layout, header: Record, details: Sequence[Record]) -> bytes:
    """Return a file; `header` gives date, sequence and corp, everything else follows."""
    totals = {
        "count": str(len(details)),
        "sum_fen": str(sum(int(detail[layout.amount]) for detail in details)),
    }
    whole = {"mark": "H", "kind": layout.kind, "currency": "CNY", "version": VERSION}
    lines = [_line(HEADER, {**whole, **header, **totals})]
    lines += [
        _line(layout.detail, {"mark": "D", "line": f"{place:08d}", **detail})
        for place, detail in enumerate(details, start=1)
    ]
    body = "".join(lines).encode(ENCODING)
    return body + _line(TRAILER, {"mark": "T", **totals, "digest": digest(body)}).encode(ENCODING)


def parse(layout: Layout, content: bytes) -> tuple[Record, list[Record]]:
    """Return the header and the details of a file whose every byte is accounted for.

    Raises:
        Unreadable: says what is wrong, and in which line.
    """
    try:
        text = content.decode(ENCODING)
    except UnicodeDecodeError:
        raise Unreadable("编码不是 GB18030") from None
    lines = text.split(_END)
    if len(lines) < 3 or lines[-1] != "":
        raise Unreadable("文件不完整")
    header = _record(HEADER, lines[0], 1)
    trailer = _record(TRAILER, lines[-2], len(lines) - 1)
    before = content[: len(content) - len((lines[-2] + _END).encode(ENCODING))]
    if digest(before) != trailer["digest"]:
        raise Unreadable("SM3 摘要不符")
    if header["kind"] != layout.kind:
        raise Unreadable("文件类型不符", 1)
    details = []
    for place, line in enumerate(lines[1:-2], start=1):
        detail = _record(layout.detail, line, place + 1)
        if detail["line"] != f"{place:08d}":
            raise Unreadable("明细序号不连续", place + 1)
        details.append(detail)
    count = str(len(details))
    sum_fen = str(sum(int(detail[layout.amount]) for detail in details))
    for record, place in ((header, 1), (trailer, len(lines) - 1)):
        if record["count"] != count:
            raise Unreadable("笔数与明细不符", place)
        if record["sum_fen"] != sum_fen:
            raise Unreadable("金额合计与明细不符", place)
    return header, details


def digest(content: bytes) -> str:
    """Return the SM3 digest in hex."""
    hashed = Hash(SM3())
    hashed.update(content)
    return hashed.finalize().hex()


def _line(fields: Sequence[Field], record: Record) -> str:
    return "|".join(record[field.name] for field in fields) + _END


def _record(fields: Sequence[Field], line: str, place: int) -> Record:
    cells = line.split("|")
    if len(cells) != len(fields):
        raise Unreadable("字段个数不符", place)
    for field, cell in zip(fields, cells, strict=True):
        if not re.fullmatch(field.pattern, cell):
            raise Unreadable(f"字段 {field.name} 格式错误", place)
    return {field.name: cell for field, cell in zip(fields, cells, strict=True)}
