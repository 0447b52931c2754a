"""The bank's file server: SFTP with one key to log in with and pinned host keys to trust."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import paramiko

from app.domain.ports.debits import BatchAtOdds, FileServerTrouble
from app.payments.bank.files.writing import CHUNK, digest_of

if TYPE_CHECKING:
    from config.settings import BankSettings

_logger = logging.getLogger(__name__)

_DRAFT = ".tmp"
# An RSA host key is offered under the names of its signatures.
_RSA = ("rsa-sha2-512", "rsa-sha2-256")


class _Stranger(Exception):
    """The server showed a key that is not pinned."""


class _Pinned(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # paramiko has no types
    """Believes the pinned keys alone, and never writes another one down."""

    def __init__(self, keys: Sequence[paramiko.PKey]) -> None:
        self._keys = [key.asbytes() for key in keys]

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        """Refuse every key but the pinned ones."""
        if key.asbytes() not in self._keys:
            raise _Stranger("host key")


class FileServer:
    """Puts files there and fetches them.

    Args:
        connect_timeout, read_timeout: seconds; the latter for each step.

    Raises:
        ValueError: key files that are missing or hold no key.
    """

    def __init__(
        self, settings: BankSettings, *, connect_timeout: float, read_timeout: float
    ) -> None:
        assert settings.sftp_private_key_file is not None
        assert settings.sftp_host_key_file is not None
        self._host, self._port = settings.sftp_host, settings.sftp_port
        self._user = settings.sftp_user
        self._timeouts = (connect_timeout, read_timeout)
        self._key = _load_key(settings.sftp_private_key_file)
        self._pinned = _load_host_keys(settings.sftp_host_key_file)

    def put(self, folder: str, files: Sequence[tuple[str, BinaryIO]]) -> None:
        """Put files there in this order, each under a draft's name first; the same again is fine.

        Raises:
            BatchAtOdds: other bytes stand there under one of the names.
            FileServerTrouble: they may or may not be there.
        """
        with self._files() as sftp:
            for name, content in files:
                _put(sftp, f"{folder}/{name}", content)

    def list_files(self, folder: str) -> dict[str, str]:
        """Return the names in a folder, each with size and time of its last change.

        Raises:
            FileServerTrouble: nothing is known.
        """
        with self._files() as sftp:
            return {
                shown_name(file.filename): f"{file.st_size}@{file.st_mtime}"
                for file in sftp.listdir_attr(folder)
            }

    def fetch(self, path: str, into: Callable[[bytes], None], *, most: int) -> bool:
        """Read a file in pieces; False where there is none.

        Raises:
            FileServerTrouble: it did not come whole.
            OverflowError: it is longer than `most` bytes.
        """
        with self._files() as sftp:
            try:
                file = sftp.open(path, "rb")
            except FileNotFoundError:
                return False
            length = 0
            with file:
                while data := file.read(CHUNK):
                    length += len(data)
                    if length > most:
                        raise OverflowError
                    into(data)
            return True

    @contextmanager
    def _files(self) -> Iterator[paramiko.SFTPClient]:
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(_Pinned(self._pinned))
        connect_timeout, read_timeout = self._timeouts
        try:
            client.connect(
                self._host,
                self._port,
                self._user,
                pkey=self._key,
                allow_agent=False,
                look_for_keys=False,
                timeout=connect_timeout,
                banner_timeout=connect_timeout,
                auth_timeout=connect_timeout,
                channel_timeout=connect_timeout,
                transport_factory=self._transport,
            )
            channel = client.get_transport().open_session(timeout=connect_timeout)
            channel.settimeout(read_timeout)
            channel.invoke_subsystem("sftp")
            with paramiko.SFTPClient(channel) as sftp:
                yield sftp
        except _Stranger:
            raise FileServerTrouble("银行文件服务器的主机密钥不符，已拒绝连接") from None
        except paramiko.AuthenticationException:
            raise FileServerTrouble("银行文件服务器拒绝登录，请检查用户与密钥") from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            _logger.warning("bank file server: %s", type(error).__name__)
            raise FileServerTrouble from None
        finally:
            client.close()

    def _transport(self, *args: object, **kwargs: object) -> paramiko.Transport:
        """Ask for a host key of a pinned kind only, or the server might show another one."""
        transport = paramiko.Transport(*args, **kwargs)
        kinds: list[str] = []
        for key in self._pinned:
            kinds += _RSA if key.get_name() == "ssh-rsa" else (key.get_name(),)
        transport.get_security_options().key_types = tuple(dict.fromkeys(kinds))
        return transport


def shown_name(name: str | bytes) -> str:
    """Return a name from the server, whatever it is made of, as text that can be shown."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
    return text if text.isprintable() else ascii(text)


def _put(sftp: paramiko.SFTPClient, path: str, content: BinaryIO) -> None:
    wanted = digest_of(content)
    try:
        there = sftp.open(path, "rb")
    except FileNotFoundError:
        sftp.putfo(content, path + _DRAFT, confirm=True)
        content.seek(0)
        # Onto a name that is there, it fails.
        sftp.rename(path + _DRAFT, path)
        return
    with there:
        found = digest_of(there)
    if found.sm3 != wanted.sm3:
        raise BatchAtOdds("银行文件服务器上已有同名而内容不同的文件，未覆盖")


def _load_key(file: Path) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(file)
    except (OSError, ValueError, paramiko.SSHException):
        # The library's own words may quote the file.
        raise ValueError(f"{file} holds no private key of SSH without a passphrase") from None


def _load_host_keys(file: Path) -> list[paramiko.PKey]:
    """Return the keys of a file, a line `ssh-ed25519 …` each; two while the bank changes it."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        entries = [
            paramiko.hostkeys.HostKeyEntry.from_line(f"bank {line}")
            for line in lines
            if line.strip() and not line.startswith("#")
        ]
    except (OSError, ValueError, paramiko.SSHException):
        raise ValueError(f"no host key file at {file}") from None
    keys = [entry.key for entry in entries if entry is not None and entry.key is not None]
    if not keys or len(keys) != len(entries):
        raise ValueError(f"{file} holds a line that is no host key")
    return keys


def as_file(text: str) -> BinaryIO:
    """Return a small text as a file."""
    return BytesIO(text.encode("ascii"))
