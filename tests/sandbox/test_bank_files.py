"""Debit files over real SFTP: taken in whole or not at all, acknowledged, answered line by line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sandbox.bank.server import create_gateway
from tests.sandbox.bank_client import NAME, BankMerchant, debit_file, sm3
from tests.sandbox.gateways import Inbox, copy_credentials, running

RARE = "䶮㛃·儀"
"""GBK cannot write the first two; the last one's second byte is that of the bar."""


@pytest.fixture
def card(bank: BankMerchant) -> str:
    return bank.card()


@pytest.fixture
def agreement(bank: BankMerchant, card: str) -> str:
    return bank.agree(card)


@pytest.fixture
def line(card: str, agreement: str) -> str:
    return f"F0000000001|{agreement}|{card}|{NAME}|20000|住房公积金缴存"


def result_later(bank: BankMerchant) -> None:
    bank.gateway.control("clock", advance_seconds=7200)


def test_a_file_is_accepted_now_and_answered_later(bank: BankMerchant):
    holder = {"name": RARE, "id_no": "32072219900307602X", "phone": "13800000002"}
    first, second = bank.card(), bank.card(**holder)
    one = bank.agree(first)
    two = bank.agree(second, agreement_no="A0000000002", **holder)
    lines = [
        f"F0000000001|{one}|{first}|{NAME}|20000|缴存",
        f"F0000000002|{two}|{second}|{RARE}|30001|缴存",
        f"F0000000003|{two}|{second}|{RARE}|100001|缴存",
    ]
    bank.hand_in(debit_file(bank.merchant_id, lines, 150002))
    header, detail, trailer = bank.take("DKA")
    assert header == ["H", "DKA", "20261124", "0001", "1", "150002", "CNY", bank.merchant_id, "1.0"]
    assert detail[2:] == [bank.file_name(), "ACCEPTED", "00", "成功", "0", "150002"]
    assert trailer[:3] == ["T", "1", "150002"]
    assert bank.balance() == 0
    assert bank.find("F0000000001")["orig_code"] == "03"
    bank.gateway.control("clock", advance_seconds=7190)
    assert bank.file_name(kind="DKR") not in bank.take_all()
    bank.gateway.control("clock", advance_seconds=10)
    header, *details, trailer = bank.take("DKR")
    assert header == ["H", "DKR", "20261124", "0001", "3", "50001", "CNY", bank.merchant_id, "1.0"]
    assert [detail[:6] for detail in details] == [
        ["D", "00000001", "F0000000001", "00", "成功", "20000"],
        ["D", "00000002", "F0000000002", "00", "成功", "30001"],
        ["D", "00000003", "F0000000003", "33", "交易金额超限", "0"],
    ]
    assert {detail[7] for detail in details} == {"20261124"}
    assert trailer[:3] == ["T", "3", "50001"]
    # One sum for the file, and the same truth in real time.
    [entry] = bank.books()["entries"]
    assert (entry["kind"], entry["amount_fen"]) == ("BATCH", 50001)
    assert entry["reference"] == bank.file_name()
    assert bank.find("F0000000002")["bank_ref"] == details[1][6]
    assert bank.find("F0000000003")["orig_code"] == "33"
    assert sorted(bank.take_all()) == sorted(
        bank.file_name(kind=kind) + tail for kind in ("DKA", "DKR") for tail in ("", ".sig", ".ok")
    )


def test_nothing_is_taken_in_before_the_marker(bank: BankMerchant, line: str):
    content, name = debit_file(bank.merchant_id, [line], 20000), bank.file_name()
    bank.put(name, content)
    bank.put(f"{name}.sig", bank.sign(content).encode())

    async def draft(files) -> None:
        async with files.open(f"inbox/{name}.ok.tmp", "wb") as file:
            await file.write(b"")  # `put` takes its place below.

    bank.with_files(draft)
    time.sleep(0.5)
    assert bank.take_all() == {}
    bank.put(f"{name}.ok", b"")
    deadline = time.monotonic() + 10
    while not bank.books()["files"]:  # The bank looks by itself as well.
        assert time.monotonic() < deadline
    assert bank.take("DKA")[1][3] == "ACCEPTED"

    async def look(files) -> set[str]:
        return set(await files.listdir("inbox")) - {".", ".."}

    assert bank.with_files(look) == set()


def rejected(bank: BankMerchant, content: bytes, signature: str | None = None) -> list[str]:
    """Hand in a file that is rejected, and return code, text and line."""
    bank.hand_in(content, signature=signature)
    _, detail, _ = bank.take("DKA")
    assert detail[3] == "REJECTED"
    assert detail[7] == "0"
    result_later(bank)
    assert bank.file_name(kind="DKR") not in bank.take_all()
    assert bank.books()["debits"] == []
    assert bank.balance() == 0
    return detail[4:7]


