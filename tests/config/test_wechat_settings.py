"""WeChat debits under a plan alone, and announces with API v3 alone; half of it is refused."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.domain.ports import Channels
from app.payments.registry import build_channels
from config.bank_layout_files import load_bank_layout
from config.production import demands_to_start
from config.reason_files import load_reasons
from config.settings import Settings
from sandbox.credentials import issue_credentials

V3 = (
    *("MERCHANT_SERIAL_NO", "MERCHANT_PRIVATE_KEY_FILE"),
    *("PLATFORM_PUBLIC_KEY_ID", "PLATFORM_PUBLIC_KEY_FILE"),
)
SUBJECT = "微信支付 APIv3 密钥不是演示密钥"


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("issued")
    issue_credentials(directory)
    return directory


@pytest.fixture
def environment(issued: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A plan, and all of API v3."""
    credentials = issue_credentials(issued)
    plain = {
        **credentials.wechat,
        **credentials.wechat_v3,
        **credentials.alipay,
        "LIANJIAO_DATABASE_URL": "sqlite://",
        "LIANJIAO_PUBLIC_BASE_URL": "https://gjj.example.org",
        "LIANJIAO_DATA_KEYS": "k1:" + base64.b64encode(bytes(32)).decode(),
        "LIANJIAO_INDEX_KEY": base64.b64encode(bytes(32)).decode(),
    }
    for name, value in plain.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def channels_of(settings: Settings) -> Channels:
    return build_channels(
        settings,
        load_reasons=load_reasons,
        load_layout=load_bank_layout,
        now=lambda: datetime.now(UTC),
    )


def listed(channels: Channels) -> dict[str, bool]:
    names = ("paying", "calling_back", "mandating", "debiting", "announcing")
    return {name: "wechat" in getattr(channels, name) for name in names}


ALWAYS = {"paying": True, "calling_back": True}


def test_with_a_plan_and_v3_it_debits_and_announces(environment: pytest.MonkeyPatch) -> None:
    assert set(listed(channels_of(Settings())).values()) == {True}


def test_without_v3_it_debits_unannounced(environment: pytest.MonkeyPatch) -> None:
    for name in V3:
        environment.delenv(f"LIANJIAO_WECHAT_{name}")

    found = listed(channels_of(Settings()))

    assert found == {**ALWAYS, "mandating": True, "debiting": True, "announcing": False}


@pytest.mark.parametrize("plan", ["", None])
def test_without_a_plan_it_takes_payments_only(
    environment: pytest.MonkeyPatch, plan: str | None
) -> None:
    environment.delenv("LIANJIAO_WECHAT_PLAN_ID")
    if plan is not None:
        environment.setenv("LIANJIAO_WECHAT_PLAN_ID", plan)

    found = listed(channels_of(Settings()))

    assert found == {**ALWAYS, "mandating": False, "debiting": False, "announcing": False}


@pytest.mark.parametrize("name", V3)
def test_a_half_set_v3_is_refused_by_name(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv(f"LIANJIAO_WECHAT_{name}")

    with pytest.raises(ValidationError, match=f"half set: {name.lower()} missing"):
        Settings()


@pytest.mark.parametrize("plan", ["模板", "12 3", "１２３", "12a"])
def test_a_plan_is_a_number(environment: pytest.MonkeyPatch, plan: str) -> None:
    environment.setenv("LIANJIAO_WECHAT_PLAN_ID", plan)

    with pytest.raises(ValueError, match="plan is a number"):
        channels_of(Settings())


def test_the_cap_is_what_the_plan_allows(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LIANJIAO_WECHAT_MANDATE_CAP_FEN_MAX", "500000")
    assert channels_of(Settings()).mandating["wechat"].limits.cap_fen_max == 500_000

    environment.setenv("LIANJIAO_WECHAT_MANDATE_CAP_FEN_MAX", "0")
    with pytest.raises(ValidationError, match="mandate_cap_fen_max"):
        Settings()


def test_production_wants_other_keys_than_the_demos(
    environment: pytest.MonkeyPatch, issued: Path, tmp_path: Path
) -> None:
    def met(**changes: str) -> dict[str, Any]:
        for name, value in changes.items():
            environment.setenv(f"LIANJIAO_WECHAT_{name}", value)
        return {each.subject: each.met for each in demands_to_start(Settings(), debug=False)}

    names = {
        "MERCHANT_PRIVATE_KEY_FILE": "wechat-merchant-private.pem",
        "PLATFORM_PUBLIC_KEY_FILE": "wechat-platform-public.pem",
    }
    moved = {name: str(tmp_path / file) for name, file in names.items()}
    for file in names.values():
        (tmp_path / file).write_bytes((issued / file).read_bytes())

    assert met()[SUBJECT] is False  # they lie beside the sandbox's credentials
    first, second = moved
    assert met(**{first: moved[first]})[SUBJECT] is False
    assert met(**{second: moved[second]})[SUBJECT] is True
    for name in V3:
        environment.delenv(f"LIANJIAO_WECHAT_{name}")
    assert SUBJECT not in met()
