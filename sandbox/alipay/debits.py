"""代扣 Debits under an agreement: `alipay.trade.pay`, done at once unless a trouble says later."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from datetime import date, timedelta

from sandbox.alipay.accounts import Rules, beijing, new_trade_no, seconds_now, spaced, yuan
from sandbox.alipay.agreements import CYCLE, find_agreement, next_due
from sandbox.alipay.checks import (
    Refusal,
    invalid,
    read_fen,
    read_notify_url,
    read_out_trade_no,
    read_text,
)
from sandbox.alipay.door import Call
from sandbox.alipay.trades import Trades, as_text, check_repeat, find_trade, get_trade
from sandbox.books import Books
from sandbox.clock import Clock
from sandbox.control import Refused
from sandbox.control import read_text as read_given
from sandbox.trouble import Trouble

PAY = "alipay.trade.pay"
OUTCOME = "debit/outcome"
"""The place `at` which troubles meet each new debit."""

OUTCOME_KINDS = frozenset({"refuse", "slow"})
PRODUCTS = {"CYCLE_PAY_AUTH": CYCLE, "GENERAL_WITHHOLDING": "GENERAL_WITHHOLDING_P"}

_FAR_SECONDS = 10**9


class Debits:
    """The debits in the books."""

    def __init__(
        self,
        books: Books,
        clock: Clock,
        rules: Rules,
        trades: Trades,
        take: Callable[[], Trouble | None],
    ) -> None:
        self._books = books
        self._clock = clock
        self._rules = rules
        self._trades = trades
        self._take = take

    def pay(self, call: Call) -> dict[str, object]:
        """`alipay.trade.pay`: take the money, or say why not; a failure leaves no trade."""
        content = call.content
        number, amount_fen = read_out_trade_no(content), read_fen(content, "total_amount")
        subject = read_text(content, "subject", 256, required=True)
        params = content.get("agreement_params")
        if not isinstance(params, dict):
            raise invalid("缺少 agreement_params")
        agreement_no = read_text(params, "agreement_no", 64, required=True)
        product = PRODUCTS.get(read_text(content, "product_code", 64), "")
        with self._books.transaction() as books:
            before = find_trade(books, "out_trade_no", number)
            if before is not None:
                check_repeat(before, before["open_id"], content)
                return self._answer(books, before)
            agreement = find_agreement(books, "agreement_no", agreement_no)
            if agreement is None or agreement["product"] != product:
                raise Refusal("ACQ.AGREEMENT_NOT_EXIST", "用户协议不存在")
            trouble = self._take()
            if trouble is not None and trouble.kind == "refuse":
                raise Refusal(trouble.text("code", ""), trouble.text("message", "扣款失败"))
            self._check(books, agreement, amount_fen)
            now = seconds_now(self._clock)
            trade_no = new_trade_no(books, now)
            books.execute(
                "INSERT INTO trade (trade_no, out_trade_no, content, open_id, amount_fen, subject,"
                " body, passback_params, notify_url, charset, state, created_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'WAIT_BUYER_PAY', ?, ?)",
                (
                    trade_no,
                    number,
                    as_text(content),
                    agreement["open_id"],
                    amount_fen,
                    subject,
                    read_text(content, "body", 128),
                    read_text(content, "passback_params", 512),
                    read_notify_url(call.fields),
                    call.charset,
                    now,
                    now + _FAR_SECONDS,
                ),
            )
            seconds = 0
            if trouble is not None:
                seconds = int(trouble.number("seconds", _FAR_SECONDS))
            books.execute(
                "INSERT INTO debit VALUES (?, ?, ?)", (trade_no, agreement_no, now + seconds)
            )
            self.settle()
            return self._answer(books, get_trade(books, trade_no))

    def _check(self, books: sqlite3.Connection, agreement: sqlite3.Row, amount_fen: int) -> None:
        """Check that the agreement and the wallet allow this much now.

        Raises:
            Refusal: they do not.
        """
        if agreement["state"] != "NORMAL":
            raise Refusal("ACQ.AGREEMENT_NOT_EXIST", "用户协议不存在")
        if agreement["product"] == CYCLE:
            self._check_rule(books, agreement, amount_fen)
            self._check_person(books, agreement["open_id"], amount_fen)
        elif amount_fen > self._rules.withholding_limit_fen:
            raise Refusal("ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR", "买家付款日限额超限")
        wallet = books.execute(
            "SELECT balance_fen FROM payer WHERE open_id = ?", (agreement["open_id"],)
        ).fetchone()
        if wallet["balance_fen"] < amount_fen:
            raise Refusal("ACQ.BUYER_BALANCE_NOT_ENOUGH", "买家余额不足")

    def _check_rule(
        self, books: sqlite3.Connection, agreement: sqlite3.Row, amount_fen: int
    ) -> None:
        due = date.fromisoformat(agreement["next_due"])
        today = beijing(seconds_now(self._clock)).date()
        if not due - timedelta(days=self._rules.cycle_window_days) <= today <= due:
            raise Refusal("ACQ.CYCLE_PAY_DATE_NOT_MATCH", "扣款日期不在签约时的允许范围之内")
        if amount_fen > agreement["single_fen"]:
            raise Refusal("ACQ.CYCLE_PAY_SINGLE_FEE_EXCEED", "扣款金额超过签约的单次限额")
        taken = books.execute(
            "SELECT COUNT(*) AS times, COALESCE(SUM(amount_fen), 0) AS fen FROM trade"
            " JOIN debit USING (trade_no) WHERE agreement_no = ? AND paid_at IS NOT NULL",
            (agreement["agreement_no"],),
        ).fetchone()
        total_fen, most = agreement["total_fen"], agreement["total_payments"]
        if total_fen is not None and taken["fen"] + amount_fen > total_fen:
            raise Refusal("ACQ.CYCLE_PAY_TOTAL_FEE_EXCEED", "周期扣款总金额超过限制")
        if most is not None and taken["times"] >= most:
            raise Refusal("ACQ.CYCLE_PAY_TOTAL_TIMES_EXCEED", "周期扣款总次数超过限制")

    def _check_person(self, books: sqlite3.Connection, open_id: str, amount_fen: int) -> None:
        """Check what 周期扣款 may take from one person in all, in this day and in this month."""
        midnight = beijing(seconds_now(self._clock)).replace(hour=0, minute=0, second=0)
        for since, limit_fen, word in (
            (midnight, self._rules.cycle_day_limit_fen, "DAY"),
            (midnight.replace(day=1), self._rules.cycle_month_limit_fen, "MONTH"),
        ):
            taken = books.execute(
                "SELECT COALESCE(SUM(amount_fen), 0) AS fen FROM trade JOIN debit USING (trade_no)"
                " JOIN agreement USING (agreement_no)"
                " WHERE trade.open_id = ? AND product = ? AND paid_at >= ?",
                (open_id, CYCLE, int(since.timestamp())),
            ).fetchone()
            if taken["fen"] + amount_fen > limit_fen:
                raise Refusal(f"ACQ.BUYER_PAYMENT_AMOUNT_{word}_LIMIT_ERROR", "买家付款限额超限")

    def _answer(self, books: sqlite3.Connection, trade: sqlite3.Row) -> dict[str, object]:
        payer = books.execute(
            "SELECT * FROM payer WHERE open_id = ?", (trade["open_id"],)
        ).fetchone()
        amount = yuan(trade["amount_fen"])
        about: dict[str, object] = {
            "trade_no": trade["trade_no"],
            "out_trade_no": trade["out_trade_no"],
            "buyer_open_id": trade["open_id"],
            "buyer_logon_id": payer["logon_id"],
            "total_amount": amount,
        }
        if trade["paid_at"] is None:
            return {"code": "10003", "msg": "order success pay inprocess", **about}
        return {
            **about,
            "receipt_amount": amount,
            "buyer_pay_amount": amount,
            "gmt_payment": spaced(trade["paid_at"]),
            "fund_bill_list": [{"amount": amount, "fund_channel": "ALIPAYACCOUNT"}],
        }

    def settle(self) -> None:
        """Carry out what is due; what the rules no longer allow is closed unpaid."""
        with self._books.transaction() as books:
            for row in books.execute(
                "SELECT debit.* FROM debit JOIN trade USING (trade_no)"
                " WHERE state = 'WAIT_BUYER_PAY' AND due_at <= ? ORDER BY due_at, debit.rowid",
                (seconds_now(self._clock),),
            ).fetchall():
                trade = get_trade(books, row["trade_no"])
                agreement = find_agreement(books, "agreement_no", row["agreement_no"])
                if agreement is None:
                    raise LookupError(row["agreement_no"])
                try:
                    self._check(books, agreement, trade["amount_fen"])
                except Refusal:
                    self._trades.close_unpaid(books, trade, row["due_at"])
                    continue
                if agreement["product"] == CYCLE:
                    books.execute(
                        "UPDATE agreement SET next_due = ? WHERE agreement_no = ?",
                        (next_due(agreement), agreement["agreement_no"]),
                    )
                self._trades.book(books, trade, row["due_at"])

    def finish(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """Control call: decide now what `slow` left open, by the rules or as `failed`."""
        number, outcome = read_given(given, "out_trade_no"), read_given(given, "outcome")
        if outcome not in {"rules", "failed"}:
            raise ValueError("outcome 应为 rules 或 failed")
        now = seconds_now(self._clock)
        with self._books.transaction() as books:
            trade = find_trade(books, "out_trade_no", number)
            if trade is None or trade["state"] != "WAIT_BUYER_PAY":
                raise Refused("没有这笔未了结的扣款")
            if outcome == "failed":
                self._trades.close_unpaid(books, trade, now)
                return {}
            books.execute(
                "UPDATE debit SET due_at = ? WHERE trade_no = ?", (now, trade["trade_no"])
            )
            self.settle()
        return {}