def test_a_wrong_signature(bank: BankMerchant, line: str):
    content = debit_file(bank.merchant_id, [line], 20000)
    assert rejected(bank, content, bank.sign(content + b" ")) == ["11", "验证签名失败", "0"]


def test_a_signature_of_nothing(bank: BankMerchant, line: str):
    content = debit_file(bank.merchant_id, [line], 20000)
    assert rejected(bank, content, "*")[0] == "11"


def rewritten(content: bytes, old: str, new: str, *, digest: bool = True) -> bytes:
    """Return a file with something else in it; its digest fits again unless told otherwise."""
    text = content.decode("gb18030").replace(old, new)
    body, trailer = text[: text.rindex("T|")], text[text.rindex("T|") :]
    if not digest:
        return text.encode("gb18030")
    cells = trailer.split("|")
    cells[3] = sm3(body.encode("gb18030")) + "\r\n"
    return body.encode("gb18030") + "|".join(cells).encode()


@pytest.mark.parametrize(
    ("old", "new", "text", "line_no"),
    [
        ("|20000|住房", "|10000|住房", "金额合计与明细不符", "1"),
        ("|1|20000|CNY", "|2|20000|CNY", "笔数与明细不符", "1"),
        ("T|1|20000", "T|1|20001", "金额合计与明细不符", "3"),
        ("|20261124|", "|20261125|", "文件头与文件名不符", "1"),
        ("|20261124|", "|20261131|", "日期不存在", "1"),
        ("|CNY|", "|USD|", "字段 currency 格式错误", "1"),
        ("|1.0\r\n", "|2.0\r\n", "字段 version 格式错误", "1"),
        ("H|DK|", "H|DKR|", "文件类型不符", "1"),
        ("D|00000001|", "D|00000002|", "明细序号不连续", "2"),
        ("|20000|住房", "|020000|住房", "字段 amount_fen 格式错误", "2"),
        ("|20000|住房", "|-20000|住房", "字段 amount_fen 格式错误", "2"),
        ("|20000|住房", "|200.00|住房", "字段 amount_fen 格式错误", "2"),
        ("F0000000001", "F-000000001", "字段 order_no 格式错误", "2"),
        ("缴存\r\n", "缴存|\r\n", "字段个数不符", "2"),
        ("缴存\r\n", "缴\t存\r\n", "字段 purpose 格式错误", "2"),
        ("缴存\r\n", "缴\n存\r\n", "字段 purpose 格式错误", "2"),
    ],
)
def test_a_file_that_does_not_add_up_is_rejected_with_its_line(
    bank: BankMerchant, line: str, old: str, new: str, text: str, line_no: str
):
    content = rewritten(debit_file(bank.merchant_id, [line], 20000), old, new)
    assert rejected(bank, content) == ["14", text, line_no]


def test_a_changed_byte_under_a_true_signature(bank: BankMerchant, line: str):
    whole = debit_file(bank.merchant_id, [line], 20000)
    changed = rewritten(whole, "|20000|", "|90000|", digest=False)
    assert rejected(bank, changed) == ["14", "SM3 摘要不符", "0"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "缺少数据文件或文件为空"),
        (b"\xff\xff\r\n", "编码不是 GB18030"),
        (b"H|DK|\r\n", "文件不完整"),
        (b"H|DK|\nD|\nT|\n", "文件不完整"),
        (b"x" * 4_000_001, "文件过大"),
    ],
)
def test_what_is_no_file_of_ours(bank: BankMerchant, content: bytes, text: str):
    assert rejected(bank, content) == ["14", text, "0"]


def test_a_file_without_its_last_line(bank: BankMerchant, line: str):
    content = debit_file(bank.merchant_id, [line], 20000)
    assert rejected(bank, content[: content.rindex(b"T|")])[0] == "14"


def test_no_lines_are_no_file(bank: BankMerchant):
    assert rejected(bank, debit_file(bank.merchant_id, [], 0))[:2] == ["14", "笔数应为 1 至 10000"]


def test_one_bad_line_and_none_of_the_good_ones_is_taken(bank: BankMerchant, line: str):
    content = debit_file(bank.merchant_id, [line, line], 40000)
    assert rejected(bank, content) == ["12", "订单号重复", "3"]


def test_an_order_number_is_one_debit_in_files_and_in_real_time(
    bank: BankMerchant, agreement: str, line: str
):
    bank.debit(agreement, order_no="F0000000001")
    bank.hand_in(debit_file(bank.merchant_id, [line], 20000))
    assert bank.take("DKA")[1][3:7] == ["REJECTED", "12", "订单号重复", "2"]
    other = line.replace("F0000000001", "F0000000002")
    bank.hand_in(debit_file(bank.merchant_id, [other], 20000, sequence="0002"), "0002")
    assert bank.take("DKA", "0002")[1][3] == "ACCEPTED"
    assert bank.debit(agreement, 20000, order_no="F0000000002")["code"] == "12"


