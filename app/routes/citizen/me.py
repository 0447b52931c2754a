"""One's own data: the masked profile, declarations, and the full export."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from flask import Response, jsonify
from pydantic import Field

from app.domain.contributors.documents import DocumentKind
from app.domain.contributors.models import AccountStatus, Platform
from app.domain.contributors.operations import declare_facts
from app.domain.contributors.queries import get_profile
from app.domain.contributors.rules import EmploymentForm, IndustryTag
from app.domain.personal_export import export_person
from app.routes.citizen.facts import read_facts
from app.routes.citizen.schemas import Day, FactsIn, Instant
from app.routes.guards import account_id, citizen_auth, contributor_id, ports
from app.routes.json import Out

blueprint = APIBlueprint("me", __name__, url_prefix="/api/v1/me", tag="我的信息")

FACTS = {
    "children": {"count": 2, "minor_count": 1, "evidence": "户口簿"},
    "degree": {"level": "bachelor", "evidence": "学历证书"},
}
PROFILE = {
    "real_name": "*试用户",
    "document_kind": "resident_id",
    "document_no": "110***********002X",
    "phone": "138****0000",
    "employment_form": "new_form",
    "industry_tags": ["e_commerce"],
    "facts": FACTS,
    "enrolled_at": "2026-11-24T10:00:00+08:00",
    "account_no": "3207123456789015",
    "account_status": "normal",
    "opened_on": "2026-11-24",
    "platforms": ["wechat", "alipay"],
}
EXPORT = {
    "contributor": {"document_kind": "resident_id", "document_no": "11010519491231002X"},
    "account": {"account_no": "3207123456789015", "balance_fen": 74300},
    "login_identities": [{"platform": "wechat", "subject": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}],
    "deposits": [],
    "refunds": [],
    "agreements": [],
    "mandates": [],
    "debits": [],
    "subsidies": [],
    "entries": [],
}


class ProfileOut(Out):
    """The person as their own screen shows them, masked."""

    real_name: str = Field(description="脱敏")
    document_kind: DocumentKind
    document_no: str = Field(description="脱敏")
    phone: str = Field(description="脱敏")
    employment_form: EmploymentForm
    industry_tags: list[IndustryTag]
    facts: dict[str, Any] = Field(description="只含已申报的事项")
    enrolled_at: Instant
    account_no: str
    account_status: AccountStatus
    opened_on: Day
    platforms: list[Platform] = Field(description="已关联的登录平台")


class ExportOut(Out):
    """All that is held on the person."""

    contributor: dict[str, Any] = Field(description="本人资料，未脱敏")
    account: dict[str, Any] = Field(description="个人账户")
    login_identities: list[dict[str, Any]] = Field(description="登录平台与其中的标识")
    deposits: list[dict[str, Any]] = Field(description="缴存")
    refunds: list[dict[str, Any]] = Field(description="退款")
    agreements: list[dict[str, Any]] = Field(description="缴存协议与签署记录")
    mandates: list[dict[str, Any]] = Field(description="扣款签约")
    debits: list[dict[str, Any]] = Field(description="按协议的扣款，各次尝试在内")
    subsidies: list[dict[str, Any]] = Field(description="补贴")
    entries: list[dict[str, Any]] = Field(description="账户明细")


class FactsOut(Out):
    """All declarations of the person."""

    facts: dict[str, Any] = Field(description="只含已申报的事项")


@blueprint.get("")
@blueprint.auth_required(citizen_auth)
@blueprint.output(ProfileOut, example=PROFILE)
@blueprint.doc(
    operation_id="get_me",
    summary="我的信息",
    description="姓名、证件号码与手机号码均已脱敏。",
    responses=[409],
)
def show() -> ProfileOut:
    """Return the masked profile."""
    own = contributor_id()
    profile = ports().read(lambda session: get_profile(session, ports().vault, own))
    return ProfileOut(
        real_name=profile.real_name,
        document_kind=profile.document_kind,
        document_no=profile.document_no,
        phone=profile.phone,
        employment_form=profile.employment_form,
        industry_tags=list(profile.industry_tags),
        facts=profile.facts.to_json(),
        enrolled_at=profile.enrolled_at,
        account_no=profile.account_no,
        account_status=profile.account_status,
        opened_on=profile.opened_on,
        platforms=list(profile.platforms),
    )


@blueprint.patch("/facts")
@blueprint.auth_required(citizen_auth)
@blueprint.input(FactsIn, location="json", example=FACTS)
@blueprint.output(FactsOut, example={"facts": FACTS})
@blueprint.doc(
    operation_id="declare_facts",
    summary="申报或补充个人情况",
    description="子女、学历、退役军人等；未填写的事项保持不变。",
    responses=[409],
)
def declare(json_data: FactsIn) -> FactsOut:
    """Add or replace declarations; what is left out stays."""
    facts = declare_facts(ports(), contributor_id=contributor_id(), facts=read_facts(json_data))
    return FactsOut(facts=facts.to_json())


@blueprint.get("/export")
@blueprint.auth_required(citizen_auth)
@blueprint.output(ExportOut, example=EXPORT)
@blueprint.doc(
    operation_id="export_me",
    summary="导出我的全部数据",
    description="本人在本系统中的全部数据，未脱敏（个人信息保护法 第四十五条）。",
    responses=[409],
)
def export() -> Response:
    """Return everything held on the person, for download (个人信息保护法 第四十五条)."""
    person, account = contributor_id(), account_id()
    data = ports().read(
        lambda session: export_person(
            session, ports().vault, contributor_id=person, account_id=account
        )
    )
    response = jsonify(data)
    response.headers["Content-Disposition"] = 'attachment; filename="lianjiao-my-data.json"'
    return response
