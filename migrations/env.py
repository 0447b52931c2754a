"""Runs migrations for `flask db …`, and for a test that hands its own engine over."""

import logging

import sqlalchemy as sa
from alembic import context
from flask import current_app

import app.domain.tables  # noqa: F401  every table
from app.db import prepare_engine
from app.domain.base import Base, Instant

log = logging.getLogger("alembic.env")


def _engine():
    given = context.config.attributes.get("engine")
    if given is not None:
        return given
    # The application gives a silent database up after a minute; a change of a large table takes
    # longer.
    url = current_app.extensions["migrate"].db.engine.url
    return prepare_engine(sa.create_engine(url, poolclass=sa.NullPool))


def _render_item(kind, item, _autogen_context):
    if kind == "type" and isinstance(item, Instant):
        return "Instant()"
    return False


def _compare_type(_context, _inspected_column, _metadata_column, inspected, wanted):
    # MariaDB keeps JSON as checked text, a boolean as a number, bytes in blobs of its own sizes.
    if isinstance(wanted, sa.JSON | sa.Boolean | sa.LargeBinary):
        return False
    return None


def _drop_empty_revision(_context, _revision, directives):
    options = context.config.cmd_opts
    if getattr(options, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
        directives[:] = []
        log.info("the tables and the migrations agree")


with _engine().connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        process_revision_directives=_drop_empty_revision,
        render_item=_render_item,
        render_as_batch=True,
        compare_type=_compare_type,
    )
    with context.begin_transaction():
        context.run_migrations()
