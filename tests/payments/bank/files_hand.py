"""A centre's files without a server, and answers of a bank written out by hand."""

from __future__ import annotations

import base64
from functools import cache
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256, SM3, Hash

from app.domain.ports.debits import BatchFile
from app.payments.bank.files.layouts import Layout
from app.platforms.rsa import is_signed_digest, sign_digest
from config.bank_layout_files import load_bank_layout, parse_bank_layout

CORP = "898312345678"
BANK_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OUR_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)

KEYS: Any = SimpleNamespace(
    sign_digest=lambda digest: sign_digest(digest, OUR_KEY),
    is_genuine_digest=lambda digest, signature: is_signed_digest(
        digest, signature, BANK_KEY.public_key()
    ),
)


@cache
def standard() -> Layout:
    return Layout(load_bank_layout("standard"), corp=CORP)


@cache
def fixed_width() -> Layout:
    file = Path(__file__).with_name("fixed_width.yaml")
    content = parse_bank_layout(file.read_text("utf-8"), where=file.name)
    return Layout(content, corp=CORP)


def sm3(content: bytes) -> str:
    digest = Hash(SM3())
    digest.update(content)
    return digest.finalize().hex()


def of_bank(name: str, content: bytes) -> tuple[BatchFile, BytesIO]:
    """A file that the bank has signed."""
    signature = base64.b64encode(BANK_KEY.sign(content, PKCS1v15(), SHA256())).decode()
    file = BatchFile(name=name, size_bytes=len(content), digest=sm3(content), signature=signature)
    return file, BytesIO(content)
