"""An agreement on paper (协议打印件): the text that was signed, with the record of the consent."""

from __future__ import annotations

from app.domain.agreements.queries import SignedText, get_signed_text
from app.domain.calendar import local_iso
from app.domain.ports import Ports
from app.domain.ports.documents import Document

_PLATFORM_TEXTS = {"wechat": "微信小程序", "alipay": "支付宝小程序"}


def print_agreement(
    ports: Ports, *, account_id: int, agreement_no: str | None, version: int | None
) -> bytes:
    """Return one's own signed text as PDF; arguments as for `get_signed_text`.

    Raises:
        NotFound: no such agreement or version, or somebody else's.
        DocumentsUnavailable: no Chinese font is there.
    """
    signed = ports.read(
        lambda session: get_signed_text(
            session,
            ports.vault,
            account_id=account_id,
            agreement_no=agreement_no,
            version=version,
        )
    )
    document = Document(text=signed.text, footer=_footer(signed), dated=signed.signed_at)
    return ports.documents.write_pdf(document)


def _footer(signed: SignedText) -> tuple[str, ...]:
    return (
        f"协议编号：{signed.agreement_no}　第 {signed.version} 版　文本版本：{signed.text_version}",
        f"签署时间：{local_iso(signed.signed_at)}　签署平台：{_PLATFORM_TEXTS[signed.platform]}",
        f"签署设备：{signed.device}　网络地址：{signed.client_ip}",
        f"文本摘要（SHA-256）：{signed.sha256}",
    )
