"""Reason files and tables: a mistake in the data must stop the start, never a payment."""

from __future__ import annotations

import pytest

from app.domain.ports.outcomes import OutcomeKind, Reason
from app.payments.reasons import ReasonTable
from config.reason_files import ReasonFileError, load_reasons, parse_reasons

GOOD = """
source: 商户文档
calls:
  query_payment:
    ORDERNOTEXIST: [failed, not_found]
    "40004": [failed, our_fault]
"""


def test_a_good_file() -> None:
    rows = parse_reasons(GOOD, where="test")

    assert rows == {
        "query_payment": {
            "ORDERNOTEXIST": ("failed", "not_found"),
            "40004": ("failed", "our_fault"),
        }
    }
    with pytest.raises(TypeError):
        rows["query_payment"]["NEW"] = ("succeeded", "ok")  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "source: x",
        "source: x\ncalls: {}",
        "source: ''\ncalls: {a: {B: [failed, closed]}}",
        "source: x\ncalls: {a: {B: [failed, closed]}}\nmore: 1",
        "source: x\ncalls: {a: {}}",
        "source: x\ncalls: {A: {B: [failed, closed]}}",
        "source: x\ncalls: {a: {40004: [failed, closed]}}",
        "source: x\ncalls: {a: {NO: [failed, closed]}}",
        "source: x\ncalls: {a: {' B': [failed, closed]}}",
        "source: x\ncalls: {a: {B: failed}}",
        "source: x\ncalls: {a: {B: [failed]}}",
        "source: x\ncalls: {a: {B: [failed, closed, now]}}",
        "source: x\ncalls: {a: {B: [failed, true]}}",
        "source: x\ncalls: {a: {B: [FAILED, closed]}}",
        "source: x\ncalls: {a: {B: [failed, closed], B: [succeeded, ok]}}",
        "source: x\ncalls: {a: {B: [failed, closed]}, a: {C: [succeeded, ok]}}",
        "source: x\ncalls: {a: {[B]: [failed, closed]}}",
        "source: x\ncalls: !!python/object/apply:os.getcwd []",
        "source: [x",
    ],
)
def test_everything_but_the_documented_shape_is_refused(text: str) -> None:
    with pytest.raises(ReasonFileError):
        parse_reasons(text, where="test")


@pytest.mark.parametrize("channel", ["", "nobody", "../policy", "wechat.yaml", "WeChat"])
def test_only_a_known_channel_has_a_file(channel: str) -> None:
    with pytest.raises(ReasonFileError):
        load_reasons(channel)


def test_an_unlisted_code_is_unknown() -> None:
    table = ReasonTable(parse_reasons(GOOD, where="test"))

    assert table.lookup("query_payment", "ORDERNOTEXIST") == (
        OutcomeKind.FAILED,
        Reason.NOT_FOUND,
    )
    for call, code in (("query_payment", "NEW"), ("close_payment", "ORDERNOTEXIST"), ("", "")):
        assert table.lookup(call, code) == (OutcomeKind.UNKNOWN, Reason.UNLISTED)


@pytest.mark.parametrize("row", [("paid", "ok"), ("failed", "bad_luck")])
def test_words_that_the_ports_do_not_know_are_refused(row: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="query_payment: X"):
        ReasonTable({"query_payment": {"X": row}})


def test_wechat_codes_that_mean_money() -> None:
    """The only rows that can book money or end an order as closed."""
    rows = load_reasons("wechat")

    succeeded = {
        (call, code)
        for call, codes in rows.items()
        for code in codes
        if codes[code][0] == "succeeded"
    }

    assert succeeded == {
        ("trade_state", "SUCCESS"),
        ("trade_state", "REFUND"),
        ("close_payment", "ORDERCLOSED"),
        ("refund_status", "SUCCESS"),
        ("debit_state", "SUCCESS"),
        ("debit_state", "REFUND"),
        # 签约协议已解约: no money, and the contract is over.
        ("end_mandate", "CONTRACTERROR"),
    }
    ReasonTable(rows)


def test_wechat_questions_fail_only_on_a_verdict() -> None:
    rows = load_reasons("wechat")

    failed = {
        (call, code)
        for call in (
            *("query_payment", "close_payment", "query_refund"),
            *("query_mandate", "end_mandate", "submit_debit", "query_debit"),
        )
        for code, (kind, _) in rows[call].items()
        if kind == "failed"
    }

    assert failed == {
        ("query_mandate", "CONTRACT_NOT_EXIST"),
        ("end_mandate", "CONTRACT_NOT_EXIST"),
        ("submit_debit", "CONTRACT_NOT_EXIST"),
        ("submit_debit", "CONTRACTERROR"),
        ("query_debit", "ORDERNOTEXIST"),
        ("query_payment", "ORDERNOTEXIST"),
        ("close_payment", "ORDERPAID"),
        ("close_payment", "ORDERNOTEXIST"),
        ("query_refund", "REFUNDNOTEXIST"),
    }
