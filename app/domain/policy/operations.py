"""Loading the reviewed baseline of the policy. Lines are added, never changed or removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.domain.base import table_of
from app.domain.errors import Conflict
from app.domain.policy.models import PolicyValue
from app.domain.policy.queries import read_lines
from app.domain.policy.rules import PolicyLine, write_value
from app.domain.ports import Ports

POLICY_VALUE = table_of(PolicyValue)


class PolicyLineFixed(Conflict):
    """A line that the table holds can't be changed or removed: decisions may rest on it."""

    code = "policy_line_fixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """How many lines were added now, and how many had been there before."""

    added: int
    unchanged: int


def load_policy(ports: Ports, values: Iterable[Mapping[str, Any]]) -> LoadReport:
    """Add the values that the table does not hold yet, all or nothing; a second run adds none.

    Args:
        values: the whole baseline, as `config.policy_files.load_policy_files` returns it.
    Raises:
        PolicyLineFixed: a line of the table differs from the baseline, or is missing in it.
    """
    lines = [_line(value) for value in values]

    def load(session: Session) -> LoadReport:
        missing = _missing_in_table(session, lines)
        if missing:
            now = ports.now()
            session.execute(
                insert(POLICY_VALUE), [{**asdict(line), "loaded_at": now} for line in missing]
            )
        return LoadReport(added=len(missing), unchanged=len(lines) - len(missing))

    return ports.transact(load)


def check_policy(session: Session, values: Iterable[Mapping[str, Any]]) -> list[PolicyLine]:
    """Compare the table with the baseline and return the lines that are not loaded yet.

    Raises:
        PolicyLineFixed: a line of the table differs from the baseline, or is missing in it.
    """
    return _missing_in_table(session, [_line(value) for value in values])


def _missing_in_table(session: Session, lines: Iterable[PolicyLine]) -> list[PolicyLine]:
    stored = {
        (line.name, line.effective_from): line
        for history in read_lines(session).values()
        for line in history
    }
    missing = []
    for line in lines:
        known = stored.pop((line.name, line.effective_from), None)
        if known is None:
            missing.append(line)
        elif known != line:
            raise _fixed(known, "与参数文件不一致")
    for known in stored.values():
        raise _fixed(known, "在参数文件中已不存在")
    return missing


def _line(value: Mapping[str, Any]) -> PolicyLine:
    return PolicyLine(**{**value, "value": write_value(value["value"])})


def _fixed(line: PolicyLine, what: str) -> PolicyLineFixed:
    since = line.effective_from.isoformat()
    return PolicyLineFixed(
        f"已入库的政策参数“{line.title}”（{line.name}，{since} 起）{what}。"
        "已入库的不可修改或删除，请为新的生效日另立一条",
        parameter=line.name,
        effective_from=since,
    )
