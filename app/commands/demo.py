"""`flask demo`: log-ins for a demonstration, refused in production."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import AppGroup

from app.commands import current_ports
from app.domain.staff.models import Role
from app.domain.staff.operations import UsernameTaken, add_staff_member

demo = AppGroup("demo", help="演示数据（生产环境拒绝执行）。")

STAFF = (
    ("clerk", "演示经办", Role.CLERK),
    ("reviewer", "演示复核", Role.REVIEWER),
)


@demo.command("staff")
@click.option(
    "--password",
    required=True,
    envvar="LIANJIAO_DEMO_PASSWORD",
    help="两个演示账号的登录密码；可由环境变量 LIANJIAO_DEMO_PASSWORD 给出，不进入进程列表。",
)
def staff_command(password: str) -> None:
    """Add the demonstration's clerk and reviewer."""
    if current_app.extensions["lianjiao.settings"].environment == "production":
        raise click.ClickException("生产环境不得创建演示账号")
    for username, display_name, role in STAFF:
        try:
            add_staff_member(
                current_ports(),
                username=username,
                display_name=display_name,
                role=role,
                password=password,
            )
        except UsernameTaken:
            click.echo(f"{username} 已存在")
        else:
            click.echo(f"{username}（{display_name}）已创建")
