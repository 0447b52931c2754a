"""One bank for the tests of a file: making its keys takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sandbox.credentials import issue_credentials
from tests.payments.bank.centre import Centre, open_centre


@pytest.fixture(scope="session")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with credentials and nothing else."""
    directory = tmp_path_factory.mktemp("issued-for-bank")
    issue_credentials(directory)
    return directory


@pytest.fixture(scope="module")
def running_centre(issued: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("bank"), issued) as centre:
        yield centre


@pytest.fixture
def centre(running_centre: Centre) -> Centre:
    """The bank without troubles, and nothing heard of it yet."""
    troubles = f"{running_centre.gateway.url}_control/troubles"
    requests.delete(troubles, timeout=10).raise_for_status()
    for heard in (running_centre.raws, running_centre.events, running_centre.rejected):
        heard.clear()
    return running_centre
