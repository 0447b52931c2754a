"""扣款 A month of debits: three people, one on each channel, and what can happen on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from demo.house import TEMPLATES, House
from demo.phone import Gateway, Phone
from demo.processes import Processes
from demo.screen import DemoFailed, Screen, yuan
from demo.system import FLASK

PERIOD = "2026-12"
WALLET_FEN = 10_000_00
CARD_FEN = 5_000_00

RIDER = {
    "document_kind": "resident_id",
    "document_no": "11010519491231002X",
    "real_name": "测试用户",
    "phone": "13800000000",
    "employment_form": "new_form",
    "industry_tags": ["e_commerce"],
    "facts": {"children": {"count": 2, "minor_count": 1, "evidence": "户口簿"}},
}
SHOPKEEPER = {
    "document_kind": "resident_id",
    "document_no": "110105198805201045",
    "real_name": "测试店主",
    "phone": "13800000001",
    "employment_form": "self_employed",
    "facts": {"degree": {"level": "bachelor", "evidence": "学信网在线验证码"}},
}
CLEANER = {
    "document_kind": "resident_id",
    "document_no": "110105199308172022",
    "real_name": "测试保洁员",
    "phone": "13800000002",
    "employment_form": "part_time",
}


@dataclass(frozen=True)
class Saver:
    """Somebody with an agreement: their phone, and who debits how much of them."""

    name: str
    phone: Phone
    debited_by: Gateway
    amount_fen: int

    @property
    def terms(self) -> dict[str, Any]:
        channel = self.debited_by.platform
        terms = {"frequency": "monthly", "debit_day": 10}
        return {**terms, "amount_fen": self.amount_fen, "channel": channel}

    @property
    def state(self) -> str:
        return str(self.see()["state"])

    def see(self) -> Any:
        """Return what became of the debit of `PERIOD`."""
        return self.phone.get(f"debits/{PERIOD}")

    def told(self, topic: str) -> dict[str, Any]:
        """Return the one message about a topic.

        Raises:
            DemoFailed: there is none, or there are more.
        """
        items = self.phone.get("messages?limit=100")["items"]
        about = [row for row in items if row["topic"] == topic]
        return dict(only(about, f"{self.name}的消息 {topic}"))


class Debits:
    """From signing to the second try: told by the API, and checked in each gateway's own books.

    Args:
        rider: the phone of who is debited by the bank, and has an account.
    """

    def __init__(self, house: House, processes: Processes, screen: Screen, *, rider: Phone) -> None:
        self._house = house
        self._processes = processes
        self._screen = screen
        self.rider = Saver("骑手", rider, house.bank, 500_00)
        shop = Phone(house.api, house.wechat, wallet_fen=WALLET_FEN)
        self.shopkeeper = Saver("店主", shop, house.wechat, 300_00)
        flat = Phone(house.api, house.alipay, wallet_fen=WALLET_FEN)
        self.cleaner = Saver("保洁员", flat, house.alipay, 400_00)
        self.savers = (self.rider, self.shopkeeper, self.cleaner)
        self._card_no = ""

    @property
    def steps(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        """The chapter, each step with its title."""
        return (
            ("骑手约定每月缴存 500.00 元，银行卡签约扣款", self._sign_card),
            ("店主、保洁员开户，各在微信、支付宝里签约扣款", self._sign_wallets),
            ("12 月 9 日：安排扣款，提示到手机，向微信预告", self._announce),
            ("12 月 10 日：支付宝扣了款却没有应答，不重复扣，查询后入账", self._lose_answer),
            ("12 月 10 日：银行批量代收，卡内余额不足，次日再扣", self._refuse),
            ("12 月 11 日：微信按预告扣款，银行卡再次扣款，均成功", self._succeed),
        )

    def card_fen(self) -> int:
        """Return what is on the rider's card."""
        cards = self._house.bank.read("books")["cards"]
        return next(int(c["balance_fen"]) for c in cards if c["card_no"] == self._card_no)

    def order_numbers(self) -> set[str]:
        """Return the numbers of all tries to debit somebody."""
        return {
            attempt["order_no"]
            for saver in self.savers
            for attempt in saver.see()["attempts"]
            if not attempt["by_hand"]
        }

    def _sign_card(self) -> None:
        rider, bank = self.rider, self._house.bank
        rider.phone.agree_to_messages(TEMPLATES)
        due = [(row["period"], row["due_on"]) for row in rider.phone.agree(rider.terms)["periods"]]
        self._screen.check("协议生效，首次扣款日", due[0], (PERIOD, "2026-12-10"))

        card = {"holder_name": RIDER["real_name"], "phone": RIDER["phone"]}
        card["card_no"] = self._card_no = bank.control(
            "cards",
            name=RIDER["real_name"],
            id_kind="01",
            id_no=RIDER["document_no"],
            phone=RIDER["phone"],
            balance_fen=CARD_FEN,
        )["card_no"]
        number = rider.phone.post("mandates", {"channel": "bank", "card": card})["mandate_no"]
        code = bank.control("sms", phone=RIDER["phone"])["messages"][-1]["code"]
        confirm, wrong = f"mandates/{number}/confirm", "000000" if code != "000000" else "111111"
        refusal = rider.phone.post(confirm, {"code": wrong}, status=422)
        self._screen.check(f"错误的验证码：{refusal['message']}", refusal["code"], "wrong_code")
        signed = rider.phone.post(confirm, {"code": code}, status=200)
        self._screen.check("签约状态", signed["state_text"], "生效中")
        theirs = [
            (row["state"], row["cap_fen"])
            for row in bank.read("books")["mandates"]
            if row["agreement_no"] == number
        ]
        self._screen.check("银行账簿：已签约，单笔上限 500.00 元", theirs, [("ACTIVE", 500_00)])

    def _sign_wallets(self) -> None:
        for saver, enrolment in ((self.shopkeeper, SHOPKEEPER), (self.cleaner, CLEANER)):
            phone, gateway = saver.phone, saver.debited_by
            phone.log_in()
            opened = phone.post("enrolment", enrolment)
            self._screen.fact(
                f"{saver.name}的个人账户 {opened['account_no']}，"
                f"约定每月 10 日由{gateway.name}扣 {yuan(saver.amount_fen)} 元"
            )
            phone.agree_to_messages(TEMPLATES)
            phone.agree(saver.terms)
            started = phone.post("mandates", {"channel": gateway.platform})
            self._open_signing_page(saver, started["signing"])
            path = f"mandates/{started['mandate_no']}"
            # Sooner than the first query, so that only the notice can have done it.
            self._processes.wait_until(
                partial(_is_active, phone, path), seconds=15, what=f"{gateway.name}通知签约"
            )
            signed = phone.get(path)
            self._screen.check(
                f"{saver.name}在{gateway.name}签约，通知到达：{signed['state_text']}",
                signed["cap_fen"],
                saver.amount_fen,
            )
        self._check_contracts()

    def _open_signing_page(self, saver: Saver, signing: dict[str, Any]) -> None:
        """Sign on the wallet's own page, with the parameters that the phone was given."""
        payer = saver.phone.payer
        if saver.debited_by.platform == "wechat":
            saver.debited_by.control("contracts/sign", payer=payer, extra_data=signing)
        else:
            saver.debited_by.control("agreements/sign", payer=payer, **signing)

    def _check_contracts(self) -> None:
        wechat = self._house.wechat.read("books")["contracts"]
        found = [(row["payer"], row["state"]) for row in wechat]
        expected = [(self.shopkeeper.phone.payer, "SIGNED")]
        self._screen.check("微信账簿：店主的委托代扣协议已签", found, expected)
        alipay = self._house.alipay.read("books")["agreements"]
        found = [(row["payer"], row["state"]) for row in alipay]
        expected = [(self.cleaner.phone.payer, "NORMAL")]
        self._screen.check("支付宝账簿：保洁员的商家扣款协议已签", found, expected)

    def _announce(self) -> None:
        self._jump("2026-12-09 08:31")
        for saver in self.savers:
            saver.phone.log_in()  # A session lasts for a week.
        self._wait(
            "等待排期",
            lambda: all(s.phone.get("debits/next")["announced"] for s in self.savers),
            seconds=90,
        )
        for saver, day in zip(self.savers, ("10", "11", "10"), strict=True):
            coming = saver.phone.get("debits/next")
            self._screen.check(
                f"{saver.name}：12 月 {day} 日由{saver.debited_by.name}扣"
                f" {yuan(saver.amount_fen)} 元，金额不再变",
                (coming["channel"], coming["amount_fen"], coming["sent_on"]),
                (saver.debited_by.platform, saver.amount_fen, f"2026-12-{day}"),
            )
        self._run_job("announce-debits")
        announced = [
            (row["amount_fen"], row["first_day"])
            for row in self._house.wechat.read("books")["announcements"]
        ]
        self._screen.check("微信账簿：已预告，11 日起可扣", announced, [(300_00, "20261211")])
        for saver in self.savers:
            self._check_message(saver, "debit_due")

    def _lose_answer(self) -> None:
        cleaner, alipay = self.cleaner, self._house.alipay
        alipay.control("troubles", at="notice", kind="drop", times=0)
        alipay.control("troubles", at="alipay.trade.pay", kind="timeout_after")
        self._house.bank.control("cards/change", card_no=self._card_no, balance_fen=100_00)
        self._screen.fact("支付宝将扣款而不应答，通知全部丢失；骑手的卡里只剩 100.00 元")
        self._jump("2026-12-10 10:00")
        self._wait("等待支付宝扣款", lambda: bool(alipay.read("books")["debits"]), seconds=90)
        self._screen.check("支付宝账簿：已扣款", self._debited(alipay), [("TRADE_SUCCESS", 400_00)])
        unsure = cleaner.see()
        self._screen.check(f"保洁员看到：{unsure['state_text']}", unsure["state"], "attempting")
        wish = {"channel": "alipay", "amount_fen": cleaner.amount_fen}
        warned = cleaner.phone.post("deposits", wish, status=409)
        self._screen.check(
            f"自行缴存被提醒：{warned['message']}", warned["code"], "debit_under_way"
        )
        self._wait(
            "等待应答超时、再由定时查询找回",
            lambda: cleaner.state == "succeeded",
            seconds=120,
        )
        number = only(cleaner.see()["attempts"], "保洁员的扣款")["order_no"]
        accepted = {
            row["accepted"]
            for row in alipay.read("deliveries")["deliveries"]
            if row["out_trade_no"] == number
        }
        self._screen.check("支付宝发出的通知均未送达", accepted, {False})
        alipay.ask("DELETE", "/_control/troubles")
        self._check_balance(cleaner, subsidy_fen=200_00)
        replies = alipay.control("notices/resend", out_trade_no=number, copies=10)["replies"]
        taken = sum("success" in reply["reply"].lower() for reply in replies)
        self._screen.check("迟到的通知 10 份同时到达，均得到成功应答", taken, 10)
        self._check_balance(cleaner, subsidy_fen=200_00)
        self._screen.check(
            "支付宝账簿：只扣了一次", self._debited(alipay), [("TRADE_SUCCESS", 400_00)]
        )

    def _refuse(self) -> None:
        rider = self.rider
        self._exchange_files(1)
        self._wait("等待回盘入账", lambda: rider.state == "scheduled", seconds=120)
        refused = rider.see()
        self._screen.check(
            f"骑手看到：{refused['state_text']}，原因：{refused['reason_text']}",
            refused["reason"],
            "insufficient_funds",
        )
        self._screen.check("再次扣款的日期", refused["next_attempt_on"], "2026-12-11")
        self._screen.fact(f"消息：{rider.told('debit_failed')['text']}")
        self._screen.check_fen("骑手的卡里仍有", self.card_fen(), 100_00)
        self._house.bank.control("cards/change", card_no=self._card_no, balance_fen=CARD_FEN)
        self._screen.fact(f"骑手存入现金，卡里有 {yuan(CARD_FEN)} 元")

    def _succeed(self) -> None:
        rider, shopkeeper, wechat = self.rider, self.shopkeeper, self._house.wechat
        self._jump("2026-12-11 10:00")
        self._wait("等待微信扣款", lambda: shopkeeper.state == "succeeded", seconds=120)
        self._screen.check("微信账簿：按预告扣了一次", self._debited(wechat), [("SUCCESS", 300_00)])
        self._check_balance(shopkeeper, subsidy_fen=400_00)
        self._check_message(rider, "debit_failed")
        self._exchange_files(2)
        self._wait("等待回盘入账", lambda: rider.state == "succeeded", seconds=120)
        tries = [row["state"] for row in rider.see()["attempts"]]
        self._screen.check("骑手的扣款：首次未扣成，再次成功", tries, ["failed", "succeeded"])
        theirs = [("FAILED", 500_00), ("SUCCEEDED", 500_00)]
        self._screen.check("银行账簿：两笔，成功一笔", self._debited(self._house.bank), theirs)
        self._screen.check_fen("骑手的卡里还有", self.card_fen(), CARD_FEN - 500_00)
        for saver in self.savers:
            self._screen.fact(f"{saver.name}的消息：{saver.told('debit_succeeded')['text']}")

    def _exchange_files(self, count: int) -> None:
        """See the file of the day at the bank, the `count`th in all, and take in its results."""
        bank = self._house.bank

        def taken_in() -> list[str]:
            batches = bank.read("books")["batches"]
            return [row["name"] for row in batches if row["state"] in {"ACCEPTED", "RESULTED"}]

        def has_results() -> bool:
            published = [row["name"] for row in bank.read("books")["files"] if row["published_at"]]
            return any(row.startswith(name.replace("DK_", "DKR_")) for row in published)

        self._wait("等待批量代收文件送达银行", lambda: len(taken_in()) >= count, seconds=120)
        name = taken_in()[-1].removesuffix(".txt")
        self._screen.check(f"银行账簿：已收下代收文件 {name}.txt", len(taken_in()), count)
        bank.control("files/finish", name=f"{name}.txt")
        self._wait("等待银行的回盘文件", has_results, seconds=60)
        self._run_job("fetch-bank-answers")

    def _run_job(self, name: str) -> None:
        """Run a job by hand, as an operator may who does not want to wait for its next turn."""
        self._processes.run(name, *FLASK, "jobs", "run", name)
        self._screen.fact(f"手动执行定时任务：flask jobs run {name}")

    def _check_message(self, saver: Saver, topic: str) -> None:
        """The list of the API and the phone say the same."""
        self._wait("等待消息发出", lambda: bool(saver.told(topic)["sent_at"]), seconds=90)
        message = saver.told(topic)
        arrived = only(saver.phone.inbox(TEMPLATES[topic]), f"{saver.name}手机上的消息")
        values = {entry["value"] for entry in arrived["data"].values()}
        said = {value for value in values if value in message["text"]}
        self._screen.check(f"{saver.name}的手机收到：{message['text']}", said, values)

    def _check_balance(self, saver: Saver, *, subsidy_fen: int) -> None:
        account = saver.phone.get("account")
        expected_fen = saver.amount_fen + subsidy_fen
        what = f"{saver.name}的账户余额（扣款 {yuan(saver.amount_fen)}，补贴 {yuan(subsidy_fen)}）"
        self._screen.check_fen(what, account["balance_fen"], expected_fen)

    def _debited(self, gateway: Gateway) -> list[tuple[str, int]]:
        """Return state and amount of each debit in a gateway's books."""
        return [(row["state"], row["amount_fen"]) for row in gateway.read("books")["debits"]]

    def _jump(self, to: str) -> None:
        with self._screen.waiting(f"时间快进到 {to}，业务系统重新启动"):
            self._house.system.jump(datetime.fromisoformat(f"{to}+08:00"))
        self._screen.fact(f"业务时间 {to}")

    def _wait(self, what: str, happened: Callable[[], bool], *, seconds: int) -> None:
        if happened():
            return
        with self._screen.waiting(f"{what}（最多等 {seconds} 秒）") as show:
            self._processes.wait_until(
                happened, seconds=seconds, what=what, tick=lambda left: show(f"还剩 {left} 秒")
            )


def only(found: Iterable[Any], what: str) -> Any:
    """Return what was found.

    Raises:
        DemoFailed: nothing was, or more than one.
    """
    every = list(found)
    if len(every) != 1:
        raise DemoFailed(f"{what}：应为一条，实为 {len(every)} 条")
    return every[0]


def _is_active(phone: Phone, path: str) -> bool:
    return bool(phone.get(path)["state"] == "active")
