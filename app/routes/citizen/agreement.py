"""The agreement: read, sign, change, suspend, resume, end, take along."""

from __future__ import annotations

from apiflask import APIBlueprint
from apiflask.schemas import FileSchema
from flask import Response, request

from app.domain.agreements.drafting import Proposal, draft_agreement
from app.domain.agreements.operations import (
    end_agreement,
    resume_agreement,
    suspend_agreement,
)
from app.domain.agreements.printing import print_agreement
from app.domain.agreements.queries import (
    get_agreement,
    get_live_agreement,
    get_signed_text,
    list_agreements,
)
from app.domain.agreements.signing import Consent, change_agreement, sign_agreement
from app.routes.citizen.agreement_shapes import (
    AGREEMENT,
    CONSENT,
    DRAFT,
    ENDED,
    PROPOSAL,
    TERMS,
    TEXT,
    AgreementOut,
    AgreementsOut,
    ChangeIn,
    ConsentIn,
    DraftOut,
    ProposalIn,
    SignedTextOut,
    SignIn,
    SuspendIn,
    TextQuery,
    show_agreement,
    show_draft,
    show_text,
)
from app.routes.guards import account_id, caller, citizen_auth, contributor_id, ports
from app.routes.idempotency import IdempotencyHeaders

blueprint = APIBlueprint("agreement", __name__, url_prefix="/api/v1/agreement", tag="缴存协议")


@blueprint.post("/preview")
@blueprint.auth_required(citizen_auth)
@blueprint.input(ProposalIn, location="json", example=PROPOSAL)
@blueprint.output(DraftOut, example=DRAFT)
@blueprint.doc(
    operation_id="preview_agreement",
    summary="试算并阅读协议",
    description="按所填约定给出协议全文、摘要、各期扣款与提醒，不保存任何内容。"
    "已有协议时为变更的试算，自下一未冻结的缴存期起。",
    responses=[409],
)
def preview(json_data: ProposalIn) -> DraftOut:
    """Draw up what would be signed, and keep nothing."""
    proposal = Proposal(
        account_id=account_id(), terms=json_data.terms, first_period=json_data.first_period
    )
    draft = ports().read(
        lambda session: draft_agreement(
            session,
            ports().vault,
            texts=ports().agreement_texts,
            proposal=proposal,
            now=ports().now(),
        )
    )
    return show_draft(draft)


@blueprint.post("")
@blueprint.auth_required(citizen_auth)
@blueprint.input(IdempotencyHeaders, location="headers")
@blueprint.input(SignIn, location="json", example={**PROPOSAL, **CONSENT})
@blueprint.output(AgreementOut, status_code=201, example=AGREEMENT)
@blueprint.doc(
    operation_id="sign_agreement",
    summary="签署协议",
    description="须交回所阅读文本的摘要；内容已变的，回答 409，请重新阅读。每人同时只有一份协议。"
    "同一 Idempotency-Key 返回同一份协议。",
    responses=[409],
)
def sign(headers_data: IdempotencyHeaders, json_data: SignIn) -> AgreementOut:
    """Sign a new agreement; the same Idempotency-Key gives the same one."""
    proposal = Proposal(
        account_id=account_id(), terms=json_data.terms, first_period=json_data.first_period
    )
    return _show(
        sign_agreement(ports(), proposal=proposal, consent=_consent(json_data, headers_data))
    )


@blueprint.get("")
@blueprint.auth_required(citizen_auth)
@blueprint.output(AgreementOut, example=AGREEMENT)
@blueprint.doc(
    operation_id="get_agreement",
    summary="我的协议",
    description="生效中或暂停中的协议：各版约定适用的期间、以后各期与提醒。没有时回答 404。",
    responses=[404, 409],
)
def show() -> AgreementOut:
    """Return one's live agreement."""
    return _show_live()


@blueprint.get("/history")
@blueprint.auth_required(citizen_auth)
@blueprint.output(AgreementsOut, example={"items": [AGREEMENT]})
@blueprint.doc(
    operation_id="list_agreements",
    summary="历次协议",
    description="本人签过的全部协议，含已终止的，由新到旧。",
    responses=[409],
)
def index() -> AgreementsOut:
    """List one's agreements."""
    own = account_id()
    found = ports().read(
        lambda session: list_agreements(session, account_id=own, now=ports().now())
    )
    return AgreementsOut(items=[show_agreement(view) for view in found])


