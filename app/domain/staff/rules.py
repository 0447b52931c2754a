"""Staff (工作人员): what a password must be, and when a log-in is locked. Pure."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta

from app.domain.errors import Invalid

SESSION_LIFETIME = timedelta(hours=8)
TOKEN_BYTES = 32
TOKEN_LENGTH_MAX = 128

FAILURES_MAX = 5
LOCKED_FOR = timedelta(minutes=15)

PASSWORD_LENGTH_MIN, PASSWORD_LENGTH_MAX = 10, 128
PASSWORD_CLASSES_MIN = 3
DISPLAY_NAME_LENGTH_MAX = 30

_USERNAME = re.compile(r"[a-z][a-z0-9._-]{2,31}")
_CLASSES = tuple(map(re.compile, ("[a-z]", "[A-Z]", "[0-9]", "[^a-zA-Z0-9]")))


class UsernameInvalid(Invalid):
    """Not of the form that log-in names have."""

    code = "username_invalid"
    default_message = "用户名须为 3 至 32 位小写字母、数字、点、下划线或连字符，以字母开头"


class DisplayNameInvalid(Invalid):
    """Empty, too long or with characters that cannot be printed."""

    code = "display_name_invalid"
    default_message = f"显示姓名须为 1 至 {DISPLAY_NAME_LENGTH_MAX} 个字，不含特殊字符"


class PasswordTooWeak(Invalid):
    """Too short or too plain for 等保 level 3."""

    code = "password_too_weak"
    default_message = (
        f"密码须为 {PASSWORD_LENGTH_MIN} 至 {PASSWORD_LENGTH_MAX} 位，"
        "含大写字母、小写字母、数字、符号中的至少三种，且不含用户名"
    )


def clean_username(username: str) -> str:
    """Return a log-in name in the one form in which it is kept.

    Raises:
        UsernameInvalid: not of that form.
    """
    cleaned = username.strip().lower()
    if not _USERNAME.fullmatch(cleaned):
        raise UsernameInvalid(field="username")
    return cleaned


def clean_display_name(name: str) -> str:
    """Return the name that screens and records show for a member of staff.

    Raises:
        DisplayNameInvalid: empty, too long, unprintable or with markup.
    """
    cleaned = name.strip()
    printable = cleaned.isprintable() and not set(cleaned) & set("<>")
    if not 1 <= len(cleaned) <= DISPLAY_NAME_LENGTH_MAX or not printable:
        raise DisplayNameInvalid(field="display_name")
    return cleaned


def check_password(password: str, *, username: str) -> None:
    """Refuse a password that is easily guessed.

    Raises:
        PasswordTooWeak: says the whole rule, never the password.
    """
    classes = sum(1 for kind in _CLASSES if kind.search(password))
    if (
        not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX
        or classes < PASSWORD_CLASSES_MIN
        or username in password.lower()
        or not password.isprintable()
    ):
        raise PasswordTooWeak(field="password")


def hash_token(token: str) -> bytes:
    """Return what is stored of a staff session's token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
