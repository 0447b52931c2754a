"""Turns declared facts of a request into the fund's own words."""

from __future__ import annotations

from app.domain.contributors.facts import (
    Children,
    DeclaredFacts,
    Degree,
    OwnLabourIncome,
    Veteran,
)
from app.routes.citizen.schemas import FactsIn


def read_facts(given: FactsIn) -> DeclaredFacts:
    """Return the declared facts; what is left out is not declared."""
    return DeclaredFacts(
        children=Children(**given.children.model_dump()) if given.children else None,
        degree=Degree(**given.degree.model_dump()) if given.degree else None,
        veteran=Veteran(**given.veteran.model_dump()) if given.veteran else None,
        own_labour_income=OwnLabourIncome(**given.own_labour_income.model_dump())
        if given.own_labour_income
        else None,
    )
