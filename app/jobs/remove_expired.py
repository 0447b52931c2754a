"""Remove log-in sessions, link codes and link attempts that can no longer matter."""

from __future__ import annotations

from app.domain.ports import Ports
from app.domain.sessions.operations import remove_expired


def run(ports: Ports) -> dict[str, int]:
    """Return how many rows went."""
    return {"removed": remove_expired(ports)}
