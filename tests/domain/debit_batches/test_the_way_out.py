"""From what is due to a file at the bank: gathered, frozen, handed in, and what stops it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.base import table_of
from app.domain.breaks.models import Break
from app.domain.debit_batches import collecting
from app.domain.inquiries.operations import resolve_orders
from app.domain.key_rotation import rotate_keys
from app.domain.pii import Vault
from app.domain.ports.debits import BatchAtOdds, FileServerTrouble
from tests.debit_channel import DebitChannel
from tests.domain.agreements.conftest import Desk
from tests.domain.debit_batches.conftest import (
    AMOUNT_FEN,
    PART,
    SUBSIDY_FEN,
    Batching,
    Watched,
    files_of,
    fixed_width,
)
from tests.fund import in_shanghai

RARE = ("䶮·测试", "阿依古丽·买买提", "儀弢")
"""GBK has no «䶮»; the middle dot is U+00B7; the second byte of «儀» in GBK is that of the bar."""


def test_from_what_is_due_to_its_end(batching: Batching) -> None:
    accounts = [batching.person(name) for name in RARE]
    batching.owe(*accounts)
    assert batching.send() == {"collected": 3, "rendered": 1, "uploaded": 1}
    assert batching.send() == {}
    batch = batching.batch()
    assert (batch.state, batch.line_count, batch.sum_fen) == ("uploaded", 3, 3 * AMOUNT_FEN)
    assert [order.batch_place for order in batching.orders()] == [1, 2, 3]
    assert batching.order_states() == ["sending"] * 3

    assert batching.fetch() == {"imported": 1}
    assert batching.batch().state == "accepted"
    assert batching.order_states() == ["awaiting_payment"] * 3
    batching.finish()
    assert batching.fetch() == {"imported": 1, "settled": 1}
    assert batching.fetch() == {}

    assert batching.batch().state == "settled"
    assert batching.order_states() == ["succeeded"] * 3
    assert [batching.balance_fen(each) for each in accounts] == [AMOUNT_FEN + SUBSIDY_FEN] * 3
    assert batching.instruction(accounts[0]).state == "succeeded"
    assert [report for _, _, report in batching.files_seen()] == [
        "银行已受理，3 笔 1,500.00 元",
        "结果 3 笔：成功 3 笔 1,500.00 元，失败 0 笔，待定 0 笔 0.00 元；批次中未提及 0 笔",
    ]
    batching.check_books()


def test_a_file_is_filled_on_bank_days_before_the_cut_off(batching: Batching) -> None:
    batching.owing(1)
    for day, hour, minute in (
        *((24, 8, 59), (24, 15, 0), (24, 20, 0)),
        *((28, 10, 0), (29, 10, 0)),  # a weekend
        (30, 8, 59),
    ):
        batching.at(in_shanghai(2026, 11, day, hour, minute))
        assert batching.send() == {}, (day, hour)
    assert batching.orders() == []
    batching.at(in_shanghai(2026, 11, 30, 9))
    assert batching.send()["collected"] == 1
    assert batching.batch().bank_day.isoformat() == "2026-11-30"
    batching.owing(1)
    batching.at(in_shanghai(2026, 12, 1, 14, 59))
    assert batching.send()["collected"] == 1


def test_what_becomes_due_later_goes_into_another_file(batching: Batching) -> None:
    first, second = batching.owing(1) + [batching.person()]
    batching.send()
    batching.owe(second)
    batching.send()
    assert [(batch.sequence, batch.line_count) for batch in batching.batches()] == [(1, 1), (2, 1)]
    assert batching.orders(first)[0].batch_id != batching.orders(second)[0].batch_id


def test_a_file_is_bounded(batching: Batching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "MOST_LINES", 3)
    monkeypatch.setattr(collecting, "GROUP", 2)
    batching.owing(7)
    assert batching.send() == {"collected": 7, "rendered": 3, "uploaded": 3}
    assert [batch.line_count for batch in batching.batches()] == [3, 3, 1]
    places = [(order.batch_id, order.batch_place) for order in batching.orders()]
    assert len(set(places)) == 7
    batching.fetch()
    for batch in batching.batches():
        batching.centre.gateway.control("files/finish", name=batch.file_name)
    assert batching.fetch() == {"imported": 3, "settled": 3}
    batching.check_books()


def test_what_is_wanted_no_more_is_not_sent(batching: Batching) -> None:
    """The same decisions as for a debit in real time."""
    accounts = batching.owing(2)
    Desk(batching.fund, accounts[0]).end()
    assert batching.send() == {"cancel": 1, "collected": 1, "rendered": 1, "uploaded": 1}
    assert batching.instruction(accounts[0]).state == "cancelled"
    assert batching.batch().line_count == 1


def test_a_name_that_the_encoding_lacks_is_not_sent_and_the_others_are(batching: Batching) -> None:
    accounts = [batching.person("䶮测试"), batching.person("张儀")]
    batching.owe(*accounts)
    files = Watched(files_of(batching.centre, fixed_width()))
    batching.through(files)
    # The emulator has no such folder: what matters here are the bytes.
    assert batching.send() == {"collected": 1, "unwritable": 1, "rendered": 1, "trouble": 1}
    instruction = batching.instruction(accounts[0])
    assert (instruction.state, instruction.reason) == ("missed", "not_supported")
    assert batching.orders(accounts[0]) == []
    [row] = batching.rows(table_of(Break))
    assert (row.kind, row.detail["message"]) == (
        "line_unwritable",
        "*测试 的代扣无法写入银行文件：字段 holder 含有 GBK 编码没有的字",
    )
    frozen = batching.frozen(batching.batch().id).decode("gbk")
    assert "张儀" in frozen
    assert "?" not in frozen


# -- the frozen bytes ------------------------------------------------------------------------------


class Lost:
    """A file server whose answers are lost, before or after it did as asked."""

    def __init__(self, files: Watched, *, arrives: bool) -> None:
        self._files = files
        self._arrives = arrives
        self.sent: list[bytes] = []

    def upload_batch(self, file, content) -> None:
        self.sent.append(content.read())
        content.seek(0)
        if self._arrives or len(self.sent) > 1:
            self._files.upload_batch(file, content)
        if len(self.sent) == 1:
            raise FileServerTrouble

    def __getattr__(self, name: str):
        return getattr(self._files, name)


@pytest.mark.parametrize("arrives", [True, False])
def test_after_an_unknown_outcome_the_same_bytes_go_out_again(
    batching: Batching, arrives: bool
) -> None:
    accounts = batching.owing(2)
    lost = Lost(batching.files, arrives=arrives)
    batching.through(lost)
    assert batching.send() == {"collected": 2, "rendered": 1, "trouble": 1}
    assert batching.send() == {}
    batching.fund.clock.advance(minutes=5)
    assert batching.send() == {"uploaded": 1}
    assert lost.sent == [batching.frozen(batching.batch().id)] * 2
    batching.fetch()
    batching.finish()
    assert batching.fetch() == {"imported": 1, "settled": 1}
    assert [len(batching.orders(each)) for each in accounts] == [1, 1]
    batching.check_books()


def test_an_answer_may_come_before_the_upload_is_noted(batching: Batching) -> None:
    batching.owing(1)
    lost = Lost(batching.files, arrives=True)
    batching.through(lost)
    batching.send()
    assert batching.batch().state == "rendered"
    assert batching.fetch() == {"imported": 1}
    assert batching.batch().state == "accepted"
    batching.fund.clock.advance(minutes=5)
    assert batching.send() == {}
    assert len(lost.sent) == 1


def test_bytes_of_another_file_under_our_name_stop_it_and_tell_staff(batching: Batching) -> None:
    batching.owing(1)
    name = f"DK_{batching.centre.settings.bank.merchant_id}_20261124_0001.txt"
    inbox = batching.outbox.parent / "inbox"
    (inbox / name).write_bytes(b"something else")
    assert batching.send() == {"collected": 1, "rendered": 1, "at_odds": 1}
    assert batching.fund.breaks() == [
        ("batch_at_odds", "2026-11-24/0001", AMOUNT_FEN, None),
    ]
    (inbox / name).unlink()
    batching.fund.clock.advance(minutes=5)
    assert batching.send() == {"uploaded": 1}


def test_a_batch_that_cannot_be_written_waits_and_keeps_no_other_waiting(
    batching: Batching,
) -> None:
    class Broken(Watched):
        def render_batch(self, head, lines, into):
            if head.sequence == 1:
                raise BatchAtOdds
            return super().__getattr__("render_batch")(head, lines, into)

    first, second = batching.owing(1) + [batching.person()]
    channels = replace(batching.ports.channels, batching={"bank": Broken(batching.files)})
    good = batching.ports
    batching.fund.ports = replace(batching.ports, channels=channels)
    assert batching.send() == {"collected": 1, "at_odds": 1}
    batching.owe(second)
    assert batching.send() == {"collected": 1, "at_odds": 1, "rendered": 1, "uploaded": 1}
    batching.fund.ports = good
    assert batching.send() == {"rendered": 1, "uploaded": 1}
    assert [len(batching.orders(each)) for each in (first, second)] == [1, 1]


def test_names_and_cards_are_not_readable_in_the_database_and_keys_may_change(
    batching: Batching,
) -> None:
    batching.owing(1)
    lost = Lost(batching.files, arrives=False)
    batching.through(lost)
    batching.send()
    content = lost.sent[0]
    assert "测试用户".encode("gb18030") in content
    assert "测试用户".encode("gb18030") not in batching.rows(PART)[0].content
    both = Vault({"k2": b"n" * 32, "k1": bytes(range(32))}, active="k2", index_key=b"i" * 32)
    batching.fund.ports = replace(batching.ports, vault=both)
    assert rotate_keys(batching.ports).unreadable == ()
    assert batching.rows(PART)[0].key_id == "k2"
    batching.fund.clock.advance(minutes=5)
    batching.send()
    assert lost.sent[1] == content


# -- asking ----------------------------------------------------------------------------------------


def test_a_debit_in_a_file_is_asked_about_when_its_result_is_overdue_and_never_sent_alone(
    batching: Batching,
) -> None:
    account_id = batching.owing(1)[0]
    gateway = DebitChannel(batching.fund.clock.now)
    batching.ask(gateway)
    batching.send()
    batching.at(in_shanghai(2026, 11, 25, 11, 59))
    assert resolve_orders(batching.ports) == {}
    assert gateway.calls == []
    batching.at(in_shanghai(2026, 11, 25, 12))
    assert resolve_orders(batching.ports) == {"nothing": 1}
    assert resolve_orders(batching.ports) == {}
    batching.fund.clock.advance(minutes=30)
    assert resolve_orders(batching.ports) == {"nothing": 1}
    [order] = batching.orders(account_id)
    assert gateway.calls == [f"query:{order.order_no}"] * 2
    assert batching.fund.breaks() == []
    batching.fund.clock.advance(days=1)
    resolve_orders(batching.ports)
    assert batching.fund.breaks() == [("undecided", order.order_no, AMOUNT_FEN, None)]
    assert batching.order_states() == ["sending"]


def test_without_a_gateway_nobody_is_asked(batching: Batching) -> None:
    batching.owing(1)
    batching.send()
    batching.fund.clock.advance(days=3)
    assert resolve_orders(batching.ports) == {"nothing": 1}
    assert [kind for kind, *_ in batching.fund.breaks()] == ["undecided"]


def test_the_gateways_word_and_the_files_are_one_truth(batching: Batching) -> None:
    accounts = batching.owing(2)
    bank = batching.centre.channel
    batching.ask(bank)
    batching.send()
    batching.finish()
    batching.fund.clock.advance(days=1, hours=3)
    assert resolve_orders(batching.ports) == {"credited": 2}
    assert batching.fetch() == {"imported": 2, "settled": 1}
    assert [batching.balance_fen(each) for each in accounts] == [AMOUNT_FEN + SUBSIDY_FEN] * 2
    batching.check_books()
