"""`flask policy`: load the figures of the policy, show what holds on a day and why, check them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from flask.cli import AppGroup
from rich.console import Console
from rich.table import Table

from app.commands import current_ports
from app.domain.calendar import business_day
from app.domain.errors import FundError
from app.domain.money import format_yuan
from app.domain.policy.models import PolicyStatus
from app.domain.policy.operations import check_policy, load_policy
from app.domain.policy.queries import read_lines
from app.domain.policy.rules import (
    PolicyLine,
    compute_monthly_minimum,
    compute_yearly_cap,
    find_in_force,
)
from config.policy_files import POLICY_FOLDER, PolicyFigure, PolicyFileError, load_policy_files

policy = AppGroup("policy", help="政策参数：载入、查看、核对。")

STATUS_WORDS = {
    PolicyStatus.CONFIRMED: "方案或法律明定",
    PolicyStatus.REPORTED: "已公布，待核对原件",
    PolicyStatus.ASSUMED: "暂定，待中心确认",
}
UNIT_WORDS = {"years": "年", "months": "个月", "days": "日", "times": "次"}
WIDTH_WITHOUT_TERMINAL = 160

folder_option = click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=POLICY_FOLDER,
    help="参数文件所在目录（默认 config/policy）。",
)


@policy.command("load")
@folder_option
def load_command(folder: Path) -> None:
    """Add what the files hold and the table does not; a line once loaded can't be changed."""
    try:
        report = load_policy(current_ports(), _read_files(folder))
    except FundError as error:
        raise click.ClickException(error.message) from None
    click.echo(f"新载入 {report.added} 条政策参数，原有 {report.unchanged} 条未变")


@policy.command("check")
@folder_option
@click.option("--within", type=click.IntRange(0), default=60, help="提示多少日内到期的参数。")
def check_command(folder: Path, within: int) -> None:
    """Compare table and files, exit 1 if they differ; name the figures that end soon."""
    ports, files = current_ports(), _read_files(folder)
    today = business_day(ports.now())
    try:
        missing, lines = ports.read(
            lambda session: (check_policy(session, files), read_lines(session))
        )
    except FundError as error:
        raise click.ClickException(error.message) from None
    for line in missing:
        click.echo(f"尚未载入：{line.title}（{line.name}，{line.effective_from} 起）", err=True)
    if missing:
        raise SystemExit(1)
    click.echo(f"政策参数与文件一致，共 {len(files)} 条")
    for history in lines.values():
        last = history[-1]
        if last.until is not None and today <= last.until <= today + timedelta(days=within):
            click.echo(f"即将到期：{last.title}（{last.name}）至 {last.until}，其后尚无参数")


