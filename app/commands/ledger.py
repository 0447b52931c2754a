"""`flask ledger`: verify, seal, trial balance."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

import click
from flask.cli import AppGroup
from rich.console import Console
from rich.table import Table

from app.commands import current_ports
from app.domain.calendar import business_day, month_bounds
from app.domain.ledger.operations import seal_days
from app.domain.ledger.queries import trial_balance
from app.domain.ledger.verify import Offence
from app.domain.money import format_yuan
from app.domain.verification import verify_books
from config.chart import load_chart

ledger = AppGroup("ledger", help="账簿：核验、封账、试算平衡。")

SHOWN_OFFENCES = 20


@ledger.command("verify")
def verify_command() -> None:
    """Recompute the books; exit 1 and name the first offence if anything disagrees."""
    chart = load_chart()
    offences = current_ports().read(
        lambda session: list(islice(verify_books(session, chart=chart), SHOWN_OFFENCES))
    )
    if not offences:
        click.echo("账务核验通过：分录平衡，余额等于明细，冻结在余额之内，封账链完整。")
        return
    click.echo(f"账务核验未通过，首个问题：{_line(offences[0])}", err=True)
    for offence in offences[1:]:
        click.echo(f"  另有：{_line(offence)}", err=True)
    raise SystemExit(1)


@ledger.command("seal")
@click.option("--through", type=click.DateTime(["%Y-%m-%d"]), help="封账至该日（默认昨日）。")
def seal_command(through: datetime | None) -> None:
    """Seal every open day through the given one."""
    ports = current_ports()
    last = through.date() if through else business_day(ports.now()) - timedelta(days=1)
    sealed = seal_days(ports, through=last)
    click.echo(
        "、".join(day.isoformat() for day in sealed) + " 已封账" if sealed else "没有待封账的日期"
    )


@ledger.command("trial-balance")
@click.option("--first", type=click.DateTime(["%Y-%m-%d"]), help="起始日（默认今日）。")
@click.option("--last", type=click.DateTime(["%Y-%m-%d"]), help="截止日（默认同起始日）。")
@click.option("--month", help="整月，例如 2026-11。")
def trial_balance_command(first: datetime | None, last: datetime | None, month: str | None) -> None:
    """Print the trial balance of a day, a period or a month."""
    ports = current_ports()
    start = first.date() if first else business_day(ports.now())
    end = last.date() if last else start
    if month:
        try:
            start, end = month_bounds(month)
        except ValueError:
            raise click.BadParameter("月份应写作 2026-11", param_hint="--month") from None
    chart = load_chart()
    rows = ports.read(lambda session: trial_balance(session, first=start, last=end))
    table = Table("科目", "名称", title=f"试算平衡表 {start} 至 {end}（元，借方为正）")
    for heading in ("期初余额", "本期借方", "本期贷方", "期末余额"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.code,
            chart[row.code].name,
            *map(format_yuan, (row.opening_fen, row.debit_fen, row.credit_fen, row.closing_fen)),
        )
    table.add_row(
        "",
        "合计",
        *(
            format_yuan(total)
            for total in (
                sum(r.opening_fen for r in rows),
                sum(r.debit_fen for r in rows),
                sum(r.credit_fen for r in rows),
                sum(r.closing_fen for r in rows),
            )
        ),
    )
    Console().print(table)


def _line(offence: Offence) -> str:
    return f"{offence.kind} {offence.where} 应为 {offence.expected} 实为 {offence.found}"
