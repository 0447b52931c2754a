"""应答 Answers: written once, in one of several shapes, and signed over exactly those bytes.

The real gateway escapes slashes or does not, puts the signature first or last, adds fields and
echoes what the merchant wrote. Whoever reads answers rightly never notices; the shapes take turns
so that whoever does not is found out.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sandbox.keys import sign

CERTIFICATE_SN = "8ac24517ae0a2acb9aa31fbbf9b9c771"


@dataclass(frozen=True)
class Shape:
    """One way to write the same answer."""

    separators: tuple[str, str] = (",", ":")
    is_ascii: bool = False
    """Chinese as escapes, not as it is."""
    escapes_slashes: bool = False
    signature_first: bool = False
    has_certificate_sn: bool = False
    message_tail: str = ""
    """Appended to `msg`."""


PLAIN = Shape()
SHAPES = (
    PLAIN,
    Shape(escapes_slashes=True),
    Shape(message_tail=' }{ "sign":"'),
    Shape(is_ascii=True, signature_first=True),
    Shape(separators=(" , ", " : "), has_certificate_sn=True, escapes_slashes=True),
)


class Answers:
    """Writes the answers of one gateway; the shapes come in turn from the first."""

    def __init__(self, key: RSAPrivateKey, *, plain: bool) -> None:
        self._key = key
        self._shapes = itertools.cycle((PLAIN,) if plain else SHAPES)

    def write(
        self,
        name: str,
        node: Mapping[str, object],
        codec: str,
        *,
        is_signed: bool = True,
        is_true: bool = True,
    ) -> bytes:
        """Return the answer.

        Args:
            is_signed: whether it carries a signature.
            is_true: whether that is one of this answer; else it is one of another.
        """
        shape = next(self._shapes)
        if "msg" in node:
            node = {**node, "msg": f"{node['msg']}{shape.message_tail}"}
        text = json.dumps(node, ensure_ascii=shape.is_ascii, separators=shape.separators)
        if shape.escapes_slashes:
            text = text.replace("/", "\\/")
        content = text.encode(codec)
        comma, colon = shape.separators
        parts = [f'"{name}"{colon}'.encode() + content]
        if shape.has_certificate_sn:
            parts.append(f'"alipay_cert_sn"{colon}"{CERTIFICATE_SN}"'.encode())
        if is_signed:
            signature = sign(content if is_true else content + b" ", self._key)
            place = 0 if shape.signature_first else len(parts)
            parts.insert(place, f'"sign"{colon}"{signature}"'.encode())
        return b"{" + comma.encode().join(parts) + b"}"
