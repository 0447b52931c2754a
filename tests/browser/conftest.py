"""A real Chromium, beside the application that `tests/routes` serves on the loopback."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.routes.conftest import (
    app,
    build_app,
    channel,
    debiting_bank,
    logins,
    origin,
    ports,
    settings,
)

__all__ = [
    "app",
    "build_app",
    "channel",
    "debiting_bank",
    "logins",
    "origin",
    "ports",
    "settings",
]

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: no browser to test with")
    with sync_playwright() as playwright:
        # Tests may run as root, where Chromium's own sandbox cannot.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page of a browser as people here have it."""
    context = browser.new_context(locale="zh-CN", timezone_id="Asia/Shanghai")
    yield context.new_page()
    context.close()
