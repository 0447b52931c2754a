"""PDF files with an embedded Chinese font, whose text can be searched and copied."""

from __future__ import annotations

import logging
from io import BytesIO
from pathlib import Path

from fontTools.ttLib import TTCollection, TTFont, TTLibError
from fpdf import FPDF
from fpdf.enums import WrapMode

from app.domain.ports.documents import Document, DocumentsUnavailable

log = logging.getLogger(__name__)

# It tells every table of the font that it cuts down.
logging.getLogger("fontTools").setLevel(logging.WARNING)

_FONT = "chinese"
_MARGIN_MM = 22
_SIZES = {"# ": 17, "## ": 13, "": 11, "footer": 9}
_LINE_HEIGHT = 1.7
_MM_PER_POINT = 0.3528


class PdfWriter:
    """DocumentWriter on fpdf2.

    Args:
        font_file: a font that has Chinese, .ttf, .otf or .ttc; of a collection the simplified face.
    """

    def __init__(self, font_file: Path) -> None:
        self._font_file = font_file

    def write_pdf(self, document: Document) -> bytes:
        """Return the document on A4 pages with page numbers."""
        pdf = _Pages(format="A4")
        pdf.set_creation_date(document.dated)
        pdf.set_producer("Lianjiao")
        pdf.set_margin(_MARGIN_MM)
        pdf.set_auto_page_break(auto=True, margin=_MARGIN_MM)
        self._add_font(pdf)
        pdf.add_page()
        for line in document.text.splitlines():
            _write_line(pdf, line)
        pdf.ln(4)
        for line in document.footer:
            _write(pdf, line, size=_SIZES["footer"])
        return bytes(pdf.output())

    def _add_font(self, pdf: FPDF) -> None:
        try:
            pdf.add_font(
                _FONT,
                fname=self._font_file,
                collection_font_number=_simplified_face(self._font_file),
            )
        except (OSError, TTLibError) as error:
            log.error("no usable font", extra={"font_file": str(self._font_file)}, exc_info=error)
            raise DocumentsUnavailable from error


class _Pages(FPDF):
    def footer(self) -> None:
        """Number the page."""
        self.set_y(-15)
        self.set_font(_FONT, size=_SIZES["footer"])
        self.cell(0, 8, f"第 {self.page_no()} 页", align="C")


def _simplified_face(font_file: Path) -> int:
    """Return which face of a collection writes simplified Chinese; 0 for a single font.

    Raises:
        OSError, TTLibError: not there, or no font.
    """
    content = BytesIO(font_file.read_bytes())
    if content.getvalue()[:4] != b"ttcf":
        TTFont(content, lazy=True)
        return 0
    names = [face["name"].getDebugName(1) or "" for face in TTCollection(content, lazy=True).fonts]
    return next((number for number, name in enumerate(names) if name.endswith(" SC")), 0)


def _write_line(pdf: FPDF, line: str) -> None:
    if line.startswith("# "):
        _write(pdf, line.removeprefix("# "), size=_SIZES["# "], align="C")
    elif line.startswith("## "):
        pdf.ln(2)
        _write(pdf, line.removeprefix("## "), size=_SIZES["## "])
    elif line:
        _write(pdf, line, size=_SIZES[""])
    else:
        pdf.ln(2)


def _write(pdf: FPDF, text: str, *, size: int, align: str = "L") -> None:
    pdf.set_font(_FONT, size=size)
    height = size * _MM_PER_POINT * _LINE_HEIGHT
    pdf.multi_cell(
        0, height, text, align=align, wrapmode=WrapMode.CHAR, new_x="LMARGIN", new_y="NEXT"
    )
