"""A batch rendered line by line: digest and signature grow with it, the memory does not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from cryptography.hazmat.primitives.hashes import SHA256, SM3, Hash

from app.domain.masking import mask_name
from app.domain.ports.debits import (
    BatchAtOdds,
    BatchFile,
    BatchHead,
    DebitRequest,
    LineUnwritable,
)
from app.payments.bank.files.layouts import Layout, Record, Unfit
from app.payments.bank.keys import BankKeys

CHUNK = 64 * 1024


class Sink:
    """Passes bytes on and keeps their length, their SM3 and their SHA-256."""

    def __init__(self, into: BinaryIO | None = None) -> None:
        self._into = into
        self._sm3, self._sha256 = Hash(SM3()), Hash(SHA256())
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        """Take some bytes."""
        if self._into is not None:
            self._into.write(data)
        self._sm3.update(data)
        self._sha256.update(data)
        self.size_bytes += len(data)

    @property
    def sm3(self) -> str:
        """The digest so far, in hex."""
        return self._sm3.copy().finalize().hex()

    @property
    def sha256(self) -> bytes:
        """What is signed."""
        return self._sha256.copy().finalize()


def write_line(layout: Layout, place: int, request: DebitRequest) -> bytes:
    """Return a debit as a line.

    Raises:
        LineUnwritable: a value that the file cannot hold.
    """
    card = request.card
    if card is None:
        raise LineUnwritable("该笔代扣缺少银行卡", order_no=request.order_no)
    values = {
        "line": f"{place:08d}",
        "order_no": request.order_no,
        "agreement_no": request.mandate_reference,
        "account": card.card_no,
        "holder": card.holder_name,
        "amount_fen": str(request.amount_fen),
        "purpose": request.description,
    }
    try:
        if request.amount_fen <= 0:
            raise Unfit("金额应大于零")
        return layout.files["debits"].detail.write(values)
    except Unfit as unfit:
        who = mask_name(card.holder_name) if card.holder_name else "姓名为空"
        raise LineUnwritable(
            f"{who} 的代扣无法写入银行文件：{unfit}", order_no=request.order_no
        ) from None


def render(
    layout: Layout,
    keys: BankKeys,
    head: BatchHead,
    lines: Iterable[DebitRequest],
    into: BinaryIO,
) -> BatchFile:
    """Write a whole batch and sign it.

    Raises:
        LineUnwritable: a debit that cannot stand in it.
        BatchAtOdds: the lines do not add up to the head.
    """
    shape, sink = layout.files["debits"], Sink(into)
    whole: Record = {
        "day": f"{head.day:%Y%m%d}",
        "sequence": f"{head.sequence:04d}",
        "count": str(head.count),
        "sum_fen": str(head.sum_fen),
        "corp": layout.corp,
    }
    try:
        if shape.header is not None:
            sink.write(shape.header.write(whole))
        count = sum_fen = 0
        for request in lines:
            count += 1
            sum_fen += request.amount_fen
            sink.write(write_line(layout, count, request))
        if (count, sum_fen) != (head.count, head.sum_fen):
            raise BatchAtOdds
        if shape.trailer is not None:
            sink.write(shape.trailer.write({**whole, "digest": sink.sm3}))
    except Unfit as unfit:
        raise BatchAtOdds(f"批次登记无法写入银行文件：{unfit}") from None
    return BatchFile(
        name=layout.name_of("debits", head.day, head.sequence),
        size_bytes=sink.size_bytes,
        digest=sink.sm3,
        signature=keys.sign_digest(sink.sha256),
    )


def digest_of(content: BinaryIO) -> Sink:
    """Return length and digests of a whole file, and put it back to its start."""
    sink = Sink()
    content.seek(0)
    while data := content.read(CHUNK):
        sink.write(data)
    content.seek(0)
    return sink
