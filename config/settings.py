"""The typed settings of one process, from the environment only.

Names are prefixed LIANJIAO_. A value that has no safe default has none: the process then refuses
to start and says which variable is missing. Secrets are `SecretStr`, never shown in a repr.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AnyHttpUrl,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_TEMPLATE = re.compile(r"\s*([a-z_]{1,32}):([0-9A-Za-z_-]{1,64})\s*")


def _read_templates(given: object) -> object:
    """Read `topic:id` pairs separated by commas."""
    if not isinstance(given, str):
        return given
    found: dict[str, str] = {}
    for part in filter(str.strip, given.split(",")):
        match = _TEMPLATE.fullmatch(part)
        if match is None or match[1] in found:
            raise ValueError("`topic:id` pairs separated by commas are expected, each topic once")
        found[match[1]] = match[2]
    return found


MessageTemplates = Annotated[
    dict[str, str],
    NoDecode,
    BeforeValidator(_read_templates),
    Field(description="templates of messages that the platform has granted: `topic:id,…`"),
]


class WeChatSettings(BaseSettings):
    """WeChat Pay v2 merchant and mini-program."""

    model_config = SettingsConfigDict(env_prefix="LIANJIAO_WECHAT_", hide_input_in_errors=True)

    app_id: str
    app_secret: SecretStr
    merchant_id: str
    api_key: SecretStr = Field(description="API v2 key, 32 characters")
    plan_id: str = Field(default="", description="委托代扣 plan; empty: no debits through WeChat")
    mandate_cap_fen_max: int | None = Field(
        default=None, gt=0, description="the most for one debit that the plan allows"
    )
    merchant_serial_no: str = Field(
        default="",
        description="API v3: serial number of the merchant certificate; set all four of "
        "API v3 where the plan wants debits to be announced",
    )
    merchant_private_key_file: Path | None = None
    platform_public_key_id: str = Field(default="", description="API v3: PUB_KEY_ID_…")
    platform_public_key_file: Path | None = None
    message_templates: MessageTemplates = Field(default_factory=dict)
    pay_base_url: str = "https://api.mch.weixin.qq.com/"
    api_base_url: str = "https://api.weixin.qq.com/"
    client_cert_file: Path | None = None
    client_key_file: Path | None = None

    @property
    def has_v3(self) -> bool:
        """Whether API v3 can be spoken, which only announces debits."""
        return bool(self.merchant_serial_no)

    @model_validator(mode="after")
    def _check_v3(self) -> Self:
        needed = (
            *("merchant_serial_no", "merchant_private_key_file"),
            *("platform_public_key_id", "platform_public_key_file"),
        )
        missing = [name for name in needed if not getattr(self, name)]
        if missing and len(missing) < len(needed):
            raise ValueError(f"API v3 is half set: {', '.join(missing)} missing")
        return self


class AlipaySettings(BaseSettings):
    """Alipay open platform application (key mode, RSA2)."""

    model_config = SettingsConfigDict(env_prefix="LIANJIAO_ALIPAY_", hide_input_in_errors=True)

    app_id: str
    seller_id: str
    op_app_id: str = Field(default="", description="mini-program app id, when it differs")
    app_private_key_file: Path
    alipay_public_key_file: Path
    alipay_next_public_key_file: Path | None = Field(
        default=None, description="second accepted key while Alipay rotates its own"
    )
    gateway_url: str = "https://openapi.alipay.com/gateway.do"
    message_templates: MessageTemplates = Field(default_factory=dict)
    debit_product: Literal["", "merchant_deduct", "cycle_pay"] = Field(
        default="",
        description="商家扣款 or 周期扣款, as Alipay has granted; empty: no debits through Alipay",
    )
    sign_scene: str = Field(default="", description="the product's sign_scene, by the contract")
    mandate_cap_fen_max: int | None = Field(
        default=None, gt=0, description="the most for one debit that the contract allows"
    )

    @model_validator(mode="after")
    def _check_debits(self) -> Self:
        if not self.debit_product:
            return self
        if self.sign_scene in ("", "DEFAULT|DEFAULT"):
            raise ValueError("debits need a sign_scene of their own")
        if self.debit_product == "merchant_deduct" and self.mandate_cap_fen_max is None:
            raise ValueError("merchant_deduct needs mandate_cap_fen_max")
        if self.op_app_id not in ("", self.app_id):
            # A person's open_id is another one in each application: nobody could tell who signed.
            raise ValueError("debits need op_app_id to be the application itself")
        return self


class BankSettings(BaseSettings):
    """The debit bank (代收银行): its gateway, and its file server where it takes files."""

    model_config = SettingsConfigDict(env_prefix="LIANJIAO_BANK_", hide_input_in_errors=True)

    gateway_url: str = Field(description="address under which the bank's calls stand")
    merchant_id: str
    merchant_key_id: str
    merchant_private_key_file: Path
    bank_key_id: str
    bank_public_key_file: Path
    bank_next_key_id: str = Field(
        default="", description="number of a second accepted key while the bank rotates its own"
    )
    bank_next_public_key_file: Path | None = None
    mandate_cap_fen_max: int | None = Field(
        default=None, gt=0, description="the most for one debit that the contract allows"
    )
    sftp_host: str = Field(default="", description="file server; empty: the bank takes no files")
    sftp_port: int = Field(default=22, ge=1, le=65535)
    sftp_user: str = ""
    sftp_private_key_file: Path | None = None
    sftp_host_key_file: Path | None = Field(
        default=None, description="the host keys to trust, a line each; two while it changes"
    )
    file_layout: str = Field(default="standard", description="name of a file of bank_layouts")

    @model_validator(mode="after")
    def _check_file_server(self) -> Self:
        needed = ("sftp_host", "sftp_user", "sftp_private_key_file", "sftp_host_key_file")
        missing = [name for name in needed if not getattr(self, name)]
        if missing and len(missing) < len(needed):
            raise ValueError(f"the file server is half set: {', '.join(missing)} missing")
        return self


def read_bank_settings() -> BankSettings | None:
    """Return the bank's settings; None where not one of them is set, for then there is no bank."""
    names = {f"LIANJIAO_BANK_{name}".upper() for name in BankSettings.model_fields}
    return BankSettings() if names & {name.upper() for name in os.environ} else None


