"""Debits through Alipay are a product that Alipay grants: without it there are none."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.domain.ports import Channels
from app.payments.registry import build_channels
from config.bank_layout_files import load_bank_layout
from config.reason_files import load_reasons
from config.settings import Settings
from sandbox.credentials import issue_credentials


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("issued")
    issue_credentials(directory)
    return directory


@pytest.fixture
def environment(issued: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What the sandbox issues, with 商家扣款."""
    credentials = issue_credentials(issued)
    plain = {
        **credentials.wechat,
        **credentials.alipay,
        "LIANJIAO_DATABASE_URL": "sqlite://",
        "LIANJIAO_PUBLIC_BASE_URL": "https://gjj.example.org",
        "LIANJIAO_DATA_KEYS": "k1:" + base64.b64encode(bytes(32)).decode(),
        "LIANJIAO_INDEX_KEY": base64.b64encode(bytes(32)).decode(),
    }
    for name, value in plain.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def channels() -> Channels:
    return build_channels(
        Settings(),
        load_reasons=load_reasons,
        load_layout=load_bank_layout,
        now=lambda: datetime.now(UTC),
    )


def test_the_sandbox_grants_merchant_deduct(environment: pytest.MonkeyPatch) -> None:
    found = channels()

    assert found.mandating["alipay"] is found.debiting["alipay"]
    assert found.mandating["alipay"].limits.cap_fen_max == 500_000


@pytest.mark.parametrize("is_empty", [True, False])
def test_without_a_product_alipay_debits_nothing(
    environment: pytest.MonkeyPatch, is_empty: bool
) -> None:
    if is_empty:
        environment.setenv("LIANJIAO_ALIPAY_DEBIT_PRODUCT", "")
    else:
        environment.delenv("LIANJIAO_ALIPAY_DEBIT_PRODUCT")

    found = channels()

    assert "alipay" not in found.mandating
    assert "alipay" not in found.debiting
    for capability in (found.paying, found.refunding, found.calling_back):
        assert "alipay" in capability


@pytest.mark.parametrize("name", ["SIGN_SCENE", "MANDATE_CAP_FEN_MAX"])
def test_a_product_half_set_is_refused_by_name(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv(f"LIANJIAO_ALIPAY_{name}")

    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_cycle_pay_has_a_cap_of_its_own(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LIANJIAO_ALIPAY_DEBIT_PRODUCT", "cycle_pay")
    environment.delenv("LIANJIAO_ALIPAY_MANDATE_CAP_FEN_MAX")

    assert channels().mandating["alipay"].limits.cap_fen_max == 100_00


def test_credentials_of_an_older_sandbox_are_given_the_contract(tmp_path: Path) -> None:
    issued = issue_credentials(tmp_path)
    file = tmp_path / "credentials.json"
    kept = json.loads(file.read_text(encoding="utf-8"))
    for name in ("DEBIT_PRODUCT", "SIGN_SCENE", "MANDATE_CAP_FEN_MAX"):
        del kept["alipay"][f"LIANJIAO_ALIPAY_{name}"]
    file.write_text(json.dumps(kept), encoding="utf-8")

    assert issue_credentials(tmp_path) == issued
