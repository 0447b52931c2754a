"""What channels say later: notices, questions, the daily comparison. In any order, one truth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from app.domain.base import table_of
from app.domain.mandates.models import Mandate
from app.domain.mandates.operations import MandateEffect, apply_mandate_answer
from app.domain.mandates.rules import Hearing
from app.domain.ports.mandates import EndedBy, MandateStanding
from tests.builders import an_account
from tests.domain.agreements.conftest import Desk, terms
from tests.domain.mandates.conftest import Signing, a_signing
from tests.fund import Fund
from tests.mandate_channel import answer_of

MANDATE = table_of(Mandate)


def test_a_wallet_page_that_nobody_opened_fails_at_its_deadline(signing: Signing) -> None:
    mandate_no = signing.start("wechat")
    assert signing.resolve(minutes=29) == {"nothing": 1}
    assert signing.resolve(minutes=1) == {"failed": 1}
    assert signing.see(mandate_no).history[-1].reason == "超过签约时限未完成"
    assert "end" not in {call.split(":")[0] for call in signing.wechat.calls}


def test_who_signs_late_has_a_mandate_even_if_the_notice_is_lost(signing: Signing) -> None:
    mandate_no = signing.start("wechat")
    signing.resolve(minutes=30)
    signing.wechat.sign(mandate_no)
    assert signing.resolve(days=1) == {"active": 1}
    assert signing.state(mandate_no) == "active"
    assert signing.row(mandate_no).next_query_at is None


def test_a_late_notice_is_asked_about_before_it_revives_anything(signing: Signing) -> None:
    mandate_no = signing.start("wechat")
    signing.resolve(minutes=30)
    signing.wechat.sign(mandate_no)
    assert signing.notify(signing.wechat.notice(mandate_no)) == "mandate_noted"
    assert signing.state(mandate_no) == "failed"
    assert signing.resolve() == {"active": 1}


def test_who_signs_late_after_signing_a_newer_one_keeps_the_newer(signing: Signing) -> None:
    old = signing.start("wechat")
    signing.resolve(minutes=30)
    new = signing.active("wechat")
    signing.wechat.sign(old)
    signing.notify(signing.wechat.notice(old))
    assert signing.resolve() == {"ended": 1}
    assert signing.wechat.kept[old].standing is MandateStanding.ENDED
    assert signing.see(old).end_reason == "replaced"
    assert signing.state(new) == "active"
    assert signing.breaks() == []


def test_a_signing_that_was_called_off_and_then_signed_is_ended_at_the_channel(
    signing: Signing,
) -> None:
    mandate_no = signing.start("wechat")
    signing.end(mandate_no)
    assert signing.state(mandate_no) == "ended"
    signing.wechat.sign(mandate_no)
    signing.wechat.trouble["end"] = ["lost_before"]
    assert signing.resolve(days=1) == {"nothing": 1}
    assert signing.resolve(hours=1) == {"ended": 1}
    assert signing.wechat.kept[mandate_no].standing is MandateStanding.ENDED
    assert signing.state(mandate_no) == "ended"
    assert signing.breaks() == []
    assert signing.row(mandate_no).next_query_at is None


def test_the_person_ends_it_in_the_wallet(signing: Signing) -> None:
    mandate_no = signing.active("wechat")
    signing.wechat.unsign(mandate_no)
    body = signing.wechat.notice(mandate_no)
    assert signing.notify(body) == "mandate_noted"
    seen = signing.see(mandate_no)
    assert (seen.state, seen.end_reason) == ("ended", "ended_at_channel")
    assert signing.notify(body) == "duplicate"


def test_an_older_notice_does_not_revive_what_has_ended(signing: Signing) -> None:
    mandate_no = signing.active("wechat")
    signed = signing.wechat.notice(mandate_no)
    signing.wechat.unsign(mandate_no)
    signing.notify(signing.wechat.notice(mandate_no))
    assert signing.notify(signed) == "mandate_noted"
    assert signing.state(mandate_no) == "ended"
    assert signing.resolve() == {"nothing": 1}
    assert signing.state(mandate_no) == "ended"
    assert signing.breaks() == []


def test_a_notice_that_it_is_suspended_is_asked_about(signing: Signing) -> None:
    mandate_no = signing.active("wechat")
    assert signing.notify(signing.wechat.notice(mandate_no, "suspended")) == "mandate_noted"
    assert signing.state(mandate_no) == "active"
    signing.wechat.kept[mandate_no].standing = MandateStanding.SUSPENDED
    assert signing.resolve() == {"suspended": 1}
    assert signing.row(mandate_no).slot.value == "active"
    assert signing.compare() == {"same": 1}
    signing.wechat.kept[mandate_no].standing = MandateStanding.ACTIVE
    assert signing.compare() == {"active": 1}


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"mandate_no": "M" + "9" * 31}, "unknown_mandate"),
        ({"mandate_no": "x" * 200}, "unknown_mandate"),
        ({"reference": "another"}, "mandate_mismatch"),
    ],
)
def test_a_notice_about_another_mandate_changes_nothing_and_is_kept(
    signing: Signing, changed: dict[str, str], kind: str
) -> None:
    mandate_no = signing.active("wechat")
    before = signing.row(mandate_no)
    body = signing.wechat.notice(mandate_no, "ended", **changed)
    assert signing.notify(body) == "mismatch"
    assert signing.notify(body) == "mismatch"
    assert signing.row(mandate_no) == before
    assert signing.breaks() == [kind]


def test_a_notice_of_another_channel_changes_nothing(signing: Signing) -> None:
    mandate_no = signing.active("wechat")
    assert signing.notify(signing.wechat.notice(mandate_no, "ended"), channel="bank") == "mismatch"
    assert signing.state(mandate_no) == "active"


def test_a_reference_of_another_mandate_is_not_taken(signing: Signing) -> None:
    taken = signing.row(signing.active("wechat")).reference
    mandate_no = signing.start("wechat")
    signing.wechat.sign(mandate_no)
    body = signing.wechat.notice(mandate_no, reference=taken)
    assert signing.notify(body) == "mismatch"
    assert signing.state(mandate_no) == "awaiting"
    assert signing.resolve(minutes=1) == {"active": 1}


def test_who_signs_with_somebody_elses_wallet_has_no_mandate(signing: Signing) -> None:
    mandate_no = signing.start("wechat")
    signing.wechat.sign(mandate_no, payer_ref="somebody else")
    assert signing.notify(signing.wechat.notice(mandate_no)) == "mismatch"
    assert signing.state(mandate_no) == "awaiting"
    assert signing.resolve() == {
        "ended": 1,
    }
    assert signing.see(mandate_no).end_reason == "other_signer"
    assert signing.wechat.kept[mandate_no].standing is MandateStanding.ENDED
    assert signing.breaks() == ["mandate_mismatch"]


def test_an_active_mandate_without_its_number_is_asked_about_again(signing: Signing) -> None:
    mandate_no = signing.start("wechat")
    signing.wechat.sign(mandate_no)
    assert signing.notify(signing.wechat.notice(mandate_no, reference=None)) == "mandate_noted"
    assert signing.state(mandate_no) == "awaiting"
    assert signing.resolve() == {"active": 1}


def test_an_answer_to_a_question_put_before_the_last_move_is_asked_again(signing: Signing) -> None:
    mandate_no = signing.active("wechat")
    asked_at = signing.row(mandate_no).move_count
    signing.wechat.unsign(mandate_no)
    signing.notify(signing.wechat.notice(mandate_no))
    late = answer_of(mandate_no, MandateStanding.ACTIVE, reference=f"W-{mandate_no}")
    assert apply(signing, late, asked_at_move=asked_at) is MandateEffect.NOTHING
    assert signing.state(mandate_no) == "ended"
    assert signing.breaks() == []


def test_the_comparison_finds_what_the_channel_ended(signing: Signing) -> None:
    gone, kept = signing.active("wechat"), signing.active("bank")
    signing.wechat.unsign(gone, EndedBy.EXPIRY)
    assert signing.compare() == {"ended": 1, "same": 1}
    seen = signing.see(gone)
    assert (seen.ended_by, seen.end_reason) == ("expiry", "expired")
    assert signing.state(kept) == "active"
    assert signing.compare() == {"same": 1}


def test_what_nobody_can_explain_is_for_staff_and_stays(signing: Signing) -> None:
    mandate_no = signing.active("wechat")
    del signing.wechat.kept[mandate_no]
    assert signing.compare() == {"contradicted": 1}
    assert signing.compare() == {"contradicted": 1}
    assert signing.state(mandate_no) == "active"
    assert signing.breaks() == ["mandate_drift"]


def test_a_comparison_without_an_answer_changes_nothing(signing: Signing) -> None:
    mandate_no = signing.active("wechat")
    signing.wechat.trouble["query"] = ["lost_before"]
    assert signing.compare() == {"no_answer": 1}
    assert signing.state(mandate_no) == "active"


def test_trouble_of_our_own_keeps_no_other_mandate_waiting(signing: Signing) -> None:
    signing.active("bank")
    signing.active("wechat")
    mandating = {"wechat": signing.wechat}
    channels = replace(signing.ports.channels, mandating=mandating)
    signing.fund.ports = replace(signing.ports, channels=channels)
    assert signing.compare() == {"error": 1, "same": 1}


def test_a_mandate_past_its_last_day_is_ended_at_the_channel(signing: Signing) -> None:
    mandate_no = signing.active()
    signing.fund.clock.advance(days=1803)  # 1 November 2031
    assert signing.compare() == {"expired": 1}
    assert signing.resolve(minutes=1) == {"ended": 1}
    assert signing.see(mandate_no).ended_by == "expiry"


def test_what_stays_undecided_for_a_day_is_shown_to_staff(signing: Signing) -> None:
    mandate_no = signing.start()
    signing.bank.trouble["confirm"] = ["lost_before"]
    signing.confirm(mandate_no)
    signing.bank.trouble["query"] = ["lost_before"] * 3
    assert signing.resolve(hours=12) == {"nothing": 1}
    assert signing.breaks() == []
    assert signing.resolve(hours=13) == {"nothing": 1}
    assert signing.breaks() == ["undecided"]
    assert signing.state(mandate_no) == "unknown"


def test_a_channel_that_revives_what_it_ended_is_for_staff_and_ended_again(
    signing: Signing,
) -> None:
    mandate_no = signing.active("wechat")
    signing.wechat.unsign(mandate_no)
    signing.compare()
    signing.wechat.kept[mandate_no].standing = MandateStanding.ACTIVE
    signing.notify(signing.wechat.notice(mandate_no))
    assert signing.resolve() == {"ended": 1}
    assert signing.breaks() == ["mandate_drift"]
    assert signing.wechat.kept[mandate_no].standing is MandateStanding.ENDED


def test_the_database_refuses_two_in_force(signing: Signing) -> None:
    signing.active()
    second = signing.start()
    forced = {"state": "active", "slot": "active", "reference": "x", "activated_at": None}
    for values in (forced, {**forced, "activated_at": signing.ports.now()}):
        with pytest.raises(DBAPIError):
            signing.ports.transact(
                lambda session, values=values: session.execute(
                    update(MANDATE).where(MANDATE.c.mandate_no == second).values(**values)
                )
            )


def test_a_state_without_its_history_is_an_offence(signing: Signing) -> None:
    mandate_no = signing.active()
    signing.ports.transact(
        lambda session: session.execute(update(MANDATE).values(state="suspended"))
    )
    assert [(o.kind, o.where) for o in offences(signing)] == [
        ("mandate_differs_from_history", mandate_no)
    ]


SAYINGS = st.lists(
    st.tuples(
        st.sampled_from(list(MandateStanding)),
        st.sampled_from(list(Hearing)),
        st.booleans(),
        st.sampled_from(["own", "other", None]),
        st.integers(0, 1),
    ),
    max_size=12,
)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(SAYINGS)
def test_whatever_is_said_in_whatever_order_the_books_stay_whole(fund: Fund, sayings) -> None:
    """Two mandates of one person, and answers that nobody would send: no slot is held twice, no
    mandate that has ended comes back, and every move is written down."""
    account_id = an_account(fund.ports)
    Desk(fund, account_id).sign(terms())
    person = a_signing(fund, account_id)
    numbers = [person.active("wechat"), person.start("wechat")]
    ended: set[str] = set()
    for standing, hearing, stale, reference, which in sayings:
        number = numbers[which]
        named = {"own": f"W-{number}", "other": f"W-{numbers[1 - which]}", None: None}[reference]
        move_count = person.row(number).move_count
        apply(
            person,
            answer_of(number, standing, reference=named),
            hearing=hearing,
            asked_at_move=move_count - stale,
        )
        states = {each: person.state(each) for each in numbers}
        assert not [each for each in ended if states[each] != "ended"]
        ended |= {each for each in numbers if states[each] == "ended"}
        assert len([s for s in states.values() if s in {"active", "suspended"}]) <= 1
    assert offences(person) == []


def apply(
    signing: Signing, answer, *, hearing: Hearing = Hearing.QUERY, asked_at_move: int
) -> MandateEffect:
    ports = signing.ports
    return ports.transact(
        lambda session: apply_mandate_answer(
            session,
            ports.vault,
            channel="wechat",
            answer=answer,
            hearing=hearing,
            asked_at_move=asked_at_move,
            now=ports.now(),
        )
    )


def offences(signing: Signing):
    return signing.fund.offences()
