"""返回码 The bank's return codes, and the refusal that carries one.

The numbers are UnionPay's. Some that do not say success mean that money moved all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

OK = "00"
PROCESSING = "03"

MESSAGES: Mapping[str, str] = {
    OK: "成功",
    "01": "交易失败",
    "02": "系统未开放或暂时关闭",
    PROCESSING: "交易通讯超时，请发起查询交易",
    "04": "交易状态未明，请查询对账结果",
    "05": "交易已受理，请稍后查询交易结果",
    "06": "系统繁忙，请稍后再试",
    "10": "报文格式错误",
    "11": "验证签名失败",
    "12": "重复交易",
    "13": "报文交易要素缺失",
    "14": "批量文件格式错误",
    "30": "交易未通过，请尝试使用其他银行卡支付",
    "31": "商户状态不正确",
    "32": "无此交易权限",
    "33": "交易金额超限",
    "34": "查无此交易",
    "35": "原交易不存在或状态不正确",
    "37": "操作过于频繁",
    "38": "风险受限",
    "39": "交易不在受理时间范围内",
    "40": "绑定关系检查失败",
    "41": "批量状态不正确，无法下载",
    "42": "扣款成功但交易超过规定支付时间",
    "43": "无此业务权限",
    "44": "输入号码有误或暂不支持此项业务",
    "45": "原交易已被成功退款",
    "46": "原交易已被成功冲正",
    "60": "交易失败，详情请咨询您的发卡行",
    "61": "输入的卡号无效",
    "62": "发卡银行不支持该商户",
    "63": "卡状态不正确",
    "64": "卡上的余额不足",
    "66": "持卡人身份信息或手机号验证失败",
    "68": "您的银行卡暂不支持该业务",
    "71": "短信验证码校验失败",
    "72": "您尚未签约开通该业务",
    "73": "支付卡已超过有效期",
    "74": "扣款成功，销账未知",
    "75": "扣款成功，销账失败",
    "77": "银行卡未开通认证支付",
    "78": "发卡行交易权限受限",
    "80": "协议已过期",
    "81": "当期累计金额超限",
    "83": "发卡行处理中",
    "89": "协议已解除",
    "90": "账户可用余额不足",
    "98": "文件不存在",
    "A6": "有缺陷的成功",
}

MONEY_MOVED = frozenset({OK, "A6", "42", "74", "75"})
"""Codes of a debit that has been taken."""

STILL_OPEN = frozenset({PROCESSING, "04", "05", "83"})
"""Codes of a debit that has no result yet."""


class Refusal(Exception):
    """The bank says no, or not yet, to a good message or a bad one."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code, message or MESSAGES.get(code, "交易失败"))
        self.code = code
        self.message = message or MESSAGES.get(code, "交易失败")


def malformed(message: str) -> Refusal:
    return Refusal("10", f"{MESSAGES['10']}：{message}")
