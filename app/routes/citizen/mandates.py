"""Mandates: sign, confirm, list, look at one, end."""

from __future__ import annotations

from collections.abc import Mapping

from apiflask import APIBlueprint
from pydantic import Field

from app.domain.agreements.rules import DebitChannel
from app.domain.contributors.documents import DocumentKind
from app.domain.contributors.models import Platform
from app.domain.mandates.drafting import MandateWish
from app.domain.mandates.payers import CardGiven
from app.domain.mandates.queries import MandateView, get_mandate, list_mandates
from app.domain.mandates.rules import EndReason, MandateState
from app.domain.mandates.signing import (
    confirm_mandate,
    end_mandate,
    mandating_channel,
    signing_action,
    start_mandate,
)
from app.domain.ports.mandates import Cycle, EndedBy
from app.domain.sessions.queries import openid_of
from app.routes.citizen.schemas import ONE_LINE, AmountIn, Day, Fen, Instant
from app.routes.guards import account_id, citizen_auth, contributor_id, ports
from app.routes.idempotency import IdempotencyHeaders
from app.routes.json import In, Out

blueprint = APIBlueprint("mandates", __name__, url_prefix="/api/v1/mandates", tag="扣款签约")

CARD_WISH = {
    "channel": "bank",
    "card": {
        "card_no": "6222021234567890128",
        "holder_name": "测试用户",
        "phone": "13800000000",
    },
}
AWAITING = {
    "mandate_no": "MMIX3K9QZ7F2H4B6N8P0R1S5T3V7W9XY",
    "channel": "bank",
    "state": "awaiting",
    "state_text": "待本人确认",
    "cap_fen": 50000,
    "period_cap_fen": 50000,
    "cycle": "month",
    "valid_from": "2026-11-24",
    "valid_to": "2031-10-31",
    "card_tail": "0128",
    "code_tries_left": 5,
    "created_at": "2026-11-24T10:00:00+08:00",
    "expires_at": "2026-11-24T10:30:00+08:00",
    "activated_at": None,
    "ended_at": None,
    "ended_by": None,
    "end_reason": None,
    "end_text": "",
    "history": [
        {
            "state": "sending",
            "reason": "缴存人申请签约",
            "at": "2026-11-24T10:00:00+08:00",
        },
        {
            "state": "awaiting",
            "reason": "渠道已受理，待本人确认",
            "at": "2026-11-24T10:00:01+08:00",
        },
    ],
    "signing": {},
}
ACTIVE = {
    **AWAITING,
    "state": "active",
    "state_text": "生效中",
    "code_tries_left": None,
    "activated_at": "2026-11-24T10:01:00+08:00",
}
ENDED = {
    **ACTIVE,
    "state": "ended",
    "state_text": "已解约",
    "ended_at": "2026-11-25T09:00:00+08:00",
    "ended_by": "contributor",
    "end_reason": "asked",
    "end_text": "您已解约，不再按此签约扣款",
}

STATE_TEXTS = {
    MandateState.SENDING: "正在提交渠道",
    MandateState.AWAITING: "待本人确认",
    MandateState.UNKNOWN: "签约结果确认中，请勿重复签约",
    MandateState.ACTIVE: "生效中",
    MandateState.SUSPENDED: "渠道已暂停，暂不扣款",
    MandateState.ENDING: "已解约，待渠道确认；已提交的扣款仍可能完成",
    MandateState.ENDED: "已解约",
    # One text for every refusal: it must not tell strangers which cards exist, and whose.
    MandateState.FAILED: "签约未成功，请核对所填信息后重新办理",
}
END_TEXTS = {
    EndReason.ASKED: "您已解约，不再按此签约扣款",
    EndReason.REPLACED: "新的签约已生效，本签约不再使用",
    EndReason.ENDED_AT_CHANNEL: "已在渠道侧解约，如需继续自动缴存请重新签约",
    EndReason.EXPIRED: "有效期已满，如需继续自动缴存请重新签约",
    EndReason.OTHER_SIGNER: "签约账户不是您本人的账户，已解约，请用本人账户重新签约",
}


