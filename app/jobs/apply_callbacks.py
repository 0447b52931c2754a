"""Apply stored callbacks whose first application failed."""

from __future__ import annotations

from app.domain.callbacks.operations import apply_pending_callbacks
from app.domain.ports import Ports


def run(ports: Ports) -> dict[str, int]:
    """Return how many were applied and how many failed again."""
    applied, failed = apply_pending_callbacks(ports)
    return {"applied": applied, "failed": failed}
