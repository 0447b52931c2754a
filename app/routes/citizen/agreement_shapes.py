"""The agreement's shapes: what comes in, what goes out, and examples of both."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from app.domain.agreements.drafting import Draft
from app.domain.agreements.models import AgreementState
from app.domain.agreements.planning import Caution, CautionKind, PlannedPeriod
from app.domain.agreements.queries import AgreementView, SignedTerms, SignedText, StateChange
from app.domain.agreements.rules import DebitChannel, Frequency, Terms
from app.domain.contributors.models import Platform
from app.routes.citizen.schemas import ONE_LINE, AmountIn, Day, Fen, Instant, read_digits
from app.routes.json import In, Out, Query

STATE_TEXTS = {
    "draft": "拟定中",
    "active": "生效中",
    "suspended": "已暂停",
    "ended": "已终止",
}

HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
TERMS = {"frequency": "monthly", "amount_fen": 50000, "debit_day": 10, "channel": "wechat"}
PROPOSAL = {**TERMS, "first_period": "2026-12"}
CONSENT = {"text_sha256": HASH, "device": "HUAWEI Mate 60 / HarmonyOS 4.2"}
PERIOD = {
    "period": "2026-12",
    "due_on": "2026-12-10",
    "amount_fen": 50000,
    "channel": "wechat",
    "minimum_fen": 12150,
    "within_cap": True,
    "frozen": False,
}
WARNING = {
    "kind": "cap_not_published",
    "period": "2027-01",
    "message": "2027 年度缴存上限尚未公布，公布前该年度各期不扣款",
}
DRAFT = {
    "first_period": "2026-12",
    "changes_agreement_no": None,
    "text_version": "2025-06-09",
    "text": "# 灵活就业人员住房公积金缴存协议\n\n……",
    "text_sha256": HASH,
    "periods": [PERIOD],
    "warnings": [WARNING],
}
AGREEMENT = {
    "agreement_no": "GMIX3K9QZ7F2H4B6N8P0R1S5T3V7W9XY",
    "state": "active",
    "state_text": "生效中",
    "signed_at": "2026-11-24T10:00:00+08:00",
    "ended_at": None,
    "suspended_from": None,
    "suspended_through": None,
    "versions": [
        {
            **TERMS,
            "version": 1,
            "first_period": "2026-12",
            "first_day": "2026-12-01",
            "last_day": None,
            "text_sha256": HASH,
            "signed_at": "2026-11-24T10:00:00+08:00",
        }
    ],
    "periods": [PERIOD],
    "warnings": [WARNING],
    "history": [
        {
            "from_state": None,
            "to_state": "draft",
            "reason": "拟定协议",
            "at": "2026-11-24T10:00:00+08:00",
        },
        {
            "from_state": "draft",
            "to_state": "active",
            "reason": "缴存人签署",
            "at": "2026-11-24T10:00:00+08:00",
        },
    ],
}
ENDED = {
    **AGREEMENT,
    "state": "ended",
    "state_text": "已终止",
    "ended_at": "2026-11-24T11:00:00+08:00",
    "periods": [],
    "warnings": [],
}
TEXT = {
    "agreement_no": "GMIX3K9QZ7F2H4B6N8P0R1S5T3V7W9XY",
    "version": 1,
    "text_version": "2025-06-09",
    "text": "# 灵活就业人员住房公积金缴存协议\n\n……",
    "text_sha256": HASH,
    "signed_at": "2026-11-24T10:00:00+08:00",
    "platform": "wechat",
    "device": "HUAWEI Mate 60 / HarmonyOS 4.2",
    "client_ip": "203.0.113.7",
}

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="协议文本的 SHA-256")]
PeriodKey = Annotated[
    str,
    Field(
        pattern="^20[0-9]{2}(-(0[1-9]|1[0-2])|Q[1-4])$",
        description="缴存期：按月写作 2026-12，按季写作 2026Q4",
        examples=["2026-12"],
    ),
]


class TermsIn(In):
    """What to agree to. A free agreement has nothing but its frequency."""

    frequency: Frequency = Field(description="按月 monthly、按季 quarterly、自由缴存 free")
    amount_fen: AmountIn | None = Field(default=None, description="每期金额，单位：分")
    debit_day: int | None = Field(
        default=None, ge=1, le=31, description="每期首月的扣款日，1 至 28 日", examples=[10]
    )
    channel: DebitChannel | None = Field(default=None, description="扣款渠道")

    @property
    def terms(self) -> Terms:
        """The terms as the domain knows them."""
        return Terms(
            frequency=self.frequency,
            amount_fen=self.amount_fen,
            debit_day=self.debit_day,
            channel=self.channel,
        )


class ProposalIn(TermsIn):
    """Terms with the period to begin with."""

    first_period: PeriodKey | None = Field(
        default=None, description="起始期；不填为下一未冻结的缴存期，变更时不可填"
    )


class ConsentIn(In):
    """The yes to a text that was read."""

    text_sha256: Sha256
    device: str = Field(
        min_length=1,
        max_length=200,
        pattern=ONE_LINE,
        description="签署所用设备的型号与系统",
    )


class SignIn(ProposalIn, ConsentIn):
    """A new agreement: the terms of the preview, and the hash of its text."""


class ChangeIn(TermsIn, ConsentIn):
    """Other terms: those of the preview, and the hash of its text."""


class SuspendIn(In):
    """How long to leave debits out."""

    months: int = Field(ge=1, le=120, description="暂停月数", examples=[2])


class TextQuery(Query):
    """Which signed text."""

    agreement_no: str | None = Field(
        default=None, max_length=40, description="协议编号；不填为生效中的协议"
    )
    version: Annotated[int | None, BeforeValidator(read_digits)] = Field(
        default=None, ge=1, le=30000, description="协议版本；不填为最新一版"
    )


class PlannedPeriodOut(Out):
    """One period ahead."""

    period: PeriodKey
    due_on: Day = Field(description="扣款日")
    amount_fen: Fen
    channel: DebitChannel
    minimum_fen: Fen = Field(description="该期所含各月最低月缴存额之和，单位：分")
    within_cap: bool = Field(description="是否在年度上限之内；上限未公布时为 true")
    frozen: bool = Field(description="已提示扣款，不再变更")


class CautionOut(Out):
    """What to know before it happens."""

    kind: CautionKind
    period: PeriodKey = Field(description="自该期起")
    message: str


class DraftOut(Out):
    """What would be signed now."""

    first_period: PeriodKey
    changes_agreement_no: str | None = Field(description="将变更的协议；新签时为 null")
    text_version: str
    text: str = Field(description="协议全文")
    text_sha256: Sha256
    periods: list[PlannedPeriodOut] = Field(description="至起始期所在年度末的各期")
    warnings: list[CautionOut]


class SignedTermsOut(Out):
    """A version of the terms, and the days over which it applies."""

    version: int
    frequency: Frequency
    amount_fen: Fen | None
    debit_day: int | None
    channel: DebitChannel | None
    first_period: PeriodKey
    first_day: Day | None = Field(description="适用的首日；未及适用即再次变更的为 null")
    last_day: Day | None = Field(description="适用的末日；null 为持续适用")
    text_sha256: Sha256
    signed_at: Instant


class StateChangeOut(Out):
    """One move of the state."""

    from_state: AgreementState | None
    to_state: AgreementState
    reason: str
    at: Instant


class AgreementOut(Out):
    """An agreement: which terms apply when, what lies ahead, and its history."""

    agreement_no: str
    state: AgreementState
    state_text: str = Field(description="状态的中文说明")
    signed_at: Instant
    ended_at: Instant | None
    suspended_from: Day | None = Field(description="暂停扣款的首日")
    suspended_through: Day | None = Field(
        description="暂停扣款的末日；多期扣款未成功而自动暂停的，为空，待本人恢复"
    )
    versions: list[SignedTermsOut] = Field(description="各版约定及其适用期间")
    periods: list[PlannedPeriodOut] = Field(description="本年度以后各期；终止后为已提示的一期")
    warnings: list[CautionOut]
    history: list[StateChangeOut]


class AgreementsOut(Out):
    """All of one's agreements, newest first."""

    items: list[AgreementOut]


