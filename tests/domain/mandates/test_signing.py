"""Signing at a bank and at a wallet, calling it off, what is refused before it is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from app.domain.agreements.rules import Frequency, Terms
from app.domain.contributors.documents import DocumentKind
from app.domain.contributors.models import AccountStatus
from app.domain.deposits.rules import AccountNotUsable, IdempotencyKeyReused
from app.domain.errors import Conflict, Invalid, NotFound
from app.domain.mandates.models import Mandate
from app.domain.mandates.rules import (
    CapTooHigh,
    CardInvalid,
    CardNotTaken,
    CardOfAnother,
    CardRequired,
    MandateBeingSigned,
    MandatesNotOffered,
    MandateUndecided,
    NothingToDebit,
    SigningExpired,
    TooManyCodes,
    TooManyStarts,
    WrongCode,
)
from app.domain.mandates.signing import confirm_mandate, end_mandate, signing_action
from app.domain.personal_export import export_person
from app.domain.ports.mandates import Cycle, MandateStanding
from tests.builders import an_account
from tests.domain.agreements.conftest import CONTRIBUTOR, Desk, terms
from tests.domain.mandates.conftest import CARD, CARD_NO, Signing, a_signing
from tests.domain.people import eighteen
from tests.fund import Fund


def test_a_bank_sends_a_code_and_the_code_puts_the_mandate_in_force(signing: Signing) -> None:
    mandate_no = signing.start()
    seen = signing.see(mandate_no)
    assert (seen.state, seen.card_tail, seen.code_tries_left) == ("awaiting", "0128", 5)
    assert (seen.cap_fen, seen.period_cap_fen, seen.cycle) == (50_000, 50_000, "month")
    # Sixty months, counted from the first of this one.
    assert (seen.valid_from, seen.valid_to) == (date(2026, 11, 24), date(2031, 10, 31))
    request = signing.bank.kept[mandate_no].request
    assert request is not None
    assert request.card is not None
    assert request.card.card_no == CARD_NO
    assert request.first_due_on == date(2026, 12, 10)
    signing.confirm(mandate_no)
    seen = signing.see(mandate_no)
    assert (seen.state, seen.code_tries_left) == ("active", None)
    assert [change.to_state for change in seen.history] == ["sending", "awaiting", "active"]
    assert signing.row(mandate_no).reference == f"B-{mandate_no}"
    assert signing.fund.offences() == []


def test_a_wallet_is_handed_what_its_page_needs_and_tells_us_by_a_notice(signing: Signing) -> None:
    mandate_no = signing.start("wechat")
    action = signing_action(signing.ports, account_id=signing.account_id, mandate_no=mandate_no)
    assert action["contract_code"] == mandate_no
    signing.wechat.sign(mandate_no)
    assert signing.notify(signing.wechat.notice(mandate_no)) == "mandate_noted"
    assert signing.state(mandate_no) == "active"
    assert signing.notify(signing.wechat.notice(mandate_no)) == "duplicate"
    assert signing_action(signing.ports, account_id=signing.account_id, mandate_no=mandate_no) == {}


def test_the_same_request_again_is_the_same_mandate(signing: Signing) -> None:
    first = signing.start(request_key="the-same-key")
    assert signing.start(request_key="the-same-key") == first
    assert signing.fund.count(Mandate) == 1
    assert signing.bank.calls == [f"start:{first}"]
    with pytest.raises(IdempotencyKeyReused):
        signing.start(request_key="the-same-key", card=replace(CARD, phone="13900000000"))


def test_a_start_whose_answer_was_lost_is_begun_again_under_its_own_number(
    signing: Signing,
) -> None:
    signing.bank.trouble["start"] = ["lost_after"]
    first = signing.start(request_key="the-same-key")
    assert signing.state(first) == "unknown"
    assert signing.start(request_key="the-same-key") == first
    assert signing.state(first) == "awaiting"
    assert list(signing.bank.kept) == [first]


def test_while_it_is_unknown_nothing_is_signed_anew_and_nothing_called_off(
    signing: Signing,
) -> None:
    signing.bank.trouble["confirm"] = ["lost_after"]
    mandate_no = signing.start()
    signing.confirm(mandate_no)
    assert signing.state(mandate_no) == "unknown"
    for attempt in (
        lambda: signing.start(),
        lambda: signing.confirm(mandate_no),
        lambda: signing.end(mandate_no),
    ):
        with pytest.raises(MandateUndecided):
            attempt()
    assert signing.resolve(minutes=1) == {"active": 1}
    assert signing.bank.calls == [
        f"start:{mandate_no}",
        f"confirm:{mandate_no}",
        f"query:{mandate_no}",
    ]


def test_one_is_signed_at_a_time_at_a_channel(signing: Signing) -> None:
    first = signing.start()
    with pytest.raises(MandateBeingSigned):
        signing.start()
    signing.start("wechat")
    signing.end(first)
    assert signing.state(first) == "ended"
    signing.start()


def test_a_new_mandate_takes_the_place_of_the_one_in_force(signing: Signing) -> None:
    old, new = signing.active(), signing.active()
    assert signing.see(old).end_reason == "replaced"
    assert signing.state(old) == "ending"
    assert signing.resolve(minutes=1) == {"ended": 1}
    assert signing.state(old) == "ended"
    assert signing.bank.kept[old].standing is MandateStanding.ENDED
    assert signing.state(new) == "active"
    assert signing.fund.offences() == []


def test_ending_is_over_for_us_at_once_and_told_until_the_channel_answers(
    signing: Signing,
) -> None:
    mandate_no = signing.active()
    signing.bank.trouble["end"] = ["lost_before", "lost_before"]
    signing.end(mandate_no)
    signing.end(mandate_no)
    assert signing.state(mandate_no) == "ending"
    assert signing.resolve(minutes=1) == {"nothing": 1}
    assert signing.resolve(minutes=2) == {"ended": 1}
    seen = signing.see(mandate_no)
    assert (seen.state, seen.ended_by, seen.end_reason) == ("ended", "contributor", "asked")


def test_wrong_codes_are_counted_and_the_sixth_is_not_even_sent(signing: Signing) -> None:
    mandate_no = signing.start()
    for left in (4, 3, 2, 1):
        with pytest.raises(WrongCode) as refused:
            signing.confirm(mandate_no, "000000")
        assert refused.value.detail == {"field": "code", "tries_left": left}
    with pytest.raises(TooManyCodes):
        signing.confirm(mandate_no, "000000")
    asked = len(signing.bank.calls)
    with pytest.raises(TooManyCodes):
        signing.confirm(mandate_no)
    assert len(signing.bank.calls) == asked
    assert signing.state(mandate_no) == "awaiting"


def test_no_more_than_five_cards_a_day_are_checked_for_a_person(signing: Signing) -> None:
    for _ in range(5):
        signing.end(signing.start())
    with pytest.raises(TooManyStarts):
        signing.start()
    signing.start("wechat")
    signing.fund.clock.advance(days=1)
    signing.start()


def test_a_refused_card_says_nothing_of_why(signing: Signing) -> None:
    signing.bank.trouble["start"] = ["refused"]
    mandate_no = signing.start()
    seen = signing.see(mandate_no)
    assert (seen.state, seen.history[-1].reason) == ("failed", "签约未成功")
    signing.start()


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"card_no": "6222021234567890129"}, CardInvalid),
        ({"holder_name": "另一用户"}, CardOfAnother),
        ({"phone": "12345"}, Invalid),
        ({"document_kind": DocumentKind.RESIDENT_ID, "document_no": "1"}, Invalid),
        # Somebody else's: born on another day.
        (
            {
                "document_kind": DocumentKind.RESIDENT_ID,
                "document_no": eighteen("320722", date(1990, 5, 6)),
            },
            Invalid,
        ),
    ],
)
def test_a_card_that_cannot_be_the_persons_changes_nothing(
    signing: Signing, changed: dict[str, object], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        signing.start(card=replace(CARD, **changed))
    assert signing.fund.count(Mandate) == 0
    assert signing.bank.calls == []


def test_the_bank_is_told_the_document_that_it_knows(signing: Signing) -> None:
    permit = {"document_kind": DocumentKind.HK_MO_TRAVEL_PERMIT, "document_no": "h12345678"}
    mandate_no = signing.start(card=replace(CARD, **permit))
    request = signing.bank.kept[mandate_no].request
    assert request is not None
    assert request.card is not None
    assert (request.card.document_kind, request.card.document_no) == (
        "hk_mo_travel_permit",
        "H12345678",
    )


def test_a_channel_that_cannot_debit_so_much_is_refused_when_signing(signing: Signing) -> None:
    signing.wechat.cap_fen_max = 10_000
    with pytest.raises(CapTooHigh, match=r"微信支付每笔最多扣款 100\.00 元"):
        signing.start("wechat")
    with pytest.raises(MandatesNotOffered, match="支付宝暂未开通"):
        signing.start("alipay")
    with pytest.raises(CardRequired):
        signing.start(card=None)
    signing.wechat.cap_fen_max = None
    with pytest.raises(CardNotTaken):
        signing.start("wechat", card=CARD)
    assert signing.fund.count(Mandate) == 0


def test_without_debits_there_is_nothing_to_sign(fund: Fund) -> None:
    account_id = an_account(fund.ports)
    person = a_signing(fund, account_id)
    with pytest.raises(NothingToDebit, match="请先签订"):
        person.start()
    Desk(fund, account_id).sign(Terms(frequency=Frequency.FREE))
    with pytest.raises(NothingToDebit, match="自由缴存"):
        person.start()


def test_the_cap_is_what_the_largest_debit_ahead_needs(signing: Signing) -> None:
    Desk(signing.fund, signing.account_id).change(terms("quarterly", 120_000))
    seen = signing.see(signing.start())
    assert (seen.cap_fen, seen.cycle) == (120_000, Cycle.MONTH)


def test_a_higher_cap_may_be_chosen(signing: Signing) -> None:
    assert signing.see(signing.start(cap_fen=80_000)).cap_fen == 80_000


def test_a_frozen_account_signs_nothing(fund: Fund) -> None:
    person = a_signing(fund, an_account(fund.ports, status=AccountStatus.FROZEN))
    with pytest.raises(AccountNotUsable):
        person.start()


def test_the_time_to_sign_is_half_an_hour(signing: Signing) -> None:
    mandate_no = signing.start()
    signing.fund.clock.advance(minutes=30)
    with pytest.raises(SigningExpired):
        signing.confirm(mandate_no)
    assert signing.resolve() == {"failed": 1}
    with pytest.raises(Conflict):
        signing.confirm(mandate_no)
    signing.start()


def test_another_persons_mandate_is_as_one_that_does_not_exist(signing: Signing) -> None:
    mandate_no = signing.start()
    other = an_account(signing.ports)
    for number in (mandate_no, "M" + "9" * 31):
        with pytest.raises(NotFound):
            confirm_mandate(signing.ports, account_id=other, mandate_no=number, code="246810")
        with pytest.raises(NotFound):
            signing_action(signing.ports, account_id=other, mandate_no=number)
        with pytest.raises(NotFound):
            end_mandate(
                signing.ports, account_id=other, contributor_id=CONTRIBUTOR, mandate_no=number
            )
    assert signing.row(mandate_no).confirm_count == 0
    assert signing.state(mandate_no) == "awaiting"


def test_card_data_are_sealed_and_only_the_person_reads_them(signing: Signing) -> None:
    mandate_no = signing.start()
    row = signing.row(mandate_no)
    held = repr(row)
    assert CARD_NO not in held
    assert CARD.phone not in held
    assert CARD_NO.encode() not in row.payer
    assert CARD_NO not in repr(signing.wish())
    account = signing.fund.account(signing.account_id)
    exported = signing.ports.read(
        lambda session: export_person(
            session,
            signing.ports.vault,
            contributor_id=account.contributor_id,
            account_id=signing.account_id,
        )
    )
    assert exported["mandates"][0]["card"]["card_no"] == CARD_NO
