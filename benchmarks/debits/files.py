"""The bank's batch files: a batch rendered, and a result file read, each in a process of its own.

The adapter alone: nothing is stored and nothing sent. The bare side does with the same lines what
any program must: format or split them, and digest them as the contract asks.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.hashes import SHA256, SM3, Hash

from app.domain.ports.debits import AskedLine, BatchFile, BatchHead, DebitRequest
from app.domain.ports.mandates import BankCard
from app.payments.bank.files.batches import BankFiles
from app.payments.reasons import ReasonTable
from benchmarks.debits.workers import Worker, peak_mb
from config.bank_layout_files import load_bank_layout
from config.reason_files import load_reasons
from config.settings import BankSettings
from sandbox.bank.layouts import RESULTS, render
from sandbox.credentials import BANK_PRIVATE_KEY, Credentials
from sandbox.keys import read_private_key, sign

DAY = date(2026, 12, 10)
AMOUNT_FEN = 50_000
_CARD = BankCard(
    card_no="6217980000000000001",
    holder_name="测试用户",
    document_kind="resident_id",
    document_no="",
    phone="",
)


@dataclass(frozen=True)
class Handled:
    """How long so many lines took, and the most memory that the process has held."""

    seconds: float
    peak_mb: float


class FileDesk:
    """The product's adapter in a process of its own; no file server is called."""

    def __init__(self, settings: Mapping[str, Any], count: int) -> None:
        self._count = count
        self._head = BatchHead(day=DAY, sequence=1, count=count, sum_fen=count * AMOUNT_FEN)
        self._files = BankFiles(
            BankSettings.model_validate(settings),
            layout=load_bank_layout("standard"),
            reasons=ReasonTable(load_reasons("bank")),
            connect_timeout=5,
            read_timeout=5,
        )

    def render(self) -> Handled:
        """Render the batch into a file."""
        lines = (
            DebitRequest(
                order_no=number_of(place),
                amount_fen=AMOUNT_FEN,
                description="2026-12 缴存",
                mandate_reference=f"622026{place:014d}",
                card=_CARD,
            )
            for place in range(1, self._count + 1)
        )
        with tempfile.TemporaryFile() as into:
            return _timed(lambda: self._files.render_batch(self._head, lines, into))

    def bare_render(self) -> Handled:
        """Format the same lines, and digest them."""
        with tempfile.TemporaryFile() as into:
            return _timed(lambda: _format(self._count, into))

    def read(self, file: BatchFile, path: str) -> Handled:
        """Check a result file, and then read its lines, as an import does."""

        def work() -> None:
            with Path(path).open("rb") as content:
                results = self._files.read_results(file, content, head=self._head, find=_find)
                assert sum(1 for _ in results.lines()) == results.count == self._count

        return _timed(work)

    def bare_read(self, path: str) -> Handled:
        """Read and split the same lines twice, and digest them."""
        return _timed(lambda: _split(path))


def measure_files(
    issued: Credentials, keys: Path, folder: Path, sizes: Sequence[int]
) -> Iterator[tuple[str, int, Handled]]:
    """Yield what was done, with how many lines, and how it went; small and large in turn."""
    named = {
        name.removeprefix("LIANJIAO_BANK_").lower(): value for name, value in issued.bank.items()
    }
    settings = {name: named[name] for name in BankSettings.model_fields.keys() & named.keys()}
    settings |= {"gateway_url": "http://127.0.0.1:9", "sftp_host": "127.0.0.1"}
    answers = {size: _answer(settings["merchant_id"], keys, folder, size) for size in sizes}
    calls: dict[str, Callable[[int], tuple[Any, ...]]] = {
        "render": lambda size: (),
        "bare_render": lambda size: (),
        "read": lambda size: answers[size],
        "bare_read": lambda size: answers[size][1:],
    }
    for name, arguments in calls.items():
        for size in sizes:
            worker = Worker(FileDesk, settings, size)
            worker.send(name, *arguments(size))
            yield name, size, worker.receive()
            worker.stop()


def number_of(place: int) -> str:
    """Return the order number of a line."""
    return f"A{place:031d}"


def _find(numbers: Sequence[str]) -> Mapping[str, AskedLine]:
    """Be the table of the batch."""
    return {number: AskedLine(place=int(number[1:]), amount_fen=AMOUNT_FEN) for number in numbers}


def _answer(corp: str, keys: Path, folder: Path, count: int) -> tuple[BatchFile, str]:
    """Have the bank's own code write and sign what became of every debit."""
    head = {"date": f"{DAY:%Y%m%d}", "sequence": "0001", "corp": corp}
    details = [
        {
            "order_no": number_of(place),
            "code": "00",
            "text": "交易成功",
            "actual_fen": str(AMOUNT_FEN),
            "bank_ref": f"{place:018d}",
            "bank_date": f"{DAY:%Y%m%d}",
        }
        for place in range(1, count + 1)
    ]
    content = render(RESULTS, head, details)
    path = folder / f"results-{count}.txt"
    path.write_bytes(content)
    hashed = Hash(SM3())
    hashed.update(content)
    file = BatchFile(
        name=f"DKR_{corp}_{DAY:%Y%m%d}_0001.txt",
        size_bytes=len(content),
        digest=hashed.finalize().hex(),
        signature=sign(content, read_private_key(keys / BANK_PRIVATE_KEY)),
    )
    return file, str(path)


def _format(count: int, into: BinaryIO) -> None:
    sm3, sha256 = Hash(SM3()), Hash(SHA256())
    for place in range(1, count + 1):
        line = (
            f"D|{place:08d}|{number_of(place)}|622026{place:014d}|{_CARD.card_no}"
            f"|{_CARD.holder_name}|{AMOUNT_FEN}|2026-12 缴存\r\n"
        ).encode("gb18030")
        into.write(line)
        sm3.update(line)
        sha256.update(line)


def _split(path: str) -> None:
    with Path(path).open("rb") as content:
        whole_sm3, sha256 = Hash(SM3()), Hash(SHA256())
        while data := content.read(64 * 1024):
            whole_sm3.update(data)
            sha256.update(data)
        for _ in range(2):
            content.seek(0)
            sm3, sum_fen = Hash(SM3()), 0
            for line in content:
                sm3.update(line)
                cells = line.decode("gb18030").split("|")
                if cells[0] == "D":
                    sum_fen += int(cells[5])


def _timed(work: Callable[[], object]) -> Handled:
    begun = time.perf_counter()
    work()
    return Handled(time.perf_counter() - begun, peak_mb())
