"""`flask staff`: the staff list from the command line; the first administrator comes from here."""

from __future__ import annotations

import sys

import click
from flask.cli import AppGroup
from rich.console import Console
from rich.table import Table

from app.commands import current_ports
from app.domain.calendar import local_iso
from app.domain.errors import FundError
from app.domain.staff.models import Role
from app.domain.staff.operations import add_staff_member, disable_staff_member
from app.domain.staff.queries import list_staff

staff = AppGroup("staff", help="工作人员：新增、列表、停用。")


@staff.command("add")
@click.argument("username")
@click.option("--name", "display_name", required=True, help="显示姓名。")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--password-stdin", is_flag=True, help="从标准输入读取密码（一行）。")
def add_command(username: str, display_name: str, role: str, password_stdin: bool) -> None:
    """Add a member of staff; asks for the password, which never stands on the command line."""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("密码", hide_input=True, confirmation_prompt="再输入一次")
    try:
        staff_id = add_staff_member(
            current_ports(),
            username=username,
            display_name=display_name,
            role=Role(role),
            password=password,
        )
    except FundError as error:
        raise click.ClickException(error.message) from None
    click.echo(f"已新增工作人员 {username}（编号 {staff_id}，{role}）")


@staff.command("list")
def list_command() -> None:
    """Print everybody who works or worked here."""
    ports = current_ports()
    table = Table("用户名", "姓名", "角色", "状态", "新增时间", title="工作人员")
    for member in ports.read(list_staff):
        locked = member.locked_until is not None and member.locked_until > ports.now()
        status = "停用" if not member.active else "锁定" if locked else "正常"
        table.add_row(
            member.username,
            member.display_name,
            member.role.value,
            status,
            local_iso(member.created_at),
        )
    Console().print(table)


@staff.command("disable")
@click.argument("username")
def disable_command(username: str) -> None:
    """Bar a member of staff and end their sessions."""
    try:
        disable_staff_member(current_ports(), username=username)
    except FundError as error:
        raise click.ClickException(error.message) from None
    click.echo(f"已停用 {username}，其登录会话已全部结束")
