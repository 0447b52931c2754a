"""How long log-ins and link codes last, and how their secrets are kept. Pure."""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import timedelta

TOKEN_LIFETIME = timedelta(days=7)
"""Fixed, not sliding: the mini-program logs in again by itself without asking the person."""
TOKEN_BYTES = 32
TOKEN_LENGTH_MAX = 128

LINK_CODE_LIFETIME = timedelta(minutes=10)
LINK_CODE_LENGTH = 8
LINK_CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""Without 0, 1, I, L and O, which people misread; 31^8 codes."""
LINK_ATTEMPTS_MAX = 5
LINK_ATTEMPTS_WINDOW = timedelta(minutes=10)


def hash_token(token: str) -> bytes:
    """Return what is stored of a token. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def clean_link_code(typed: str) -> str:
    """Return a link code as it was issued, whatever way it was typed: small, wide, in groups."""
    wide = unicodedata.normalize("NFKC", typed[: 4 * LINK_CODE_LENGTH]).upper()
    return "".join(character for character in wide if character in LINK_CODE_ALPHABET)
