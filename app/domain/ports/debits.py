"""Taking money under a mandate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import BinaryIO, Protocol

from app.domain.errors import ChannelTrouble, Conflict, Invalid
from app.domain.ports.mandates import BankCard
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DebitRequest:
    """One attempt to take `amount_fen` under a mandate.

    `mandate_reference` is the channel's number of the mandate; `card` the account and the holder as
    a file to a bank names them, None where the reference says it all.
    """

    order_no: str
    amount_fen: int
    description: str
    mandate_reference: str
    card: BankCard | None = None


class Debits(Protocol):
    """Taking money under a mandate, one by one. Trouble on the way is UNKNOWN."""

    def submit_debit(self, request: DebitRequest) -> Outcome:
        """Ask for the money. ACCEPTED means that the result is still to come.

        The same number with the same content again is never a second debit.
        """

    def query_debit(self, order_no: str) -> Outcome:
        """Ask what became of it. FAILED with NOT_FOUND: the channel knows no such number (yet)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeWindow:
    """When a debit has to be announced: in calendar days before it, and in hours of Beijing.

    A debit is taken in the same hours of the day as it is announced.

    Attributes:
        latest_days: an announcement is sent at least so many days before the debit.
        valid_days: the debit may be taken, or tried again, on so many days: the first one is
            `latest_days` after the announcement was sent.
        from_hour, until_hour: 7 and 22 stand for 07:00 until just before 22:00.
    """

    latest_days: int
    valid_days: int
    from_hour: int = 0
    until_hour: int = 24

    @property
    def earliest_days(self) -> int:
        """How many days before the debit an announcement may be sent at most."""
        return self.latest_days + self.valid_days - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DebitNotice:
    """A debit to come, as its payer is told of it.

    Attributes:
        order_no: ours; the outcome is about it. The channel does not learn it.
        mandate_reference: the channel's number of the mandate.
        amount_fen: the most that may be taken.
        due_on: the day of the debit, in Beijing.
    """

    order_no: str
    mandate_reference: str
    amount_fen: int
    due_on: date


class Announcements(Protocol):
    """Telling a payer of a debit to come (预扣费通知), where the channel's product demands it.

    What is announced must not be exceeded: the channel takes less, and never more. One announcement
    is good for one debit that succeeds, under any order number.
    """

    @property
    def notice_window(self) -> NoticeWindow:
        """When the product wants it."""

    def announce_debit(self, notice: DebitNotice) -> Outcome:
        """Announce. ACCEPTED or SUCCEEDED: announced. FAILED: it is not, and `reason` says why.

        UNKNOWN: it may have been; the channel has no question for it. Sending the same once more
        tells the payer at most once, and the debit itself shows whether it was announced.
        """


class LineUnwritable(Invalid):
    """A debit cannot stand in the bank's file: a name that its encoding does not have, a bar.

    The message names the person masked; `order_no` says which debit it is.
    """

    code = "debit_line_unwritable"
    default_message = "该笔代扣无法写入银行文件"

    def __init__(self, message: str, *, order_no: str) -> None:
        super().__init__(message, order_no=order_no)
        self.order_no = order_no


class BatchAtOdds(Conflict):
    """The lines or the stored bytes are not those of the batch; nothing was sent."""

    code = "batch_at_odds"
    default_message = "批量内容与登记的不一致，未发送"


class BatchFileRefused(Invalid):
    """A file of the bank that is not right in every respect; nothing of it may be used.

    Attributes:
        file: its name.
        line: counted from 1; 0 for the file as a whole.
    """

    code = "batch_file_refused"
    default_message = "银行文件有误，整份未采用"

    def __init__(self, file: str, line: int, what: str) -> None:
        place = f"第 {line} 行" if line else ""
        super().__init__(f"文件 {file} {place}：{what}，整份文件未采用", file=file, line=line)
        self.file = file
        self.line = line


