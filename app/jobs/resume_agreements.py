"""Make agreements active again whose suspension is over."""

from __future__ import annotations

from app.domain.agreements.operations import resume_expired
from app.domain.ports import Ports


def run(ports: Ports) -> dict[str, int]:
    """Return how many were resumed."""
    return {"resumed": resume_expired(ports)}
