"""Whom a channel debits (付款人): a card in the person's own name, or their account at a wallet.

Kept as one sealed value; it leaves the vault for the channel, and for the person's own export.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.contributors.documents import DocumentKind, read_document
from app.domain.contributors.models import Account, Contributor
from app.domain.contributors.rules import clean_phone, clean_real_name
from app.domain.mandates.rules import CARD_TAIL, CardOfAnother, clean_card_no
from app.domain.pii import Vault
from app.domain.ports.mandates import BankCard

CONTEXT = "mandate.payer"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardGiven:
    """A card as the person wrote it down.

    The document is the one that the bank knows them by; None where it is the one of enrolment.
    """

    card_no: str = field(repr=False)
    holder_name: str = field(repr=False)
    phone: str = field(repr=False)
    document_kind: DocumentKind | None = None
    document_no: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """A card, or the person's id at a wallet."""

    card: BankCard | None = None
    payer_ref: str | None = field(default=None, repr=False)

    @property
    def card_tail(self) -> str | None:
        """The last digits of the card."""
        return self.card.card_no[-CARD_TAIL:] if self.card else None

    def write(self) -> str:
        """Return it as the text that is sealed."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Payer:
        """Return what `write` wrote."""
        held: dict[str, Any] = json.loads(text)
        card = BankCard(**held["card"]) if held["card"] else None
        return cls(card=card, payer_ref=held["payer_ref"])


def open_payer(vault: Vault, sealed: bytes) -> Payer:
    """Return whom a stored mandate debits."""
    return Payer.read(vault.open(sealed, context=CONTEXT))


def check_own_card(
    session: Session, vault: Vault, *, account_id: int, card: CardGiven, on: date
) -> BankCard:
    """Return a card as its bank knows it, if it can be one and is in the person's own name.

    Raises:
        CardInvalid, PhoneInvalid, RealNameInvalid, DocumentInvalid: say which field.
        CardOfAnother: the holder is not the person who enrolled.
    """
    person = session.scalars(
        select(Contributor)
        .join(Account, Account.contributor_id == Contributor.id)
        .where(Account.id == account_id)
    ).one()

    def own(column: str) -> str:
        return vault.open(getattr(person, column), context=f"contributor.{column}")

    card_no, phone = clean_card_no(card.card_no), clean_phone(card.phone)
    if clean_real_name(card.holder_name) != own("real_name"):
        raise CardOfAnother(field="card.holder_name")
    kind, number = person.document_kind, own("document_no")
    if card.document_kind is not None and card.document_no is not None:
        document = read_document(
            card.document_kind,
            card.document_no,
            on=on,
            birth_date=date.fromisoformat(own("birth_date")),
            # Whether it is still valid is for the bank that opened the card with it.
            expires_on=date.max,
        )
        kind, number = document.kind, document.number
    return BankCard(
        card_no=card_no,
        holder_name=own("real_name"),
        document_kind=kind.value,
        document_no=number,
        phone=phone,
    )
