"""What a contributor declares about themselves (个人申报事项), each with its evidence. Pure.

Stored as JSON beside the contributor; the opening subsidy, the loan quota and the transfer of
military contributions read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any


class DegreeLevel(StrEnum):
    """Highest full-time (全日制) degree, as far as clause 11 tells them apart."""

    OTHER = "other"
    """Less than a bachelor's, or one that was not studied for full-time."""
    BACHELOR = "bachelor"
    MASTER = "master"
    DOCTOR = "doctor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Children:
    """Children (clause 3). `evidence` names the proof: 户口簿, 出生医学证明."""

    count: int
    minor_count: int
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Degree:
    """Education (clause 11). `evidence` is the certificate's or the online check's number."""

    level: DegreeLevel
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Veteran:
    """Military service ended (clause 16). `evidence` is the number of the discharge paper."""

    discharged_on: date | None = None
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLabourIncome:
    """Declaration of a person of 16 or 17 to live mainly on their own labour income."""

    declared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredFacts:
    """All declarations of one person; None means: nothing declared."""

    children: Children | None = None
    degree: Degree | None = None
    veteran: Veteran | None = None
    own_labour_income: OwnLabourIncome | None = None

    def updated_by(self, newer: DeclaredFacts) -> DeclaredFacts:
        """Return these facts with those that `newer` declares in their place."""
        return replace(
            self,
            children=newer.children or self.children,
            degree=newer.degree or self.degree,
            veteran=newer.veteran or self.veteran,
            own_labour_income=newer.own_labour_income or self.own_labour_income,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the stored form: only what is declared, dates as ISO text."""
        stored = {name: fact for name, fact in asdict(self).items() if fact is not None}
        if self.veteran is not None and self.veteran.discharged_on is not None:
            stored["veteran"]["discharged_on"] = self.veteran.discharged_on.isoformat()
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> DeclaredFacts:
        """Read the stored form back."""
        children, degree = stored.get("children"), stored.get("degree")
        veteran, income = stored.get("veteran"), stored.get("own_labour_income")
        return cls(
            children=Children(**children) if children else None,
            degree=Degree(level=DegreeLevel(degree["level"]), evidence=degree["evidence"])
            if degree
            else None,
            veteran=Veteran(
                discharged_on=date.fromisoformat(veteran["discharged_on"])
                if veteran["discharged_on"]
                else None,
                evidence=veteran["evidence"],
            )
            if veteran
            else None,
            own_labour_income=OwnLabourIncome(**income) if income else None,
        )