class Settings(BaseSettings):
    """Everything that differs from one installation to another."""

    model_config = SettingsConfigDict(env_prefix="LIANJIAO_", hide_input_in_errors=True)

    environment: Literal["demo", "test", "production"] = "production"
    database_url: str = Field(
        repr=False,  # it holds a password
        description="SQLAlchemy URL, sqlite:/// or mysql+pymysql://",
    )
    public_base_url: AnyHttpUrl = Field(description="where channels reach us, for callback URLs")
    data_keys: SecretStr = Field(
        description="field encryption keys: `id:base64 of 32 bytes` separated by commas, "
        "the first one seals, all of them open"
    )
    index_key: SecretStr = Field(description="base64 of 32 bytes for the blind index")
    database_timeout_seconds: int = Field(
        default=60, gt=0, description="MariaDB: a silence this long means that it is gone"
    )
    channel_connect_timeout_seconds: float = 3.0
    channel_read_timeout_seconds: float = 10.0
    clock_offset_seconds: int = Field(
        default=0, description="demo and tests: business time is this far from real time"
    )
    field_cipher: Literal["aes-256-gcm", "sm4-gcm"] = "aes-256-gcm"
    index_hash: Literal["sha256", "sm3"] = Field(
        default="sha256", description="of the blind index; never changes once people are enrolled"
    )
    trusted_proxies: int = Field(
        default=0, ge=0, le=3, description="reverse proxies in front, for the client's address"
    )
    metrics_token: SecretStr = Field(
        default=SecretStr(""), description="what a scrape of /metrics must show; empty: no metrics"
    )
    document_font_file: Path | None = Field(
        default=None, description="Chinese font for PDF files; none: looked for in the usual places"
    )
    wechat: WeChatSettings = Field(default_factory=lambda: WeChatSettings())
    alipay: AlipaySettings = Field(default_factory=lambda: AlipaySettings())
    bank: BankSettings | None = Field(default_factory=lambda: read_bank_settings())
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, url: str) -> str:
        try:
            _ = urlsplit(url).port
        except ValueError:
            # SQLAlchemy would quote what stands in the port's place, which may be the password.
            raise ValueError("not the URL of a database") from None
        return url
