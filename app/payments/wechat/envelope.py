"""Reads what WeChat sends: one flat XML element of text values, and its amounts and times.

Stricter than XML: no document type, no entity, no attribute, no comment, no element twice and
none inside another, UTF-8 only. Fields that nobody knows yet are kept: the signature covers them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from xml.parsers import expat

from app.payments.values import Unreadable, read_time

MAX_BYTES = 64 * 1024

Fields = Mapping[str, str]
"""The elements of a message by name."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.$-]{0,63}")
_FEN = re.compile(r"[1-9][0-9]{0,14}")
_COMPACT_TIME = re.compile(r"2[0-9]{13}")


class _FlatReader:
    """Collects the children of the one root element and refuses everything else."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._depth = 0
        self._text: list[str] = []
        self.fields: dict[str, str] = {}

    def attach_to(self, parser: expat.XMLParserType) -> None:
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.SkippedEntityHandler = self._refuse
        parser.ProcessingInstructionHandler = self._refuse
        parser.CommentHandler = self._refuse

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if attributes:
            raise Unreadable("attribute")
        if self._depth == 1:
            if name != self._root:
                raise Unreadable("root element")
            return
        if self._depth > 2:
            raise Unreadable("nested element")
        if not _NAME.fullmatch(name):
            raise Unreadable("element name")
        if name in self.fields:
            raise Unreadable("element twice")
        self._text = []

    def _end(self, name: str) -> None:
        if self._depth == 2:
            self.fields[name] = "".join(self._text)
        self._depth -= 1

    def _characters(self, text: str) -> None:
        if self._depth == 2:
            self._text.append(text)
        elif text.strip(" \t\r\n"):
            raise Unreadable("text between elements")

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() != "utf-8":
            raise Unreadable("encoding")

    def _refuse(self, *_: object) -> None:
        raise Unreadable("document type, entity, comment or instruction")


def read_fields(data: bytes, *, root: str = "xml") -> dict[str, str]:
    """Return element name -> text of the children of `root`.

    Raises:
        Unreadable: anything but one flat UTF-8 element of at most 64 KiB.
    """
    if len(data) > MAX_BYTES:
        raise Unreadable("too long")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("encoding") from None
    reader = _FlatReader(root)
    parser = expat.ParserCreate("utf-8")
    reader.attach_to(parser)
    try:
        parser.Parse(data, True)
    except expat.ExpatError:
        raise Unreadable("not well formed") from None
    return reader.fields


def expect(answer: Fields, name: str, value: str) -> None:
    """Make sure that an answer is about what was asked.

    Raises:
        Unreadable: it is about another one, or does not say.
    """
    if answer.get(name) != value:
        raise Unreadable(f"another {name}")


def read_fen(value: str | None) -> int:
    """Return a positive amount in fen, written in plain digits.

    Raises:
        Unreadable: absent, zero, signed, fractional or anything but ASCII digits.
    """
    if value is None or not _FEN.fullmatch(value):
        raise Unreadable("amount")
    return int(value)


def read_compact_time(value: str | None) -> datetime:
    """Return the instant of a Beijing time like 20261124100000.

    Raises:
        Unreadable: absent or impossible.
    """
    if value is None or not _COMPACT_TIME.fullmatch(value):
        raise Unreadable("time")
    return read_time(value, "%Y%m%d%H%M%S")


def booked_fen(fields: Fields) -> int:
    """Return what WeChat has booked for us under a paid order.

    Coupons that are not prepaid (免充值代金券) make 应结订单金额 smaller than the order: then less
    money comes than the order says, and the smaller figure is the true one.

    Raises:
        Unreadable: no amount, or a currency other than the renminbi.
    """
    if fields.get("fee_type", "") not in ("", "CNY"):
        raise Unreadable("currency")
    total_fen = read_fen(fields.get("total_fee"))
    settled = fields.get("settlement_total_fee", "")
    return min(total_fen, read_fen(settled)) if settled else total_fen


def fit(text: str, length: int) -> str:
    """Return `text` as WeChat can take it: no control character, no CDATA end, `length` bytes."""
    clean = "".join(character for character in text if character.isprintable())
    clean = clean.replace("]]>", "]] ")
    return clean.encode("utf-8")[:length].decode("utf-8", "ignore")