class BankDocumentIn(In):
    """The document that the bank knows the person by, where it is another one."""

    kind: DocumentKind = Field(description="开卡时所用证件的类型")
    number: str = Field(min_length=1, max_length=30, pattern=ONE_LINE, description="证件号码")


class CardIn(In):
    """One's own debit card."""

    card_no: str = Field(min_length=1, max_length=40, pattern=ONE_LINE, description="银行卡号")
    holder_name: str = Field(
        min_length=1, max_length=60, pattern=ONE_LINE, description="持卡人姓名，须与开户姓名一致"
    )
    phone: str = Field(
        min_length=1, max_length=20, pattern=ONE_LINE, description="银行预留手机号，用于接收验证码"
    )
    document: BankDocumentIn | None = Field(
        default=None, description="开卡证件与开户证件不同时填写"
    )


class MandateIn(In):
    """Where to debit, and the most for one debit."""

    channel: DebitChannel = Field(description="扣款渠道：wechat、alipay 或 bank")
    cap_fen: AmountIn | None = Field(
        default=None, description="单笔扣款上限，单位：分；不填则为协议约定的每期金额"
    )
    card: CardIn | None = Field(default=None, description="渠道为 bank 时必填")


class CodeIn(In):
    """The code of the bank's text message."""

    code: str = Field(pattern="^[0-9]{4,6}$", description="短信验证码", examples=["246810"])


class MandateChangeOut(Out):
    """One move of the state."""

    state: MandateState
    reason: str
    at: Instant


class MandateOut(Out):
    """A mandate. While it can be signed at a wallet, `signing` is what the phone hands there."""

    mandate_no: str
    channel: DebitChannel
    state: MandateState
    state_text: str = Field(description="状态的中文说明")
    cap_fen: Fen = Field(description="单笔扣款上限，单位：分")
    period_cap_fen: Fen = Field(description="每个扣款周期的上限，单位：分")
    cycle: Cycle = Field(description="扣款周期：按月或按季")
    valid_from: Day
    valid_to: Day = Field(description="可扣款的最后一日")
    card_tail: str | None = Field(description="银行卡号末四位")
    code_tries_left: int | None = Field(description="还可输入验证码的次数；无需验证码时为空")
    created_at: Instant
    expires_at: Instant = Field(description="须在此前完成签约")
    activated_at: Instant | None
    ended_at: Instant | None
    ended_by: EndedBy | None
    end_reason: EndReason | None
    end_text: str = Field(description="解约原因的中文说明")
    history: list[MandateChangeOut]
    signing: dict[str, str] = Field(description="交给渠道签约页面的参数；无需时为空")


class MandatesOut(Out):
    """All mandates of a person, newest first."""

    items: list[MandateOut]


@blueprint.post("")
@blueprint.auth_required(citizen_auth)
@blueprint.input(IdempotencyHeaders, location="headers")
@blueprint.input(MandateIn, location="json", example=CARD_WISH)
@blueprint.output(MandateOut, status_code=201, example=AWAITING)
@blueprint.doc(
    operation_id="start_mandate",
    summary="发起扣款签约",
    description="须先有按月或按季的缴存协议。银行卡签约向预留手机发送验证码；微信、支付宝签约返回交给"
    "签约页面的参数。渠道扣不了协议金额的，签约时即拒绝。同一 Idempotency-Key 返回同一签约。",
    responses=[409, 429],
)
def create(headers_data: IdempotencyHeaders, json_data: MandateIn) -> MandateOut:
    """Begin to sign a mandate; the same Idempotency-Key gives the same one."""
    own, person, channel = account_id(), contributor_id(), json_data.channel
    payer_ref = None
    if not mandating_channel(ports(), channel).limits.needs_card:
        payer_ref = ports().read(
            lambda session: openid_of(session, ports().vault, person, Platform(channel))
        )
    mandate_no = start_mandate(
        ports(),
        wish=MandateWish(
            account_id=own,
            contributor_id=person,
            channel=channel,
            request_key=headers_data.key,
            payer_ref=payer_ref,
            card=_card(json_data.card),
            cap_fen=json_data.cap_fen,
        ),
    )
    return _show(mandate_no)


