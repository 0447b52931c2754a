"""A rider enrols, pays in from both platforms and sees one account."""

from __future__ import annotations

from tests.stories.town import Town

OPENING_FEN = 20_000  # 开户补贴, basic tier


def test_a_rider_enrols_pays_and_sees_the_balance(town: Town, platform: str) -> None:
    phone = town.phone(platform)
    assert phone.log_in()["enrolled"] is False
    phone.enrol()

    order = phone.deposit(50_000)
    assert order["state"] == "awaiting_payment"
    assert phone.balance() == 0
    phone.pay(order)
    town.until_accepted(platform, order["order_no"])

    paid = phone.call("GET", f"deposits/{order['order_no']}")
    assert (paid["state"], paid["credited_on"]) == ("succeeded", "2026-11-24")
    assert (paid["contribution_month"], paid["payment"]) == ("2026-11", {})
    account = phone.call("GET", "account")
    assert account["balance_fen"] == 50_000 + OPENING_FEN
    assert account["deposited_this_year_fen"] == 50_000
    # 31,545.00 × 24 % × 12 = 90,849.60, less 500.00
    assert account["room_fen"] == 9_084_960 - 50_000
    assert (account["months_counted"], account["months_to_loan_gate"]) == (1, 5)
    entries = phone.call("GET", "account/entries?month=2026-11")["items"]
    assert [(e["kind"], e["amount_fen"], e["balance_fen"]) for e in entries] == [
        ("opening_subsidy", 20_000, 70_000),
        ("deposit", 50_000, 50_000),
    ]


def test_one_person_on_both_platforms_sees_one_account(town: Town) -> None:
    wechat, alipay = town.phone("wechat"), town.phone("alipay")
    wechat.enrol(facts={"children": {"count": 2, "minor_count": 1, "evidence": "户口簿"}})
    taken = alipay.try_call(
        "POST", "enrolment", {**_enrolment(), "phone": "13900000000", "real_name": "测试用户"}
    )
    assert (taken.status_code, taken.json()["code"]) == (409, "already_enrolled")

    code = wechat.call("POST", "session/link-code")["code"]
    alipay.call("POST", "session/link", {"code": code})
    wechat.pay_and_wait(50_000)
    alipay.pay_and_wait(30_000)

    # 500.00 + 300.00 + 开户补贴 300.00 (two children)
    assert wechat.balance() == alipay.balance() == 110_000
    orders = alipay.call("GET", "deposits")["items"]
    assert [(o["channel"], o["amount_fen"]) for o in orders] == [
        ("alipay", 30_000),
        ("wechat", 50_000),
    ]
    assert town.clearing_fen("wechat") == 50_000
    assert town.clearing_fen("alipay") == 30_000


def test_the_amount_is_checked_before_the_channel_is_asked(town: Town, platform: str) -> None:
    phone = town.phone(platform)
    phone.enrol()
    for amount_fen, code in ((12_149, "amount_below_minimum"), (9_084_961, "yearly_cap_exceeded")):
        refused = phone.try_call(
            "POST", "deposits", {"channel": platform, "amount_fen": amount_fen}
        )
        assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert town.gateways[platform].look("books")["trades"] == []
    phone.pay_and_wait(12_150)  # 2,430.00 × 5 %
    assert phone.balance() == 12_150 + OPENING_FEN


def test_the_person_takes_their_data_along_and_logs_out(town: Town) -> None:
    phone = town.phone("wechat")
    phone.enrol()
    phone.pay_and_wait(50_000)

    data = phone.call("GET", "me/export")
    assert data["contributor"]["document_no"] == "11010519491231002X"
    assert [d["amount_fen"] for d in data["deposits"]] == [50_000]
    assert [e["balance_fen"] for e in data["entries"]] == [70_000, 50_000]
    assert phone.call("GET", "me")["document_no"] == "110***********002X"

    phone.call("DELETE", "session", status=204)
    assert phone.try_call("GET", "account").status_code == 401


def _enrolment() -> dict[str, str]:
    return {
        "document_kind": "resident_id",
        "document_no": "11010519491231002X",
        "employment_form": "new_form",
    }
