"""The bank's SSH server: its key, its one user, what that user may do to files."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import pytest

from tests.sandbox.bank_client import BankMerchant


def test_the_merchant_sees_an_inbox_and_an_outbox_and_nothing_else(bank: BankMerchant):
    async def look(files: asyncssh.SFTPClient) -> set[str]:
        assert await files.realpath("../../..") == "/"
        return set(await files.listdir("/../..")) - {".", ".."}

    assert bank.with_files(look) == {"inbox", "outbox"}


def test_another_host_key_is_not_the_banks(bank: BankMerchant):
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    known = asyncssh.import_known_hosts(f"* {other}")
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        bank.with_files(lambda files: files.getcwd(), known_hosts=known)


@pytest.mark.parametrize(
    "changes",
    [
        {"username": "somebody"},
        {"client_keys": [asyncssh.generate_private_key("ssh-ed25519")]},
        {"client_keys": None, "password": "password"},
        {"client_keys": None, "password": ""},
    ],
    ids=["another user", "another key", "a password", "no password"],
)
def test_nobody_else_gets_in(bank: BankMerchant, changes: dict[str, object]):
    with pytest.raises(asyncssh.PermissionDenied):
        bank.with_files(lambda files: files.getcwd(), **changes)


def test_there_is_no_shell_and_no_forwarding(bank: BankMerchant):
    async def run() -> None:
        async with asyncssh.connect("127.0.0.1", **bank.login()) as connection:
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.run("id", check=True)
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_connection("127.0.0.1", 22)

    with ThreadPoolExecutor(1) as thread:  # A browser's loop may run in this one.
        thread.submit(asyncio.run, run()).result()


def test_a_rename_never_overwrites(bank: BankMerchant):
    bank.put("one.txt", b"1")
    with pytest.raises(asyncssh.SFTPError):
        bank.put("one.txt", b"2")

    async def read(files: asyncssh.SFTPClient) -> bytes:
        async with files.open("inbox/one.txt", "rb") as file:
            return await file.read()

    assert bank.with_files(read) == b"1"


@pytest.mark.parametrize(
    "path", ["outbox/x", "x", "inbox/../x", "inbox/../outbox/x", "../inbox/../../x", "inbox/a/b"]
)
def test_nothing_is_written_outside_the_inbox(bank: BankMerchant, tmp_path: Path, path: str):
    before = {str(found) for found in tmp_path.rglob("*")}

    async def write(files: asyncssh.SFTPClient) -> None:
        async with files.open(path, "wb") as file:
            await file.write(b"x")

    with pytest.raises(asyncssh.SFTPError):
        bank.with_files(write)
    assert {str(found) for found in tmp_path.rglob("*")} == before


def test_nothing_is_changed_outside_the_inbox(bank: BankMerchant):
    bank.hand_in(b"nonsense")
    [name] = [name for name in bank.take_all() if name.endswith(".ok")]
    bank.put("mine.txt", b"")

    async def change(files: asyncssh.SFTPClient) -> None:
        for attempt in (
            lambda: files.remove(f"outbox/{name}"),
            lambda: files.rename(f"outbox/{name}", "outbox/other"),
            lambda: files.rename(f"outbox/{name}", "inbox/other"),
            lambda: files.rename("inbox/mine.txt", "outbox/mine.txt"),
            lambda: files.posix_rename("inbox/mine.txt", f"outbox/{name}"),
            lambda: files.chmod(f"outbox/{name}", 0o777),
            lambda: files.truncate(f"outbox/{name}", 0),
            lambda: files.mkdir("inbox/folder"),
            lambda: files.rmdir("outbox"),
            lambda: files.symlink("/etc/passwd", "inbox/link"),
            lambda: files.link("inbox/mine.txt", "inbox/link"),
        ):
            with pytest.raises(asyncssh.SFTPError):
                await attempt()
        await files.remove("inbox/mine.txt")

    bank.with_files(change)
    assert name in bank.take_all()
