"""People who sign, change, suspend and end agreements."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select

from app.domain.agreements import operations
from app.domain.agreements.drafting import Draft, Proposal, draft_agreement
from app.domain.agreements.models import Agreement
from app.domain.agreements.queries import AgreementView, get_agreement, list_agreements
from app.domain.agreements.rules import DebitChannel, Frequency, Terms
from app.domain.agreements.signing import Consent, change_agreement, sign_agreement
from app.domain.contributors.models import Platform
from tests.builders import an_account
from tests.fund import Fund

CONTRIBUTOR = 1


def terms(frequency: str = "monthly", amount_fen: int = 50_000, day: int = 10) -> Terms:
    return Terms(
        frequency=Frequency(frequency),
        amount_fen=amount_fen,
        debit_day=day,
        channel=DebitChannel.WECHAT,
    )


@dataclass
class Desk:
    """One person at the desk: what they do, and what they see."""

    fund: Fund
    account_id: int

    def at(self, instant: datetime) -> None:
        self.fund.clock.instant = instant

    def read(self, wish: Terms, *, first_period: str | None = None) -> Draft:
        """Read what would be signed."""
        ports = self.fund.ports
        proposal = Proposal(account_id=self.account_id, terms=wish, first_period=first_period)
        return ports.read(
            lambda session: draft_agreement(
                session,
                ports.vault,
                texts=ports.agreement_texts,
                proposal=proposal,
                now=ports.now(),
            )
        )

    def sign(self, wish: Terms, **kwargs: Any) -> str:
        """Read and sign; return the agreement_no."""
        return self._agree(sign_agreement, wish, **kwargs)

    def change(self, wish: Terms, **kwargs: Any) -> str:
        """Read and sign other terms."""
        return self._agree(change_agreement, wish, **kwargs)

    def suspend(self, months: int) -> None:
        operations.suspend_agreement(
            self.fund.ports,
            account_id=self.account_id,
            contributor_id=CONTRIBUTOR,
            months=months,
        )

    def resume(self) -> None:
        operations.resume_agreement(
            self.fund.ports, account_id=self.account_id, contributor_id=CONTRIBUTOR
        )

    def end(self) -> str:
        return operations.end_agreement(
            self.fund.ports, account_id=self.account_id, contributor_id=CONTRIBUTOR
        )

    def see(self, agreement_no: str | None = None) -> AgreementView:
        """Look at an agreement; the newest by default."""
        ports = self.fund.ports
        if agreement_no is None:
            return ports.read(
                lambda s: list_agreements(s, account_id=self.account_id, now=ports.now())
            )[0]
        return ports.read(
            lambda s: get_agreement(
                s, account_id=self.account_id, agreement_no=agreement_no, now=ports.now()
            )
        )

    def ahead(self) -> list[str]:
        """Return the periods ahead, those that are frozen with a star."""
        return [p.period.key + "*" * p.frozen for p in self.see().periods]

    def count(self) -> int:
        return len(
            self.fund.ports.read(
                lambda s: s.scalars(
                    select(Agreement.id).where(Agreement.account_id == self.account_id)
                ).all()
            )
        )

    def _agree(
        self,
        agree: Any,
        wish: Terms,
        *,
        first_period: str | None = None,
        text_sha256: str | None = None,
        key: str = "",
    ) -> str:
        if text_sha256 is None:
            text_sha256 = self.read(wish, first_period=first_period).wording.sha256.hex()
        number: str = agree(
            self.fund.ports,
            proposal=Proposal(account_id=self.account_id, terms=wish, first_period=first_period),
            consent=Consent(
                contributor_id=CONTRIBUTOR,
                text_sha256=text_sha256,
                platform=Platform.WECHAT,
                device="测试设备 1.0",
                client_ip="203.0.113.7",
                request_key=key or self.fund.ports.new_number("K"),
            ),
        )
        return number


@pytest.fixture
def desk(fund: Fund) -> Desk:
    return Desk(fund, an_account(fund.ports))
