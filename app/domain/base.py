"""The declarative base and the column types that every table shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    CursorResult,
    DateTime,
    Delete,
    Dialect,
    Enum,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Update,
)
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

BigId = BigInteger().with_variant(Integer, "sqlite")
"""An autoincrement key; SQLite only counts up on its own INTEGER."""

Sealed = LargeBinary(2048)
"""Personal data as sealed by the vault."""


class Instant(TypeDecorator[datetime]):
    """A UTC instant, aware in Python, naive UTC with microseconds in the database."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect):  # type: ignore[no-untyped-def]
        """Ask MariaDB for microseconds, which it leaves out by default."""
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive datetime: nobody could say what hour it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the database")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the instant back aware."""
        return None if value is None else value.replace(tzinfo=UTC)


def enum_column(kind: type[StrEnum], length: int = 24) -> Enum:
    """Return the column type of a string enum: its values as text, refused when unknown."""
    return Enum(
        kind,
        native_enum=False,
        length=length,
        validate_strings=True,
        values_callable=lambda members: [member.value for member in members],
    )


def table_of(model: type[Base]) -> Table:
    """Return a model's table, for Core statements on the paths where the ORM would cost."""
    return cast(Table, model.__table__)


def rows_changed(
    session: Session,
    statement: Update | Delete,
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
) -> int:
    """Execute and return how many rows matched: what a conditional update is judged by."""
    return cast("CursorResult[Any]", session.execute(statement, values)).rowcount


class Base(DeclarativeBase):
    """Parent of every table. Constraint names are spelt out so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
