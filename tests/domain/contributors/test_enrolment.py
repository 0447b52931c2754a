"""Opening an account: one person, one account, and nothing left behind by a refusal."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import func, select, update
from stdnum import luhn

from app.domain.base import table_of
from app.domain.contributors.documents import BirthDateRequired, DocumentKind
from app.domain.contributors.facts import (
    Children,
    DeclaredFacts,
    Degree,
    DegreeLevel,
    OwnLabourIncome,
)
from app.domain.contributors.models import (
    Account,
    AccountStatus,
    Contributor,
    LoginIdentity,
    Platform,
)
from app.domain.contributors.operations import (
    AlreadyEnrolled,
    Enrolled,
    IdentityAlreadyBound,
    declare_facts,
    enrol,
    make_account_no,
)
from app.domain.contributors.queries import export_personal_data, get_profile
from app.domain.contributors.rules import (
    DeclaredFactInvalid,
    IndustryTag,
    OwnLabourIncomeRequired,
    PhoneInvalid,
    RealNameInvalid,
    TooYoung,
)
from app.domain.errors import NotFound
from tests.domain.people import an_application, an_identity, at_once, eighteen

TODAY = date(2026, 11, 24)


def count(ports, model) -> int:
    return ports.read(lambda session: session.scalar(select(func.count()).select_from(model)))


def test_enrolling_opens_an_account_and_binds_the_log_in(ports):
    identity_id = an_identity(ports, "openid-1")
    enrolled = enrol(ports, identity_id=identity_id, application=an_application())

    def look(session):
        account = session.get_one(Account, enrolled.account_id)
        identity = session.get_one(LoginIdentity, identity_id)
        return account, identity

    account, identity = ports.read(look)
    assert account.contributor_id == identity.contributor_id == enrolled.contributor_id
    assert account.account_no == enrolled.account_no
    assert account.status is AccountStatus.NORMAL
    assert (account.balance_fen, account.held_fen, account.order_count) == (0, 0, 0)
    assert account.opened_on == enrolled.opened_on == TODAY
    assert account.first_deposit_on is None


def test_the_account_opens_on_the_day_in_shanghai(ports, clock):
    clock.advance(hours=14, minutes=30)  # 00:30 on the 25th in Shanghai, still the 24th in UTC
    enrolled = enrol(
        ports, identity_id=an_identity(ports, "openid-1"), application=an_application()
    )
    assert enrolled.opened_on == date(2026, 11, 25)


def test_personal_data_are_sealed(ports):
    application = an_application(phone="13812345678")
    enrol(ports, identity_id=an_identity(ports, "openid-1"), application=application)
    row = ports.read(lambda session: session.execute(select(table_of(Contributor))).one())
    stored = b"".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
    for secret in ("13812345678", application.document_no, "测试用户", "1990-05-06"):
        assert secret.encode() not in stored
    assert row.key_id == "k1"
    assert ports.vault.open(row.phone, context="contributor.phone") == "13812345678"


def test_the_same_document_a_second_time_is_refused_and_told_how_to_link(ports):
    enrol(ports, identity_id=an_identity(ports, "openid-1"), application=an_application())
    second = an_identity(ports, "openid-2", Platform.ALIPAY)
    other_name = an_application(real_name="另一测试", phone="13900000000")
    with pytest.raises(AlreadyEnrolled) as refused:
        enrol(ports, identity_id=second, application=other_name)
    assert "关联码" in refused.value.message
    assert dict(refused.value.detail) == {}
    assert count(ports, Contributor) == count(ports, Account) == 1


def test_the_same_document_typed_otherwise_is_the_same_document(ports):
    enrol(ports, identity_id=an_identity(ports, "openid-1"), application=an_application())
    number = an_application().document_no
    wide = "".join(chr(ord(character) + 0xFEE0) for character in number.lower())
    with pytest.raises(AlreadyEnrolled):
        enrol(
            ports,
            identity_id=an_identity(ports, "openid-2"),
            application=an_application(document_no=f" {wide} "),
        )


def test_a_log_in_that_has_an_account_gets_no_second_one(ports):
    identity_id = an_identity(ports, "openid-1")
    enrol(ports, identity_id=identity_id, application=an_application())
    for application in (an_application(), an_application(serial="003")):
        with pytest.raises(IdentityAlreadyBound):
            enrol(ports, identity_id=identity_id, application=application)
    assert count(ports, Contributor) == 1


def test_an_unknown_log_in_cannot_enrol(ports):
    with pytest.raises(NotFound):
        enrol(ports, identity_id=999, application=an_application())


@pytest.mark.parametrize(
    ("application", "refusal"),
    [
        (an_application(real_name="<b>"), RealNameInvalid),
        (an_application(phone="1380"), PhoneInvalid),
        (an_application(born=date(2010, 11, 25)), TooYoung),
        (an_application(born=date(2010, 11, 24)), OwnLabourIncomeRequired),
        (
            an_application(
                born=date(2010, 11, 24),
                facts=DeclaredFacts(own_labour_income=OwnLabourIncome(declared=False)),
            ),
            OwnLabourIncomeRequired,
        ),
        (
            an_application(facts=DeclaredFacts(children=Children(count=1, minor_count=2))),
            DeclaredFactInvalid,
        ),
        (
            replace(
                an_application(document_no="H12345678"),
                document_kind=DocumentKind.HK_MO_TRAVEL_PERMIT,
            ),
            BirthDateRequired,
        ),
    ],
)
def test_a_refusal_leaves_nothing_behind(ports, application, refusal):
    identity_id = an_identity(ports, "openid-1")
    with pytest.raises(refusal):
        enrol(ports, identity_id=identity_id, application=application)
    assert count(ports, Contributor) == count(ports, Account) == 0
    enrol(ports, identity_id=identity_id, application=an_application())


def test_at_sixteen_with_own_labour_income_one_may_enrol(ports):
    facts = DeclaredFacts(own_labour_income=OwnLabourIncome(declared=True))
    enrol(
        ports,
        identity_id=an_identity(ports, "openid-1"),
        application=an_application(born=date(2010, 11, 24), facts=facts),
    )
    assert count(ports, Account) == 1


def test_someone_from_hong_kong_enrols_with_a_travel_permit(ports):
    application = replace(
        an_application(document_no="h12345678"),
        document_kind=DocumentKind.HK_MO_TRAVEL_PERMIT,
        birth_date=date(1990, 5, 6),
    )
    enrolled = enrol(ports, identity_id=an_identity(ports, "openid-1"), application=application)
    profile = ports.read(lambda session: get_profile(session, ports.vault, enrolled.contributor_id))
    assert profile.document_no == "H******78"


def test_eight_at_once_with_one_document_get_one_account(ports):
    identities = [an_identity(ports, f"openid-{number}") for number in range(8)]
    results = at_once(
        8,
        lambda number: enrol(ports, identity_id=identities[number], application=an_application()),
    )
    assert sum(isinstance(result, Enrolled) for result in results) == 1, results
    assert sum(isinstance(result, AlreadyEnrolled) for result in results) == 7, results
    assert count(ports, Contributor) == count(ports, Account) == 1


def test_eight_at_once_with_one_log_in_get_one_account(ports):
    identity_id = an_identity(ports, "openid-1")
    results = at_once(
        8,
        lambda number: enrol(
            ports,
            identity_id=identity_id,
            application=an_application(serial=f"{number:02d}4"),
        ),
    )
    assert sum(isinstance(result, Enrolled) for result in results) == 1, results
    assert sum(isinstance(result, IdentityAlreadyBound) for result in results) == 7, results
    assert count(ports, Contributor) == count(ports, Account) == 1


def test_eight_people_at_once_all_get_an_account(ports):
    identities = [an_identity(ports, f"openid-{number}") for number in range(8)]
    results = at_once(
        8,
        lambda number: enrol(
            ports,
            identity_id=identities[number],
            application=an_application(serial=f"{number:02d}4"),
        ),
    )
    assert all(isinstance(result, Enrolled) for result in results), results
    assert len({result.account_no for result in results}) == 8


def test_account_numbers_have_a_check_digit_and_do_not_count_up():
    first, second = make_account_no("A" + "0" * 31), make_account_no("A" + "0" * 30 + "1")
    for account_no in (first, second):
        assert len(account_no) == 16
        assert account_no.startswith("3207")
        assert account_no.isdecimal()
        assert luhn.is_valid(account_no)
    assert abs(int(first) - int(second)) > 1_000


def test_an_account_number_that_is_taken_is_drawn_again(ports):
    drawn = iter(["A1", "A1", "A1", "A2"])
    forgetful = replace(ports, new_number=lambda _prefix: next(drawn))
    first = enrol(
        forgetful, identity_id=an_identity(ports, "openid-1"), application=an_application()
    )
    second = enrol(
        forgetful,
        identity_id=an_identity(ports, "openid-2"),
        application=an_application(serial="003"),
    )
    assert first.account_no == make_account_no("A1")
    assert second.account_no == make_account_no("A2")


def test_the_profile_is_masked(ports):
    application = an_application(
        phone="13812345678",
        industry_tags=("farming",),
        document_no=eighteen("320722", date(1990, 5, 6), "002"),
    )
    enrolled = enrol(ports, identity_id=an_identity(ports, "openid-1"), application=application)
    profile = ports.read(lambda session: get_profile(session, ports.vault, enrolled.contributor_id))
    assert profile.real_name == "*试用户"
    assert profile.phone == "138****5678"
    assert profile.document_no[3:14] == "*" * 11
    assert profile.industry_tags == (IndustryTag.FARMING,)
    assert profile.account_no == enrolled.account_no
    assert profile.platforms == (Platform.WECHAT,)


def test_the_export_holds_everything_in_plain(ports):
    application = an_application(
        phone="13812345678", facts=DeclaredFacts(children=Children(count=2, minor_count=1))
    )
    enrolled = enrol(ports, identity_id=an_identity(ports, "openid-1"), application=application)
    exported = ports.read(
        lambda session: export_personal_data(session, ports.vault, enrolled.contributor_id)
    )
    assert json.loads(json.dumps(exported)) == exported
    assert exported["contributor"]["document_no"] == application.document_no
    assert exported["contributor"]["real_name"] == "测试用户"
    assert exported["contributor"]["phone"] == "13812345678"
    assert exported["contributor"]["birth_date"] == "1990-05-06"
    assert exported["contributor"]["declared_facts"]["children"]["count"] == 2
    assert exported["account"]["account_no"] == enrolled.account_no
    assert exported["login_identities"] == [
        {
            "platform": "wechat",
            "subject": "openid-1",
            "created_at": "2026-11-24T10:00:00+08:00",
        }
    ]


def test_every_column_on_a_person_is_exported_or_technical(ports):
    technical = {"id", "document_index", "phone_index", "key_id", "contributor_id", "order_count"}
    enrolled = enrol(
        ports, identity_id=an_identity(ports, "openid-1"), application=an_application()
    )
    exported = ports.read(
        lambda session: export_personal_data(session, ports.vault, enrolled.contributor_id)
    )
    for model, part in ((Contributor, "contributor"), (Account, "account")):
        assert set(table_of(model).columns.keys()) - technical == set(exported[part])


def test_nobody_has_no_profile_and_no_export(ports):
    for ask in (get_profile, export_personal_data):
        with pytest.raises(NotFound):
            ports.read(lambda session, ask=ask: ask(session, ports.vault, 999))


def test_facts_declared_later_are_added(ports):
    enrolled = enrol(
        ports,
        identity_id=an_identity(ports, "openid-1"),
        application=an_application(facts=DeclaredFacts(children=Children(count=1, minor_count=1))),
    )
    degree = Degree(level=DegreeLevel.BACHELOR, evidence="备案表")
    declared = declare_facts(
        ports, contributor_id=enrolled.contributor_id, facts=DeclaredFacts(degree=degree)
    )
    assert declared.degree == degree
    profile = ports.read(lambda session: get_profile(session, ports.vault, enrolled.contributor_id))
    assert profile.facts == declared
    assert profile.facts.children == Children(count=1, minor_count=1)


def test_facts_declared_at_once_do_not_overwrite_each_other(ports):
    enrolled = enrol(
        ports, identity_id=an_identity(ports, "openid-1"), application=an_application()
    )
    children = Children(count=2, minor_count=1)
    degree = Degree(level=DegreeLevel.MASTER)
    two = (DeclaredFacts(children=children), DeclaredFacts(degree=degree))
    at_once(
        2,
        lambda number: declare_facts(
            ports, contributor_id=enrolled.contributor_id, facts=two[number]
        ),
    )
    profile = ports.read(lambda session: get_profile(session, ports.vault, enrolled.contributor_id))
    assert profile.facts == DeclaredFacts(children=children, degree=degree)


def test_declaring_what_cannot_be_true_changes_nothing(ports):
    enrolled = enrol(
        ports, identity_id=an_identity(ports, "openid-1"), application=an_application()
    )
    wrong = DeclaredFacts(children=Children(count=1, minor_count=2))
    with pytest.raises(DeclaredFactInvalid):
        declare_facts(ports, contributor_id=enrolled.contributor_id, facts=wrong)
    with pytest.raises(NotFound):
        declare_facts(ports, contributor_id=999, facts=DeclaredFacts())
    profile = ports.read(lambda session: get_profile(session, ports.vault, enrolled.contributor_id))
    assert profile.facts == DeclaredFacts()


def test_a_subsidy_total_below_nothing_is_refused_by_the_database(ports):
    enrol(ports, identity_id=an_identity(ports, "openid-1"), application=an_application())
    with pytest.raises(Exception, match=r"(?i)constraint"):
        ports.transact(
            lambda session: session.execute(update(Contributor).values(subsidy_paid_fen=-1))
        )


def test_an_application_shows_no_personal_data_in_its_repr():
    shown = repr(an_application(phone="13812345678"))
    assert "13812345678" not in shown
    assert "测试用户" not in shown
    assert "320722" not in shown
