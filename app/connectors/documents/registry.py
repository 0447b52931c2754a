"""Names the writer of documents, and finds its Chinese font."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.connectors.documents.pdf import PdfWriter
from app.domain.ports.documents import DocumentWriter, NoDocumentWriter

if TYPE_CHECKING:
    from config.settings import Settings

USUAL_PLACES = (
    Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"),
    Path("/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc"),
    Path("/usr/share/fonts/google-noto-sans-cjk-fonts/NotoSansCJK-Regular.ttc"),
    Path("/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc"),
)
"""Where Debian, Alpine and Arch, and Fedora put Noto Sans CJK."""


def build_documents(settings: Settings) -> DocumentWriter:
    """Build the writer on the font of the settings, or on one in a usual place."""
    chosen = settings.document_font_file
    font_file = chosen or next((path for path in USUAL_PLACES if path.is_file()), None)
    return PdfWriter(font_file) if font_file is not None else NoDocumentWriter()
