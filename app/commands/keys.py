"""`flask keys`: change the key of personal data at rest, see which keys are still needed.

`python -m app.commands.keys new k1` makes the first key, before there is an application to run.
"""

from __future__ import annotations

import secrets

import click
from flask.cli import AppGroup
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.commands import current_ports
from app.domain.errors import FundError
from app.domain.key_rotation import count_rows_by_key, rotate_keys
from app.domain.pii import KEY_BYTES, write_data_key

keys = AppGroup("keys", help="个人信息加密密钥：生成、轮换、查看。")

SHOWN_UNREADABLE = 20


@keys.command("new", with_appcontext=False)
@click.argument("key_id")
def new_command(key_id: str) -> None:
    """Print a fresh key; put it first in LIANJIAO_DATA_KEYS, restart, then rotate."""
    try:
        line = write_data_key(key_id, secrets.token_bytes(KEY_BYTES))
    except FundError as error:
        raise click.BadParameter(error.message, param_hint="KEY_ID") from None
    click.echo(line)


@keys.command("rotate")
@click.option("--batch-size", type=click.IntRange(1, 10_000), default=200, show_default=True)
def rotate_command(batch_size: int) -> None:
    """Seal every row again with the active key; safe to stop and to start again."""
    ports = current_ports()
    columns = (
        TextColumn("重新加密"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("rotate", total=None)
        result = rotate_keys(
            ports,
            batch_size=batch_size,
            progress=lambda seen, total: bar.update(task, completed=seen, total=total),
        )
    click.echo(f"已用密钥 {ports.vault.active_key_id} 重新加密 {result.rotated} 行")
    for row in result.unreadable[:SHOWN_UNREADABLE]:
        click.echo(f"无法读取：{row.table} 第 {row.row_id} 行，{row.message}", err=True)
    if result.unreadable:
        click.echo(f"共 {len(result.unreadable)} 行无法读取，旧密钥不可删除", err=True)
        raise SystemExit(1)


@keys.command("status")
def status_command() -> None:
    """Print how many rows each key has sealed; a key without rows may be removed."""
    ports = current_ports()
    counts = ports.read(count_rows_by_key)
    table = Table("数据表", "密钥", title="加密数据所用密钥")
    table.add_column("行数", justify="right")
    for name, by_key in counts.items():
        for key_id, count in by_key.items():
            label = f"{key_id}（当前）" if key_id == ports.vault.active_key_id else key_id
            table.add_row(name, label, str(count))
    Console().print(table)


if __name__ == "__main__":
    keys()