@policy.command("show")
@click.option("--date", "on", type=click.DateTime(["%Y-%m-%d"]), help="日期（默认今日）。")
@click.option("--name", help="参数名或组名，例如 loan.gate_months、loan。")
@click.option("--json", "as_json", is_flag=True, help="输出 JSON。")
def show_command(on: datetime | None, name: str | None, as_json: bool) -> None:
    """Print what holds on a day, since when, and why."""
    ports = current_ports()
    day = on.date() if on else business_day(ports.now())
    lines = ports.read(read_lines)
    rows, without_value = _rows_on(lines, day)
    if name:
        rows = [row for row in rows if _is_named(row.name, name)]
        without_value = [line for line in without_value if _is_named(line.name, name)]
        if not rows and not without_value:
            raise click.BadParameter(f"没有名为 {name} 的政策参数", param_hint="--name")
    if as_json:
        click.echo(json.dumps([row.to_json() for row in rows], ensure_ascii=False, indent=2))
    else:
        _print_table(rows, title=f"{day} 的政策参数")
    for line in without_value:
        click.echo(f"{day} 无有效值：{line.title}（{line.name}）", err=True)
    if not rows:
        raise SystemExit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure as it is shown: `value` as data, `words` for people."""

    name: str
    title: str
    value: Any
    words: str
    effective_from: date
    until: date | None
    source: str
    status: PolicyStatus

    def to_json(self) -> dict[str, Any]:
        """Return it as data for another program."""
        return {
            "name": self.name,
            "title": self.title,
            "value": self.value,
            "effective_from": self.effective_from.isoformat(),
            "until": self.until.isoformat() if self.until else None,
            "source": self.source,
            "status": self.status.value,
        }


def _read_files(folder: Path) -> list[PolicyFigure]:
    try:
        return load_policy_files(folder)
    except PolicyFileError as error:
        raise click.ClickException(f"参数文件有误：{error}") from None


def _is_named(name: str, asked: str) -> bool:
    return name == asked or name.startswith(f"{asked}.")


def _rows_on(
    lines: Mapping[str, Sequence[PolicyLine]], day: date
) -> tuple[list[Row], list[PolicyLine]]:
    rows, without_value = {}, []
    for name, history in lines.items():
        line = find_in_force(history, on=day)
        if line is None:
            without_value.append(history[0])
        else:
            rows[name] = _stated(line, history)
    derived = []
    for derive in (_monthly_minimum, _yearly_cap):
        with suppress(KeyError):  # one of its inputs is among those without a value
            derived.append(derive(rows))
    return sorted([*rows.values(), *derived], key=lambda row: row.name), without_value


def _stated(line: PolicyLine, history: Sequence[PolicyLine]) -> Row:
    value = json.loads(line.value)
    followers = [
        later.effective_from for later in history if later.effective_from > line.effective_from
    ]
    return Row(
        name=line.name,
        title=line.title,
        value=value,
        words=_in_words(value, line.unit),
        effective_from=line.effective_from,
        until=line.until or (followers[0] - timedelta(days=1) if followers else None),
        source=line.source,
        status=PolicyStatus(line.status),
    )


def _monthly_minimum(rows: Mapping[str, Row]) -> Row:
    wages, area, rate = (
        rows[f"deposit.{name}"]
        for name in ("minimum_wage_fen", "minimum_wage_class", "minimum_rate")
    )
    wage_fen = wages.value[area.value]
    return _derived(
        name="deposit.monthly_minimum_fen",
        title="最低月缴存额（推算）",
        amount_fen=compute_monthly_minimum(wage_fen, rate=Decimal(rate.value)),
        working=f"最低工资 {format_yuan(wage_fen)} 元（{area.value} 类地区）"
        f"× 最低缴存比例 {rate.words}",
        inputs=(wages, area, rate),
    )


def _yearly_cap(rows: Mapping[str, Row]) -> Row:
    base, rate = (rows[f"deposit.{name}"] for name in ("base_limit_fen", "maximum_rate"))
    return _derived(
        name="deposit.yearly_cap_fen",
        title="年度缴存上限（推算）",
        amount_fen=compute_yearly_cap(base.value, rate=Decimal(rate.value)),
        working=f"月缴存基数上限 {base.words} × 最高缴存比例 {rate.words} × 12",
        inputs=(base, rate),
    )


def _derived(*, name: str, title: str, amount_fen: int, working: str, inputs: Sequence[Row]) -> Row:
    """Return a figure that follows from others: it holds while all do, as firm as the weakest."""
    ends = [row.until for row in inputs if row.until]
    return Row(
        name=name,
        title=title,
        value=amount_fen,
        words=_in_words(amount_fen, "fen"),
        effective_from=max(row.effective_from for row in inputs),
        until=min(ends) if ends else None,
        source=working,
        status=max((row.status for row in inputs), key=list(PolicyStatus).index),
    )


def _in_words(value: Any, unit: str) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}：{_in_words(leaf, unit)}" for key, leaf in value.items())
    if isinstance(value, list):
        return "、".join(_in_words(leaf, unit) for leaf in value)
    if unit == "fen":
        return f"{format_yuan(value)} 元"
    if unit == "ratio":
        return _percent(value)
    return f"{value} {UNIT_WORDS[unit]}" if unit in UNIT_WORDS else str(value)


def _percent(ratio: str) -> str:
    return f"{(Decimal(ratio) * 100).normalize():f}%"


def _print_table(rows: Iterable[Row], *, title: str) -> None:
    table = Table(title=title, show_lines=True)
    for heading in ("参数", "值", "起", "止", "依据", "状态"):
        # Chinese has no blanks to break at: fold, or the reason is cut off.
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            f"{row.title}\n{row.name}",
            row.words,
            row.effective_from.isoformat(),
            row.until.isoformat() if row.until else "",
            row.source,
            STATUS_WORDS[row.status],
        )
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH_WITHOUT_TERMINAL
    console.print(table)
