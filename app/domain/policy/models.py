"""The dated figures of the policy (政策参数). Rows are added, never changed: triggers refuse."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Date, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.base import Base, Instant, enum_column


class PolicyStatus(StrEnum):
    """How firm a figure is.

    CONFIRMED: the pilot plan or a law says so. REPORTED: a public document is reported to say so,
    its official text has not been compared yet. ASSUMED: chosen here, the centre has still to
    confirm it; the day that it does, a new line from that day says so.
    """

    CONFIRMED = "confirmed"
    REPORTED = "reported"
    ASSUMED = "assumed"


class PolicyValue(Base):
    """One value of one parameter from a day on, until the next one begins or `until` is over."""

    __tablename__ = "policy_value"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    """As in code: `loan.gate_months` is `policy.loan.gate_months`."""
    effective_from: Mapped[date] = mapped_column(Date, primary_key=True)
    until: Mapped[date | None] = mapped_column(Date)
    """The last day in force, where the document names one."""
    value: Mapped[str] = mapped_column(Text)
    """JSON: one figure, a list or a table of them. Amounts are integer fen, rates are strings."""
    unit: Mapped[str] = mapped_column(String(16))
    title: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(String(400))
    status: Mapped[PolicyStatus] = mapped_column(enum_column(PolicyStatus))
    loaded_at: Mapped[datetime] = mapped_column(Instant)

    __table_args__ = (
        CheckConstraint("until IS NULL OR until >= effective_from", name="ends_after_it_begins"),
    )
