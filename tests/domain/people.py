"""Documents and people for tests: constructed numbers, the check digit worked by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from app.domain.contributors.documents import DocumentKind
from app.domain.contributors.facts import DeclaredFacts
from app.domain.contributors.models import LoginIdentity, Platform
from app.domain.contributors.operations import EnrolmentApplication
from app.domain.contributors.rules import EmploymentForm
from app.domain.ports import Ports
from app.domain.ports.logins import LoginRefused

T = TypeVar("T")

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK_DIGITS = "10X98765432"


def eighteen(region: str, born: date | str, serial: str = "002") -> str:
    """Return an 18-character number with the check digit of GB 11643."""
    day = born if isinstance(born, str) else born.strftime("%Y%m%d")
    body = f"{region}{day}{serial}"
    total = sum(int(digit) * weight for digit, weight in zip(body, WEIGHTS, strict=True))
    return body + CHECK_DIGITS[total % 11]


def an_application(
    *,
    serial: str = "002",
    born: date = date(1990, 5, 6),
    document_no: str = "",
    phone: str = "13800000000",
    real_name: str = "测试用户",
    facts: DeclaredFacts | None = None,
    industry_tags: tuple[str, ...] = (),
) -> EnrolmentApplication:
    """Return an application that every rule accepts unless told otherwise."""
    return EnrolmentApplication(
        document_kind=DocumentKind.RESIDENT_ID,
        document_no=document_no or eighteen("320722", born, serial),
        real_name=real_name,
        phone=phone,
        employment_form=EmploymentForm.NEW_FORM,
        industry_tags=industry_tags,
        facts=facts or DeclaredFacts(),
    )


def an_identity(ports: Ports, subject: str, platform: Platform = Platform.WECHAT) -> int:
    """Store a log-in that belongs to nobody yet, and return its id."""

    def store(session) -> int:
        identity = LoginIdentity(
            platform=platform,
            subject_index=ports.vault.blind_index(
                subject, context=f"login_identity.{platform.value}"
            ),
            subject=ports.vault.seal(subject, context="login_identity.subject"),
            key_id=ports.vault.active_key_id,
            created_at=ports.now(),
        )
        session.add(identity)
        session.flush()
        return identity.id

    return ports.transact(store)


@dataclass
class FakeLogin:
    """A log-in platform: code «code-of-x» stands for the person x, and works once."""

    used: set[str] = field(default_factory=set)

    def subject_of(self, code: str) -> str:
        if not code.startswith("code-of-") or code in self.used:
            raise LoginRefused
        self.used.add(code)
        return code.removeprefix("code-of-").split("#")[0]


def at_once(count: int, work: Callable[[int], T]) -> list[T | Exception]:
    """Run `work` in that many threads that start together; return values and exceptions."""
    barrier = threading.Barrier(count)
    results: list[T | Exception] = [RuntimeError("did not run")] * count

    def run(position: int) -> None:
        barrier.wait()
        try:
            results[position] = work(position)
        except Exception as error:
            results[position] = error

    threads = [threading.Thread(target=run, args=(position,)) for position in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results
