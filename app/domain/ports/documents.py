"""Files that people download."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from app.domain.errors import ChannelTrouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Something to be read on paper.

    Attributes:
        text: paragraphs, a line each; ``# `` begins the title, ``## `` a heading.
        footer: small lines below everything.
        dated: what the file says that it was made at.
    """

    text: str = field(repr=False)
    footer: tuple[str, ...] = field(repr=False)
    dated: datetime


class DocumentsUnavailable(ChannelTrouble):
    """No document can be made here: no writer, or no Chinese font for it."""

    code = "documents_unavailable"
    default_message = "系统未安装中文字体，暂时不能生成 PDF 文件，请先在线查看"


class DocumentWriter(Protocol):
    """Makes files that people download."""

    def write_pdf(self, document: Document) -> bytes:
        """Return the document as PDF; the same document gives the same bytes.

        Raises:
            DocumentsUnavailable: no Chinese font is there.
        """


class NoDocumentWriter:
    """Stands where no document can be made."""

    def write_pdf(self, document: Document) -> bytes:
        """Refuse."""
        raise DocumentsUnavailable
