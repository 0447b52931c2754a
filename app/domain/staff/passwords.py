"""Password hashes (Argon2id). Slow on purpose: never call these inside a transaction."""

from __future__ import annotations

import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.domain.staff.rules import PASSWORD_LENGTH_MAX

_HASHER = PasswordHasher()


def hash_password(password: str) -> str:
    """Return what is stored of a password."""
    return _HASHER.hash(password)


def is_password(password: str, stored: str | None) -> bool:
    """Tell whether this is the password; without a stored hash, work as long and say no."""
    typed = password[: PASSWORD_LENGTH_MAX + 1].encode("utf-8", "replace")
    try:
        _HASHER.verify(stored or _nobody(), typed)
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


def is_outdated(stored: str) -> bool:
    """Tell whether a hash was made with weaker parameters than today's."""
    return _HASHER.check_needs_rehash(stored)


@cache
def _nobody() -> str:
    return _HASHER.hash(secrets.token_urlsafe())
