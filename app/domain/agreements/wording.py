"""The text of an agreement (协议文本): a template filled with terms, party and figures. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from string import Template

from app.domain.agreements.rules import DebitChannel, Frequency, Terms
from app.domain.errors import RuleViolation
from app.domain.money import format_yuan
from app.domain.periods import Period
from app.domain.policy.queries import Policy

FREQUENCY_TEXTS = {
    Frequency.MONTHLY: "按月",
    Frequency.QUARTERLY: "按季",
    Frequency.FREE: "自由缴存",
}
CHANNEL_TEXTS = {
    DebitChannel.WECHAT: "微信支付",
    DebitChannel.ALIPAY: "支付宝",
    DebitChannel.BANK: "银行卡",
}
_DEBIT_DAY_TEXTS = {
    Frequency.MONTHLY: "每月 {} 日",
    Frequency.QUARTERLY: "每季首月 {} 日",
}
_LOT_ORDER_TEXTS = {
    "fifo": "先存先取的顺序（先存入的资金先支取）",
    "lifo": "后存先取的顺序（后存入的资金先支取）",
}
_SUBSIDY_BASIS_TEXTS = {
    "settlement_snapshot": "以年度结息日仍在账户内的资金为准",
    "anniversary": "以每笔资金存满之日为准",
}


class NoAgreementText(RuleViolation):
    """No wording is in use on the day."""

    code = "no_agreement_text"
    default_message = "缴存协议文本尚未发布，请稍后再办理"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """The contributor as the agreement names them."""

    contributor_id: int
    account_no: str
    name: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A rendered text with the version of its template and its hash."""

    version: str
    text: str = field(repr=False)
    sha256: bytes


def render(
    texts: Mapping[date, str],
    *,
    on: date,
    party: Party,
    terms: Terms,
    first_period: Period,
    policy: Policy,
    monthly_minimum_fen: int,
    yearly_cap_fen: int | None,
) -> Wording:
    """Return the text that the person reads and signs. It holds no day of signing.

    Args:
        texts: templates by their first day.
        policy: figures in force on the day.
        monthly_minimum_fen: of the first month that the terms cover.
        yearly_cap_fen: of that month's year; None while it is not published.
    Raises:
        NoAgreementText: no template is in use on the day.
    """
    begun = [day for day in texts if day <= on]
    if not begun:
        raise NoAgreementText
    used = max(begun)
    cap = "以公布为准" if yearly_cap_fen is None else f"{format_yuan(yearly_cap_fen)} 元"
    subsidy, debit = policy.subsidy, policy.debit
    text = Template(texts[used]).substitute(
        party_name=party.name,
        account_no=party.account_no,
        terms=_write_terms(terms, first_period),
        minimum_month=first_period.months[0],
        monthly_minimum=format_yuan(monthly_minimum_fen),
        yearly_cap=f"{first_period.year} 年度：{cap}",
        notice_days=debit.notice_days,
        retry_days="、".join(map(str, debit.retry_days)),
        missed_periods=debit.missed_periods_to_suspend,
        suspension_months_max=debit.suspension_months_max,
        lot_order=_LOT_ORDER_TEXTS[subsidy.lot_order],
        holding_years=subsidy.yearly_holding_years,
        yearly_subsidy_rate=f"{(subsidy.yearly_rate * 100).normalize():f}%",
        subsidy_basis=_SUBSIDY_BASIS_TEXTS[subsidy.yearly_basis],
        lock_months=subsidy.opening_lock_months,
        subsidy_cap=format_yuan(subsidy.lifetime_cap_fen),
    )
    return Wording(version=used.isoformat(), text=text, sha256=hash_text(text))


def hash_text(text: str) -> bytes:
    """Return the SHA-256 by which a signed text is held fast."""
    return hashlib.sha256(text.encode()).digest()


def _write_terms(terms: Terms, first_period: Period) -> str:
    lines = [f"缴存频率：{FREQUENCY_TEXTS[terms.frequency]}"]
    if terms.amount_fen is None or terms.debit_day is None or terms.channel is None:
        lines.append("金额、时间与渠道：由甲方每次自行决定，不自动扣款")
    else:
        lines += [
            f"每期金额：{format_yuan(terms.amount_fen)} 元",
            f"扣款日：{_DEBIT_DAY_TEXTS[terms.frequency].format(terms.debit_day)}",
            f"扣款渠道：{CHANNEL_TEXTS[terms.channel]}",
        ]
    lines.append(f"起始期：{first_period.key}")
    return "\n".join(lines)
