"""Whether the process lives, and whether it can work."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from sqlalchemy import text

from app.routes.guards import ports

blueprint = APIBlueprint("health", __name__, enable_openapi=False)


@blueprint.get("/healthz")
def healthz() -> dict[str, Any]:
    """Say that the process answers."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def readyz() -> dict[str, Any]:
    """Say that the database answers too."""
    ports().read(lambda session: session.execute(text("SELECT 1")).scalar_one())
    return {"status": "ready"}
