"""What the bank answers: in part, twice, late, not at all, forged, or for somebody else."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from app.domain.base import table_of
from app.domain.inquiries.operations import resolve_orders
from app.domain.ledger.models import JournalEntry
from app.domain.ports.debits import DebitRequest
from sandbox.bank import server
from sandbox.bank.accounts import Rules
from tests.domain.agreements.conftest import Desk
from tests.domain.debit_batches.conftest import (
    AMOUNT_FEN,
    MANDATE,
    SUBSIDY_FEN,
    Batching,
    with_digest,
)
from tests.fund import in_shanghai


def test_some_fail_and_are_tried_again_in_the_next_file(batching: Batching) -> None:
    accounts = batching.owing(3)
    for code in ("64", "61"):
        batching.trouble("file/line", "refuse", code=code)
    batching.go_round()
    assert batching.batch().state == "settled"
    assert batching.order_states() == ["failed", "failed", "succeeded"]
    assert batching.files_seen()[-1][2] == (
        "结果 3 笔：成功 1 笔 500.00 元，失败 2 笔，待定 0 笔 0.00 元；批次中未提及 0 笔"
    )
    poor, closed, paid = (batching.instruction(each) for each in accounts)
    assert (poor.state, poor.reason, f"{poor.next_attempt_on}") == (
        *("scheduled", "insufficient_funds", "2026-11-25"),
    )
    assert (closed.state, closed.reason) == ("missed", "account_invalid")
    assert paid.state == "succeeded"

    batching.at(in_shanghai(2026, 11, 25, 10))
    batching.go_round()
    assert batching.order_states(accounts[0]) == ["failed", "succeeded"]
    assert [batching.balance_fen(each) for each in accounts] == [
        *(AMOUNT_FEN + SUBSIDY_FEN, 0, AMOUNT_FEN + SUBSIDY_FEN),
    ]
    batching.check_books()


def test_the_acknowledgement_is_lost_and_comes_after_the_results(batching: Batching) -> None:
    batching.owing(2)
    batching.trouble("file/ack", "drop")
    batching.send()
    assert batching.fetch() == {}
    batching.finish()
    assert batching.fetch() == {"imported": 1, "settled": 1}
    batching.release()
    assert batching.fetch() == {"imported": 1}
    assert (batching.batch().state, batching.order_states()) == ("settled", ["succeeded"] * 2)
    batching.check_books()


def test_the_same_results_twice_credit_once(batching: Batching) -> None:
    accounts = batching.owing(2)
    batching.trouble("file/line", "refuse", code="64")
    batching.trouble("file/result", "duplicate")
    batching.go_round()
    assert [(name, result) for name, result, _ in batching.files_seen()][1:] == [
        (batching.answer_name(), "imported"),
        (batching.answer_name(tail="_2"), "imported"),
    ]
    assert batching.order_states() == ["failed", "succeeded"]
    assert batching.instruction(accounts[0]).attempt_count == 1
    assert batching.balance_fen(accounts[1]) == AMOUNT_FEN + SUBSIDY_FEN
    assert batching.fund.breaks() == []
    batching.check_books()


def test_a_line_that_is_missing_stays_open_until_it_comes(batching: Batching) -> None:
    batching.owing(3)
    batching.trouble("file/result", "partial", lines=1)
    batching.go_round()
    assert batching.batch().state == "accepted"
    assert batching.order_states() == ["succeeded", "succeeded", "awaiting_payment"]
    assert batching.files_seen()[-1][2].endswith("批次中未提及 1 笔")
    batching.fund.clock.advance(days=2, hours=3)
    resolve_orders(batching.ports)
    missing = batching.orders()[2]
    assert batching.fund.breaks() == [("undecided", missing.order_no, AMOUNT_FEN, None)]
    batching.release()
    assert batching.fetch() == {"imported": 1, "settled": 1}
    assert batching.order_states() == ["succeeded"] * 3
    batching.check_books()


def test_a_line_without_an_end_stays_open_and_is_not_asked_about_at_once(
    batching: Batching,
) -> None:
    """Code 42: taken, but not entered in the bank's books yet."""
    batching.owing(1)
    batching.trouble("file/line", "refuse", code="42")
    batching.go_round()
    [order] = batching.orders()
    assert (order.state, order.next_query_at) == ("unknown", batching.batch().results_due_at)
    assert batching.batch().state == "accepted"
    assert batching.files_seen()[-1][2].startswith(
        "结果 1 笔：成功 0 笔 0.00 元，失败 0 笔，待定 1 笔 500.00 元"
    )


FLAWS: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("bad_sign", {}), ("unsigned", {}), ("truncate", {}), ("alter", {})),
    *(("truncate", {"resigned": True}), ("alter", {"resigned": True})),
    *(("other_batch", {}), ("foreign", {}), ("repeat_line", {}), ("short_paid", {})),
)


