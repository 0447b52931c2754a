"""Migrations: one line, from nothing to exactly the tables of the models, on both databases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import BINARY, JSON, Boolean, Engine, LargeBinary, inspect

import app.domain.tables  # noqa: F401  every table
from app.domain.base import Base


@pytest.fixture
def scripts(repository_root: Path) -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(repository_root / "migrations"))
    return ScriptDirectory.from_config(config)


def test_they_stand_in_one_line(scripts: ScriptDirectory) -> None:
    assert len(scripts.get_heads()) == 1
    assert len(scripts.get_bases()) == 1
    for script in scripts.walk_revisions():
        assert not script.is_merge_point, script.revision
        assert not script.is_branch_point, script.revision


def test_they_are_numbered_in_order_and_say_what_they_do(scripts: ScriptDirectory) -> None:
    in_order = list(scripts.walk_revisions())[::-1]
    for number, script in enumerate(in_order, start=1):
        assert script.revision == f"{number:04d}"
        assert re.fullmatch(f"{number:04d}_[a-z0-9_]+\\.py", Path(script.path).name)
        assert script.doc


def test_they_make_exactly_the_tables_of_the_models(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": same_type})
        assert compare_metadata(context, Base.metadata) == []


def test_no_table_is_left_over_or_missing(engine: Engine) -> None:
    there = set(inspect(engine).get_table_names()) - {"alembic_version"}
    assert there == set(Base.metadata.tables)


def same_type(context, _inspected_column, _column, _inspected, wanted):
    # MariaDB keeps JSON as checked text, a boolean as a small number and the size of a BLOB as
    # its kind; SQLite has no type of its own for bytes of a fixed length.
    kept_otherwise = JSON | Boolean | LargeBinary
    if context.dialect.name == "sqlite":
        kept_otherwise |= BINARY
    return False if isinstance(wanted, kept_otherwise) else None