@blueprint.get("")
@blueprint.auth_required(citizen_auth)
@blueprint.output(MandatesOut, example={"items": [ACTIVE]})
@blueprint.doc(
    operation_id="list_mandates",
    summary="我的扣款签约",
    description="全部签约，含已解约和未成功的；签约页面的参数只在详情中给出。",
    responses=[409],
)
def index() -> MandatesOut:
    """List one's own mandates."""
    own = account_id()
    found = ports().read(lambda session: list_mandates(session, account_id=own, now=ports().now()))
    return MandatesOut(items=[_out(view, {}) for view in found])


@blueprint.get("/<mandate_no>")
@blueprint.auth_required(citizen_auth)
@blueprint.output(MandateOut, example=ACTIVE)
@blueprint.doc(
    operation_id="get_mandate",
    summary="扣款签约详情",
    description="待签约时附交给签约页面的参数。",
    responses=[404, 409],
)
def show(mandate_no: str) -> MandateOut:
    """Return one of one's own mandates."""
    return _show(mandate_no)


@blueprint.post("/<mandate_no>/confirm")
@blueprint.auth_required(citizen_auth)
@blueprint.input(CodeIn, location="json", example={"code": "246810"})
@blueprint.output(MandateOut, example=ACTIVE)
@blueprint.doc(
    operation_id="confirm_mandate",
    summary="提交签约验证码",
    description="银行卡签约以短信验证码确认。输错次数有上限，超过后须取消并重新发起。"
    "已生效的签约再次提交不作任何改变。",
    responses=[404, 409, 429],
)
def confirm(mandate_no: str, json_data: CodeIn) -> MandateOut:
    """Show the bank the code; every try counts."""
    confirm_mandate(ports(), account_id=account_id(), mandate_no=mandate_no, code=json_data.code)
    return _show(mandate_no)


@blueprint.post("/<mandate_no>/end")
@blueprint.auth_required(citizen_auth)
@blueprint.output(MandateOut, example=ENDED)
@blueprint.doc(
    operation_id="end_mandate",
    summary="解约",
    description="解除生效中的签约，或取消办理中的签约。已提交渠道的扣款仍可能完成。重复提交不作任何改变。",
    responses=[404, 409],
)
def end(mandate_no: str) -> MandateOut:
    """End one's own mandate, or call its signing off."""
    end_mandate(
        ports(),
        account_id=account_id(),
        contributor_id=contributor_id(),
        mandate_no=mandate_no,
    )
    return _show(mandate_no)


def _card(given: CardIn | None) -> CardGiven | None:
    if given is None:
        return None
    document = given.document
    return CardGiven(
        card_no=given.card_no,
        holder_name=given.holder_name,
        phone=given.phone,
        document_kind=document.kind if document else None,
        document_no=document.number if document else None,
    )


def _show(mandate_no: str) -> MandateOut:
    own = account_id()
    view = ports().read(
        lambda session: get_mandate(
            session, account_id=own, mandate_no=mandate_no, now=ports().now()
        )
    )
    return _out(view, signing_action(ports(), account_id=own, mandate_no=mandate_no))


def _out(view: MandateView, signing: Mapping[str, str]) -> MandateOut:
    return MandateOut(
        mandate_no=view.mandate_no,
        channel=DebitChannel(view.channel),
        state=view.state,
        state_text=STATE_TEXTS[view.state],
        cap_fen=view.cap_fen,
        period_cap_fen=view.period_cap_fen,
        cycle=view.cycle,
        valid_from=view.valid_from,
        valid_to=view.valid_to,
        card_tail=view.card_tail,
        code_tries_left=view.code_tries_left,
        created_at=view.created_at,
        expires_at=view.expires_at,
        activated_at=view.activated_at,
        ended_at=view.ended_at,
        ended_by=view.ended_by,
        end_reason=view.end_reason,
        end_text=END_TEXTS[view.end_reason] if view.end_reason else "",
        history=[
            MandateChangeOut(state=change.to_state, reason=change.reason, at=change.at)
            for change in view.history
        ],
        signing=dict(signing),
    )
