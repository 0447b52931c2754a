"""Agreements: what people do with theirs, and the witness of every version and every state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.agreements.drafting import Proposal, draft_agreement
from app.domain.agreements.models import Agreement, AgreementStateChange, AgreementTerms
from app.domain.agreements.operations import end_agreement, resume_agreement, suspend_agreement
from app.domain.agreements.queries import list_agreements
from app.domain.agreements.rules import DebitChannel, Frequency, Terms
from app.domain.agreements.signing import Consent, change_agreement, sign_agreement
from app.domain.base import table_of
from app.domain.contributors.models import Platform
from app.domain.deposits.rules import IdempotencyKeyReused
from app.domain.errors import Conflict, NotFound, RuleViolation
from app.domain.ports import Ports
from tests.simulation.books import must

if TYPE_CHECKING:
    from tests.simulation.people import Person
    from tests.simulation.town import Town

AGREEMENT, CHANGE = table_of(Agreement), table_of(AgreementStateChange)
TERMS = table_of(AgreementTerms)
FOLLOWED = {AGREEMENT.name, CHANGE.name, TERMS.name}

NOTICE = timedelta(days=1)
"""A debit that is as near as this was announced, and nothing changes it any more."""
WISHES = (
    Terms(frequency=Frequency.FREE),
    *(
        Terms(frequency=frequency, amount_fen=fen, debit_day=day, channel=DebitChannel.WECHAT)
        for frequency, fen in ((Frequency.MONTHLY, 20_000), (Frequency.QUARTERLY, 60_000))
        for day in (1, 15, 28)
    ),
)
MOVES = {
    (None, "draft"),
    ("draft", "active"),
    ("active", "suspended"),
    ("suspended", "active"),
    ("active", "ended"),
    ("suspended", "ended"),
}


def arrange(town: Town, person: Person) -> None:
    """Sign, change, suspend, resume or end, whatever there is; sometimes twice at once."""
    deed = town.random.choices([_sign, _change, _suspend, _resume, _end], [5, 5, 3, 3, 2])[0]
    for _ in range(2 if town.world.happens(0.3) else 1):
        town.world.spawn(person.name, partial(deed, town, person))


def _sign(town: Town, person: Person) -> None:
    _agree(town, person, sign_agreement, town.random.choice(WISHES))


def _change(town: Town, person: Person) -> None:
    _agree(town, person, change_agreement, town.random.choice(WISHES))


def sign_and_change(town: Town, person: Person) -> None:
    """Sign, and at once think better of it twice: each time the period that runs is too late."""
    for verb, wish in ((sign_agreement, 1), (change_agreement, 2), (change_agreement, 1)):
        _agree(town, person, verb, WISHES[wish])


def _agree(town: Town, person: Person, verb: Callable[..., str], terms: Terms) -> None:
    """Read what would be signed, think about it, and sign it until there is an answer."""
    proposal = Proposal(account_id=person.account_id, terms=terms)

    def read(ports: Ports) -> str:
        draft = ports.read(
            lambda session: draft_agreement(
                session,
                ports.vault,
                texts=ports.agreement_texts,
                proposal=proposal,
                now=ports.now(),
            )
        )
        return draft.wording.sha256.hex()

    sha256 = _try(town, read)
    if sha256 is None:
        return
    town.world.sleep(town.random.choice([1, 60, 90_000]))
    consent = Consent(
        contributor_id=person.contributor_id,
        text_sha256=sha256,
        platform=Platform(person.platform),
        device="测试设备",
        client_ip="127.0.0.1",
        request_key=f"key-{next(town.serial):06d}",
    )
    answers = {
        _try(town, partial(verb, proposal=proposal, consent=consent))
        for _ in range(town.random.choice([1, 1, 2]))
    } - {None}
    must(len(answers) <= 1, f"one key of {person.name} signed {answers}")


def _suspend(town: Town, person: Person) -> None:
    months = town.random.choice([1, 2, 6])
    _try(town, partial(suspend_agreement, **_who(person), months=months))


def _resume(town: Town, person: Person) -> None:
    _try(town, partial(resume_agreement, **_who(person)))


def _end(town: Town, person: Person) -> None:
    _try(town, partial(end_agreement, **_who(person)))


def _who(person: Person) -> dict[str, int]:
    return {"account_id": person.account_id, "contributor_id": person.contributor_id}


def _try(town: Town, request: Callable[[Ports], Any]) -> Any:
    """Return the answer; None where a rule refuses, or when the person gives up."""
    try:
        return town.insist(request)
    except IdempotencyKeyReused:
        raise
    except (Conflict, NotFound, RuleViolation):
        return None


@dataclass
class AgreementWitness:
    """What was seen of agreements so far; what is signed may never change again."""

    signed: dict[int, Any] = field(default_factory=dict)
    changes: dict[int, Any] = field(default_factory=dict)

    def follow(self, session: Session) -> None:
        """Judge all agreements as they stand now."""
        versions, history = _grouped(session, TERMS), _grouped(session, CHANGE)
        live: set[int] = set()
        for agreement in session.execute(select(AGREEMENT)):
            name = agreement.agreement_no
            if agreement.state != "ended":
                must(agreement.account_id not in live, f"{name} is a second live agreement")
                live.add(agreement.account_id)
            numbers = [row.version for row in versions[agreement.id]]
            told = f"{name} has the versions {numbers}, says {agreement.version_count}"
            must(numbers == list(range(1, agreement.version_count + 1)) and numbers, told)
            self._judge_history(agreement, history[agreement.id])
            for row in versions[agreement.id]:
                _judge_first_period(name, row)
        for seen, rows in ((self.signed, versions), (self.changes, history)):
            now = {row.id: row for group in rows.values() for row in group}
            must(seen.items() <= now.items(), "something that was signed is another now")
            seen.update(now)

    def _judge_history(self, agreement: Any, changes: list[Any]) -> None:
        name = agreement.agreement_no
        numbers = [change.number for change in changes]
        must(numbers == list(range(1, len(changes) + 1)), f"{name} has the moves {numbers}")
        for before, after in pairwise([None, *changes]):
            came_from = before.to_state if before is not None else None
            move = after.from_state, after.to_state
            must(after.from_state == came_from and move in MOVES, f"{name} moved {move}")
        must(changes and changes[-1].to_state == agreement.state, f"{name} is {agreement.state}")

    def compare(self, session: Session, *, town: Town, today: date) -> None:
        """Each day of the year ahead has the terms that the person is shown for it."""
        versions = _grouped(session, TERMS)
        for agreement in session.execute(select(AGREEMENT)).all():
            name, rows = agreement.agreement_no, versions[agreement.id]
            suspended = agreement.state == "suspended"
            over = suspended and agreement.suspended_through < today
            must(not over, f"{name} is suspended through {agreement.suspended_through}")
            views = list_agreements(session, account_id=agreement.account_id, now=town.world.now)
            view = next(view for view in views if view.agreement_no == name)
            for month in range(14):
                day = today + timedelta(days=30 * month)
                ours = max((row.version for row in rows if row.applies_from <= day), default=None)
                shown = [
                    terms.version
                    for terms in view.versions
                    if terms.first_day is not None
                    and terms.first_day <= day <= (terms.last_day or day)
                ]
                must(shown == ([ours] if ours else []), f"{name} on {day}: {shown}, not {ours}")


def _judge_first_period(name: str, row: Any) -> None:
    """New terms begin with a period that was not announced when they were signed."""
    if row.debit_day is not None:
        due_on = row.applies_from + timedelta(days=row.debit_day - 1)
        signed_on = (row.signed_at + timedelta(hours=8)).date()
        must(signed_on < due_on - NOTICE, f"{name} v{row.version} is due {due_on}, {signed_on}")


def _grouped(session: Session, table: Any) -> defaultdict[int, list[Any]]:
    grouped: defaultdict[int, list[Any]] = defaultdict(list)
    for row in session.execute(select(table).order_by(table.c.id)):
        grouped[row.agreement_id].append(row)
    return grouped
