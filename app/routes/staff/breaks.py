"""Breaks: what does not agree between a channel and our books."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from pydantic import Field

from app.domain.breaks.models import BreakKind
from app.domain.breaks.queries import list_breaks
from app.routes.citizen.schemas import Fen, Instant, Page
from app.routes.guards import ports, require_role, staff_auth
from app.routes.json import Out
from app.routes.staff.refunds import READERS

blueprint = APIBlueprint(
    "staff_breaks", __name__, url_prefix="/staff/api/v1/breaks", tag="工作人员"
)

BREAKS = {
    "items": [
        {
            "id": 7,
            "kind": "amount_mismatch",
            "channel": "wechat",
            "number": "DMIX3K9QZ7F2H4B6N8P0R1S5T3V7W9XY",
            "expected_fen": 50000,
            "found_fen": 5000,
            "detail": {"reference": "4200001234202611240000000001"},
            "opened_at": "2026-11-24T10:00:41+08:00",
            "closed_at": None,
        }
    ],
    "next_cursor": None,
}


class BreakOut(Out):
    """One disagreement."""

    id: int
    kind: BreakKind
    channel: str
    number: str = Field(description="订单、退款或渠道流水号")
    expected_fen: Fen | None = Field(description="我方账面，单位：分")
    found_fen: Fen | None = Field(description="渠道所报，单位：分")
    detail: dict[str, Any]
    opened_at: Instant
    closed_at: Instant | None


class BreaksOut(Out):
    """A page of breaks, newest first."""

    items: list[BreakOut]
    next_cursor: int | None


@blueprint.get("")
@blueprint.auth_required(staff_auth)
@require_role(*READERS)
@blueprint.input(Page, location="query")
@blueprint.output(BreaksOut, example=BREAKS)
@blueprint.doc(
    operation_id="list_breaks",
    summary="差错列表",
    description="渠道与我方账面不一致之处，待工作人员处理。",
    responses=[403],
)
def index(query_data: Page) -> BreaksOut:
    """List breaks."""
    found = ports().read(
        lambda session: list_breaks(
            session, before_id=query_data.cursor, limit=query_data.limit + 1
        )
    )
    page = found[: query_data.limit]
    return BreaksOut(
        items=[BreakOut.model_validate(item, from_attributes=True) for item in page],
        next_cursor=page[-1].id if len(found) > query_data.limit else None,
    )
