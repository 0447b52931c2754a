"""What people read of their debits: why one failed, and why none is sent."""

from __future__ import annotations

from app.domain.debits.rules import EndReason
from app.domain.ports.outcomes import Reason

REASON_TEXTS = {
    Reason.INSUFFICIENT_FUNDS: "余额不足",
    Reason.AMOUNT_LIMIT: "超出单笔或当日支付限额，可在银行或支付平台调整限额",
    Reason.PERIOD_LIMIT: "超出签约的每期扣款上限，可重新签约调整",
    Reason.ISSUER_REFUSED: "银行或支付平台未通过本次扣款，可向其咨询",
    Reason.ACCOUNT_FROZEN: "银行卡或支付账户目前不能扣款，可向银行或支付平台咨询",
    Reason.ACCOUNT_INVALID: "银行卡或支付账户已失效，请更换后重新签约",
    Reason.NO_MANDATE: "没有生效的扣款签约，请重新签约",
    Reason.IDENTITY_MISMATCH: "银行或支付平台登记的信息与签约时不一致，请核对后重新签约",
    Reason.NOT_SUPPORTED: "该银行卡或支付账户不支持自动扣款，请更换后重新签约",
    Reason.PAYER_REFUSED: "未在银行或支付平台确认扣款",
    Reason.CLOSED: "银行或支付平台未办理本次扣款",
    Reason.NOT_RECEIVED: "扣款未送达银行或支付平台，不是您的原因",
    Reason.BUSY: "银行或支付平台系统繁忙，不是您的原因",
    Reason.OUR_FAULT: "公积金中心系统原因，不是您的原因，不影响您的协议",
}
ANY_OTHER_REASON = "扣款未完成，如有疑问请联系公积金中心"

END_REASON_TEXTS = {
    EndReason.PAID_BY_HAND: "您已自行缴存，本期不再扣款",
    EndReason.OVER_CAP: "扣款后将超过本年度缴存上限，本期不扣款",
    EndReason.CAP_NOT_PUBLISHED: "当年度缴存上限尚未公布，本期不扣款",
    EndReason.AGREEMENT_ENDED: "缴存协议已终止，不再扣款",
    # Also said where money came after all and waits in suspense.
    EndReason.ACCOUNT_NOT_USABLE: "账户当前状态不能缴存，请联系公积金中心",
    EndReason.PROGRAMME_NOT_IN_FORCE: "试点方案不在施行期内，不扣款",
}


def reason_text(reason: Reason) -> str:
    """Return why a debit failed, in words that blame nobody for what is not theirs."""
    return REASON_TEXTS.get(reason, ANY_OTHER_REASON)
