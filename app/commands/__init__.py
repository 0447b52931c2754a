"""The command line in: click groups under `flask --app wsgi`. Parse, call one operation, print."""

from __future__ import annotations

from typing import cast

from flask import current_app

from app.domain.ports import Ports


def current_ports() -> Ports:
    """Return the ports that the factory built for this process."""
    return cast(Ports, current_app.extensions["lianjiao"])
