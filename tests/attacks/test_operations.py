"""Those who run the system: what production does not start with, and where no secret stands."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from click import Command, Group, Option
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from pydantic import AnyHttpUrl, SecretStr, ValidationError
from sqlalchemy import Engine

from app.domain.ports import Ports
from app.domain.staff.models import Role
from app.factory import UnfitForProduction, build_ports
from config.production import demands_to_serve, demands_to_start, is_weak_key, is_weak_text
from config.settings import AlipaySettings, Settings, WeChatSettings
from tests.conftest import ROOT, MovableClock
from tests.payments import alipay_hand, wechat_hand
from tests.routes.callers import on_sqlite_only
from tests.stories.town import ENROLMENT, PASSWORD, open_town

Build = Callable[[Settings, Ports], APIFlask]


def drawn(name: str) -> bytes:
    """A key that looks drawn, the same in every run."""
    return hashlib.sha256(name.encode()).digest()


def base64_of(key: bytes) -> str:
    return base64.b64encode(key).decode()


DATA_KEY = f"k1:{base64_of(drawn('data'))}"
INDEX_KEY = base64_of(drawn("index"))
API_KEY, APP_SECRET = drawn("api").hex()[:32], drawn("app").hex()[:32]
DATABASE_PASSWORD = drawn("database").hex()[:24]
SECRETS = (DATA_KEY[3:], INDEX_KEY, API_KEY, APP_SECRET, DATABASE_PASSWORD)
DATABASE = "mysql+pymysql://lianjiao:{}@127.0.0.1:1/lianjiao"


@pytest.fixture
def certificate(tmp_path: Path, clock: MovableClock) -> Path:
    """A merchant's certificate that is good for a year."""
    key = alipay_hand.another_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "测试用户")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(clock.now())
        .not_valid_after(clock.now() + timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "client.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def fit(certificate: Path) -> Settings:
    """Settings with which production may hold people's money."""
    return Settings(
        environment="production",
        database_url=DATABASE.format(DATABASE_PASSWORD),
        public_base_url="https://fund.example",
        data_keys=SecretStr(DATA_KEY),
        index_key=SecretStr(INDEX_KEY),
        wechat=WeChatSettings(
            app_id=wechat_hand.APP_ID,
            app_secret=SecretStr(APP_SECRET),
            merchant_id=wechat_hand.MERCHANT,
            api_key=SecretStr(API_KEY),
            client_cert_file=certificate,
            client_key_file=certificate,
        ),
        alipay=AlipaySettings(
            app_id=alipay_hand.APP_ID,
            seller_id=alipay_hand.SELLER,
            app_private_key_file=alipay_hand.APP_KEY_FILE,
            alipay_public_key_file=alipay_hand.ALIPAY_KEY_FILE,
        ),
    )


def changed(settings: Settings, **values: Any) -> Settings:
    """Return settings with values replaced; `wechat.x` and `alipay.x` by `wechat__x`."""
    parts: dict[str, Any] = {}
    for name, value in values.items():
        part, _, inner = name.partition("__")
        if inner:
            model = parts.get(part, getattr(settings, part))
            parts[part] = model.model_copy(update={inner: value})
        else:
            parts[name] = value
    return settings.model_copy(update=parts)


# -- What production does not start with ------------------------------------------------------

UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "a clock that is shifted": ({"clock_offset_seconds": 3600}, "业务时钟未偏移"),
    "SQLite": ({"database_url": "sqlite:////srv/lianjiao.sqlite"}, "数据库为 MariaDB/MySQL"),
    "notices over http": (
        {"public_base_url": AnyHttpUrl("http://fund.example")},
        "对外地址使用 https",
    ),
    "WeChat Pay of the sandbox": (
        {"wechat__pay_base_url": "http://127.0.0.1:9201/"},
        "微信支付地址",
    ),
    "WeChat Pay of somebody else": (
        {"wechat__pay_base_url": "https://api.mch.weixin.qq.com.evil.example/"},
        "微信支付地址",
    ),
    "WeChat Pay behind a name": (
        {"wechat__pay_base_url": "https://api.mch.weixin.qq.com@evil.example/"},
        "微信支付地址",
    ),
    "WeChat over http": ({"wechat__api_base_url": "http://api.weixin.qq.com/"}, "微信接口地址"),
    "Alipay of the sandbox": (
        {"alipay__gateway_url": "https://openapi-sandbox.dl.alipaydev.com/gateway.do"},
        "支付宝网关地址",
    ),
    "a data key of noughts": (
        {"data_keys": SecretStr("k1:" + base64_of(bytes(32)))},
        "数据密钥强度",
    ),
    "a data key that counts": (
        {"data_keys": SecretStr("k1:" + base64_of(bytes(range(32))))},
        "数据密钥强度",
    ),
    "a data key that was typed": (
        {"data_keys": SecretStr("k1:" + base64_of(b"lianjiao-2026-lianjiao-2026-2026"))},
        "数据密钥强度",
    ),
    "an old data key that is weak": (
        {"data_keys": SecretStr(f"{DATA_KEY},k0:{base64_of(bytes(range(100, 132)))}")},
        "数据密钥强度",
    ),
    "an index key of one letter": ({"index_key": SecretStr(base64_of(b"i" * 32))}, "索引密钥强度"),
    "one key for both": ({"index_key": SecretStr(DATA_KEY[3:])}, "索引密钥与数据密钥不同"),
    "the API key of the documentation": (
        {"wechat__api_key": SecretStr("192006250b4c09247ec02edce69f6a2d")},
        "微信支付密钥强度",
    ),
    "an API key of noughts": ({"wechat__api_key": SecretStr("0" * 32)}, "微信支付密钥强度"),
    "an API key that counts": (
        {"wechat__api_key": SecretStr("abcdefghijklmnopqrstuvwxyz012345")},
        "微信支付密钥强度",
    ),
    "an API key said twice": (
        {"wechat__api_key": SecretStr(API_KEY[:16] * 2)},
        "微信支付密钥强度",
    ),
    "an app secret not filled in": ({"wechat__app_secret": SecretStr("")}, "微信应用密钥强度"),
}


