"""Send released refunds and ask channels about those under way."""

from __future__ import annotations

from app.domain.inquiries.operations import resolve_refunds
from app.domain.ports import Ports


def run(ports: Ports) -> dict[str, int]:
    """Return how many refunds ended in which effect."""
    return resolve_refunds(ports)