@blueprint.post("/change")
@blueprint.auth_required(citizen_auth)
@blueprint.input(IdempotencyHeaders, location="headers")
@blueprint.input(ChangeIn, location="json", example={**TERMS, **CONSENT})
@blueprint.output(AgreementOut, status_code=201, example=AGREEMENT)
@blueprint.doc(
    operation_id="change_agreement",
    summary="变更协议",
    description="新的约定自下一未冻结的缴存期起适用，此前各期按原约定。须交回所阅读文本的摘要。",
    responses=[404, 409],
)
def change(headers_data: IdempotencyHeaders, json_data: ChangeIn) -> AgreementOut:
    """Sign other terms; the same Idempotency-Key changes once."""
    proposal = Proposal(account_id=account_id(), terms=json_data.terms)
    return _show(
        change_agreement(ports(), proposal=proposal, consent=_consent(json_data, headers_data))
    )


@blueprint.post("/suspend")
@blueprint.auth_required(citizen_auth)
@blueprint.input(SuspendIn, location="json", example={"months": 2})
@blueprint.output(
    AgreementOut,
    example={
        **AGREEMENT,
        "state": "suspended",
        "state_text": "已暂停",
        "suspended_from": "2026-12-01",
        "suspended_through": "2027-01-31",
        "periods": [],
    },
)
@blueprint.doc(
    operation_id="suspend_agreement",
    summary="暂停扣款",
    description="自下一未冻结的缴存期起暂停若干个月；已提示的一期仍会扣款。",
    responses=[404, 409],
)
def suspend(json_data: SuspendIn) -> AgreementOut:
    """Leave debits out for some months."""
    suspend_agreement(
        ports(),
        account_id=account_id(),
        contributor_id=contributor_id(),
        months=json_data.months,
    )
    return _show_live()


@blueprint.post("/resume")
@blueprint.auth_required(citizen_auth)
@blueprint.output(AgreementOut, example=AGREEMENT)
@blueprint.doc(
    operation_id="resume_agreement",
    summary="恢复扣款",
    description="自下一未冻结的缴存期起恢复；暂停期间未缴的不补缴。",
    responses=[404, 409],
)
def resume() -> AgreementOut:
    """Debit again."""
    resume_agreement(ports(), account_id=account_id(), contributor_id=contributor_id())
    return _show_live()


@blueprint.post("/end")
@blueprint.auth_required(citizen_auth)
@blueprint.output(AgreementOut, example=ENDED)
@blueprint.doc(
    operation_id="end_agreement",
    summary="终止协议",
    description="终止后不再扣款，已提示的一期仍可能扣款；账户与资金不受影响，可重新签订。",
    responses=[404, 409],
)
def end() -> AgreementOut:
    """End the agreement for good."""
    return _show(end_agreement(ports(), account_id=account_id(), contributor_id=contributor_id()))


@blueprint.get("/text")
@blueprint.auth_required(citizen_auth)
@blueprint.input(TextQuery, location="query")
@blueprint.output(SignedTextOut, example=TEXT)
@blueprint.doc(
    operation_id="get_agreement_text",
    summary="协议文本",
    description="本人签署的协议全文与签署记录。",
    responses=[404, 409],
)
def text(query_data: TextQuery) -> SignedTextOut:
    """Return a text that one has signed."""
    own = account_id()
    return show_text(
        ports().read(
            lambda session: get_signed_text(
                session,
                ports().vault,
                account_id=own,
                agreement_no=query_data.agreement_no,
                version=query_data.version,
            )
        )
    )


@blueprint.get("/pdf")
@blueprint.auth_required(citizen_auth)
@blueprint.input(TextQuery, location="query")
@blueprint.output(FileSchema(type="string", format="binary"), content_type="application/pdf")
@blueprint.doc(
    operation_id="download_agreement",
    summary="下载协议",
    description="协议全文与签署记录的 PDF 文件，文字可检索、可复制。",
    responses=[404, 409],
)
def pdf(query_data: TextQuery) -> Response:
    """Return a text that one has signed, as a file."""
    content = print_agreement(
        ports(),
        account_id=account_id(),
        agreement_no=query_data.agreement_no,
        version=query_data.version,
    )
    response = Response(content, content_type="application/pdf")
    response.headers["Content-Disposition"] = 'attachment; filename="lianjiao-agreement.pdf"'
    return response


def _show_live() -> AgreementOut:
    own = account_id()
    return show_agreement(
        ports().read(lambda session: get_live_agreement(session, account_id=own, now=ports().now()))
    )


def _show(agreement_no: str) -> AgreementOut:
    own = account_id()
    return show_agreement(
        ports().read(
            lambda session: get_agreement(
                session, account_id=own, agreement_no=agreement_no, now=ports().now()
            )
        )
    )


def _consent(given: ConsentIn, headers: IdempotencyHeaders) -> Consent:
    return Consent(
        contributor_id=contributor_id(),
        text_sha256=given.text_sha256,
        platform=caller().platform,
        device=given.device,
        client_ip=request.remote_addr or "127.0.0.1",
        request_key=headers.key,
    )
