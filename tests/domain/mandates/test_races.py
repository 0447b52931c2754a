"""The same mandate from several threads at once."""

from __future__ import annotations

from app.domain.mandates.models import Mandate
from app.domain.mandates.rules import MandateBeingSigned, MandateUndecided, TooManyCodes, WrongCode
from tests.domain.mandates.conftest import Signing
from tests.domain.people import at_once


def test_two_starts_at_once_are_one_mandate(signing: Signing) -> None:
    results = at_once(4, lambda _: signing.start())
    started = [result for result in results if isinstance(result, str)]
    assert len(started) == 1
    assert signing.fund.count(Mandate) == 1
    refused = [type(result) for result in results if not isinstance(result, str)]
    assert set(refused) <= {MandateBeingSigned, MandateUndecided}
    assert len(signing.bank.kept) == 1


def test_the_same_request_at_once_is_one_mandate(signing: Signing) -> None:
    wish = signing.wish(request_key="the-same-key")
    results = at_once(4, lambda _: signing.start(request_key=wish.request_key))
    assert set(results) == {results[0]}
    assert signing.fund.count(Mandate) == 1
    assert len(signing.bank.kept) == 1
    assert signing.state(str(results[0])) == "awaiting"


def test_confirming_at_once_puts_it_in_force_once(signing: Signing) -> None:
    mandate_no = signing.start()
    assert at_once(4, lambda _: signing.confirm(mandate_no)) == [None] * 4
    assert signing.state(mandate_no) == "active"
    assert [c.to_state for c in signing.see(mandate_no).history] == [
        "sending",
        "awaiting",
        "active",
    ]


def test_guesses_at_once_are_not_more_than_five(signing: Signing) -> None:
    mandate_no = signing.start()
    results = at_once(10, lambda _: signing.confirm(mandate_no, "000000"))
    assert {type(result) for result in results} == {WrongCode, TooManyCodes}
    assert len([call for call in signing.bank.calls if call.startswith("confirm")]) == 5


def test_a_notice_and_a_question_at_once_are_one_move(signing: Signing) -> None:
    mandate_no = signing.start("wechat")
    signing.wechat.sign(mandate_no)
    signing.fund.clock.advance(minutes=1)
    body = signing.wechat.notice(mandate_no)
    deeds = [lambda: signing.notify(body), lambda: signing.resolve(), lambda: signing.notify(body)]
    results = at_once(3, lambda position: deeds[position]())
    assert not [result for result in results if isinstance(result, Exception)]
    assert [c.to_state for c in signing.see(mandate_no).history] == [
        "sending",
        "awaiting",
        "active",
    ]
    assert signing.breaks() == []


def test_ending_while_the_channel_ends_it_is_one_end(signing: Signing) -> None:
    mandate_no = signing.active("wechat")
    signing.wechat.unsign(mandate_no)
    body = signing.wechat.notice(mandate_no)
    deeds = [lambda: signing.end(mandate_no), lambda: signing.notify(body)]
    at_once(2, lambda position: deeds[position]())
    signing.resolve(minutes=1)
    assert signing.state(mandate_no) == "ended"
    assert signing.fund.offences() == []
