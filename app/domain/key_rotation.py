"""Changing the key of personal data at rest (密钥轮换): every sealed row, batch by batch.

May be killed at any instant and started again, and may run beside writers and beside itself: a
row is replaced only while it is still what was read. A table with sealed columns has a `key_id`
column and a line in `SEALED_TABLES`; a column's context is always ``table.column``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Table, func, select, update
from sqlalchemy.orm import Session

from app.domain.agreements.models import AgreementConsent
from app.domain.base import Base, rows_changed, table_of
from app.domain.callbacks.models import ChannelCallback
from app.domain.contributors.models import Contributor, LoginIdentity
from app.domain.debit_batches.models import DebitBatchPart
from app.domain.mandates.models import Mandate
from app.domain.pii import Vault, VaultError
from app.domain.ports import Ports


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table whose named columns are sealed with the key that its `key_id` names."""

    model: type[Base]
    columns: tuple[str, ...]

    @property
    def table(self) -> Table:
        """The table itself."""
        return table_of(self.model)

    @property
    def name(self) -> str:
        """The table's name."""
        return self.table.name


SEALED_TABLES: tuple[SealedTable, ...] = (
    SealedTable(Contributor, ("document_no", "real_name", "phone", "birth_date")),
    SealedTable(LoginIdentity, ("subject",)),
    SealedTable(ChannelCallback, ("body",)),
    SealedTable(AgreementConsent, ("text", "device", "client_ip")),
    SealedTable(Mandate, ("payer",)),
    SealedTable(DebitBatchPart, ("content",)),
)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that no key opens; it stays as it is, for somebody to look at."""

    table: str
    row_id: int
    message: str


@dataclass(frozen=True, slots=True)
class Rotation:
    """What one run did. Without unreadable rows the old keys may go once `status` agrees."""

    rotated: int
    unreadable: tuple[Unreadable, ...]


@dataclass(frozen=True, slots=True)
class _Batch:
    seen: int
    last_id: int
    rotated: int
    unreadable: tuple[Unreadable, ...]


def rotate_keys(
    ports: Ports,
    *,
    batch_size: int = 200,
    progress: Callable[[int, int], None] | None = None,
    tables: Sequence[SealedTable] = SEALED_TABLES,
) -> Rotation:
    """Seal every row again that is not sealed with the active key; each batch is a transaction.

    Args:
        progress: called after each batch with rows seen so far and rows to see in all.
    """
    active = ports.vault.active_key_id
    counts = ports.read(lambda session: count_rows_by_key(session, tables=tables))
    total = sum(
        count for keys in counts.values() for key_id, count in keys.items() if key_id != active
    )
    seen, rotated = 0, 0
    unreadable: list[Unreadable] = []
    for sealed in tables:
        last_id = 0
        while True:
            batch = _run_batch(ports, sealed, after_id=last_id, limit=batch_size)
            last_id = batch.last_id
            seen += batch.seen
            rotated += batch.rotated
            unreadable += batch.unreadable
            if progress is not None and batch.seen:
                progress(seen, max(seen, total))
            if batch.seen < batch_size:
                break
    return Rotation(rotated=rotated, unreadable=tuple(unreadable))


def count_rows_by_key(
    session: Session, *, tables: Sequence[SealedTable] = SEALED_TABLES
) -> Mapping[str, Mapping[str, int]]:
    """Return for each sealed table how many rows each key has sealed."""
    counts: dict[str, dict[str, int]] = {}
    for sealed in tables:
        key_id = sealed.table.c.key_id
        rows = session.execute(select(key_id, func.count()).group_by(key_id).order_by(key_id))
        counts[sealed.name] = {found: count for found, count in rows}
    return counts


def _run_batch(ports: Ports, sealed: SealedTable, *, after_id: int, limit: int) -> _Batch:
    return ports.transact(
        lambda session: _rotate_batch(session, ports.vault, sealed, after_id=after_id, limit=limit)
    )


def _rotate_batch(
    session: Session, vault: Vault, sealed: SealedTable, *, after_id: int, limit: int
) -> _Batch:
    table = sealed.table
    rows = session.execute(
        select(table.c.id, table.c.key_id, *(table.c[column] for column in sealed.columns))
        .where(table.c.id > after_id, table.c.key_id != vault.active_key_id)
        .order_by(table.c.id)
        .limit(limit)
    ).all()
    rotated = 0
    unreadable: list[Unreadable] = []
    for row in rows:
        try:
            fresh = _reseal(vault, sealed, row)
        except VaultError as error:
            unreadable.append(Unreadable(sealed.name, row.id, error.message))
            continue
        unchanged = [table.c[column] == getattr(row, column) for column in sealed.columns]
        rotated += rows_changed(
            session,
            update(table)
            .where(table.c.id == row.id, table.c.key_id == row.key_id, *unchanged)
            .values(key_id=vault.active_key_id, **fresh),
        )
    last_id = rows[-1].id if rows else after_id
    return _Batch(len(rows), last_id, rotated, tuple(unreadable))


def _reseal(vault: Vault, sealed: SealedTable, row: Row[Any]) -> dict[str, bytes]:
    return {
        column: vault.reseal(getattr(row, column), context=f"{sealed.name}.{column}")
        for column in sealed.columns
    }