class SignedTextOut(Out):
    """A text as it was signed, with the record of the consent."""

    agreement_no: str
    version: int
    text_version: str
    text: str = Field(description="协议全文")
    text_sha256: Sha256
    signed_at: Instant
    platform: Platform
    device: str
    client_ip: str


def show_draft(draft: Draft) -> DraftOut:
    """Shape a draft."""
    return DraftOut(
        first_period=draft.first_period.key,
        changes_agreement_no=draft.changes,
        text_version=draft.wording.version,
        text=draft.wording.text,
        text_sha256=draft.wording.sha256.hex(),
        periods=[_show_period(period) for period in draft.periods],
        warnings=[_show_caution(caution) for caution in draft.cautions],
    )


def show_agreement(view: AgreementView) -> AgreementOut:
    """Shape an agreement."""
    suspension = view.suspension
    return AgreementOut(
        agreement_no=view.agreement_no,
        state=view.state,
        state_text=STATE_TEXTS[view.state],
        signed_at=view.signed_at,
        ended_at=view.ended_at,
        suspended_from=suspension.first_day if suspension else None,
        suspended_through=suspension.last_day
        if suspension and not suspension.is_open_ended
        else None,
        versions=[_show_version(version) for version in view.versions],
        periods=[_show_period(period) for period in view.periods],
        warnings=[_show_caution(caution) for caution in view.cautions],
        history=[_show_change(change) for change in view.history],
    )


def show_text(signed: SignedText) -> SignedTextOut:
    """Shape a signed text."""
    return SignedTextOut(
        agreement_no=signed.agreement_no,
        version=signed.version,
        text_version=signed.text_version,
        text=signed.text,
        text_sha256=signed.sha256,
        signed_at=signed.signed_at,
        platform=signed.platform,
        device=signed.device,
        client_ip=signed.client_ip,
    )


def _show_period(planned: PlannedPeriod) -> PlannedPeriodOut:
    return PlannedPeriodOut(
        period=planned.period.key,
        due_on=planned.due_on,
        amount_fen=planned.amount_fen,
        channel=planned.channel,
        minimum_fen=planned.minimum_fen,
        within_cap=planned.fits,
        frozen=planned.frozen,
    )


def _show_caution(caution: Caution) -> CautionOut:
    return CautionOut(kind=caution.kind, period=caution.period, message=caution.message)


def _show_version(signed: SignedTerms) -> SignedTermsOut:
    return SignedTermsOut(
        version=signed.version,
        frequency=signed.terms.frequency,
        amount_fen=signed.terms.amount_fen,
        debit_day=signed.terms.debit_day,
        channel=signed.terms.channel,
        first_period=signed.first_period,
        first_day=signed.first_day,
        last_day=signed.last_day,
        text_sha256=signed.text_sha256,
        signed_at=signed.signed_at,
    )


def _show_change(change: StateChange) -> StateChangeOut:
    return StateChangeOut(
        from_state=change.from_state, to_state=change.to_state, reason=change.reason, at=change.at
    )
