"""故事 From a rider's phone to the ledger; each step is checked by the API and both gateways."""

from __future__ import annotations

from typing import Any

from demo.debits import RIDER, WALLET_FEN, Debits
from demo.house import House
from demo.phone import Gateway, Phone
from demo.processes import Processes
from demo.screen import Screen, yuan

ONE_FEN = {"wechat": {"total_fee": "1"}, "alipay": {"total_amount": "0.01"}}
"""How each channel's notice says that one fen was paid."""


class Story:
    """One rider, two phones, and what can happen to a notice on its way."""

    def __init__(self, house: House, processes: Processes, screen: Screen) -> None:
        self._house = house
        self._processes = processes
        self._screen = screen
        self.wechat = Phone(house.api, house.wechat, wallet_fen=WALLET_FEN)
        self.alipay = Phone(house.api, house.alipay, wallet_fen=WALLET_FEN)
        self._phones = (self.wechat, self.alipay)
        self._debits = Debits(house, processes, screen, rider=self.wechat)
        self._orders: dict[str, str] = {}
        """The last paid order of each channel."""

    def tell(self) -> None:
        """Tell it all.

        Raises:
            DemoFailed: at the first thing that is not as it should be.
        """
        steps = (
            ("骑手用微信登录，开立个人账户", self._enrol),
            ("微信缴存 500.00 元，发放开户补贴", self._deposit_by_wechat),
            ("同一人用支付宝登录，关联到同一账户", self._link_alipay),
            ("支付宝缴存 300.00 元", self._deposit_by_alipay),
            ("微信缴存 200.00 元，通知全部丢失，由定时查询找回", self._recover_lost_notices),
            ("同一通知 10 份同时到达，不重复入账", self._repeat_notices),
            ("伪造、篡改的通知不入账", self._refuse_forgeries),
            ("骑手申请退回 200.00 元，须由另一人复核", self._refund),
            *self._debits.steps,
            ("骑手的余额与明细", self._show_statement),
            ("核验账簿，并与三个网关的账簿逐笔核对", self._verify),
        )
        for number, (title, step) in enumerate(steps, start=1):
            self._screen.step(f"{number}/{len(steps)} {title}")
            step()
        self._summarize()

    def _enrol(self) -> None:
        self._screen.check("微信登录成功，尚未开户", self.wechat.log_in(), False)
        opened = self.wechat.post("enrolment", RIDER)
        self._screen.fact(f"个人账户 {opened['account_no']}，申报子女两个（户口簿）")
        self._check_balance(0)

    def _deposit_by_wechat(self) -> None:
        self._deposit(self.wechat, 500_00)
        subsidy_fen = self.wechat.get("account")["opening_subsidy_fen"]
        self._screen.check_fen("开户补贴", subsidy_fen, 300_00)
        self._check_balance(800_00)

    def _link_alipay(self) -> None:
        self._screen.check("支付宝首次登录，尚无账户", self.alipay.log_in(), False)
        code = self.wechat.post("session/link-code")["code"]
        self._screen.fact(f"微信端显示关联码 {code}，在支付宝端输入")
        self.alipay.post("session/link", {"code": code}, status=200)
        self._screen.check("支付宝再次登录，已有账户", self.alipay.log_in(), True)
        first, second = (phone.get("account")["account_no"] for phone in self._phones)
        self._screen.check("两个平台看到同一账户", second, first)

    def _deposit_by_alipay(self) -> None:
        self._deposit(self.alipay, 300_00)
        self._check_balance(1_100_00)

    def _recover_lost_notices(self) -> None:
        gateway = self.wechat.gateway
        gateway.control("troubles", at="notice", kind="drop", times=0)
        order = self._pay(self.wechat, 200_00)
        self._check_balance(1_100_00, "系统尚不知情，账户余额仍为")
        with self._screen.waiting("等待定时查询（下单满 20 秒后进行，最多等 60 秒）") as show:
            self._processes.wait_until(
                lambda: self.wechat.is_credited(order),
                seconds=60,
                what="定时查询找回付款",
                tick=lambda left: show(f"还剩 {left} 秒"),
            )
        tries = [
            row["accepted"]
            for row in gateway.read("deliveries")["deliveries"]
            if row["out_trade_no"] == order
        ]
        self._screen.check(f"网关发出的 {len(tries)} 次通知均未送达", set(tries), {False})
        self._check_balance(1_300_00, "查询找回后账户余额")
        gateway.ask("DELETE", "/_control/troubles")

    def _repeat_notices(self) -> None:
        for phone in self._phones:
            gateway = phone.gateway
            again = {"out_trade_no": self._orders[gateway.platform], "copies": 10}
            replies = gateway.control("notices/resend", **again)["replies"]
            accepted = sum("success" in reply["reply"].lower() for reply in replies)
            self._screen.check(f"{gateway.name}的 10 份通知均得到成功应答", accepted, 10)
        self._check_balance(1_300_00, "账户余额不变")

    def _refuse_forgeries(self) -> None:
        clerk = self._log_in_staff("clerk")
        for phone in self._phones:
            gateway, order = phone.gateway, phone.order(1_000_00)["order_no"]
            self._screen.fact(f"{gateway.name}新订单 1,000.00 元，未付款")
            for defect, what in (
                ("tampered_after_signing", "签名后改动内容的通知"),
                ("wrong_key", "用他人密钥签名的通知"),
            ):
                forged = gateway.control("notices/forge", out_trade_no=order, defect=defect)
                refused = "fail" in forged["reply"].lower()
                self._screen.check(f"{gateway.name}：{what}被拒收", refused, True)
            gateway.control(
                "notices/forge", out_trade_no=order, defect="none", fields=ONE_FEN[gateway.platform]
            )
            breaks = self._house.api.ask("GET", "/staff/api/v1/breaks", token=clerk)["items"]
            found = [
                (row["kind"], row["expected_fen"], row["found_fen"])
                for row in breaks
                if row["number"] == order
            ]
            mismatch = [("amount_mismatch", 1_000_00, 1)]
            self._screen.check(f"{gateway.name}：签名真实而金额不符，列为差错", found, mismatch)
            state = phone.get(f"deposits/{order}")["state"]
            self._screen.check(f"{gateway.name}：订单仍为待支付", state, "awaiting_payment")
        self._check_balance(1_300_00, "账户余额不变")

    def _refund(self) -> None:
        order = self._orders["wechat"]
        wish = {"amount_fen": 200_00, "reason": "wrong_amount"}
        refund = self.wechat.post(f"deposits/{order}/refunds", wish)["refund_no"]
        self._screen.check_fen("申请后冻结", self.wechat.get("account")["held_fen"], 200_00)

        release, decision = f"/staff/api/v1/refunds/{refund}/release", {"note": "多缴，同意退回"}
        clerk, reviewer = self._log_in_staff("clerk"), self._log_in_staff("reviewer")
        refusal = self._house.api.ask("POST", release, decision, token=clerk, status=403)
        self._screen.check(f"经办放行被拒：{refusal['message']}", refusal["code"], "not_permitted")
        self._check_balance(1_300_00, "账户余额不变")
        self._house.api.ask("POST", release, decision, token=reviewer)
        with self._screen.waiting("复核已放行，等待退款结果"):
            self._processes.wait_until(
                lambda: self.wechat.get(f"refunds/{refund}")["state"] == "succeeded",
                seconds=60,
                what="退款完成",
            )
        refunded_fen = self.wechat.gateway.trade(order)["refunded_fen"]
        self._screen.check_fen("微信网关账簿已退", refunded_fen, 200_00)
        self._check_balance(1_100_00, "退款后账户余额")
        self._screen.check_fen("退款后冻结", self.wechat.get("account")["held_fen"], 0)

    def _show_statement(self) -> None:
        account = self.wechat.get("account")
        newest_first = self.wechat.get("account/entries?limit=100")["items"]
        self._screen.table(
            "账户明细（元）",
            ("时间", "摘要"),
            ("金额", "余额"),
            [
                (
                    row["posted_at"][:19].replace("T", " "),
                    row["memo"],
                    yuan(row["amount_fen"]),
                    yuan(row["balance_fen"]),
                )
                for row in reversed(newest_first)
            ],
        )
        amounts = sorted(row["amount_fen"] for row in newest_first)
        expected = [-200_00, 200_00, 300_00, 300_00, 500_00, 500_00]
        self._screen.check("明细共六笔：缴存三笔、扣款一笔、补贴一笔、退款一笔", amounts, expected)
        self._screen.check_fen("明细合计等于余额", sum(amounts), account["balance_fen"])
        net_fen = account["deposited_this_year_fen"]
        self._screen.check_fen("本年净缴存", net_fen, 1_300_00)
        self._screen.fact(
            f"年度上限 {yuan(account['yearly_cap_fen'])} 元，"
            f"最低月缴存额 {yuan(account['monthly_minimum_fen'])} 元，"
            f"已计缴存月份 {'、'.join(account['months'])}"
        )

    def _verify(self) -> None:
        verdict = self._processes.run("verify", "-m", "flask", "--app", "wsgi", "ledger", "verify")
        self._screen.check(verdict.splitlines()[-1], "账务核验通过" in verdict, True)
        for gateway in (self._house.wechat, self._house.alipay):
            theirs = {
                row["out_trade_no"]: (row["amount_fen"], row["refunded_fen"])
                for row in gateway.read("books")["trades"]
                if row["paid_at"] is not None
            }
            self._check_books(gateway, theirs)
        bank = self._house.bank.read("books")
        theirs = {
            row["order_no"]: (row["amount_fen"], 0)
            for row in bank["debits"]
            if row["state"] == "SUCCEEDED"
        }
        self._check_books(self._house.bank, theirs)
        self._screen.check_fen("银行：公积金专户余额", bank["balance_fen"], 500_00)
        for whose, phone, wallet_fen in (
            ("骑手", self.wechat, 9_500_00),
            ("骑手", self.alipay, 9_700_00),
            ("店主", self._debits.shopkeeper.phone, 9_700_00),
            ("保洁员", self._debits.cleaner.phone, 9_600_00),
        ):
            left_fen = phone.gateway.wallet_fen(phone.payer)
            self._screen.check_fen(f"{phone.gateway.name}：{whose}钱包余额", left_fen, wallet_fen)

    def _check_books(self, gateway: Gateway, theirs: dict[str, tuple[int, int]]) -> None:
        ours = {
            row["order_no"]: (row["amount_fen"], row["refunded_fen"])
            for row in self._credited(gateway)
        }
        self._screen.check(f"{gateway.name}：{len(ours)} 笔入账与网关逐笔一致", ours, theirs)

    def _summarize(self) -> None:
        rows: list[tuple[str, str]] = []
        for gateway in (self._house.wechat, self._house.alipay, self._house.bank):
            credited, debited = self._credited(gateway), self._debits.order_numbers()
            refunded_fen = sum(row["refunded_fen"] for row in credited)
            for what, is_debit in (("缴存", False), ("扣款", True)):
                fen = sum(
                    row["amount_fen"]
                    for row in credited
                    if (row["order_no"] in debited) is is_debit
                )
                rows += [(f"{gateway.name}{what}", yuan(fen))] if fen else []
            rows += [(f"{gateway.name}退款", yuan(-refunded_fen))] if refunded_fen else []
        accounts = [saver.phone.get("account") for saver in self._debits.savers]
        subsidies_fen = sum(account["opening_subsidy_fen"] for account in accounts)
        rows += [("开户补贴", yuan(subsidies_fen))]
        rows += [("三人账户余额", yuan(sum(account["balance_fen"] for account in accounts)))]
        self._screen.table("演示结果（元）", ("项目",), ("金额",), rows)
        self._screen.say(f"{self._screen.checks} 项检查全部通过", "bold green")

    def _deposit(self, phone: Phone, amount_fen: int) -> None:
        order = self._pay(phone, amount_fen)
        # Sooner than the first query, so that only the notice can have done it.
        self._processes.wait_until(
            lambda: phone.is_credited(order), seconds=15, what=f"{phone.gateway.name}通知入账"
        )
        self._screen.fact("通知到达，已入账")

    def _pay(self, phone: Phone, amount_fen: int) -> str:
        """Order and pay in the wallet; return the order's number."""
        gateway, order = phone.gateway, phone.order(amount_fen)
        number = self._orders[gateway.platform] = order["order_no"]
        self._screen.fact(f"订单 {number}，手机得到 {'、'.join(order['payment'])}，钱包付款")
        phone.pay(order)
        paid_fen = gateway.trade(number)["amount_fen"]
        self._screen.check_fen(f"{gateway.name}网关账簿实收", paid_fen, amount_fen)
        return str(number)

    def _check_balance(self, expected_fen: int, what: str = "账户余额") -> None:
        self._screen.check_fen(what, self.wechat.get("account")["balance_fen"], expected_fen)

    def _credited(self, gateway: Gateway) -> list[dict[str, Any]]:
        """Return everybody's credited orders through one channel, by the API."""
        return [
            row
            for saver in self._debits.savers
            for row in saver.phone.get("deposits?limit=100")["items"]
            if row["channel"] == gateway.platform and row["state"] == "succeeded"
        ]

    def _log_in_staff(self, username: str) -> str:
        """Return a member of staff's token."""
        body = {"username": username, "password": self._house.staff_password}
        session = self._house.api.ask("POST", "/staff/api/v1/session", body, status=201)
        return str(session["token"])
