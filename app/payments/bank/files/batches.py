"""批量代扣 The port `BatchDebits` over a layout, the bank's keys and its file server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, BinaryIO

from app.domain.ports.debits import (
    Acknowledgement,
    AnswerKind,
    AnswerList,
    AnswerName,
    BatchAtOdds,
    BatchFile,
    BatchFileRefused,
    BatchHead,
    BatchResults,
    DebitRequest,
    FindLines,
)
from app.payments.bank.files.layouts import Layout
from app.payments.bank.files.reading import AnswerReader, read_acknowledgement, read_results
from app.payments.bank.files.server import FileServer, as_file
from app.payments.bank.files.writing import Sink, digest_of, render, write_line
from app.payments.bank.keys import BankKeys
from app.payments.reasons import ReasonTable

if TYPE_CHECKING:
    from config.settings import BankSettings

SIGNATURE = ".sig"
MARKER = ".ok"

_MOST_BYTES = 256 * 1024 * 1024
_MOST_SIGNATURE_BYTES = 4096
_ODD_NAME_LENGTH = 120


class BankFiles:
    """BatchDebits of one merchant of one bank.

    Args:
        layout: as `config.bank_layout_files.load_bank_layout` returns it.
        reasons: the rows of `config/reasons/bank.yaml`.
        connect_timeout, read_timeout: seconds; the latter for each step.

    Raises:
        ValueError: settings or a layout that cannot work.
    """

    def __init__(
        self,
        settings: BankSettings,
        *,
        layout: Mapping[str, object],
        reasons: ReasonTable,
        connect_timeout: float,
        read_timeout: float,
    ) -> None:
        reasons.require("debit_result", "batch_rejected")
        self._reasons = reasons
        self._layout = Layout(layout, corp=settings.merchant_id)
        self._keys = BankKeys(settings)
        self._server = FileServer(
            settings, connect_timeout=connect_timeout, read_timeout=read_timeout
        )

    def check_line(self, request: DebitRequest) -> None:
        """Make sure that a debit can stand in a file."""
        write_line(self._layout, 1, request)

    def render_batch(
        self, head: BatchHead, lines: Iterable[DebitRequest], into: BinaryIO
    ) -> BatchFile:
        """Write a batch and sign it."""
        return render(self._layout, self._keys, head, lines, into)

    def upload_batch(self, file: BatchFile, content: BinaryIO) -> None:
        """Hand in file, signature and marker, in this order."""
        found = digest_of(content)
        if (found.size_bytes, found.sm3) != (file.size_bytes, file.digest):
            raise BatchAtOdds
        if not self._keys.is_ours(found.sha256, file.signature):
            raise BatchAtOdds("批量文件的签名不是以当前密钥所签，未发送")
        if self._layout.parse_name("debits", file.name) is None:
            raise BatchAtOdds("批量文件名不符合格式，未发送")
        self._server.put(
            self._layout.to_bank,
            [
                (file.name, content),
                (file.name + SIGNATURE, as_file(file.signature)),
                (file.name + MARKER, as_file("")),
            ],
        )

    def list_answers(self) -> AnswerList:
        """List what has its marker. Drafts and what is not ready yet is passed over."""
        names = self._server.list_files(self._layout.from_bank)
        ready, odd = [], []
        for name in sorted(set(names) - {".", ".."}):
            whole = name.removesuffix(MARKER).removesuffix(SIGNATURE)
            stamp = " ".join(names.get(whole + tail, "-") for tail in ("", SIGNATURE, MARKER))
            answer = self._answer_of(whole, stamp)
            if answer is None:
                odd.append(name[:_ODD_NAME_LENGTH])
            elif name == whole and whole + MARKER in names:
                ready.append(answer)
        return AnswerList(ready=tuple(ready), odd=tuple(odd))

    def _answer_of(self, name: str, stamp: str = "") -> AnswerName | None:
        for kind in AnswerKind:
            parsed = self._layout.parse_name(kind.value, name)
            if parsed is not None:
                day, sequence, part = parsed
                return AnswerName(
                    name=name, kind=kind, day=day, sequence=sequence, part=part, stamp=stamp
                )
        return None

    def fetch_answer(self, name: str, into: BinaryIO) -> BatchFile:
        """Fetch a file and its signature as they are."""
        if self._answer_of(name) is None:
            raise BatchFileRefused(ascii(name[:_ODD_NAME_LENGTH]), 0, "不是银行应答的文件名")
        path, sink, signature = f"{self._layout.from_bank}/{name}", Sink(into), bytearray()
        try:
            if not self._server.fetch(path, sink.write, most=_MOST_BYTES):
                raise BatchFileRefused(name, 0, "文件不存在")
            self._server.fetch(path + SIGNATURE, signature.extend, most=_MOST_SIGNATURE_BYTES)
        except OverflowError:
            raise BatchFileRefused(name, 0, "文件过大") from None
        return BatchFile(
            name=name,
            size_bytes=sink.size_bytes,
            digest=sink.sm3,
            signature=signature.decode("latin-1").strip(),
        )

    def read_acknowledgement(
        self, file: BatchFile, content: BinaryIO, *, head: BatchHead
    ) -> Acknowledgement:
        """Read the bank's word on a batch."""
        kind = AnswerKind.ACKNOWLEDGEMENT.value
        reader = AnswerReader(self._layout, self._keys, kind, file, content, head)
        return read_acknowledgement(reader, self._layout, self._reasons, head)

    def read_results(
        self, file: BatchFile, content: BinaryIO, *, head: BatchHead, find: FindLines
    ) -> BatchResults:
        """Check a whole result file."""
        kind = AnswerKind.RESULTS.value
        reader = AnswerReader(self._layout, self._keys, kind, file, content, head)
        return read_results(reader, self._reasons, head, find)
