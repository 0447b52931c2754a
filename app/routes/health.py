"""Whether the process lives, and whether it can work."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from flask import abort
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.routes.guards import ports

blueprint = APIBlueprint("health", __name__, enable_openapi=False)


@blueprint.get("/healthz")
def healthz() -> dict[str, Any]:
    """Say that the process answers."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def readyz() -> dict[str, Any]:
    """Say that the database answers too, and that it takes what is written."""
    if ports().read(_is_read_only):
        abort(503)
    return {"status": "ready"}


def _is_read_only(session: Session) -> bool:
    embedded = session.get_bind().dialect.name == "sqlite"
    return bool(session.scalar(text("SELECT 0" if embedded else "SELECT @@read_only")))
