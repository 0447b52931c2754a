"""`flask doctor`: whether this installation is fit to hold people's money."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import click
from alembic.script import ScriptDirectory
from cryptography import x509
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy import text

from app.commands import current_ports
from app.domain.agreements.rules import DebitChannel
from app.domain.agreements.wording import CHANNEL_TEXTS
from app.domain.bank_calendar.queries import list_years
from app.domain.bank_calendar.rules import covered_through
from app.domain.calendar import business_day
from app.domain.money import format_yuan
from app.domain.policy.queries import Policy
from app.domain.ports import Ports
from app.domain.ports.debits import DebitNotice
from app.domain.ports.outcomes import Reason
from app.domain.scheduling.queries import LeaseView, find_lease
from config.production import demands_to_serve, demands_to_start
from config.settings import Settings

CLOCK_SKEW_SECONDS_MAX = 5
CERTIFICATE_DAYS_MIN = 30
CALENDAR_AHEAD_MIN = timedelta(days=61)
"""From November on the next year's holidays are due; the State Council names them about then."""
LEASE_AGE_SECONDS_MAX = 60

_NO_ORDER = "DOCTOR" + "0" * 26
_NO_CONTRACT = "0" * 18

_NOT_UNDERSTOOD = frozenset({Reason.NO_ANSWER, Reason.BAD_ANSWER})
_NOT_LET_IN = frozenset({"SIGN_ERROR", "NO_AUTH"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what it looked at, whether it is in order, and what to do if not."""

    subject: str
    ok: bool
    advice: str = ""


@click.command("doctor")
@with_appcontext
def doctor() -> None:
    """Check settings, keys, database, policy, calendar, scheduler; exit 1 if anything is wrong."""
    settings: Settings = current_app.extensions["lianjiao.settings"]
    failed = False
    checks = (
        *(_settings, _keys, _certificates, _database, _policy, _calendar, _scheduler),
        *(_mandates, _wechat_v3, _bank),
    )
    for check in checks:
        for finding in check(settings):
            failed = failed or not finding.ok
            mark = "通过" if finding.ok else "失败"
            click.echo(
                f"[{mark}] {finding.subject}" + (f"：{finding.advice}" if finding.advice else "")
            )
    raise SystemExit(1 if failed else 0)


def _settings(settings: Settings) -> Iterator[Finding]:
    yield Finding(f"运行环境 {settings.environment}", True)
    if settings.environment != "production":
        return
    demands = (
        *demands_to_start(settings, debug=current_app.debug),
        *demands_to_serve(settings),
    )
    for demand in demands:
        yield Finding(demand.subject, demand.met, "" if demand.met else demand.advice)


def _keys(_settings: Settings) -> Iterator[Finding]:
    ports = current_ports()
    probe = "加密自检"
    sealed = ports.vault.seal(probe, context="doctor")
    yield Finding("数据密钥可用", ports.vault.open(sealed, context="doctor") == probe)


def _database(_settings: Settings) -> Iterator[Finding]:
    ports = current_ports()
    found, advice = _try(lambda: ports.read(lambda s: s.scalar(text("SELECT 1"))))
    yield Finding("数据库可连接", found == 1, advice)
    if found != 1:
        return
    current, advice = _try(
        lambda: ports.read(lambda s: s.scalar(text("SELECT version_num FROM alembic_version")))
    )
    head = ScriptDirectory(current_app.extensions["migrate"].directory).get_current_head()
    ok = current == head
    yield Finding(
        f"数据库结构 {current}", ok, "" if ok else f"请执行 flask db upgrade（最新 {head}）"
    )
    skew = abs(_seconds_ahead(ports))
    yield Finding(
        "与数据库的时钟一致",
        skew <= CLOCK_SKEW_SECONDS_MAX,
        f"相差 {skew} 秒，请检查时间同步" if skew > CLOCK_SKEW_SECONDS_MAX else "",
    )


def _seconds_ahead(ports: Ports) -> int:
    """Return how far this process is ahead of the database, the demo's own offset left out."""
    settings: Settings = current_app.extensions["lianjiao.settings"]
    there = ports.read(lambda s: s.scalar(text("SELECT CURRENT_TIMESTAMP")))
    theirs = datetime.fromisoformat(str(there)).replace(tzinfo=UTC)
    return round((ports.now() - theirs).total_seconds()) - settings.clock_offset_seconds


def _certificates(settings: Settings) -> Iterator[Finding]:
    file = settings.wechat.client_cert_file
    if file is None:
        return
    ends, advice = _try(
        lambda: x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    )
    if not isinstance(ends, datetime):
        yield Finding("微信退款证书可读取", False, advice)
        return
    days = (ends - current_ports().now()).days
    ok = days >= CERTIFICATE_DAYS_MIN
    yield Finding(f"微信退款证书还有 {days} 天到期", ok, "" if ok else "请到商户平台换领")


def _policy(_settings: Settings) -> Iterator[Finding]:
    ports = current_ports()
    today = business_day(ports.now())
    found, advice = _try(
        lambda: ports.read(lambda session: Policy.on(session, today).deposit.yearly_cap_fen)
    )
    yield Finding(f"{today} 的政策参数", found is not None, advice)


def _calendar(_settings: Settings) -> Iterator[Finding]:
    ports = current_ports()
    today = business_day(ports.now())
    years, advice = _try(lambda: ports.read(list_years))
    if not isinstance(years, frozenset):
        yield Finding("银行日历可读取", False, advice)
        return
    through = covered_through(years, today=today)
    if through is None:
        missing = f"{today.year} 年的节假日尚未录入，暂按周末推算，请执行 flask calendar import"
        yield Finding("银行日历", False, missing)
        return
    ends_soon = through - today < CALENDAR_AHEAD_MIN
    yield Finding(
        f"银行日历已录入至 {through}",
        True,
        f"{through.year + 1} 年的通知一经公布即请录入" if ends_soon else "",
    )


def _scheduler(_settings: Settings) -> Iterator[Finding]:
    lease, advice = _try(lambda: current_ports().read(find_lease))
    if not isinstance(lease, LeaseView):
        yield Finding("调度进程", not advice, advice or "尚未启动过")
        return
    ok = lease.age_seconds <= LEASE_AGE_SECONDS_MAX
    yield Finding(
        f"调度进程 {lease.holder or '无'}",
        ok,
        "" if ok else f"{lease.age_seconds} 秒没有续租，请启动 flask scheduler",
    )


def _wechat_v3(_settings: Settings) -> Iterator[Finding]:
    """Announce a debit under a contract that is nobody's: only a signed refusal says so."""
    wechat = current_ports().channels.announcing.get("wechat")
    if wechat is None:
        return
    subject = "微信支付 APIv3 可连接，签名互认"
    found = wechat.announce_debit(
        DebitNotice(
            order_no=_NO_ORDER,
            mandate_reference=_NO_CONTRACT,
            amount_fen=1,
            due_on=business_day(current_ports().now())
            + timedelta(days=wechat.notice_window.latest_days),
        )
    )
    if found.reason is Reason.NOT_SUPPORTED:
        yield Finding(subject, True, "此时段不能下发通知，未检查")
        return
    ok = found.reason not in _NOT_UNDERSTOOD and found.raw_code not in _NOT_LET_IN
    advice = (
        "" if ok else f"{found.reason.value} {found.raw_code}，请检查证书序列号、公钥 ID 与密钥"
    )
    yield Finding(subject, ok, advice)


def _mandates(_settings: Settings) -> Iterator[Finding]:
    """Compare what each channel may debit at once with the smallest deposit of a month."""
    ports = current_ports()
    today = business_day(ports.now())
    minimum_fen, _ = _try(
        lambda: ports.read(lambda session: Policy.on(session, today).deposit.monthly_minimum_fen)
    )
    if not isinstance(minimum_fen, int):
        return
    for name, channel in sorted(ports.channels.mandating.items()):
        cap_fen = channel.limits.cap_fen_max
        if cap_fen is None:
            continue
        ok = cap_fen >= minimum_fen
        yield Finding(
            f"{CHANNEL_TEXTS[DebitChannel(name)]}单笔扣款上限 {format_yuan(cap_fen)} 元",
            ok,
            "" if ok else f"低于月最低缴存额 {format_yuan(minimum_fen)} 元，无人能够签约",
        )


def _bank(_settings: Settings) -> Iterator[Finding]:
    """Ask for a debit that nobody has made: only a signed answer to a signed question says so."""
    bank = current_ports().channels.debiting.get("bank")
    if bank is None:
        return
    found = bank.query_debit(_NO_ORDER)
    ok = found.reason is Reason.NOT_FOUND
    advice = "" if ok else f"{found.reason.value} {found.raw_code}，请检查地址、密钥编号与密钥文件"
    yield Finding("银行网关可连接，签名互认", ok, advice)
    files = current_ports().channels.batching.get("bank")
    if files is not None:
        answers, advice = _try(files.list_answers)
        yield Finding("银行文件服务器可连接，主机密钥相符", answers is not None, advice)


def _try(work: Callable[[], object]) -> tuple[object, str]:
    try:
        return work(), ""
    except Exception as error:
        return None, getattr(error, "message", type(error).__name__)
