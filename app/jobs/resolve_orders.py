"""Ask channels about orders whose callback has not come, and close those that expired."""

from __future__ import annotations

from app.domain.inquiries.operations import resolve_orders
from app.domain.ports import Ports


def run(ports: Ports) -> dict[str, int]:
    """Return how many orders ended in which effect."""
    return resolve_orders(ports)