class FileServerTrouble(ChannelTrouble):
    """The bank's file server was not reached, or did not do as asked; doing it again is safe."""

    code = "file_server_trouble"
    default_message = "银行文件服务器暂时无法使用，请稍后再试"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchHead:
    """A batch as it was decided on: its number is (`day`, `sequence`), its totals are fixed."""

    day: date
    sequence: int
    count: int
    sum_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFile:
    """A file on its way: the bytes stand elsewhere.

    Attributes:
        digest: SM3 in hex of all its bytes.
        signature: detached, in base64; empty where the bank left none.
    """

    name: str
    size_bytes: int
    digest: str
    signature: str


class AnswerKind(StrEnum):
    """What the bank answers to a batch."""

    ACKNOWLEDGEMENT = "acknowledgement"
    RESULTS = "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerName:
    """A file of the bank that is ready; `part` counts answers of one kind to one batch from 1.

    `stamp` changes when the file on the server is replaced: what was read needs no fetching again.
    """

    name: str
    kind: AnswerKind
    day: date
    sequence: int
    part: int
    stamp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerList:
    """What lies ready; `odd` are names that no answer to us can have, made printable."""

    ready: tuple[AnswerName, ...]
    odd: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """The bank's word on a whole batch: ACCEPTED, FAILED (nothing of it was taken) or UNKNOWN."""

    kind: OutcomeKind
    reason: Reason
    raw_code: str
    raw_message: str
    wrong_line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedLine:
    """A debit of the batch; `place` is its line, counted from 1."""

    place: int
    amount_fen: int


FindLines = Callable[[Sequence[str]], Mapping[str, AskedLine]]
"""Which of these order numbers stand in the batch, and how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineResult:
    """What became of one debit. `outcome.number` is its order number."""

    place: int
    outcome: Outcome
    bank_date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResults:
    """A result file that is right in every respect.

    Attributes:
        missing: how many debits of the batch it says nothing of; they stay open.
        lines: reads the results, as often as it is called.
    """

    count: int
    paid_fen: int
    missing: int
    lines: Callable[[], Iterator[LineResult]]


class BatchDebits(Protocol):
    """Taking money by files. The caller keeps the bytes before they go out, and goes by those."""

    def check_line(self, request: DebitRequest) -> None:
        """Make sure that a debit can stand in a file.

        Raises:
            LineUnwritable: it cannot.
        """

    def render_batch(
        self, head: BatchHead, lines: Iterable[DebitRequest], into: BinaryIO
    ) -> BatchFile:
        """Write a batch, line by line, and sign it. No network.

        Raises:
            LineUnwritable: what was written is worth nothing.
            BatchAtOdds: the lines do not add up to the totals of the head.
        """

    def upload_batch(self, file: BatchFile, content: BinaryIO) -> None:
        """Hand a rendered batch in, its ready marker last. Safe to repeat with the same bytes.

        Raises:
            BatchAtOdds: the bytes are not those that were rendered.
            FileServerTrouble: it may or may not be there; hand the same in again.
        """

    def list_answers(self) -> AnswerList:
        """Say what lies ready.

        Raises:
            FileServerTrouble: nothing is known.
        """

    def fetch_answer(self, name: str, into: BinaryIO) -> BatchFile:
        """Fetch one file as it is; nothing of it is checked yet.

        Raises:
            BatchFileRefused: a name that no answer has, or too long a file.
            FileServerTrouble: it did not come whole.
        """

    def read_acknowledgement(
        self, file: BatchFile, content: BinaryIO, *, head: BatchHead
    ) -> Acknowledgement:
        """Read the bank's word on a batch.

        Raises:
            BatchFileRefused: it is not genuine, not whole, or of another batch.
        """

    def read_results(
        self, file: BatchFile, content: BinaryIO, *, head: BatchHead, find: FindLines
    ) -> BatchResults:
        """Check a whole result file; only then its lines can be read.

        Raises:
            BatchFileRefused: anything at all is wrong with it.
        """
