"""A bank that is not set is not there; one that is half set is refused by name."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.payments.bank.keys import BankKeys
from app.payments.registry import build_channels
from config.bank_layout_files import load_bank_layout
from config.production import demands_to_start
from config.reason_files import load_reasons
from config.settings import BankSettings, Settings, read_bank_settings
from sandbox.credentials import issue_credentials
from sandbox.keys import read_private_key, sign

NAMES = (
    *("GATEWAY_URL", "MERCHANT_ID", "MERCHANT_KEY_ID", "MERCHANT_PRIVATE_KEY_FILE"),
    *("SFTP_HOST", "SFTP_USER", "SFTP_PRIVATE_KEY_FILE", "SFTP_HOST_KEY_FILE"),
)


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("issued")
    issue_credentials(directory)
    return directory


@pytest.fixture
def environment(issued: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every setting but the bank's."""
    for name in [name for name in os.environ if name.startswith("LIANJIAO_BANK_")]:
        monkeypatch.delenv(name)
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


def with_bank(environment: pytest.MonkeyPatch, issued: Path, **changes: str) -> Settings:
    bank = {
        **issue_credentials(issued).bank,
        "LIANJIAO_BANK_GATEWAY_URL": "https://bank.example.org/gateway/",
        "LIANJIAO_BANK_SFTP_HOST": "files.bank.example.org",
        **{f"LIANJIAO_BANK_{name}": value for name, value in changes.items()},
    }
    for name, value in bank.items():
        environment.setenv(name, value)
    return Settings()


def channels_of(settings: Settings) -> object:
    from datetime import UTC, datetime

    return build_channels(
        settings,
        load_reasons=load_reasons,
        load_layout=load_bank_layout,
        now=lambda: datetime.now(UTC),
    )


def test_without_settings_there_is_no_bank(environment: pytest.MonkeyPatch) -> None:
    settings = Settings()

    assert settings.bank is None
    channels = channels_of(settings)
    assert set(channels.refunding) == set(channels.calling_back) == {"wechat", "alipay"}
    assert "bank" not in channels.mandating
    assert "bank" not in channels.debiting
    assert not channels.batching


def test_with_them_it_can_do_all_but_payments_by_phone(
    environment: pytest.MonkeyPatch, issued: Path
) -> None:
    channels = channels_of(with_bank(environment, issued))

    assert "bank" in channels.mandating
    assert "bank" in channels.debiting
    assert set(channels.batching) == {"bank"}
    assert "bank" in channels.refunding
    assert "bank" in channels.calling_back
    assert "bank" not in channels.paying


@pytest.mark.parametrize("name", NAMES)
def test_a_half_set_bank_is_refused_by_name(
    environment: pytest.MonkeyPatch, issued: Path, name: str
) -> None:
    with_bank(environment, issued)
    environment.delenv(f"LIANJIAO_BANK_{name}")

    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


@pytest.mark.parametrize(
    "changes",
    [
        {"GATEWAY_URL": "ftp://bank.example.org/"},
        {"GATEWAY_URL": "https://bank.example.org/gateway/?a=b"},
        {"MERCHANT_ID": ""},
        {"MERCHANT_PRIVATE_KEY_FILE": "/nowhere.pem"},
        {"BANK_NEXT_KEY_ID": "B2"},
        {"SFTP_PRIVATE_KEY_FILE": "/nowhere"},
        {"SFTP_HOST_KEY_FILE": "/nowhere"},
        {"FILE_LAYOUT": "../policy/debit"},
    ],
)
def test_settings_that_cannot_work_are_refused(
    environment: pytest.MonkeyPatch, issued: Path, changes: dict[str, str]
) -> None:
    settings = with_bank(environment, issued, **changes)

    with pytest.raises(ValueError):
        channels_of(settings)


def test_our_own_key_is_not_the_banks(environment: pytest.MonkeyPatch, issued: Path) -> None:
    ours = str(issued / "bank-merchant-public.pem")
    settings = with_bank(environment, issued, BANK_PUBLIC_KEY_FILE=ours)

    with pytest.raises(ValueError, match="our own key"):
        channels_of(settings)


def test_two_keys_are_good_while_the_bank_changes_its_own(
    environment: pytest.MonkeyPatch, issued: Path
) -> None:
    """Each by its own number only."""
    theirs, other = str(issued / "bank-gateway-public.pem"), "alipay-gateway-public.pem"
    with_bank(
        environment,
        issued,
        BANK_KEY_ID="OLD",
        BANK_PUBLIC_KEY_FILE=str(issued / other),
        BANK_NEXT_KEY_ID="NEW",
        BANK_NEXT_PUBLIC_KEY_FILE=theirs,
    )
    bank = read_bank_settings()
    assert isinstance(bank, BankSettings)
    keys = BankKeys(bank)
    signature = sign(b"x", read_private_key(issued / "bank-gateway-private.pem"))

    assert keys.is_genuine(b"x", signature, key_id="NEW")
    assert not keys.is_genuine(b"x", signature, key_id="OLD")
    assert not keys.is_genuine(b"x", signature, key_id="")


@pytest.mark.parametrize(
    ("url", "is_met"),
    [
        ("https://bank.example.org/gateway/", True),
        ("https://10.1.2.3:8443/", True),
        ("http://bank.example.org/gateway/", False),
        ("https://127.0.0.1:9203/gateway/", False),
        ("https://[::1]/gateway/", False),
        ("https://localhost/gateway/", False),
        ("https://sandbox/gateway/", False),
    ],
)
def test_production_demands_a_bank_outside(
    environment: pytest.MonkeyPatch, issued: Path, url: str, is_met: bool
) -> None:
    settings = with_bank(environment, issued, GATEWAY_URL=url)

    demands = {each.subject: each.met for each in demands_to_start(settings, debug=False)}

    assert demands["银行网关地址"] == is_met
    assert demands["银行密钥不是演示密钥"] is False  # they lie beside the sandbox's credentials


def test_production_without_a_bank_demands_nothing_of_it(environment: pytest.MonkeyPatch) -> None:
    subjects = {each.subject for each in demands_to_start(Settings(), debug=False)}

    assert not any("银行" in subject for subject in subjects)
