"""Enrol: open one's account (clause 1)."""

from __future__ import annotations

from datetime import date

from apiflask import APIBlueprint
from pydantic import Field

from app.domain.contributors.documents import DocumentKind
from app.domain.contributors.operations import EnrolmentApplication, enrol
from app.domain.contributors.rules import EmploymentForm
from app.routes.citizen.facts import read_facts
from app.routes.citizen.schemas import Day, FactsIn
from app.routes.guards import caller, citizen_auth, ports
from app.routes.json import In, Out

blueprint = APIBlueprint("enrolment", __name__, url_prefix="/api/v1/enrolment", tag="开户")

ENROLMENT = {
    "document_kind": "resident_id",
    "document_no": "11010519491231002X",
    "real_name": "测试用户",
    "phone": "13800000000",
    "employment_form": "new_form",
    "industry_tags": ["e_commerce"],
    "facts": {"children": {"count": 2, "minor_count": 1, "evidence": "户口簿"}},
}
OPENED = {"account_no": "3207123456789015", "opened_on": "2026-11-24"}


class EnrolmentIn(In):
    """What a person fills in to open an account."""

    document_kind: DocumentKind = Field(description="证件类型")
    document_no: str = Field(min_length=1, max_length=40, description="证件号码")
    real_name: str = Field(min_length=1, max_length=100, description="与证件一致的姓名")
    phone: str = Field(min_length=1, max_length=20, description="内地手机号码，11 位")
    employment_form: EmploymentForm = Field(description="就业形式：个体经营、非全日制、新就业形态")
    birth_date: date | None = Field(default=None, description="证件号码不含出生日期时必填")
    document_expires_on: date | None = Field(default=None, description="证件有效期至")
    industry_tags: list[str] = Field(default=[], max_length=10, description="所在产业")
    facts: FactsIn = Field(default=FactsIn(), description="个人申报事项")


class AccountOpenedOut(Out):
    """The account that was opened."""

    account_no: str
    opened_on: Day


@blueprint.post("")
@blueprint.auth_required(citizen_auth)
@blueprint.input(EnrolmentIn, location="json", example=ENROLMENT)
@blueprint.output(AccountOpenedOut, status_code=201, example=OPENED)
@blueprint.doc(
    operation_id="enrol",
    summary="开户",
    description="年满十六周岁的灵活就业人员；一人一户。不予受理时，说明依据的条款与字段。",
    responses=[409],
)
def create(json_data: EnrolmentIn) -> AccountOpenedOut:
    """Check the person by clause 1 and open their one account."""
    opened = enrol(
        ports(),
        identity_id=caller().identity_id,
        application=EnrolmentApplication(
            document_kind=json_data.document_kind,
            document_no=json_data.document_no,
            real_name=json_data.real_name,
            phone=json_data.phone,
            employment_form=json_data.employment_form,
            birth_date=json_data.birth_date,
            document_expires_on=json_data.document_expires_on,
            industry_tags=tuple(json_data.industry_tags),
            facts=read_facts(json_data.facts),
        ),
    )
    return AccountOpenedOut(account_no=opened.account_no, opened_on=opened.opened_on)
