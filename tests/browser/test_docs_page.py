"""/docs in a real browser: it shows the API, asks nobody else for anything, runs no inline code."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from tests.routes.callers import on_sqlite_only

pytestmark = on_sqlite_only


def test_the_page_shows_the_api_from_this_server_alone(
    page: Page, origin: str, tmp_path: Path
) -> None:
    requested: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    page.goto(f"{origin}/")
    expect(page).to_have_url(f"{origin}/docs")
    expect(page).to_have_title("连缴 Lianjiao 接口文档")
    expect(page.get_by_text("连缴 Lianjiao API")).to_be_visible()
    expect(page.locator(".opblock")).to_have_count(42)
    for words in ("发起缴存", "复核放行退款", "导出我的全部数据"):
        expect(page.get_by_text(words, exact=True)).to_be_visible()
    page.screenshot(path=tmp_path / "docs.png")

    page.get_by_text("发起缴存", exact=True).click()
    expect(page.get_by_text("客户端生成的唯一标识")).to_be_visible()
    expect(page.get_by_text('"amount_fen": 50000').first).to_be_visible()
    page.screenshot(path=tmp_path / "operation.png")

    own = urlsplit(origin)
    foreign = [
        url
        for url in requested
        if urlsplit(url).scheme != "data" and urlsplit(url).netloc != own.netloc
    ]
    assert foreign == []
    assert f"{origin}/openapi.json" in requested
    assert complaints == []


def test_a_request_tried_out_on_the_page_gets_its_answer(page: Page, origin: str) -> None:
    page.goto(f"{origin}/docs#/登录/log_in")
    operation = page.locator("#operations-登录-log_in")
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table").get_by_text("login_refused")).to_be_visible()


def test_no_inline_script_could_run_on_the_page(page: Page, origin: str) -> None:
    answer = page.goto(f"{origin}/docs")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    page.evaluate(
        "document.body.appendChild(Object.assign(document.createElement('script'),"
        " {textContent: 'window.injected = true'}))"
    )
    assert page.evaluate("window.injected") is None
