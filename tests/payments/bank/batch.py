"""Batches of debits for the tests of files, and a batch as the domain would look it up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from io import BytesIO

from app.domain.ports.debits import AskedLine, BatchFile, BatchHead, DebitRequest
from app.domain.ports.mandates import BankCard

DAY = date(2026, 11, 24)


def line(order_no: str, amount_fen: int, reference: str, card: BankCard) -> DebitRequest:
    return DebitRequest(
        order_no=order_no,
        amount_fen=amount_fen,
        description="2026-11 缴存",
        mandate_reference=reference,
        card=card,
    )


def some_card(name: str = "测试用户") -> BankCard:
    return BankCard(
        card_no="6217980000000000001",
        holder_name=name,
        document_kind="resident_id",
        document_no="",
        phone="",
    )


def many(count: int) -> Iterator[DebitRequest]:
    """So many debits of 12345 fen, made one at a time."""
    card = some_card()
    return (line(f"D{place:031d}", 12345, "62202611240000000001", card) for place in range(count))


def head(count: int, sum_fen: int, sequence: int = 1) -> BatchHead:
    return BatchHead(day=DAY, sequence=sequence, count=count, sum_fen=sum_fen)


class Batch:
    """A batch that was rendered, and what it asks for."""

    def __init__(self, files: object, lines: Sequence[DebitRequest], sequence: int) -> None:
        self.lines = lines
        self.head = head(len(lines), sum(each.amount_fen for each in lines), sequence)
        self.content = BytesIO()
        self.file: BatchFile = files.render_batch(self.head, lines, self.content)

    def find(self, numbers: Sequence[str]) -> Mapping[str, AskedLine]:
        asked = {
            each.order_no: AskedLine(place=place, amount_fen=each.amount_fen)
            for place, each in enumerate(self.lines, start=1)
        }
        return {number: asked[number] for number in numbers if number in asked}
