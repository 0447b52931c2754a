"""One person on two platforms sees one account; nobody gets at another's by guessing codes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from app.domain.base import table_of
from app.domain.contributors.models import Platform
from app.domain.contributors.operations import IdentityAlreadyBound, enrol
from app.domain.errors import NotFound
from app.domain.sessions.linking import (
    LinkCodeRefused,
    NotEnrolled,
    PlatformAlreadyLinked,
    TooManyLinkAttempts,
    issue_link_code,
    link_identity,
)
from app.domain.sessions.models import LinkAttempt, LinkCode
from app.domain.sessions.operations import log_in
from app.domain.sessions.queries import authenticate, openid_of
from tests.domain.people import FakeLogin, an_application, an_identity, at_once

WRONG = "22222222"


@pytest.fixture
def logins():
    return {"wechat": FakeLogin(), "alipay": FakeLogin()}


def who(ports, token):
    return ports.read(lambda session: authenticate(session, token, now=ports.now()))


@pytest.fixture
def owner(ports):
    """Somebody who enrolled on WeChat, as the caller of a request."""
    token = log_in(ports, platform="wechat", code="code-of-owner").token
    enrol(ports, identity_id=who(ports, token).identity_id, application=an_application())
    return who(ports, token)


@pytest.fixture
def on_alipay(ports):
    """The token of somebody new on Alipay."""
    return log_in(ports, platform="alipay", code="code-of-someone").token


def test_a_code_binds_the_second_platform_to_the_same_account(ports, owner, on_alipay):
    issued = issue_link_code(ports, caller=owner)
    identity_id = who(ports, on_alipay).identity_id
    contributor_id = link_identity(ports, identity_id=identity_id, code=issued.code)
    caller = who(ports, on_alipay)
    assert contributor_id == caller.contributor_id == owner.contributor_id
    assert caller.account_id == owner.account_id
    assert caller.platform is Platform.ALIPAY
    assert log_in(ports, platform="alipay", code="code-of-someone#2").enrolled
    subject = ports.read(lambda session: openid_of(session, ports.vault, contributor_id, "alipay"))
    assert subject == "someone"


def test_a_code_has_eight_clear_characters_and_no_copy_in_the_database(ports, owner):
    issued = issue_link_code(ports, caller=owner)
    assert re.fullmatch(r"[2-9A-HJKMNP-Z]{8}", issued.code)
    row = ports.read(lambda session: session.execute(select(table_of(LinkCode))).one())
    assert issued.code.encode() not in row.code_index
    assert issued.code not in repr(issued)


def test_a_code_may_be_typed_small_and_in_groups(ports, owner, on_alipay):
    code = issue_link_code(ports, caller=owner).code.lower()
    typed = f" {code[:4]}-{code[4:]} "
    link_identity(ports, identity_id=who(ports, on_alipay).identity_id, code=typed)
    assert who(ports, on_alipay).account_id == owner.account_id


def test_who_has_no_account_has_no_code_to_give(ports, on_alipay):
    with pytest.raises(NotEnrolled):
        issue_link_code(ports, caller=who(ports, on_alipay))


@pytest.mark.parametrize("code", ["", WRONG, "令牌", "x" * 10_000, "\ud800"])
def test_a_wrong_code_is_refused(ports, owner, on_alipay, code):
    issue_link_code(ports, caller=owner)
    with pytest.raises(LinkCodeRefused):
        link_identity(ports, identity_id=who(ports, on_alipay).identity_id, code=code)
    assert who(ports, on_alipay).contributor_id is None


def test_a_code_ends_after_ten_minutes(ports, clock, owner, on_alipay):
    code = issue_link_code(ports, caller=owner).code
    clock.advance(minutes=10)
    with pytest.raises(LinkCodeRefused):
        link_identity(ports, identity_id=who(ports, on_alipay).identity_id, code=code)


def test_a_code_works_once(ports, owner, on_alipay):
    code = issue_link_code(ports, caller=owner).code
    link_identity(ports, identity_id=who(ports, on_alipay).identity_id, code=code)
    other = an_identity(ports, "someone-else", Platform.ALIPAY)
    with pytest.raises(LinkCodeRefused):
        link_identity(ports, identity_id=other, code=code)


def test_a_new_code_ends_the_old_one(ports, owner, on_alipay):
    old = issue_link_code(ports, caller=owner).code
    new = issue_link_code(ports, caller=owner).code
    identity_id = who(ports, on_alipay).identity_id
    with pytest.raises(LinkCodeRefused):
        link_identity(ports, identity_id=identity_id, code=old)
    link_identity(ports, identity_id=identity_id, code=new)


def test_wrong_expired_and_used_codes_get_the_same_answer(ports, clock, owner):
    identities = [an_identity(ports, f"s-{number}", Platform.ALIPAY) for number in range(4)]
    used = issue_link_code(ports, caller=owner).code
    link_identity(ports, identity_id=identities[0], code=used)
    expired = issue_link_code(ports, caller=owner).code
    clock.advance(minutes=11)
    answers = set()
    for identity_id, code in zip(identities[1:], (used, expired, WRONG), strict=True):
        with pytest.raises(LinkCodeRefused) as refused:
            link_identity(ports, identity_id=identity_id, code=code)
        answers.add((refused.value.message, str(refused.value.detail)))
    assert len(answers) == 1


def test_after_five_wrong_codes_even_the_right_one_is_refused(ports, clock, owner, on_alipay):
    identity_id = who(ports, on_alipay).identity_id
    for _ in range(5):
        with pytest.raises(LinkCodeRefused):
            link_identity(ports, identity_id=identity_id, code=WRONG)
    code = issue_link_code(ports, caller=owner).code
    with pytest.raises(TooManyLinkAttempts):
        link_identity(ports, identity_id=identity_id, code=code)
    clock.advance(minutes=9, seconds=59)
    with pytest.raises(TooManyLinkAttempts):
        link_identity(ports, identity_id=identity_id, code=code)
    clock.advance(seconds=1)
    fresh = issue_link_code(ports, caller=owner).code
    link_identity(ports, identity_id=identity_id, code=fresh)


def test_the_window_slides(ports, clock, owner, on_alipay):
    identity_id = who(ports, on_alipay).identity_id
    for _ in range(5):
        clock.advance(minutes=1)
        with pytest.raises(LinkCodeRefused):
            link_identity(ports, identity_id=identity_id, code=WRONG)
    clock.advance(minutes=6)  # the first attempt is ten minutes old, the other four are not
    with pytest.raises(LinkCodeRefused):
        link_identity(ports, identity_id=identity_id, code=WRONG)
    with pytest.raises(TooManyLinkAttempts):
        link_identity(ports, identity_id=identity_id, code=WRONG)


def test_twelve_guesses_at_once_are_at_most_five_guesses(ports, owner, on_alipay):
    identity_id = who(ports, on_alipay).identity_id
    results = at_once(12, lambda _: link_identity(ports, identity_id=identity_id, code=WRONG))
    refused = [result for result in results if isinstance(result, LinkCodeRefused)]
    stopped = [result for result in results if isinstance(result, TooManyLinkAttempts)]
    assert len(refused) == 5, results
    assert len(refused) + len(stopped) == 12, results
    attempts = ports.read(
        lambda session: session.scalar(select(func.count()).select_from(LinkAttempt))
    )
    assert attempts == 5


def test_four_at_once_with_one_code_bind_one(ports, owner):
    identities = [an_identity(ports, f"s-{number}", Platform.ALIPAY) for number in range(4)]
    code = issue_link_code(ports, caller=owner).code
    results = at_once(
        4, lambda number: link_identity(ports, identity_id=identities[number], code=code)
    )
    assert sum(isinstance(result, int) for result in results) == 1, results
    assert all(
        isinstance(result, int | LinkCodeRefused | PlatformAlreadyLinked) for result in results
    ), results


def test_two_codes_issued_at_once_leave_one_that_works(ports, owner):
    results = at_once(4, lambda _: issue_link_code(ports, caller=owner))
    assert not any(isinstance(result, Exception) for result in results), results
    assert ports.read(lambda session: len(session.scalars(select(LinkCode)).all())) == 1


def test_a_second_log_in_of_the_same_platform_is_refused(ports, owner):
    other_phone = an_identity(ports, "another-wechat", Platform.WECHAT)
    code = issue_link_code(ports, caller=owner).code
    with pytest.raises(PlatformAlreadyLinked):
        link_identity(ports, identity_id=other_phone, code=code)


def test_a_log_in_with_an_account_cannot_be_linked_to_another(ports, owner, on_alipay):
    identity_id = who(ports, on_alipay).identity_id
    enrol(ports, identity_id=identity_id, application=an_application(serial="003"))
    own_account = who(ports, on_alipay).account_id
    code = issue_link_code(ports, caller=owner).code
    with pytest.raises(IdentityAlreadyBound):
        link_identity(ports, identity_id=identity_id, code=code)
    assert who(ports, on_alipay).account_id == own_account


def test_an_unknown_log_in_cannot_be_linked(ports, owner):
    code = issue_link_code(ports, caller=owner).code
    with pytest.raises(NotFound):
        link_identity(ports, identity_id=999, code=code)


def test_a_code_of_another_installation_is_worth_nothing(ports, owner, on_alipay):
    from app.domain.pii import Vault

    elsewhere = replace(ports, vault=Vault({"k1": b"e" * 32}, active="k1", index_key=b"e" * 32))
    code = issue_link_code(elsewhere, caller=owner).code
    with pytest.raises(LinkCodeRefused):
        link_identity(ports, identity_id=who(ports, on_alipay).identity_id, code=code)
