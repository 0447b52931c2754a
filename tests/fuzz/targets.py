"""The parsers, what each may raise, and what must be true when it accepts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from werkzeug.exceptions import BadRequest

from app.domain.ports.callbacks import CallbackRejected, ChannelEvent, EventTopic, RawCallback
from app.domain.ports.debits import AskedLine, BatchFileRefused, LineResult
from app.domain.ports.outcomes import OutcomeKind
from app.payments.bank.callbacks import CallbackReader
from app.payments.bank.files.reading import AnswerReader, read_results
from app.payments.reasons import ReasonTable
from app.payments.values import Unreadable
from app.payments.wechat.envelope import read_fields
from app.platforms.alipay.answers import parse_node, split_members
from app.routes.json import loads
from config.reason_files import load_reasons
from tests.fuzz import by_hand
from tests.payments import alipay_hand, wechat_hand
from tests.payments.bank import batch, files_hand

CORPUS = Path(__file__).parent / "corpus"
FORM = "application/x-www-form-urlencoded"

_wechat, _alipay = wechat_hand.channel(), alipay_hand.channel()
_alipay_key = load_pem_public_key(alipay_hand.VECTORS["keys"]["alipay_public"].encode())


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        read: the product.
        declared: all that it may raise.
        check: fails if what was accepted may not be, or says something else.
        tokens: what its format is made of, to be thrown in.
    """

    read: Callable[[bytes], Any]
    declared: type[Exception] | tuple[type[Exception], ...]
    check: Callable[[bytes, Any], None]
    tokens: tuple[bytes, ...] = ()


def accepts(target: Target, data: bytes) -> bool:
    """Return whether the parser takes it; fail if it does what it may not."""
    try:
        found = target.read(data)
    except target.declared:
        return False
    target.check(data, found)
    return True


