"""微信支付签名 XML and signatures of API v2, written from the protocol alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from xml.parsers import expat

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

MD5 = "MD5"
HMAC_SHA256 = "HMAC-SHA256"
SIGN_TYPES = frozenset({MD5, HMAC_SHA256})

_MOST_BYTES = 64 * 1024


class Malformed(Exception):
    """Not the flat XML that the protocol prescribes."""


class _FlatReader:
    """Takes one root with children that hold text only."""

    def __init__(self, root: str) -> None:
        self.fields: dict[str, str] = {}
        self._root = root
        self._path: list[str] = []
        self._text: list[str] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if attributes or len(self._path) > 1 or (not self._path and name != self._root):
            raise Malformed(name)
        if name in self.fields:
            raise Malformed(f"{name} 重复")
        self._path.append(name)
        self._text = []

    def end(self, name: str) -> None:
        self._path.pop()
        if self._path:
            self.fields[name] = "".join(self._text)

    def text(self, piece: str) -> None:
        if len(self._path) == 1 and piece.strip():
            raise Malformed("字段之外有文字")
        self._text.append(piece)


def read_xml(body: bytes, root: str = "xml") -> dict[str, str]:
    """Return the fields of a message. White space around a value is part of it.

    Raises:
        Malformed: broken, nested, a field twice, or with a DOCTYPE (and so with entities).
    """
    if len(body) > _MOST_BYTES:
        raise Malformed("报文过长")

    def refuse(*_: object) -> None:
        raise Malformed("DOCTYPE")

    reader = _FlatReader(root)
    parser = expat.ParserCreate("utf-8")
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ProcessingInstructionHandler = refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise Malformed(str(error)) from None
    return reader.fields


def write_xml(fields: Mapping[str, str], root: str = "xml") -> bytes:
    """Return the message, every value in CDATA."""
    lines = [f"<{root}>"]
    for name, value in fields.items():
        quoted = value.replace("]]>", "]]]]><![CDATA[>")
        lines.append(f"<{name}><![CDATA[{quoted}]]></{name}>")
    lines.append(f"</{root}>")
    return "\n".join(lines).encode()


def sign(fields: Mapping[str, str], key: str, sign_type: str = MD5) -> str:
    """Return the signature over all fields that have a value, `sign` and `paySign` left out."""
    pairs = [
        f"{name}={value}"
        for name, value in sorted(fields.items())
        if value and name not in {"sign", "paySign"}
    ]
    text = "&".join([*pairs, f"key={key}"]).encode()
    if sign_type == HMAC_SHA256:
        return hmac.new(key.encode(), text, hashlib.sha256).hexdigest().upper()
    return hashlib.md5(text, usedforsecurity=False).hexdigest().upper()


def is_signed(fields: Mapping[str, str], given: str, key: str, sign_type: str) -> bool:
    """Whether `given` is the signature of the fields, as upper-case hex."""
    expected = sign(fields, key, sign_type)
    return hmac.compare_digest(expected.encode(), given.encode())


def seal(content: bytes, key: str) -> str:
    """Return `req_info`: AES-256-ECB with PKCS7 under the hex MD5 of the API key, in base64."""
    secret = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest().encode()
    padder = PKCS7(algorithms.AES.block_size).padder()
    padded = padder.update(content) + padder.finalize()
    encryptor = Cipher(algorithms.AES(secret), modes.ECB()).encryptor()  # noqa: S305  # nosec B305  # the protocol's
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()
