"""One WeChat for the tests of a file: making its keys takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sandbox.credentials import issue_credentials
from tests.payments.wechat.purse import Purse, open_purse


@pytest.fixture(scope="session")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with credentials and nothing else."""
    directory = tmp_path_factory.mktemp("issued-for-wechat")
    issue_credentials(directory)
    return directory


@pytest.fixture(scope="module")
def running_purse(issued: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Purse]:
    with open_purse(tmp_path_factory.mktemp("wechat"), issued) as purse:
        yield purse


@pytest.fixture
def purse(running_purse: Purse) -> Purse:
    """WeChat without troubles, its plan debits at once, and nothing is heard of it yet."""
    gateway = running_purse.gateway
    requests.delete(f"{gateway.url}_control/troubles", timeout=10).raise_for_status()
    gateway.control("plans/change", mode="AT_ONCE", limit_fen=500_000)
    running_purse.forget()
    return running_purse