def test_a_file_with_a_flaw_changes_nothing_and_is_told_once(batching: Batching) -> None:
    accounts = [batching.person() for _ in range(2)]
    for told, (kind, options) in enumerate(FLAWS, start=1):
        batching.owe(*accounts)
        batching.trouble("file/result", kind, **options)
        batching.send()
        batching.fetch()
        batching.finish()
        before = batching.orders()
        assert batching.fetch() == {"refused": 1}, kind
        assert batching.orders() == before
        assert batching.batch().state == "accepted"
        assert len(batching.fund.breaks()) == told
        kind_of_break, number, _, _ = batching.fund.breaks()[-1]
        assert (kind_of_break, number) == ("batch_file_refused", batching.answer_name())
        name, result, report = batching.files_seen()[-1]
        assert (name, result) == (batching.answer_name(), "refused")
        assert report.endswith("整份文件未采用")
    fetched = batching.files.count("fetch")
    assert batching.fetch() == {}
    assert batching.files.count("fetch") == fetched
    assert len(batching.fund.breaks()) == len(FLAWS)
    assert [batching.balance_fen(each) for each in accounts] == [0, 0]
    assert batching.fund.offences() == []


@pytest.mark.parametrize("kind", ["bad_sign", "alter"])
def test_what_was_refused_is_used_once_the_bank_has_put_it_right(
    batching: Batching, kind: str
) -> None:
    batching.owing(2)
    batching.trouble("file/result", kind)
    batching.go_round()
    name = batching.answer_name()
    content = (batching.outbox / name).read_bytes()
    if kind == "alter":
        right = batching.orders()[0].order_no.encode()
        at = content.index(b"|00000001|") + len(b"|00000001|")
        content = content[:at] + right + content[at + len(right) :]
    batching.publish(name, content)
    assert batching.fetch() == {"imported": 1, "settled": 1}
    assert {result for _, result, _ in batching.files_seen()[1:]} <= {"imported", "refused"}
    assert batching.files_seen()[-1][1] == "imported"
    batching.check_books()


def test_other_bytes_under_a_name_that_was_used_are_refused(batching: Batching) -> None:
    batching.owing(1)
    batching.go_round()
    name, keys = batching.answer_name(), batching.fund.posting_keys()
    content = (batching.outbox / name).read_bytes()
    batching.publish(name, content)  # The same again, at another time.
    assert batching.fetch() == {}
    batching.publish(name, content.replace(b"|00|", b"|64|"))
    assert batching.fetch() == {"refused": 1}
    assert "同名文件此前已采用" in batching.files_seen()[-1][2]
    assert [kind for kind, *_ in batching.fund.breaks()] == ["batch_file_refused"]
    assert batching.fund.posting_keys() == keys
    assert batching.order_states() == ["succeeded"]
    assert batching.fetch() == {}


def test_an_answer_to_a_batch_that_we_never_sent(batching: Batching) -> None:
    batching.owing(1)
    batching.go_round()
    content = (batching.outbox / batching.answer_name()).read_bytes()
    other = batching.answer_name().replace("_0001", "_0002")
    batching.publish(other, content, seconds_ago=60)
    assert batching.fetch() == {"refused": 1}
    assert "没有发出这一批次" in batching.files_seen()[-1][2]
    batching.owing(1)
    batching.go_round()
    assert batching.batch().state == "settled"


def test_results_of_a_day_to_come_are_refused(batching: Batching) -> None:
    batching.owing(1)
    batching.trouble("file/result", "bad_sign")
    batching.go_round()
    lines = (batching.outbox / batching.answer_name()).read_bytes().splitlines(keepends=True)
    detail = lines[1].replace(b"|20261124\r\n", b"|20261125\r\n")
    content = with_digest(lines[0] + detail, 1, AMOUNT_FEN)
    batching.publish(batching.answer_name(), content)
    assert batching.fetch() == {"refused": 1}
    assert "扣款日期 2026-11-25 不可能" in batching.files_seen()[-1][2]
    assert batching.order_states() == ["awaiting_payment"]


def test_the_money_counts_from_the_day_that_the_file_names(batching: Batching) -> None:
    batching.owing(1)
    batching.send()
    batching.fetch()
    batching.finish()
    batching.fund.clock.advance(days=1)
    batching.fetch()
    entry = table_of(JournalEntry)
    [deposit] = batching.rows(entry, entry.c.posting_key.startswith("deposit:"))
    days = (deposit.value_date.isoformat(), deposit.business_date.isoformat())
    assert days == ("2026-11-24", "2026-11-25")


def test_a_name_that_no_answer_has_is_told_once(batching: Batching) -> None:
    (batching.outbox / "DK_notes.err").write_text("?")
    assert batching.fetch() == {"odd": 1}
    assert batching.fetch() == {}
    assert batching.fund.breaks() == [("odd_bank_file", "DK_notes.err", None, None)]


# -- the whole file turned away --------------------------------------------------------------------


