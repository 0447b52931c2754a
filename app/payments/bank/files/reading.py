"""An answer of the bank: checked as a whole before anything of it is told, then line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from cryptography.hazmat.primitives.hashes import SM3, Hash

from app.domain.ports.debits import (
    Acknowledgement,
    BatchFile,
    BatchFileRefused,
    BatchHead,
    BatchResults,
    FindLines,
    LineResult,
)
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.bank.files.layouts import END, Layout, Record, Unfit, read_day
from app.payments.bank.files.writing import digest_of
from app.payments.bank.keys import BankKeys
from app.payments.reasons import ReasonTable
from app.payments.values import MESSAGE_LENGTH

_LINE_BYTES = 4096
_TOGETHER = 500
_OK = "00"


class AnswerReader:
    """Reads one file of the bank.

    Args:
        kind: ``acknowledgement`` or ``results``.

    Raises:
        BatchFileRefused: it is not named, signed or made as an answer to this batch.
    """

    def __init__(
        self,
        layout: Layout,
        keys: BankKeys,
        kind: str,
        file: BatchFile,
        content: BinaryIO,
        head: BatchHead,
    ) -> None:
        self._layout, self._shape = layout, layout.files[kind]
        self._file, self._content, self._head = file, content, head
        named = layout.parse_name(kind, file.name)
        if named is None or named[:2] != (head.day, head.sequence):
            raise self.refused(0, "文件名不是这一批次的")
        found = digest_of(content)
        if (found.size_bytes, found.sm3) != (file.size_bytes, file.digest):
            raise self.refused(0, "内容与取回时不一致")
        if not keys.is_genuine_digest(found.sha256, file.signature):
            raise self.refused(0, "银行签名验证失败")

    def refused(self, line: int, what: str) -> BatchFileRefused:
        """Return the refusal of this file, with the place."""
        return BatchFileRefused(self._file.name, line, what)

    def details(self) -> Iterator[tuple[int, Record]]:
        """Yield line numbers and details; totals and digest are checked when it has ended."""
        header, trailer = self._shape.header, self._shape.trailer
        hashed, count, sum_fen, number = Hash(SM3()), 0, 0, 0
        totals: list[tuple[int, Record]] = []
        for number, raw, is_last in self._lines():
            if is_last and number == 1 and header is not None:
                raise self.refused(0, "文件不完整")
            if number == 1 and header is not None:
                totals.append((1, self._whole(self._read(header.read, 1, raw))))
            elif is_last and trailer is not None:
                last = self._read(trailer.read, number, raw)
                totals.append((number, last))
                if last.get("digest", "") not in ("", hashed.copy().finalize().hex()):
                    raise self.refused(number, "SM3 摘要不符")
            else:
                record = self._read(self._shape.detail.read, number, raw)
                count += 1
                sum_fen += int(record["amount_fen"])
                if record.get("line", f"{count:08d}") != f"{count:08d}":
                    raise self.refused(number, "明细序号不连续")
                yield number, record
            hashed.update(raw)
        if not number:
            raise self.refused(0, "文件不完整")
        self._check_totals(totals, count, sum_fen)

    def _check_totals(self, totals: Sequence[tuple[int, Record]], count: int, sum_fen: int) -> None:
        """Compare what header and trailer say with what the details add up to."""
        for place, record in totals:
            if record.get("count", str(count)) != str(count):
                raise self.refused(place, "笔数与明细不符")
            if record.get("sum_fen", str(sum_fen)) != str(sum_fen):
                raise self.refused(place, "金额合计与明细不符")

    def _lines(self) -> Iterator[tuple[int, bytes, bool]]:
        """Yield number, bytes, and whether it is the last."""
        self._content.seek(0)
        number, line = 1, self._content.readline(_LINE_BYTES)
        while line:
            if not line.endswith(END):
                raise self.refused(number, "行不完整或过长")
            following = self._content.readline(_LINE_BYTES)
            yield number, line, not following
            number, line = number + 1, following

    def _read(self, read: Callable[[bytes], Record], number: int, raw: bytes) -> Record:
        try:
            return read(raw.removesuffix(END))
        except Unfit as unfit:
            raise self.refused(number, str(unfit)) from None

    def _whole(self, header: Record) -> Record:
        head = self._head
        expected = {
            "corp": (self._layout.corp, "不是本中心的文件"),
            "day": (f"{head.day:%Y%m%d}", "日期与批次不符"),
            "sequence": (f"{head.sequence:04d}", "批次号不符"),
        }
        for name, (value, what) in expected.items():
            if header.get(name, value) != value:
                raise self.refused(1, what)
        return header


def read_acknowledgement(
    reader: AnswerReader, layout: Layout, reasons: ReasonTable, head: BatchHead
) -> Acknowledgement:
    """Return the bank's word on a batch.

    Raises:
        BatchFileRefused: not one word, not on this batch, or at odds with itself.
    """
    found = list(_few(reader))
    if len(found) != 1:
        raise reader.refused(0, "回执应当只有一行明细")
    [(number, record)] = found
    if record["file"] != layout.name_of("debits", head.day, head.sequence):
        raise reader.refused(number, "回执不是这一批次的")
    verdict, accepted_fen = layout.verdicts.get(record["verdict"]), int(record["amount_fen"])
    code, message = record["code"], record.get("message", "")[:MESSAGE_LENGTH]
    kind, reason = OutcomeKind.ACCEPTED, Reason.PROCESSING
    if verdict == "accepted":
        if code != _OK or accepted_fen != head.sum_fen:
            raise reader.refused(number, "受理金额或代码与批次不符")
    elif verdict == "rejected":
        if code == _OK or accepted_fen:
            raise reader.refused(number, "拒绝回执自相矛盾")
        kind, reason = reasons.lookup("batch_rejected", code)
    else:
        raise reader.refused(number, "回执结论无法识别")
    wrong_line = int(record.get("wrong_line", "0"))
    return Acknowledgement(
        kind=kind, reason=reason, raw_code=code, raw_message=message, wrong_line=wrong_line
    )


def _few(reader: AnswerReader) -> Iterator[tuple[int, Record]]:
    for count, found in enumerate(reader.details()):
        if count > 1:
            raise reader.refused(found[0], "回执应当只有一行明细")
        yield found


def read_results(
    reader: AnswerReader, reasons: ReasonTable, head: BatchHead, find: FindLines
) -> BatchResults:
    """Check every line of a result file against the batch.

    Raises:
        BatchFileRefused: a debit of nobody, or twice, or neither nothing nor all of it taken.
    """
    meanings: dict[str, tuple[OutcomeKind, Reason]] = {}
    seen = bytearray(head.count // 8 + 1)
    count = paid_fen = 0

    def results() -> Iterator[LineResult]:
        for number, record, place, asked_fen in _matched(reader, find):
            yield _result(reader, reasons, meanings, number, record, place, asked_fen)

    for number, record, place, asked_fen in _matched(reader, find):
        if not 1 <= place <= head.count or seen[place // 8] >> place % 8 & 1:
            raise reader.refused(number, f"订单 {record['order_no']} 重复")
        seen[place // 8] |= 1 << place % 8
        _result(reader, reasons, meanings, number, record, place, asked_fen)
        count += 1
        paid_fen += int(record["amount_fen"])
    return BatchResults(count=count, paid_fen=paid_fen, missing=head.count - count, lines=results)


def _matched(reader: AnswerReader, find: FindLines) -> Iterator[tuple[int, Record, int, int]]:
    """Yield each line with its place in the batch and what was asked, some looked up together."""
    waiting: list[tuple[int, Record]] = []

    def flush() -> Iterator[tuple[int, Record, int, int]]:
        asked = find([record["order_no"] for _, record in waiting])
        for number, record in waiting:
            line = asked.get(record["order_no"])
            if line is None:
                raise reader.refused(number, f"订单 {record['order_no']} 不在这一批次")
            yield number, record, line.place, line.amount_fen
        waiting.clear()

    for found in reader.details():
        waiting.append(found)
        if len(waiting) == _TOGETHER:
            yield from flush()
    if waiting:
        yield from flush()


def _result(
    reader: AnswerReader,
    reasons: ReasonTable,
    meanings: dict[str, tuple[OutcomeKind, Reason]],
    number: int,
    record: Record,
    place: int,
    asked_fen: int,
) -> LineResult:
    code, actual_fen = record["code"], int(record["amount_fen"])
    if code not in meanings:
        meanings[code] = reasons.lookup("debit_result", code)
    kind, reason = meanings[code]
    fits = {
        OutcomeKind.SUCCEEDED: actual_fen == asked_fen,
        OutcomeKind.UNKNOWN: actual_fen in (0, asked_fen),
    }
    if not fits.get(kind, actual_fen == 0):
        raise reader.refused(number, f"实扣 {actual_fen} 分与应扣 {asked_fen} 分或返回码不符")
    reference = record.get("bank_ref", "")
    if actual_fen and not reference and "bank_ref" in record:
        raise reader.refused(number, "扣款成功而没有银行流水号")
    try:
        bank_date = read_day(record["bank_date"])
    except Unfit as unfit:
        raise reader.refused(number, str(unfit)) from None
    outcome = Outcome(
        kind=kind,
        reason=reason,
        number=record["order_no"],
        amount_fen=actual_fen or None,
        reference=reference if actual_fen and reference else None,
        raw_code=code,
        raw_message=record.get("message", "")[:MESSAGE_LENGTH],
    )
    return LineResult(place=place, outcome=outcome, bank_date=bank_date)