@pytest.mark.parametrize("name", UNFIT)
@on_sqlite_only
def test_production_does_not_start(
    build_app: Build, ports: Ports, fit: Settings, name: str
) -> None:
    values, subject = UNFIT[name]
    with pytest.raises(UnfitForProduction) as caught:
        build_app(changed(fit, **values), ports)
    title, *unmet = caught.value.message.splitlines()
    assert title == "生产环境拒绝启动"
    assert [line.partition("：")[0] for line in unmet] == [subject]
    assert caught.value.exit_code == 1
    for secret in SECRETS:
        assert secret not in caught.value.message


@pytest.mark.parametrize("mark", ["credentials.json", ".made-by-demo"])
@on_sqlite_only
def test_production_does_not_start_with_the_keys_of_the_demo(
    build_app: Build, ports: Ports, fit: Settings, tmp_path: Path, mark: str
) -> None:
    (tmp_path / mark).touch()
    key = tmp_path / "alipay-app-private.pem"
    key.write_bytes(alipay_hand.APP_KEY_FILE.read_bytes())
    with pytest.raises(UnfitForProduction, match="支付宝密钥不是演示密钥"):
        build_app(changed(fit, alipay__app_private_key_file=key), ports)


@on_sqlite_only
def test_production_does_not_start_for_debugging(
    build_app: Build, ports: Ports, fit: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_DEBUG", "1")
    with pytest.raises(UnfitForProduction, match="调试模式关闭"):
        build_app(fit, ports)


def test_every_demand_is_tried_above(fit: Settings, tmp_path: Path) -> None:
    tried = {subject for _, subject in UNFIT.values()}
    # Debugging and the demo's keys by the two tests above, -O on the command line below.
    tried |= {"调试模式关闭", "断言有效", "支付宝密钥不是演示密钥"}
    assert {demand.subject for demand in demands_to_start(fit, debug=False)} == tried
    assert all(demand.met for demand in demands_to_start(fit, debug=False))
    assert all(demand.met for demand in demands_to_serve(fit))


@pytest.mark.parametrize("environment", ["demo", "test"])
@on_sqlite_only
def test_a_demo_starts_with_all_of_it(
    build_app: Build, ports: Ports, fit: Settings, environment: str
) -> None:
    values = {name: value for each, _ in UNFIT.values() for name, value in each.items()}
    app = build_app(changed(fit, **values, environment=environment), ports)
    assert app.test_client().get("/healthz").status_code == 200


def test_keys_that_were_drawn_are_not_weak() -> None:
    """Of ten thousand, none: nobody shall be told that a good key is a bad one."""
    for number in range(10_000):
        key = drawn(str(number))
        assert not is_weak_key(key), key
        assert not is_weak_text(key.hex()[:32], length=32), key
        digits = f"{int.from_bytes(key) % 10**32:032d}"
        assert not is_weak_text(digits, length=32), digits


# -- The command line and the server ----------------------------------------------------------


def environment_of(**changes: str) -> dict[str, str]:
    """The environment of a process in production."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LIANJIAO_", "FLASK_"))}
    return {
        **kept,
        "LIANJIAO_DATABASE_URL": DATABASE.format(DATABASE_PASSWORD),
        "LIANJIAO_PUBLIC_BASE_URL": "https://fund.example",
        "LIANJIAO_DATA_KEYS": DATA_KEY,
        "LIANJIAO_INDEX_KEY": INDEX_KEY,
        "LIANJIAO_WECHAT_APP_ID": wechat_hand.APP_ID,
        "LIANJIAO_WECHAT_APP_SECRET": APP_SECRET,
        "LIANJIAO_WECHAT_MERCHANT_ID": wechat_hand.MERCHANT,
        "LIANJIAO_WECHAT_API_KEY": API_KEY,
        "LIANJIAO_ALIPAY_APP_ID": alipay_hand.APP_ID,
        "LIANJIAO_ALIPAY_SELLER_ID": alipay_hand.SELLER,
        "LIANJIAO_ALIPAY_APP_PRIVATE_KEY_FILE": str(alipay_hand.APP_KEY_FILE),
        "LIANJIAO_ALIPAY_ALIPAY_PUBLIC_KEY_FILE": str(alipay_hand.ALIPAY_KEY_FILE),
        **changes,
    }


def run(*command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment_of(**changes),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    for secret in SECRETS:
        assert secret not in ran.stdout + ran.stderr
    return ran


def test_the_doctor_refuses_on_the_command_line_and_says_why() -> None:
    """Everything at once, as a demo's settings would be when somebody takes them along."""
    ran = run(
        *("-O", "-m", "flask", "--app", "wsgi", "--debug", "doctor"),
        LIANJIAO_DATABASE_URL="sqlite:////tmp/never-made.sqlite",
        LIANJIAO_CLOCK_OFFSET_SECONDS="-60",
        LIANJIAO_PUBLIC_BASE_URL="http://127.0.0.1:8000",
        LIANJIAO_WECHAT_PAY_BASE_URL="http://127.0.0.1:9201/",
        LIANJIAO_DATA_KEYS="k1:" + base64_of(bytes(32)),
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines() == [
        "Error: 生产环境拒绝启动",
        "调试模式关闭：请勿使用 --debug 或 FLASK_DEBUG",
        "断言有效：请勿以 python -O 或 PYTHONOPTIMIZE 运行",
        "业务时钟未偏移：不得设置 LIANJIAO_CLOCK_OFFSET_SECONDS",
        "数据库为 MariaDB/MySQL：SQLite 只用于演示与开发",
        "对外地址使用 https：渠道通知地址必须为 https",
        "微信支付地址：只能是该平台的正式地址，不得指向仿真网关",
        "数据密钥强度：请以 openssl rand 或 app.commands.keys new 随机生成",
    ]


def test_the_server_does_not_start() -> None:
    ran = run(
        *("-m", "gunicorn", "--workers", "1", "--no-control-socket", "--bind", "127.0.0.1:0"),
        "wsgi:app",
        LIANJIAO_CLOCK_OFFSET_SECONDS="60",
    )
    assert ran.returncode == 3
    assert "生产环境拒绝启动\n业务时钟未偏移" in ran.stderr


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("LIANJIAO_DATA_KEYS", "k1:" + base64_of(drawn("short")[:31]), "数据密钥强度"),
        ("LIANJIAO_WECHAT_API_KEY", drawn("long").hex()[:33], "32 letters and digits"),
        ("LIANJIAO_CLOCK_OFFSET_SECONDS", "s3cr3t-in-the-wrong-place", "clock_offset_seconds"),
        ("LIANJIAO_DATABASE_URL", f"mysql+pymysql://x:{DATABASE_PASSWORD}", "database_url"),
    ],
)
def test_a_setting_that_cannot_work_is_named_without_its_value(
    name: str, value: str, told: str
) -> None:
    ran = run("-m", "flask", "--app", "wsgi", "doctor", **{name: value})
    assert ran.returncode == 1
    assert told in ran.stderr
    assert value.rpartition(":")[2] not in ran.stderr


