"""People whose cards are debited by file, and the bank's emulator behind its real file server."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from cryptography.hazmat.primitives.hashes import SM3, Hash
from sqlalchemy import Row, insert, select, update

from app.domain.agreements.models import Agreement
from app.domain.agreements.rules import DebitChannel
from app.domain.base import table_of
from app.domain.calendar import business_day
from app.domain.debit_batches.answers import fetch_bank_answers
from app.domain.debit_batches.models import BankAnswerFile, DebitBatch, DebitBatchPart
from app.domain.debit_batches.rendering import CONTEXT
from app.domain.debit_batches.sending import send_debit_batches
from app.domain.debits.models import DebitInstruction
from app.domain.debits.rules import InstructionState
from app.domain.ledger.models import Code
from app.domain.mandates.models import Mandate
from app.domain.mandates.payers import Payer
from app.domain.payment_orders.models import PaymentOrder
from app.domain.ports import Ports
from app.domain.ports.debits import BatchDebits, BatchFile, Debits
from app.payments.bank.files.batches import BankFiles
from app.payments.reasons import ReasonTable
from config.bank_layout_files import parse_bank_layout
from sandbox.credentials import BANK_PRIVATE_KEY, issue_credentials
from sandbox.keys import read_private_key, sign
from tests.builders import a_mandate, an_account
from tests.domain.agreements.conftest import Desk, terms
from tests.fund import Fund
from tests.payments.bank.centre import LAYOUTS, REASONS, Centre, open_centre

AGREEMENT = table_of(Agreement)
BATCH = table_of(DebitBatch)
FILE = table_of(BankAnswerFile)
INSTRUCTION = table_of(DebitInstruction)
MANDATE = table_of(Mandate)
ORDER = table_of(PaymentOrder)
PART = table_of(DebitBatchPart)

AMOUNT_FEN = 50_000
SUBSIDY_FEN = 20_000  # of a first deposit

FIXED_WIDTH = Path(__file__).parents[2] / "payments" / "bank" / "fixed_width.yaml"


def files_of(centre: Centre, layout: Mapping[str, object] | None = None) -> BankFiles:
    """The product's own adapter, against the emulator's file server."""
    return BankFiles(
        centre.settings.bank,
        layout=layout or LAYOUTS("standard"),
        reasons=ReasonTable(REASONS("bank")),
        connect_timeout=5,
        read_timeout=5,
    )


def with_digest(body: bytes, count: int, sum_fen: int) -> bytes:
    """Return header and details of an answer with the trailer that belongs to them."""
    digest = Hash(SM3())
    digest.update(body)
    return body + f"T|{count}|{sum_fen}|{digest.finalize().hex()}\r\n".encode()


def fixed_width() -> Mapping[str, object]:
    """A layout in GBK, which lacks some characters of names."""
    return parse_bank_layout(FIXED_WIDTH.read_text("utf-8"), where=FIXED_WIDTH.name)


class Watched:
    """The real adapter, and what was asked of it."""

    def __init__(self, files: BatchDebits) -> None:
        self._files = files
        self.calls: list[tuple[str, str]] = []

    def upload_batch(self, file: BatchFile, content: BinaryIO) -> None:
        self.calls.append(("upload", file.name))
        self._files.upload_batch(file, content)

    def fetch_answer(self, name: str, into: BinaryIO) -> BatchFile:
        self.calls.append(("fetch", name))
        return self._files.fetch_answer(name, into)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def count(self, call: str) -> int:
        return sum(each == call for each, _ in self.calls)


@dataclass
class Batching:
    """A fund, a bank, and the people between them."""

    fund: Fund
    centre: Centre
    data_dir: Path
    files: Watched
    _periods: Iterator[int] = field(default_factory=lambda: itertools.count())

    @property
    def ports(self) -> Ports:
        return self.fund.ports

    # -- people --------------------------------------------------------------------------------

    def person(self, name: str = "测试用户", *, balance_fen: int = 100_000_000) -> int:
        """Return the account of somebody who has agreed, and has signed at the bank."""
        account_id = an_account(self.ports)
        card = self.centre.card(name=name, balance_fen=balance_fen)
        reference = self.centre.signed(card, period_cap_fen=900_000_000)[1]
        mandate_id = a_mandate(self.ports, account_id, channel="bank", payer=Payer(card=card))
        self.ports.transact(
            lambda session: session.execute(
                update(MANDATE).where(MANDATE.c.id == mandate_id).values(reference=reference)
            )
        )
        Desk(self.fund, account_id).sign(replace(terms(), channel=DebitChannel.BANK))
        return account_id

    def owe(self, *accounts: int, amount_fen: int = AMOUNT_FEN) -> None:
        """Let one debit of each be due today, each time for another period."""
        today, number = business_day(self.ports.now()), next(self._periods)
        period = f"{2027 + number // 12}-{number % 12 + 1:02d}"

        def work(session: Any) -> None:
            for account_id in accounts:
                agreement_id = session.scalar(
                    select(AGREEMENT.c.id).where(AGREEMENT.c.account_id == account_id)
                )
                session.execute(
                    insert(INSTRUCTION).values(
                        account_id=account_id,
                        agreement_id=agreement_id,
                        terms_version=1,
                        period=period,
                        channel=DebitChannel.BANK,
                        amount_fen=amount_fen,
                        due_on=today,
                        retry_until=today + timedelta(days=20),
                        state=InstructionState.SCHEDULED,
                        next_attempt_on=today,
                        created_at=self.ports.now(),
                    )
                )

        self.ports.transact(work)

    def owing(self, count: int, **options: Any) -> list[int]:
        """Return so many people with a debit due today."""
        accounts = [self.person() for _ in range(count)]
        self.owe(*accounts, **options)
        return accounts

    # -- the bank ----------------------------------------------------------------------------------

    def through(self, files: BatchDebits) -> None:
        """Let the files go out and come in through this."""
        channels = replace(self.ports.channels, batching={"bank": files})
        self.fund.ports = replace(self.ports, channels=channels)

    def ask(self, gateway: Debits) -> None:
        """Let the bank have a gateway too."""
        channels = replace(self.ports.channels, debiting={"bank": gateway})
        self.fund.ports = replace(self.ports, channels=channels)

    # -- time ----------------------------------------------------------------------------------

    def at(self, instant: datetime) -> None:
        """Go to an instant, here and at the bank."""
        self.fund.clock.instant = instant
        self.centre.gateway.control("clock", set=instant.isoformat())

    # -- the jobs, and the bank ------------------------------------------------------------------

    def send(self) -> dict[str, int]:
        counts = send_debit_batches(self.ports)
        self.centre.gateway.look("health")  # The bank takes in what lies there.
        return counts

    def fetch(self) -> dict[str, int]:
        return fetch_bank_answers(self.ports)

    def finish(self) -> None:
        """The bank publishes the results of the last batch."""
        self.centre.gateway.control("files/finish", name=self.batch().file_name)

    def release(self) -> None:
        """What the bank kept back of the last batch's answers comes now."""
        self.centre.gateway.control("files/release", name=self.batch().file_name)

    def go_round(self) -> None:
        """Send, hear that it was taken, and hear the results."""
        self.send()
        self.fetch()
        self.finish()
        self.fetch()

    def trouble(self, at: str, kind: str, **options: object) -> None:
        self.centre.gateway.control("troubles", at=at, kind=kind, **options)

    @property
    def outbox(self) -> Path:
        """The folder in which the bank lays its answers."""
        return self.data_dir / "bank-files" / "outbox"

    def publish(self, name: str, content: bytes, *, seconds_ago: int = 0) -> None:
        """Lay a file there by hand, signed by the bank; later than what lay there before.

        A file server tells times in whole seconds: what is to be replaced at once by a file as
        long as it must have been laid there some `seconds_ago`.
        """
        signature = sign(content, read_private_key(self.data_dir / BANK_PRIVATE_KEY))
        for tail, data in (("", content), (".sig", signature.encode()), (".ok", b"")):
            path = self.outbox / f"{name}{tail}"
            later = path.stat().st_mtime + 1 if path.exists() else time.time() - seconds_ago
            path.write_bytes(data)
            os.utime(path, (later, later))

    def answer_name(self, kind: str = "DKR", tail: str = "") -> str:
        stem = self.batch().file_name.removeprefix("DK_").removesuffix(".txt")
        return f"{kind}_{stem}{tail}.txt"

    # -- what the books say ----------------------------------------------------------------------

    def rows(self, table: Any, *conditions: Any) -> list[Row[Any]]:
        query = select(table).where(*conditions).order_by(table.c.id)
        return self.ports.read(lambda session: list(session.execute(query)))

    def batches(self) -> list[Row[Any]]:
        return self.rows(BATCH)

    def batch(self) -> Row[Any]:
        """The last one."""
        return self.batches()[-1]

    def orders(self, account_id: int | None = None) -> list[Row[Any]]:
        """The debits, oldest first."""
        conditions = [] if account_id is None else [ORDER.c.account_id == account_id]
        return self.rows(ORDER, ORDER.c.mandate_id.is_not(None), *conditions)

    def order_states(self, account_id: int | None = None) -> list[str]:
        return [order.state.value for order in self.orders(account_id)]

    def instruction(self, account_id: int) -> Row[Any]:
        """The last one."""
        return self.rows(INSTRUCTION, INSTRUCTION.c.account_id == account_id)[-1]

    def files_seen(self) -> list[tuple[str, str, str]]:
        """Return name, result and report of each file of the bank."""
        return [(row.name, row.result.value, row.report) for row in self.rows(FILE)]

    def frozen(self, batch_id: int) -> bytes:
        parts = self.rows(PART, PART.c.batch_id == batch_id)
        return b"".join(self.ports.vault.open_bytes(p.content, context=CONTEXT) for p in parts)

    def balance_fen(self, account_id: int) -> int:
        return self.fund.money(account_id)[0]

    def taken_by_file_fen(self) -> int:
        """What the bank's books have credited to the centre for files."""
        entries = self.centre.gateway.look("books")["entries"]
        return sum(entry["amount_fen"] for entry in entries if entry["kind"] == "BATCH")

    def check_books(self) -> None:
        """Ours hold by themselves, and say to the fen what the bank's say."""
        assert self.fund.offences() == []
        clearing = sum(fen.get(Code.CHANNEL_CLEARING, 0) for _, fen in self.fund.entries())
        assert clearing == self.taken_by_file_fen()


@pytest.fixture(scope="session")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with credentials and nothing else: making keys takes long."""
    directory = tmp_path_factory.mktemp("issued-for-batches")
    issue_credentials(directory)
    return directory


@contextmanager
def a_batching(fund: Fund, issued: Path, data_dir: Path) -> Iterator[Batching]:
    """Put a fund before a bank of its own."""
    with open_centre(data_dir, issued) as centre:
        files = Watched(files_of(centre))
        batching = Batching(fund, centre, data_dir, files)
        batching.through(files)
        yield batching
    shutil.rmtree(data_dir)


@pytest.fixture
def batching(fund: Fund, issued: Path, tmp_path: Path) -> Iterator[Batching]:
    """A bank that takes debits by files only."""
    data_dir = tmp_path / "bank"
    data_dir.mkdir()
    with a_batching(fund, issued, data_dir) as batching:
        yield batching