def seeds_of(name: str) -> dict[str, bytes]:
    """Return the messages that are kept for a parser."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / name).iterdir())}


# -- WeChat -----------------------------------------------------------------------------------


def _check_xml(data: bytes, found: dict[str, str]) -> None:
    assert len(data) <= 64 * 1024
    assert found == by_hand.read_xml(data)


def _wechat_event(data: bytes) -> ChannelEvent:
    return _wechat.read_callback(
        RawCallback(endpoint="payment", content_type="text/xml", headers={}, body=data)
    )


def _check_wechat(data: bytes, event: ChannelEvent) -> None:
    fields = by_hand.read_xml(data)
    sign = fields.pop("sign")
    assert sign == wechat_hand.md5(fields)
    assert not any(re.search(r"&[A-Za-z_]\w*=", value, re.ASCII) for value in fields.values())
    assert (fields["appid"], fields["mch_id"]) == (wechat_hand.APP_ID, wechat_hand.MERCHANT)
    assert not fields.get("sub_mch_id")
    assert not {"req_info", "out_refund_no"} & fields.keys()
    outcome = event.outcome
    assert event.topic is EventTopic.PAYMENT
    assert outcome is not None
    assert outcome.number == fields["out_trade_no"]
    if outcome.kind is OutcomeKind.ACCEPTED:
        assert fields["result_code"] == "FAIL"
        return
    assert outcome.kind is OutcomeKind.SUCCEEDED
    codes = fields["return_code"], fields["result_code"], fields["trade_type"]
    assert codes == ("SUCCESS", "SUCCESS", "JSAPI")
    assert fields.get("fee_type", "") in ("", "CNY")
    amounts = [fields["total_fee"]]
    amounts += [fields["settlement_total_fee"]] if fields.get("settlement_total_fee") else []
    assert all(re.fullmatch("[1-9][0-9]*", amount) for amount in amounts)
    assert outcome.amount_fen == min(map(int, amounts))
    assert outcome.reference == fields["transaction_id"]


def _signed_wechat(data: bytes) -> bytes:
    """A notice with these fields in place of its own, signed after that."""
    return wechat_hand.signed(wechat_hand.notice(**_fields(data)))


# -- Alipay -----------------------------------------------------------------------------------


def _alipay_event(data: bytes) -> ChannelEvent:
    return _alipay.read_callback(
        RawCallback(endpoint="payment", content_type=FORM, headers={}, body=data)
    )


def _check_alipay(data: bytes, event: ChannelEvent) -> None:
    sent = by_hand.read_form(data)
    assert sent["sign_type"] == b"RSA2"
    assert any(_is_signed(sent, left_out) for left_out in ({"sign", "sign_type"}, {"sign"}))
    assert sent["app_id"].decode() == alipay_hand.APP_ID
    if event.topic is EventTopic.IGNORED:
        assert event.outcome is None
        return
    assert sent["seller_id"].decode() == alipay_hand.SELLER
    assert sent["notify_type"] == b"trade_status_sync"
    outcome = event.outcome
    assert outcome is not None
    gone_back = sent.get("refund_fee", b"") not in (b"", b"0.00")
    of_refund = gone_back or bool(sent.get("gmt_refund") or sent.get("out_biz_no"))
    assert (event.topic is EventTopic.REFUND) == of_refund
    if of_refund:
        assert outcome.kind is OutcomeKind.ACCEPTED
        assert outcome.number.encode() == sent["out_biz_no"]
        return
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert sent["trade_status"] in (b"TRADE_SUCCESS", b"TRADE_FINISHED")
    assert outcome.number.encode() == sent["out_trade_no"]
    yuan, _, fen = sent["total_amount"].decode().partition(".")
    assert re.fullmatch("0|[1-9][0-9]*", yuan, re.ASCII)
    assert re.fullmatch("[0-9]{2}", fen, re.ASCII)
    assert outcome.amount_fen == int(yuan + fen) > 0


def _is_signed(sent: Mapping[str, bytes], left_out: set[str]) -> bool:
    text = b"&".join(
        name.encode() + b"=" + sent[name] for name in sorted(sent) if name not in left_out
    )
    signature = alipay_hand.base64.b64decode(sent["sign"], validate=True)
    try:
        _alipay_key.verify(signature, text, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _signed_alipay(data: bytes) -> bytes:
    return alipay_hand.signed(alipay_hand.notice(**_fields(data)))


def _fields(data: bytes) -> dict[str, str]:
    """Read `name=value` lines; a NUL ends what nobody can sign."""
    fields = {}
    for line in data.decode("utf-8", "replace").split("\n"):
        name, _, value = line.partition("=")
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]{0,63}", name, re.ASCII) and name != "sign":
            fields[name] = value
    return fields


# -- The bank ---------------------------------------------------------------------------------

_reasons = ReasonTable(load_reasons("bank"))
# Signatures in headers are broken elsewhere; what has been kept is read without them.
_bank = CallbackReader(
    merchant_id=files_hand.CORP,
    base_url="https://gjj.example.org/callbacks/bank/",
    seals=None,  # type: ignore[arg-type]
    reasons=_reasons,
)
_RESULTS_NAME = f"DKR_{files_hand.CORP}_20261124_0001.txt"
_ASKED = {"D2026112400000001": 10000, "D2026112400000002": 20000}


def _bank_event(data: bytes) -> ChannelEvent:
    endpoint = "mandate" if b"mandate.changed" in data else "payment"
    return _bank.read(
        RawCallback(endpoint=endpoint, content_type="", headers={}, body=data, is_kept=True)
    )


def _check_bank(data: bytes, event: ChannelEvent) -> None:
    said = by_hand.read_json(by_hand.decode_json(data), _unique)
    assert said["merchant_id"] == files_hand.CORP
    if event.topic is EventTopic.MANDATE:
        assert said["event"] == "mandate.changed"
        assert event.mandate is not None
        assert event.mandate.mandate_no == said["agreement_no"]
        assert event.mandate.raw_code == said["state"]
        return
    assert (event.topic is EventTopic.PAYMENT) == (said.get("event") == "debit.result")
    outcome = event.outcome
    if outcome is None:
        return
    assert outcome.number == said["order_no"]
    assert type(said["actual_fen"]) is type(said["amount_fen"]) is int
    assert 0 <= said["actual_fen"] <= said["amount_fen"]
    assert (outcome.amount_fen or 0) == said["actual_fen"]
    if outcome.kind is OutcomeKind.SUCCEEDED:
        assert (said["state"], said["orig_code"] in ("00", "A6")) == ("SUCCEEDED", True)
        assert said["actual_fen"] > 0
    if outcome.kind is OutcomeKind.FAILED:
        assert (said["state"], said["actual_fen"]) == ("FAILED", 0)


def _bank_results(data: bytes) -> list[LineResult]:
    head = batch.head(2, 30000)
    file, content = files_hand.of_bank(_RESULTS_NAME, data)
    reader = AnswerReader(files_hand.standard(), files_hand.KEYS, "results", file, content, head)
    places = {number: place for place, number in enumerate(_ASKED, 1)}
    found = read_results(
        reader,
        _reasons,
        head,
        lambda numbers: {
            each: AskedLine(place=places[each], amount_fen=_ASKED[each])
            for each in numbers
            if each in _ASKED
        },
    )
    return list(found.lines())


def _check_results(data: bytes, found: list[LineResult]) -> None:
    *rows, rest = data.decode("gb18030").split("\r\n")
    first, *details, last = (row.split("|") for row in rows)
    assert rest == ""
    assert first[:4] == ["H", "DKR", "20261124", "0001"]
    assert first[6:] == ["CNY", files_hand.CORP, "1.0"]
    taken = [int(detail[5]) for detail in details]
    totals = [str(len(details)), str(sum(taken))]
    assert first[4:6] == last[1:3] == totals
    before = data[: data.rindex(b"T|")]
    assert last == ["T", *totals, files_hand.sm3(before)]
    numbers = [detail[2] for detail in details]
    assert len(set(numbers)) == len(numbers)
    assert [each.outcome.number for each in found] == numbers
    for each, fen, detail in zip(found, taken, details, strict=True):
        assert fen in (0, _ASKED[each.outcome.number])
        assert (each.outcome.kind is OutcomeKind.SUCCEEDED) == (detail[3] in ("00", "A6"))
        assert (each.outcome.amount_fen or 0) == fen


# -- JSON -------------------------------------------------------------------------------------


def _answer(data: bytes) -> tuple[dict[str, str], list[Any]]:
    members = split_members(data.decode("utf-8"))
    return members, [parse_node(text) for text in members.values() if text.startswith("{")]


def _check_answer(data: bytes, found: tuple[dict[str, str], list[Any]]) -> None:
    members, nodes = found
    outermost = by_hand.read_json(by_hand.decode_json(data), lambda pairs: pairs)
    # Whoever signs, signs the characters of the members as they stand.
    assert [(name, raw) for name, raw, _ in outermost] == list(members.items())
    said = [raw for raw in members.values() if raw.startswith("{")]
    assert [by_hand.read_json(raw, _unambiguous) for raw in said] == nodes


def _unambiguous(pairs: by_hand.Pairs) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, _, value in pairs:
        if name in found and found[name] != value:
            raise by_hand.No
        found[name] = value
    return found


def _check_strict(data: bytes, found: Any) -> None:
    assert found == by_hand.read_json(by_hand.decode_json(data), _unique)
    assert by_hand.depth_of(found) <= 10


def _unique(pairs: by_hand.Pairs) -> dict[str, Any]:
    found = {name: value for name, _, value in pairs}
    if len(found) != len(pairs):
        raise by_hand.No
    return found


_XML = (
    b"<xml>",
    b"</xml>",
    b"<![CDATA[",
    b"]]>",
    b"<!DOCTYPE xml [",
    b'<!ENTITY a "b">',
    b"&a;",
    b"&amp;",
    b"&#38;",
    b"&#x0;",
    b"<!-- -->",
    b"<?x?>",
    b'<?xml version="1.0" encoding="utf-16"?>',
    b"<total_fee>1</total_fee>",
    b"<a/>",
    b' a="1"',
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x00",
    b"\r",
    "\u2028".encode(),
)
_JSON = (
    *(b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b'"a":', b"null", b"NaN", b"Infinity"),
    *(b"1e999", b"-0", b"1" * 30, b"\\ud800", b"\\u0000", b"\\/", b'"sign":"', b"\xef\xbb\xbf"),
    *(b"\xed\xa0\x80", b"/*", b"\x00", b"\t", b"true", b"1.0", "１".encode()),
)
_FORM = (
    *(b"&", b"=", b"%", b"+", b"%26", b"%3D", b"%00", b"%ff", b";", b"sign_type=RSA", b"\xff"),
    *(b"&total_amount=0.01", b"&refund_fee=1.00", b"&out_biz_no=R1", b"&charset=GBK", b"%u0041"),
)
_FIELDS = (
    *(b"\ntotal_fee=", b"\ntotal_amount=", b"\nresult_code=FAIL", b"\nsettlement_total_fee=1"),
    *(b"\nfee_type=USD", b"\nsub_mch_id=1", b"\ntrade_status=TRADE_CLOSED", b"\nrefund_fee=1.00"),
    *(b"\nout_biz_no=R1", b"\ngmt_refund=x", b"\ncharset=GBK", b"&total_fee=1", b"&a=b", b"0.00"),
    *(b"\nreq_info=", b"\nout_refund_no=R1", b"45.00", b"4500", b"\xc3\xa9", b"]]>", b"-1", b"1e3"),
)

_NOTICE = (
    *_JSON,
    *(b'"FAILED"', b'"SUCCEEDED"', b'"PROCESSING"', b'"00"', b'"64"', b'"42"', b"50000", b"50001"),
    *(b'"actual_fen": ', b'"state": ', b'"orig_code": ', b"true", b"1.0", b"mandate.changed"),
)
_RESULTS = (
    *(
        b"|",
        b"\r\n",
        b"\n",
        b"\r",
        b"T|",
        b"D|",
        b"H|",
        b"|00|",
        b"|64|",
        b"|42|",
        b"\x81\x30\x81\x30",
    ),
    *(b"10000", b"20000", b"0", b"D2026112400000001", b"D2026112400000002", b"\xff", b"\x8f\x7c"),
)

TARGETS = {
    "wechat_xml": Target(read_fields, Unreadable, _check_xml, _XML),
    "wechat_notice": Target(_wechat_event, CallbackRejected, _check_wechat, _XML),
    "wechat_fields": Target(
        lambda data: _wechat_event(_signed_wechat(data)),
        CallbackRejected,
        lambda data, event: _check_wechat(_signed_wechat(data), event),
        _FIELDS,
    ),
    "alipay_form": Target(_alipay_event, CallbackRejected, _check_alipay, _FORM),
    "alipay_fields": Target(
        lambda data: _alipay_event(_signed_alipay(data)),
        CallbackRejected,
        lambda data, event: _check_alipay(_signed_alipay(data), event),
        _FIELDS,
    ),
    "alipay_answer": Target(_answer, (ValueError, RecursionError), _check_answer, _JSON),
    "bank_notice": Target(_bank_event, CallbackRejected, _check_bank, _NOTICE),
    "bank_results": Target(_bank_results, BatchFileRefused, _check_results, _RESULTS),
    "strict_json": Target(loads, BadRequest, _check_strict, _JSON),
}
