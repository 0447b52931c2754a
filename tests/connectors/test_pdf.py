"""PDF files: Chinese that can be searched and copied, the same bytes for the same document."""

from __future__ import annotations

import re
import shutil
import subprocess
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from app.connectors.documents.pdf import PdfWriter
from app.connectors.documents.registry import USUAL_PLACES, build_documents
from app.domain.ports.documents import Document, DocumentsUnavailable, NoDocumentWriter
from config.settings import Settings

FONT = next((path for path in USUAL_PLACES if path.is_file()), None)
needs_font = pytest.mark.skipif(FONT is None, reason="no Noto Sans CJK: fonts-noto-cjk")

DOCUMENT = Document(
    text="# 缴存协议\n\n甲方：测试用户\n\n## 一、金额\n\n每期金额：1,234.50 元。",
    footer=("文本摘要：0123abcd",),
    dated=datetime(2026, 11, 24, 2, 0, tzinfo=UTC),
)
WORDS = ("缴存协议", "甲方：测试用户", "每期金额：1,234.50", "文本摘要：0123abcd", "第 1 页")


@pytest.fixture(scope="module")
def pdf() -> bytes:
    assert FONT is not None
    return PdfWriter(FONT).write_pdf(DOCUMENT)


@needs_font
def test_every_word_can_be_found_by_what_the_file_itself_says_of_its_glyphs(pdf: bytes) -> None:
    text = text_of(pdf)
    for word in WORDS:
        assert word in text, text


@needs_font
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext: poppler-utils")
def test_a_reader_finds_every_word(pdf: bytes, tmp_path: Path) -> None:
    file = tmp_path / "agreement.pdf"
    file.write_bytes(pdf)
    ran = subprocess.run(["pdftotext", str(file), "-"], capture_output=True, text=True, check=True)
    for word in WORDS[:-1]:
        assert word in ran.stdout


@needs_font
def test_the_same_document_is_the_same_file_but_for_its_date(pdf: bytes) -> None:
    assert FONT is not None
    assert PdfWriter(FONT).write_pdf(DOCUMENT) == pdf
    later = replace(DOCUMENT, dated=DOCUMENT.dated + timedelta(days=1))
    assert PdfWriter(FONT).write_pdf(later) != pdf


@needs_font
def test_a_long_document_takes_more_pages() -> None:
    assert FONT is not None
    long = replace(DOCUMENT, text="\n\n".join(["甲方自愿参加住房公积金制度。" * 8] * 40))
    content = PdfWriter(FONT).write_pdf(long)
    assert len(re.findall(rb"/Type /Page\b", content)) > 1
    assert "第 2 页" in text_of(content)


@pytest.mark.parametrize("content", [None, b"", b"no font at all", b"ttcf\x00\x01"])
@pytest.mark.parametrize("name", ["font.ttc", "font.otf"])
def test_a_font_that_cannot_be_used_is_said_to_be_none(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DocumentsUnavailable):
        PdfWriter(file).write_pdf(DOCUMENT)


def test_the_font_of_the_settings_comes_first_and_none_is_no_writer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = "app.connectors.documents.registry.USUAL_PLACES"
    named = cast(Settings, SimpleNamespace(document_font_file=tmp_path / "font.otf"))
    looked_for = cast(Settings, SimpleNamespace(document_font_file=None))
    assert isinstance(build_documents(named), PdfWriter)
    monkeypatch.setattr(place, (tmp_path / "not there",))
    writer = build_documents(looked_for)
    assert isinstance(writer, NoDocumentWriter)
    with pytest.raises(DocumentsUnavailable):
        writer.write_pdf(DOCUMENT)


def text_of(pdf: bytes) -> str:
    """Return the text of a file by its own map from glyphs to Unicode, line by line."""
    streams = []
    for found in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            streams.append(zlib.decompress(found[1]))
        except zlib.error:
            streams.append(found[1])
    mapping = {
        int(code, 16): bytes.fromhex(character.decode()).decode("utf-16-be")
        for stream in streams
        if b"beginbfchar" in stream
        for code, character in re.findall(rb"<([0-9A-Fa-f]+)> <([0-9A-Fa-f]+)>\n", stream)
    }
    return "\n".join(
        "".join(mapping.get(glyph, "") for glyph in glyphs_of(shown))
        for stream in streams
        if b"BT" in stream
        for shown in re.findall(rb"\(((?:\\.|[^\\)])*)\) Tj", stream, re.DOTALL)
    )


def glyphs_of(shown: bytes) -> list[int]:
    plain = re.sub(
        rb"\\(.)", lambda m: {b"r": b"\r", b"n": b"\n"}.get(m[1], m[1]), shown, flags=re.DOTALL
    )
    return [int.from_bytes(plain[n : n + 2]) for n in range(0, len(plain), 2)]
