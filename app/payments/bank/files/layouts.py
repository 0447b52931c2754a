"""A bank's file layout, made from data: how each record is written and strictly read.

Amounts are fen. With a separator, lines are decoded before they are split, because the second byte
of some characters is that of a bar; without one, fields have a fixed width in bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

END = b"\r\n"

Record = Mapping[str, str]

_FORMS = {
    "day": r"[0-9]{8}",
    "digits": r"[0-9]{%d}",
    "number": r"0|[1-9][0-9]{0,14}",
    "word": r"[0-9A-Za-z_.-]{1,%d}",
    "optional_word": r"[0-9A-Za-z_.-]{0,%d}",
    "text": r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,%d}",
    "digest": r"[0-9a-f]{64}",
}
_KINDS = ("debits", "acknowledgement", "results")
_TOTALS = {"count", "sum_fen"}
_NEEDED = {
    "debits": {"order_no", "account", "holder", "amount_fen"},
    "acknowledgement": {"file", "verdict", "code", "amount_fen"},
    "results": {"order_no", "code", "amount_fen", "bank_date"},
}
_PATTERNS = {"corp": "(?P<corp>[0-9A-Za-z]+)", "day": "(?P<day>[0-9]{8})"}
_SEQUENCE = "(?P<sequence>[0-9]{4})"


class Unfit(ValueError):
    """A value that cannot be written, or a text that cannot be read; in Chinese, no content."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record: fixed text, or a form."""

    name: str
    value: str | None
    form: str
    size: int
    pattern: re.Pattern[str]

    def check(self, text: str) -> str:
        """Return a text that is right for this field.

        Raises:
            Unfit: it is not.
        """
        if self.value is not None:
            if text != self.value:
                raise Unfit(f"字段 {self.name} 应为 {self.value}")
        elif not self.pattern.fullmatch(text):
            raise Unfit(f"字段 {self.name} 格式错误")
        return text


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of line.

    Attributes:
        separator: between fields; empty where they have a fixed width.
    """

    fields: tuple[Field, ...]
    separator: str
    encoding: str

    def write(self, values: Record) -> bytes:
        """Return the line with its end.

        Raises:
            Unfit: a value that its field or the encoding cannot hold.
        """
        parts = []
        for field in self.fields:
            text = field.value if field.value is not None else values[field.name]
            parts.append(self._write(field, field.check(text)))
        return self.separator.encode(self.encoding).join(parts) + END

    def _write(self, field: Field, text: str) -> bytes:
        if self.separator and self.separator in text:
            raise Unfit(f"字段 {field.name} 含有分隔符")
        try:
            written = text.encode(self.encoding)
        except UnicodeEncodeError:
            raise Unfit(f"字段 {field.name} 含有 {self.encoding.upper()} 编码没有的字") from None
        if self.separator:
            return written
        if len(written) > field.size:
            raise Unfit(f"字段 {field.name} 超过 {field.size} 字节")
        if field.form in ("number", "digits"):
            return written.rjust(field.size, b"0")
        return written.ljust(field.size)

    def read(self, line: bytes) -> Record:
        """Return the fields of a line without its end.

        Raises:
            Unfit: any of them is not right.
        """
        try:
            cells = self._cells(line)
        except UnicodeDecodeError:
            raise Unfit(f"编码不是 {self.encoding.upper()}") from None
        if len(cells) != len(self.fields):
            raise Unfit("字段个数不符")
        return {
            field.name: field.check(cell) for field, cell in zip(self.fields, cells, strict=True)
        }

    def _cells(self, line: bytes) -> list[str]:
        if self.separator:
            return line.decode(self.encoding).split(self.separator)
        cells, at = [], 0
        for field in self.fields:
            raw = line[at : at + field.size]
            at += field.size
            if len(raw) != field.size:
                raise Unfit("行长度不符")
            text = raw.decode(self.encoding)
            is_number = field.form == "number"
            cells.append((text.lstrip("0") or "0") if is_number else text.rstrip(" "))
        if at != len(line):
            raise Unfit("行长度不符")
        return cells


@dataclass(frozen=True, slots=True)
class FileLayout:
    """One kind of file; a bank may have no header or no trailer, but not neither."""

    header: Line | None
    detail: Line
    trailer: Line | None


class Layout:
    """All files of one bank.

    Args:
        content: as `config.bank_layout_files.load_bank_layout` returns it.
        corp: our number at the bank.

    Raises:
        ValueError: a layout that cannot be used.
    """

    def __init__(self, content: Mapping[str, object], *, corp: str) -> None:
        expected = {"title", "source", "encoding", "folders", "names", "verdicts", "files"}
        if set(content) - {"separator"} != expected:
            raise ValueError(f"a layout has the keys {', '.join(sorted(expected))}")
        self._encoding = str(content["encoding"])
        if self._encoding not in ("gb18030", "gbk", "utf-8"):
            raise ValueError(f"unknown encoding {self._encoding}")
        self._separator = str(content.get("separator", ""))
        if len(self._separator) > 1:
            raise ValueError("a separator is one character")
        self.corp = corp
        folders, self._names = _texts(content["folders"]), _texts(content["names"])
        self.to_bank, self.from_bank = folders["to_bank"], folders["from_bank"]
        self.verdicts = _texts(content["verdicts"])
        files = content["files"]
        if not isinstance(files, dict) or not set(files) == set(self._names) == set(_KINDS):
            raise ValueError(f"names and files are those of {', '.join(_KINDS)}")
        self.files = {kind: self._file(kind, files[kind]) for kind in _KINDS}
        self._patterns = {kind: _pattern(self._names[kind]) for kind in _KINDS}

    def name_of(self, kind: str, day: date, sequence: int) -> str:
        """Return the name of a file."""
        return self._names[kind].format(
            corp=self.corp, day=f"{day:%Y%m%d}", sequence=f"{sequence:04d}"
        )

    def parse_name(self, kind: str, name: str) -> tuple[date, int, int] | None:
        """Return day, sequence and part of a file of ours; None for any other name."""
        match = self._patterns[kind].fullmatch(name)
        if match is None or match["corp"] != self.corp:
            return None
        try:
            day = read_day(match["day"])
        except Unfit:
            return None
        return day, int(match["sequence"]), int(match["part"] or 1)

    def _file(self, kind: str, records: object) -> FileLayout:
        if not isinstance(records, dict) or not set(records) <= {"header", "detail", "trailer"}:
            raise ValueError(f"{kind}: header, detail and trailer are expected")
        lines = {name: self._line(f"{kind} {name}", fields) for name, fields in records.items()}
        header, trailer = lines.get("header"), lines.get("trailer")
        named = {field.name for line in (header, trailer) if line for field in line.fields}
        if not named >= _TOTALS:
            raise ValueError(f"{kind}: header or trailer must say count and sum_fen")
        missing = _NEEDED[kind] - {field.name for field in lines["detail"].fields}
        if missing:
            raise ValueError(f"{kind}: the detail lacks {', '.join(sorted(missing))}")
        return FileLayout(header=header, detail=lines["detail"], trailer=trailer)

    def _line(self, where: str, fields: object) -> Line:
        if not isinstance(fields, list) or not fields:
            raise ValueError(f"{where}: a list of fields is expected")
        made = tuple(self._field(where, each) for each in fields)
        if len({field.name for field in made}) != len(made):
            raise ValueError(f"{where}: a field stands twice")
        return Line(fields=made, separator=self._separator, encoding=self._encoding)

    def _field(self, where: str, content: object) -> Field:
        if not isinstance(content, dict) or not set(content) <= {"name", "value", "form", "size"}:
            raise ValueError(f"{where}: a field has name, value or form, size")
        name, form, size = str(content["name"]), content.get("form", ""), content.get("size", 0)
        value = content.get("value")
        if (value is None) == (form == "") or (form and form not in _FORMS):
            raise ValueError(f"{where}: {name}: either a value or a known form")
        needs_size = not self._separator or "%d" in _FORMS.get(form, "")
        if type(size) is not int or (needs_size and size < 1):
            raise ValueError(f"{where}: {name}: a size is needed")
        shape = _FORMS.get(form, "")
        pattern = re.compile(shape % size if "%d" in shape else shape)
        return Field(name, None if value is None else str(value), form, size, pattern)


def read_day(text: str) -> date:
    """Return the day written as yyyymmdd.

    Raises:
        Unfit: no such day.
    """
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007  a day, not an instant
    except ValueError:
        raise Unfit("日期不存在") from None


def _texts(content: object) -> Mapping[str, str]:
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise ValueError("texts by name are expected")
    return content


def _pattern(name: str) -> re.Pattern[str]:
    stem, dot, ending = name.rpartition(".")
    shape = re.escape(stem).replace(r"\{", "{").replace(r"\}", "}")
    shape = shape.format(corp=_PATTERNS["corp"], day=_PATTERNS["day"], sequence=_SEQUENCE)
    return re.compile(shape + r"(?:_(?P<part>[2-9]))?" + re.escape(dot + ending), re.ASCII)