def test_the_same_bytes_again_get_the_same_acknowledgement(bank: BankMerchant, line: str):
    content = debit_file(bank.merchant_id, [line], 20000)
    bank.hand_in(content)
    first = bank.take_all()
    bank.hand_in(content)
    assert bank.take_all() == first
    result_later(bank)
    bank.hand_in(content)
    assert bank.balance() == 20000
    assert len(bank.books()["debits"]) == 1


def test_a_rejected_file_needs_a_new_number(bank: BankMerchant, line: str):
    content = debit_file(bank.merchant_id, [line], 20000)
    bank.hand_in(content, signature="*")
    first = bank.take_all()
    bank.hand_in(content)
    assert bank.take_all() == first
    again = debit_file(bank.merchant_id, [line], 20000, sequence="0002")
    bank.hand_in(again, "0002")
    assert bank.take("DKA", "0002")[1][3] == "ACCEPTED"


def test_other_bytes_under_a_used_name_are_not_acknowledged(bank: BankMerchant, line: str):
    bank.hand_in(debit_file(bank.merchant_id, [line], 20000))
    other = line.replace("F0000000001", "F0000000002")
    bank.hand_in(debit_file(bank.merchant_id, [other], 20000))
    files = bank.take_all()
    assert files[f"{bank.file_name()}.err"].decode() == "文件名已用于另一份文件"
    assert [debit["order_no"] for debit in bank.books()["debits"]] == ["F0000000001"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        *((name, name) for name in ("DK_1_20261124_0001.txt", "dk.txt", "DK_x", "付款.txt")),
        ("付" * 80, "long-name"),
    ],
)
def test_a_name_that_is_not_ours_gets_an_error_file(bank: BankMerchant, name: str, error: str):
    bank.put(name, b"x")
    bank.put(f"{name}.ok", b"")
    assert bank.take_all() == {f"{error}.err": "文件名不符".encode()}
    assert bank.books()["batches"] == []


def test_what_a_line_can_fail_for(bank: BankMerchant, card: str, agreement: str):
    frozen = bank.card()
    held = bank.agree(frozen, agreement_no="A0000000002")
    bank.gateway.control("cards/change", card_no=frozen, state="frozen")
    gone = bank.agree(card, agreement_no="A0000000003")
    lines = [
        f"F0000000001|{agreement}|{card}|测试|100|缴存",
        f"F0000000002|{agreement}|{frozen}|{NAME}|100|缴存",
        f"F0000000003|62202611249999999999|{card}|{NAME}|100|缴存",
        f"F0000000004|{held}|{frozen}|{NAME}|100|缴存",
        f"F0000000005|{gone}|{card}|{NAME}|100|缴存",
        f"F0000000006|{agreement}|{card}|{NAME}|100000|缴存",
        f"F0000000007|{agreement}|{card}|{NAME}|50001|缴存",
    ]
    bank.hand_in(debit_file(bank.merchant_id, lines, 150501))
    # Ended between acceptance and debit.
    bank.gateway.control("mandates/change", agreement_no="A0000000003", state="CANCELLED")
    result_later(bank)
    codes = [detail[3] for detail in bank.take("DKR")[1:-1]]
    assert codes == ["66", "66", "40", "63", "89", "00", "81"]
    assert bank.balance() == 100000


def test_a_file_is_told_of_by_its_sum_alone(bank: BankMerchant, line: str):
    bank.hand_in(debit_file(bank.merchant_id, [line], 20000))
    bank.gateway.control("merchant/address", url=bank.inbox.url)
    result_later(bank)
    bank.take("DKR")
    [entry] = bank.gateway.until(lambda log: len(log) == 1)
    assert entry["topic"] == "account.changed"
    assert bank.read_notice(0)["kind"] == "BATCH"


def test_what_was_accepted_is_answered_by_a_bank_that_was_restarted(
    tmp_path: Path, issued: Path, inbox: Inbox
):
    copy_credentials(issued, tmp_path)
    with running(create_gateway, tmp_path) as first:
        bank = BankMerchant(first, inbox)
        card = bank.card()
        line = f"F0000000001|{bank.agree(card)}|{card}|{NAME}|20000|缴存"
        bank.hand_in(debit_file(bank.merchant_id, [line], 20000))
        bank.take("DKA")
    with running(create_gateway, tmp_path) as second:
        bank = BankMerchant(second, inbox)
        assert bank.find("F0000000001")["state"] == "PROCESSING"
        result_later(bank)
        assert bank.take("DKR")[1][2:4] == ["F0000000001", "00"]
        assert bank.balance() == 20000
