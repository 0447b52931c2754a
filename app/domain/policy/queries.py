"""Reading the policy: `Policy.on(session, day)` is the only way to a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.policy import groups
from app.domain.policy.models import PolicyValue
from app.domain.policy.rules import Figures, PolicyLine, group_by_name

_READ = "policy"


class Policy:
    """The figures in force on one day, by group. A figure that is not in force raises when read."""

    def __init__(self, on_day: Figures) -> None:
        self.programme = groups.Programme(on_day)
        self.enrolment = groups.Enrolment(on_day)
        self.deposit = groups.Deposit(on_day)
        self.interest = groups.Interest(on_day)
        self.subsidy = groups.Subsidy(on_day)
        self.loan = groups.Loan(on_day)
        self.quota = groups.Quota(on_day)
        self.retirement = groups.Retirement(on_day)
        self.withdrawal = groups.Withdrawal(on_day)
        self.debit = groups.Debit(on_day)
        self.mandate = groups.Mandate(on_day)
        self.reserve = groups.Reserve(on_day)
        self.liquidity = groups.Liquidity(on_day)
        self.tax = groups.Tax(on_day)

    @classmethod
    def on(cls, session: Session, day: date) -> Policy:
        """Return the policy of a day; a period is judged by the policy of its first day."""
        return cls(Figures(read_lines(session), day=day))


def read_lines(session: Session) -> Mapping[str, Sequence[PolicyLine]]:
    """Return every line by parameter, oldest first: one select a transaction, however often asked.

    A transaction thus decides by one state of the policy, also about many months.
    """
    lines: Mapping[str, Sequence[PolicyLine]] | None = session.info.get(_READ)
    if lines is None:
        rows = session.execute(
            select(
                PolicyValue.name,
                PolicyValue.title,
                PolicyValue.unit,
                PolicyValue.value,
                PolicyValue.effective_from,
                PolicyValue.until,
                PolicyValue.source,
                PolicyValue.status,
            )
        )
        lines = group_by_name(PolicyLine(**row) for row in rows.mappings())
        session.info[_READ] = lines
    return lines
