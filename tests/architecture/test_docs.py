"""The documents say what is: paths exist, state diagrams and settings agree with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.domain.agreements.models import AGREEMENT_STATES
from app.domain.debit_batches.models import BATCH_STATES
from app.domain.debits.models import INSTRUCTION_STATES
from app.domain.mandates.models import MANDATE_STATES
from app.domain.outbox.models import MESSAGE_STATES
from app.domain.payment_orders.models import ORDER_STATES
from app.domain.refunds.models import REFUND_STATES
from app.domain.states import StateMachine
from config.settings import AlipaySettings, BankSettings, Settings, WeChatSettings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROOMS = r"(?:app|config|demo|docs|migrations|sandbox|tests)"


@pytest.mark.parametrize("document", PAGES, ids=lambda page: page.name)
def test_every_link_and_path_of_a_page_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text)
    paths = re.findall(rf"`({ROOMS}/[\w./-]+)`", text)
    missing = [link for link in links if not (document.parent / link).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize(
    ("heading", "machine"),
    [
        ("Payment order", ORDER_STATES),
        ("Refund", REFUND_STATES),
        ("Agreement", AGREEMENT_STATES),
        ("Mandate", MANDATE_STATES),
        ("Message", MESSAGE_STATES),
        ("Debit instruction", INSTRUCTION_STATES),
        ("Debit batch", BATCH_STATES),
    ],
)
def test_the_state_diagrams_are_the_tables(heading: str, machine: StateMachine) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    diagram = text.split(f"### {heading}\n")[1].split("```")[1]
    drawn = set(re.findall(r"^\s+([A-Z_]+) --> ([A-Z_]+)", diagram, re.MULTILINE))
    assert drawn == {
        (state.name, target.name) for state, targets in machine.moves.items() for target in targets
    }
    final = set(re.findall(r"^\s+([A-Z_]+) --> \[\*\]", diagram, re.MULTILINE))
    assert final == {state.name for state, targets in machine.moves.items() if not targets}


def names_of_settings() -> set[str]:
    names = set()
    for kind in (Settings, WeChatSettings, AlipaySettings, BankSettings):
        prefix = str(kind.model_config["env_prefix"])
        names |= {(prefix + name).upper() for name in kind.model_fields}
    return names - {"LIANJIAO_WECHAT", "LIANJIAO_ALIPAY", "LIANJIAO_BANK"}


def test_the_table_of_settings_is_complete() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.split("| `LIANJIAO_…` |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`[^|]+)", table, re.MULTILINE)
    named = {f"LIANJIAO_{name}" for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    assert named == names_of_settings()


def test_the_example_names_settings_that_exist() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^(?:# )?(LIANJIAO_[A-Z_]+)=", text, re.MULTILINE))
    assert named
    assert named <= names_of_settings()
