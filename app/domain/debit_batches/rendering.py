"""Writing a frozen batch into its file, once: from then on only the stored bytes count."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Any

from sqlalchemy import Row, insert, select
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.debit_batches.models import DebitBatch, DebitBatchPart
from app.domain.debit_batches.moves import head_of, move_batch
from app.domain.debit_batches.rules import BatchState
from app.domain.deposits.operations import DESCRIPTION
from app.domain.mandates.models import Mandate
from app.domain.mandates.payers import open_payer
from app.domain.payment_orders.models import PaymentOrder
from app.domain.ports import Ports
from app.domain.ports.debits import BatchDebits, BatchFile, DebitRequest

BATCH = table_of(DebitBatch)
MANDATE = table_of(Mandate)
ORDER = table_of(PaymentOrder)
PART = table_of(DebitBatchPart)

PAGE = 500
PART_BYTES = 64 * 1024
CONTEXT = "debit_batch_part.content"


def render_batch(ports: Ports, batch: Row[Any], *, files: BatchDebits) -> bool:
    """Write a frozen batch and store its bytes with its state.

    Whoever stores first is believed: two that write at once, or one that writes again after a
    crash, leave one file. Memory does not grow with the batch.

    Returns: False if somebody else had stored it.
    Raises:
        LineUnwritable, BatchAtOdds: nothing is stored.
    """
    with TemporaryFile() as content:
        file = files.render_batch(head_of(batch), _lines(ports, batch.id), content)
        return ports.transact(
            partial(_store, ports=ports, batch_id=batch.id, file=file, content=content)
        )


def copy_frozen_bytes(ports: Ports, batch_id: int, into: IO[bytes]) -> None:
    """Write the stored bytes of a batch into a file, piece by piece."""
    place = 1
    while True:
        sealed = ports.read(partial(_read_part, batch_id=batch_id, place=place))
        if sealed is None:
            break
        into.write(ports.vault.open_bytes(sealed, context=CONTEXT))
        place += 1
    into.seek(0)


def _lines(ports: Ports, batch_id: int) -> Iterator[DebitRequest]:
    """Yield the debits of a batch by their places, a page at a time."""
    after = 0
    while page := ports.read(partial(_read_page, batch_id=batch_id, after=after)):
        for row in page:
            yield DebitRequest(
                order_no=row.order_no,
                amount_fen=row.amount_fen,
                description=DESCRIPTION,
                mandate_reference=row.reference,
                card=open_payer(ports.vault, row.payer).card,
            )
        after = page[-1].batch_place


def _read_page(session: Session, *, batch_id: int, after: int) -> list[Row[Any]]:
    query = (
        select(
            ORDER.c.order_no,
            ORDER.c.amount_fen,
            ORDER.c.batch_place,
            MANDATE.c.reference,
            MANDATE.c.payer,
        )
        .join(MANDATE, MANDATE.c.id == ORDER.c.mandate_id)
        .where(ORDER.c.batch_id == batch_id, ORDER.c.batch_place > after)
        .order_by(ORDER.c.batch_place)
        .limit(PAGE)
    )
    return list(session.execute(query))


def _store(
    session: Session, *, ports: Ports, batch_id: int, file: BatchFile, content: IO[bytes]
) -> bool:
    ports.fence(session)
    now = ports.now()
    if not move_batch(
        session,
        batch_id,
        BatchState.RENDERED,
        file_name=file.name,
        size_bytes=file.size_bytes,
        digest=file.digest,
        signature=file.signature,
        rendered_at=now,
        next_send_at=now,
    ):
        return False
    for place, data in enumerate(_pieces(content), start=1):
        session.execute(
            insert(PART).values(
                batch_id=batch_id,
                place=place,
                content=ports.vault.seal(data, context=CONTEXT),
                key_id=ports.vault.active_key_id,
            )
        )
    return True


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    content.seek(0)
    while data := content.read(PART_BYTES):
        yield data


def _read_part(session: Session, *, batch_id: int, place: int) -> bytes | None:
    return session.scalar(
        select(PART.c.content).where(PART.c.batch_id == batch_id, PART.c.place == place)
    )