# -- The doctor, where the settings are fit to start ------------------------------------------


@pytest.fixture
def in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' clock stands still; how far it is from the database's is no matter here."""
    monkeypatch.setattr("app.commands.doctor._seconds_ahead", lambda _ports: 0)


@pytest.mark.usefixtures("in_time")
@on_sqlite_only
def test_the_doctor_passes_what_is_fit(build_app: Build, ports: Ports, fit: Settings) -> None:
    ran = build_app(fit, ports).test_cli_runner().invoke(args=["doctor"])
    assert ran.exit_code == 0, ran.output
    assert "失败" not in ran.output
    assert "[通过] 运行环境 production" in ran.output
    for secret in SECRETS:
        assert secret not in ran.output


UNWELL: dict[str, tuple[dict[str, Any], str]] = {
    "no certificate": (
        {"wechat__client_cert_file": None},
        "[失败] 微信退款证书：退款需要商户证书",
    ),
    "logs of everything": (
        {"log_level": "DEBUG"},
        "[失败] 日志级别：DEBUG 日志可能包含敏感内容",
    ),
    "the root of the database": (
        {"database_url": f"mysql+pymysql://root:{DATABASE_PASSWORD}@127.0.0.1/lianjiao"},
        "[失败] 数据库用户：请用只有增删改查权限的专用用户",
    ),
    "no password": (
        {"database_url": "mysql+pymysql://lianjiao@127.0.0.1/lianjiao"},
        "[失败] 数据库密码强度：不少于 12 位",
    ),
    "a password that is the name": (
        {"database_url": DATABASE.format("Lianjiao-2026-xyz")},
        "[失败] 数据库密码强度：不少于 12 位",
    ),
    "a password that counts": (
        {"database_url": DATABASE.format("123456789012")},
        "[失败] 数据库密码强度：不少于 12 位",
    ),
    "a token that everybody guesses": (
        {"metrics_token": SecretStr("metrics")},
        "[失败] 监控令牌强度：不少于 16 位",
    ),
}


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("name", UNWELL)
@on_sqlite_only
def test_the_doctor_names_what_is_weak(
    build_app: Build, ports: Ports, fit: Settings, name: str
) -> None:
    values, finding = UNWELL[name]
    ran = build_app(changed(fit, **values), ports).test_cli_runner().invoke(args=["doctor"])
    assert ran.exit_code == 1
    failed = [line for line in ran.output.splitlines() if line.startswith("[失败]")]
    assert len(failed) == 1, ran.output
    assert failed[0].startswith(finding)
    for secret in SECRETS:
        assert secret not in ran.output


@on_sqlite_only
def test_a_demo_makes_no_staff_in_production(build_app: Build, ports: Ports, fit: Settings) -> None:
    ran = (
        build_app(fit, ports)
        .test_cli_runner()
        .invoke(args=["demo", "staff", "--password", PASSWORD])
    )
    assert (ran.exit_code, ran.output) == (1, "Error: 生产环境不得创建演示账号\n")


# -- Where no secret stands -------------------------------------------------------------------


@on_sqlite_only
def test_no_repr_shows_a_secret(fit: Settings, engine: Engine) -> None:
    ports = build_ports(fit, engine)
    shown = [fit, fit.wechat, fit.alipay, ports, ports.vault]
    shown += [*ports.channels.paying.values(), *ports.logins.values()]
    text = "".join(f"{each!r}{each!s}{vars(type(each))}" for each in shown)
    private = alipay_hand.APP_KEY_FILE.read_text().splitlines()[3]
    for secret in (*SECRETS, private):
        assert secret not in text


def test_no_error_of_the_settings_shows_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_of(LIANJIAO_TRUSTED_PROXIES=API_KEY).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LIANJIAO_INDEX_KEY")
    with pytest.raises(ValidationError) as caught:
        Settings()
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "trusted_proxies" in text
    for secret in SECRETS:
        assert secret not in text


@on_sqlite_only
def test_a_database_that_does_not_answer_is_told_without_its_password(
    build_app: Build, ports: Ports, fit: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    app = build_app(changed(fit, environment="test"), None)  # type: ignore[arg-type]
    answer = app.test_client().get("/readyz")
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert set(answer.json) == {"code", "message", "request_id", "detail"}
    assert "127.0.0.1" not in answer.text
    log = capsys.readouterr().err
    assert "Can't connect to MySQL server" in log
    for secret in SECRETS:
        assert secret not in log


def test_no_command_asks_for_a_secret_where_everybody_can_read_it() -> None:
    """`ps` shows the arguments of every process to everybody on the machine."""
    from app.commands.registry import register_commands

    app = APIFlask("commands")
    register_commands(app)
    words = ("password", "secret", "token", "key")
    taken = [
        f"{command.name} {name}"
        for command in commands_of(app.cli)
        for parameter in command.params
        if isinstance(parameter, Option) and not parameter.is_flag
        for name in parameter.opts
        if any(word in name for word in words) and parameter.envvar is None
    ]
    assert taken == []


def commands_of(group: Group) -> list[Command]:
    found: list[Command] = []
    for command in group.commands.values():
        found += commands_of(command) if isinstance(command, Group) else [command]
    return found


@on_sqlite_only
def test_a_whole_day_with_every_log_open_shows_no_secret(
    engine: Engine, tmp_path: Path, build_app: Build
) -> None:
    """Real gateways, real adapters and SDKs, and each logger let down to DEBUG afterwards."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    with open_town(engine, tmp_path) as town:
        root, handler = logging.getLogger(), Keep()
        (product,) = root.handlers[:1]
        root.addHandler(handler)
        levels = {name: logging.getLogger(name).level for name in OPENED}
        for name in OPENED:
            logging.getLogger(name).setLevel(logging.DEBUG)
        try:
            secrets = [*ENROLMENT.values(), PASSWORD, *_a_day(town)]
        finally:
            root.removeHandler(handler)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
        issued = town.gateways["wechat"].credentials
        secrets += [issued.wechat[f"LIANJIAO_WECHAT_{name}"] for name in ("API_KEY", "APP_SECRET")]
        pem = Path(issued.alipay["LIANJIAO_ALIPAY_APP_PRIVATE_KEY_FILE"]).read_text()
        secrets += pem.splitlines()[1:-1]
    lines = [product.format(record) for record in records if not _is_of_sandbox(record)]
    assert len(lines) > 20
    assert any('"level": "debug"' in line for line in lines)
    text = "\n".join(lines)
    hidden = [each for each in secrets if each not in ("resident_id", "new_form")]
    assert [secret for secret in hidden if secret in text] == []


OPENED = ("", "wechatpy", "wechatpy.pay", "python-alipay-sdk", "urllib3", "requests", "app")


def _is_of_sandbox(record: logging.LogRecord) -> bool:
    return record.name.startswith(("sandbox", "werkzeug"))


def _a_day(town: Any) -> list[str]:
    """Two people pay, one gets a part back; return what of it is secret."""
    wechat, alipay = town.phone("wechat"), town.phone("alipay")
    wechat.enrol()
    order_no = wechat.pay_and_wait(50_000)
    reviewer = town.staff(Role.REVIEWER)
    refund = wechat.call(
        "POST", f"deposits/{order_no}/refunds", {"amount_fen": 10_000, "reason": "other"}
    )
    assert reviewer("POST", f"refunds/{refund['refund_no']}/release", {"note": "x"}).ok
    town.run_jobs(after=60)
    town.gateways["wechat"].control("troubles", at="pay/orderquery", kind="bad_sign")
    wechat.deposit(50_000)
    town.run_jobs(after=60)
    tokens = [phone.headers["Authorization"].removeprefix("Bearer ") for phone in (wechat, alipay)]
    return [*tokens, wechat.payer, alipay.payer]
