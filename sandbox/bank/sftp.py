"""文件通道 A real SSH server that does nothing but SFTP, for one merchant with one key.

The merchant sees a root with `inbox/`, where it may write, and `outbox/`, where it may read.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Thread

import asyncssh

_WRITES = (
    asyncssh.FXF_WRITE
    | asyncssh.FXF_APPEND
    | asyncssh.FXF_CREAT
    | asyncssh.FXF_TRUNC
    | asyncssh.FXF_EXCL
)


class FileServer:
    """Serves on the loopback from a thread of its own, until it is stopped.

    Args:
        root: what the merchant sees as `/`.
        user: the only one who may log in, with the only key that `client_key` holds.
        port: 0 for any.
    """

    def __init__(
        self, root: Path, *, host_key: Path, user: str, client_key: Path, port: int
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncssh.SSHServerConnection] = set()
        login = _login_of(user, asyncssh.read_public_key(client_key), self._connections)

        async def listen() -> asyncssh.SSHAcceptor:
            return await asyncssh.listen(
                "127.0.0.1",
                port,
                server_factory=login,
                server_host_keys=[str(host_key)],
                sftp_factory=lambda channel: _Files(channel, root),
                password_auth=False,
                kbdint_auth=False,
                gss_host=None,
                allow_scp=False,
            )

        # The loop lives in its own thread alone: the caller's may have one running already.
        self._thread = Thread(target=self._loop.run_forever, name="sftp", daemon=True)
        self._thread.start()
        try:
            self._acceptor = asyncio.run_coroutine_threadsafe(listen(), self._loop).result()
        except BaseException:
            self._end_thread()
            raise
        self.port: int = self._acceptor.get_port()

    def stop(self) -> None:
        """Hang up on everybody and end the thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._end_thread()

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._acceptor.close()
        await self._acceptor.wait_closed()
        # One whose client has just gone may still hold its socket.
        left = list(self._connections)
        for connection in left:
            connection.abort()
        await asyncio.gather(*(each.wait_closed() for each in left), return_exceptions=True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _login_of(
    user: str, key: asyncssh.SSHKey, connections: set[asyncssh.SSHServerConnection]
) -> Callable[[], asyncssh.SSHServer]:
    class Login(asyncssh.SSHServer):
        """Lets in one user with one key; no passwords, no shell, no forwarding."""

        def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
            self._connection = connection
            connections.add(connection)

        def connection_lost(self, _error: Exception | None) -> None:
            connections.discard(self._connection)

        def begin_auth(self, _username: str) -> bool:
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, offered: asyncssh.SSHKey) -> bool:
            return username == user and offered == key

    return Login


class _Files(asyncssh.SFTPServer):
    """The files under the root: whatever changes something may do so in `inbox/` only."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], root: Path) -> None:
        super().__init__(channel, chroot=str(root).encode())

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        if pflags & _WRITES:
            _check_inbox(path)
        return super().open(path, pflags, attrs)

    def open56(
        self, path: bytes, desired_access: int, flags: int, attrs: asyncssh.SFTPAttrs
    ) -> object:
        _check_inbox(path)
        return super().open56(path, desired_access, flags, attrs)

    def remove(self, path: bytes) -> Awaitable[None] | None:
        _check_inbox(path)
        return super().remove(path)

    def rename(self, oldpath: bytes, newpath: bytes) -> Awaitable[None] | None:
        _check_inbox(oldpath, newpath)
        return super().rename(oldpath, newpath)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> Awaitable[None] | None:
        _check_inbox(oldpath, newpath)
        return super().posix_rename(oldpath, newpath)

    def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> Awaitable[None] | None:
        _check_inbox(path)
        return super().setstat(path, attrs)

    def lsetstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> Awaitable[None] | None:
        _check_inbox(path)
        return super().lsetstat(path, attrs)

    def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> Awaitable[None] | None:
        raise asyncssh.SFTPPermissionDenied("目录不可更改")

    def rmdir(self, path: bytes) -> Awaitable[None] | None:
        raise asyncssh.SFTPPermissionDenied("目录不可更改")

    def symlink(self, oldpath: bytes, newpath: bytes) -> Awaitable[None] | None:
        raise asyncssh.SFTPPermissionDenied("不支持链接")

    def link(self, oldpath: bytes, newpath: bytes) -> Awaitable[None] | None:
        raise asyncssh.SFTPPermissionDenied("不支持链接")


def _check_inbox(*paths: bytes) -> None:
    """Refuse paths that are not those of files in the inbox, however they are written."""
    for path in paths:
        whole = posixpath.normpath(posixpath.join(b"/", path))
        if posixpath.dirname(whole) != b"/inbox":
            raise asyncssh.SFTPPermissionDenied("只能写入 inbox")