@pytest.fixture
def one_line_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bank that takes no longer file; must be asked for before `batching`."""
    monkeypatch.setattr(server, "Rules", partial(Rules, most_lines=1))


def test_a_rejected_batch_fails_and_goes_out_again_the_next_bank_day(
    one_line_at_most: None, batching: Batching
) -> None:
    accounts = batching.owing(2)
    batching.send()
    assert batching.fetch() == {"imported": 1}
    assert (batching.batch().state, batching.batch().raw_code) == ("rejected", "14")
    assert batching.order_states() == ["failed", "failed"]
    assert batching.files_seen()[-1][2].startswith("银行整批拒绝，2 笔 1,000.00 元均未扣款：14 ")
    for account_id in accounts:
        instruction = batching.instruction(account_id)
        assert (instruction.state, instruction.reason) == ("scheduled", "our_fault")
        assert f"{instruction.next_attempt_on}" == "2026-11-25"
    assert batching.send() == {}
    batching.at(in_shanghai(2026, 11, 25, 10))
    Desk(batching.fund, accounts[0]).end()
    assert batching.send()["collected"] == 1
    batching.fetch()
    batching.finish()
    assert batching.fetch() == {"imported": 1, "settled": 1}
    assert batching.order_states(accounts[1]) == ["failed", "succeeded"]
    assert [batch.state.value for batch in batching.batches()] == ["rejected", "settled"]
    batching.check_books()


def test_a_rejection_that_says_nothing_of_the_money_leaves_all_open(batching: Batching) -> None:
    """Code 12: one of the numbers was used before, and that debit may have gone through."""
    accounts = batching.owing(2)
    gateway, real = batching.centre.channel, batching.files

    class Hasty:
        """Somebody debits the second one beside the file."""

        def upload_batch(self, file: Any, content: Any) -> None:
            order = batching.orders(accounts[1])[0]
            [mandate] = batching.rows(MANDATE, MANDATE.c.id == order.mandate_id)
            gateway.submit_debit(
                DebitRequest(
                    order_no=order.order_no,
                    amount_fen=order.amount_fen,
                    description="缴存",
                    mandate_reference=mandate.reference,
                )
            )
            real.upload_batch(file, content)

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    batching.through(Hasty())
    batching.send()
    assert batching.fetch() == {"imported": 1}
    assert batching.batch().state == "uploaded"
    assert batching.order_states() == ["sending"] * 2
    assert batching.fund.breaks() == [
        ("batch_doubtful", "2026-11-24/0001", 2 * AMOUNT_FEN, None),
    ]
    batching.ask(gateway)
    batching.fund.clock.advance(days=1, hours=3)
    batching.centre.gateway.control("clock", advance_seconds=3600)
    assert resolve_orders(batching.ports) == {"nothing": 1, "credited": 1}
    assert batching.order_states() == ["sending", "succeeded"]


def test_words_that_contradict_each_other_are_refused(batching: Batching) -> None:
    batching.owing(1)
    batching.send()
    batching.fetch()
    name = batching.answer_name("DKA")
    content = (batching.outbox / name).read_bytes()
    rejection = _rejection(content)
    batching.publish(batching.answer_name("DKA", tail="_2"), rejection)
    assert batching.fetch() == {"refused": 1}
    assert "与此前的受理回执或结果矛盾" in batching.files_seen()[-1][2]
    assert (batching.batch().state, batching.order_states()) == ("accepted", ["awaiting_payment"])
    batching.finish()
    assert batching.fetch() == {"imported": 1, "settled": 1}
    batching.check_books()


def test_money_that_a_rejected_file_took_after_all_is_credited_and_told(
    batching: Batching,
) -> None:
    account_id = batching.owing(1)[0]
    batching.trouble("file/ack", "drop")
    batching.send()
    batching.release()
    name = batching.answer_name("DKA")
    batching.publish(name, _rejection((batching.outbox / name).read_bytes()))
    assert batching.fetch() == {"imported": 1}
    assert batching.order_states() == ["failed"]
    batching.finish()
    assert batching.fetch() == {"imported": 1}
    assert (batching.batch().state, batching.order_states()) == ("rejected", ["succeeded"])
    assert batching.balance_fen(account_id) == AMOUNT_FEN + SUBSIDY_FEN
    assert [kind for kind, *_ in batching.fund.breaks()] == ["late_debit"]
    batching.check_books()


def _rejection(acknowledgement: bytes) -> bytes:
    """Make a rejection of the bank's acceptance, in its own format."""
    header, detail, _ = acknowledgement.decode("gb18030").splitlines()
    fields = detail.split("|")
    fields[3:8] = ["REJECTED", "14", "文件有误", "0", "0"]
    heads = header.split("|")
    heads[4:6] = ["1", "0"]
    body = f"{'|'.join(heads)}\r\n{'|'.join(fields)}\r\n".encode("gb18030")
    return with_digest(body, 1, 0)
