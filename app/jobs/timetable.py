"""The timetable: which jobs there are, and when each is due."""

from __future__ import annotations

from datetime import time

from app.jobs import (
    Daily,
    Every,
    Job,
    announce_debits,
    apply_callbacks,
    compare_mandates,
    fetch_bank_answers,
    plan_debits,
    propose_refunds,
    remove_expired,
    resolve_mandates,
    resolve_orders,
    resolve_refunds,
    resume_agreements,
    seal_days,
    send_debit_batches,
    send_messages,
    submit_debits,
)

JOBS = (
    Job(
        "resolve-orders",
        "查询未知订单并关闭过期订单",
        Every(seconds=10),
        resolve_orders.run,
        resolve_orders.due,
    ),
    Job(
        "resolve-refunds",
        "发送并查询退款",
        Every(seconds=10),
        resolve_refunds.run,
        resolve_refunds.due,
    ),
    Job(
        "resolve-mandates",
        "查询未决签约并解除已终止的签约",
        Every(seconds=10),
        resolve_mandates.run,
        resolve_mandates.due,
    ),
    Job(
        "apply-callbacks",
        "补处理已存通知",
        Every(seconds=30),
        apply_callbacks.run,
        apply_callbacks.due,
    ),
    Job(
        "announce-debits",
        "向要求预告的渠道预告扣款",
        Every(seconds=60),
        announce_debits.run,
        announce_debits.due,
    ),
    Job(
        "submit-debits",
        "发送到期的扣款",
        Every(seconds=60),
        submit_debits.run,
        submit_debits.due,
    ),
    Job(
        "send-debit-batches",
        "收集并发送批量代收文件",
        Every(seconds=60),
        send_debit_batches.run,
        send_debit_batches.due,
    ),
    Job(
        "fetch-bank-answers",
        "取回并导入银行回盘文件",
        Every(seconds=60),
        fetch_bank_answers.run,
        fetch_bank_answers.due,
    ),
    Job(
        "propose-refunds",
        "为重复扣款提出退款",
        Every(seconds=60),
        propose_refunds.run,
        propose_refunds.due,
    ),
    Job(
        "send-messages",
        "发送待发消息",
        Every(seconds=15),
        send_messages.run,
        send_messages.due,
    ),
    # Just after midnight: from its first day on an agreement counts as active again.
    Job(
        "resume-agreements",
        "恢复暂停期满的缴存协议",
        Daily(at=time(0, 1)),
        resume_agreements.run,
        resume_agreements.due,
    ),
    # Its own grace for slow clocks is ten minutes.
    Job("seal-days", "日终封账", Daily(at=time(0, 10)), seal_days.run, seal_days.due),
    # Before the working day: what a person ended or what expired at a channel is told nowhere else.
    Job(
        "compare-mandates",
        "与渠道核对生效中的签约",
        Daily(at=time(2, 30)),
        compare_mandates.run,
        compare_mandates.due,
    ),
    # The person reads of a debit in the morning of the day before.
    Job("plan-debits", "安排并预告扣款", Daily(at=time(8, 30)), plan_debits.run, plan_debits.due),
    # When nobody pays.
    Job(
        "remove-expired",
        "清理过期的登录会话、关联码、运行记录与消息",
        Daily(at=time(3, 30)),
        remove_expired.run,
        remove_expired.due,
    ),
)
