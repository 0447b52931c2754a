"""Everything that the fund needs from the outside world, as small protocols by capability.

A channel (WeChat Pay, Alipay, a bank) implements those that it can. Adapters live in
`app/payments` and `app/connectors`; they translate and never decide: no database, no rules.

Amounts are integer fen; instants are timezone-aware UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from sqlalchemy.orm import Session

from app.domain.errors import ChannelTrouble, FundError
from app.domain.pii import Vault

S = TypeVar("S")
T = TypeVar("T")


class OutcomeKind(StrEnum):
    """What an answer says of the money.

    UNKNOWN covers a timeout, a bad signature, an unlisted code and an answer that cannot be
    read: the money may or may not have moved, and only a later query or a bill can tell.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why, in our own words; each channel's codes are mapped to these by `config/reasons`."""

    OK = "ok"
    NOT_PAID = "not_paid"
    PROCESSING = "processing"
    CLOSED = "closed"
    NOT_FOUND = "not_found"
    ALREADY_PAID = "already_paid"
    ALREADY_REFUNDED = "already_refunded"
    MERCHANT_FUNDS_SHORT = "merchant_funds_short"
    PAYER_REFUSED = "payer_refused"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    AMOUNT_LIMIT = "amount_limit"
    """Above what the payer or the product may pay at once or in a day."""
    PERIOD_LIMIT = "period_limit"
    """Above what may be taken in this month or quarter."""
    ISSUER_REFUSED = "issuer_refused"
    ACCOUNT_FROZEN = "account_frozen"
    """The payer's account or card takes no debits for now."""
    ACCOUNT_INVALID = "account_invalid"
    """The payer's account or card is closed or does not exist."""
    NO_MANDATE = "no_mandate"
    IDENTITY_MISMATCH = "identity_mismatch"
    NOT_SUPPORTED = "not_supported"
    WRONG_CODE = "wrong_code"
    TOO_MANY_TRIES = "too_many_tries"
    NOT_RECEIVED = "not_received"
    """A debit that provably never reached the channel."""
    OUR_FAULT = "our_fault"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    BAD_ANSWER = "bad_answer"
    UNLISTED = "unlisted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One answer of a channel about one of our numbers, in our words.

    Attributes:
        number: our order_no or refund_no that the answer is about.
        amount_fen: the total that the channel has booked under `number`; None if not said.
        reference: the channel's own number: prepay_id or trade_no for a prepared payment,
            transaction id for a payment, refund id for a refund.
        payer_ref: who paid, as the channel names them (openid, open_id).
        occurred_at: when the money moved, by the channel's clock.
        raw_code: the channel's own code, for staff and for the mapping table.
    """

    kind: OutcomeKind
    reason: Reason
    number: str
    amount_fen: int | None = None
    reference: str | None = None
    payer_ref: str | None = None
    occurred_at: datetime | None = None
    raw_code: str = ""
    raw_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRequest:
    """A payment to be prepared for the payer's phone.

    `description` holds no comma, quote or line break, so that no channel's bill can be torn
    by it. `payer_ref` is the payer's openid / open_id at this channel.
    """

    order_no: str
    amount_fen: int
    description: str
    payer_ref: str
    expires_at: datetime
    client_ip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """A refund of `amount_fen` out of a payment of `total_fen` made under `order_no`."""

    order_no: str
    refund_no: str
    amount_fen: int
    total_fen: int
    reason: str


class MandateStanding(StrEnum):
    """What a channel says of a mandate. UNKNOWN as in `OutcomeKind`: only a query can tell."""

    AWAITING = "awaiting"
    """The person has not confirmed yet."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    ENDED = "ended"
    REFUSED = "refused"
    """It was never made and never will be under this number."""
    NOT_FOUND = "not_found"
    """The channel knows no such number: for a wallet, nobody has opened the signing page."""
    UNKNOWN = "unknown"


class EndedBy(StrEnum):
    """Who ended a mandate."""

    CONTRIBUTOR = "contributor"
    CHANNEL = "channel"
    CENTRE = "centre"
    EXPIRY = "expiry"


class Cycle(StrEnum):
    """How often a mandate may debit."""

    MONTH = "month"
    QUARTER = "quarter"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankCard:
    """The four elements (四要素) of a card, as its bank knows them.

    `document_kind` is a `DocumentKind` value: the card may have been opened with another document
    than the one that the person enrolled with.
    """

    card_no: str = field(repr=False)
    holder_name: str = field(repr=False)
    document_kind: str
    document_no: str = field(repr=False)
    phone: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateRequest:
    """A permission to debit that is asked of a person.

    Attributes:
        mandate_no: ours, unique for ever, stored before it is sent.
        cap_fen, period_cap_fen: the most that one debit, and all debits of one cycle, may take.
        first_due_on: day of the first debit under it; its day of the month is the debit day.
        payer_ref: the person's id at the channel; None where the channel knows cards only.
        card: for channels that debit cards.
        display_name: what the person reads in the channel's app as the account that is paid into.
    """

    mandate_no: str
    cap_fen: int
    period_cap_fen: int
    cycle: Cycle
    first_due_on: date
    valid_from: date
    valid_to: date
    display_name: str
    payer_ref: str | None = field(default=None, repr=False)
    card: BankCard | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateAnswer:
    """One answer of a channel about one of our mandates.

    Attributes:
        reference: the channel's own number of the mandate, once it is active.
        start_reference: what `confirm_mandate` has to show (the serial of a text message).
        payer_ref: who signed, as the channel names them.
        occurred_at: when it came to stand so, by the channel's clock.
    """

    standing: MandateStanding
    reason: Reason
    mandate_no: str
    reference: str | None = None
    start_reference: str | None = None
    payer_ref: str | None = field(default=None, repr=False)
    ended_by: EndedBy | None = None
    occurred_at: datetime | None = None
    raw_code: str = ""
    raw_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateLimits:
    """What a channel's product lets a mandate be.

    Attributes:
        cap_fen_max: the most for one debit; None where the channel sets none.
        cycles: how often it can debit.
        needs_card: the person gives a bank card, and confirms by a code sent to the phone.
    """

    cap_fen_max: int | None
    cycles: frozenset[Cycle]
    needs_card: bool


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


class EventTopic(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"
    MANDATE = "mandate"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelEvent:
    """A verified and normalized callback.

    `outcome.number` is our order_no for PAYMENT (a debit's result too) and our refund_no for
    REFUND. MANDATE has a `mandate` and no outcome. IGNORED stands for a genuine message that says
    nothing of money (a closing notice, a platform message); `note` says what it was.
    """

    topic: EventTopic
    outcome: Outcome | None
    mandate: MandateAnswer | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCallback:
    """A callback as it came over the wire. `endpoint` is the last part of the URL it came to."""

    endpoint: str
    content_type: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackReply:
    """What the channel must read to stop, or to repeat, its callback."""

    body: str
    content_type: str
    status: int = 200


class CallbackRejected(FundError):
    """The callback is not genuine or not ours: nothing may come of it.

    `reason` is a word for counters and logs: ``malformed``, ``signature``, ``merchant``.
    """

    code = "callback_rejected"
    default_message = "通知未通过验证"

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)
        self.reason = reason


class PhonePayments(Protocol):
    """Payments that the payer confirms in the channel's own app.

    None of these raises for trouble on the way: trouble is an Outcome of kind UNKNOWN.
    """

    def prepare_payment(self, request: PaymentRequest) -> Outcome:
        """Place the order. ACCEPTED carries in `reference` what `payer_action` needs."""

    def payer_action(self, prepay_reference: str) -> Mapping[str, str]:
        """Build the parameters that the phone hands to the channel's app. No network."""

    def query_payment(self, order_no: str) -> Outcome:
        """Ask what became of the payment. ACCEPTED means not paid yet."""

    def close_payment(self, order_no: str) -> Outcome:
        """Make the order unpayable. SUCCEEDED means that it is closed and was not paid."""


class Refunds(Protocol):
    """Money back to where a payment came from."""

    def refund(self, request: RefundRequest) -> Outcome:
        """Ask for a refund; repeating it with the same refund_no is safe. ACCEPTED is not done."""

    def query_refund(self, *, order_no: str, refund_no: str) -> Outcome:
        """Ask what became of a refund."""


class Mandates(Protocol):
    """Permissions to debit (授权). Trouble on the way is an answer of standing UNKNOWN."""

    @property
    def limits(self) -> MandateLimits:
        """What the product that was contracted lets a mandate be."""

    def start_mandate(self, request: MandateRequest) -> MandateAnswer:
        """Begin. Repeating it with the same number and content begins nothing a second time.

        A bank checks the card and sends a code (AWAITING with `start_reference`); a wallet asks
        nothing yet: AWAITING, with no network.
        """

    def signing_action(self, request: MandateRequest) -> Mapping[str, str]:
        """Build what the phone hands to the wallet's signing page; empty for a bank. No network."""

    def confirm_mandate(self, *, mandate_no: str, start_reference: str, code: str) -> MandateAnswer:
        """Show the code that the person got. A wallet needs none and answers as for a query."""

    def query_mandate(self, *, mandate_no: str, reference: str | None) -> MandateAnswer:
        """Ask how a mandate stands."""

    def end_mandate(self, *, mandate_no: str, reference: str | None) -> MandateAnswer:
        """End it; ENDED also when it had ended before."""


class Debits(Protocol):
    """Taking money under a mandate, one by one. Trouble on the way is UNKNOWN."""

    def submit_debit(self, request: DebitRequest) -> Outcome:
        """Ask for the money. ACCEPTED means that the result is still to come.

        The same number with the same content again is never a second debit.
        """

    def query_debit(self, order_no: str) -> Outcome:
        """Ask what became of it. FAILED with NOT_FOUND: the channel knows no such number (yet)."""


class Callbacks(Protocol):
    """Messages that the channel sends to us."""

    def read_callback(self, raw: RawCallback) -> ChannelEvent:
        """Verify and normalize.

        Raises:
            CallbackRejected: not well formed, not genuine, or meant for another merchant.
        """

    def reply(self, *, accepted: bool) -> CallbackReply:
        """The channel's own words for «recorded» or «send it again»."""


class LoginRefused(FundError):
    """The log-in code is wrong, used or expired."""

    code = "login_refused"
    default_message = "登录凭证无效或已过期，请重新登录"


class LoginPlatform(Protocol):
    """Who stands behind a one-time code that the mini-program got from its platform."""

    def subject_of(self, code: str) -> str:
        """Exchange the code for the person's id at this platform (openid / open_id).

        Raises:
            LoginRefused: the platform refuses the code.
            ChannelTrouble: no usable answer.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Something to be read on paper.

    Attributes:
        text: paragraphs, a line each; ``# `` begins the title, ``## `` a heading.
        footer: small lines below everything.
        dated: what the file says that it was made at.
    """

    text: str = field(repr=False)
    footer: tuple[str, ...] = field(repr=False)
    dated: datetime


class DocumentsUnavailable(ChannelTrouble):
    """No document can be made here: no writer, or no Chinese font for it."""

    code = "documents_unavailable"
    default_message = "系统未安装中文字体，暂时不能生成 PDF 文件，请先在线查看"


class DocumentWriter(Protocol):
    """Makes files that people download."""

    def write_pdf(self, document: Document) -> bytes:
        """Return the document as PDF; the same document gives the same bytes.

        Raises:
            DocumentsUnavailable: no Chinese font is there.
        """


class NoDocumentWriter:
    """Stands where no document can be made."""

    def write_pdf(self, document: Document) -> bytes:
        """Refuse."""
        raise DocumentsUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """The channels by name and by what they can do."""

    paying: Mapping[str, PhonePayments] = field(default_factory=dict)
    refunding: Mapping[str, Refunds] = field(default_factory=dict)
    calling_back: Mapping[str, Callbacks] = field(default_factory=dict)
    mandating: Mapping[str, Mandates] = field(default_factory=dict)
    debiting: Mapping[str, Debits] = field(default_factory=dict)


class Transact(Protocol):
    """Runs a block in one transaction, the whole block again if the database asks for it."""

    def __call__(self, work: Callable[[Session], T], /) -> T: ...


class Together(Protocol):
    """Lets threads that arrive while another one is at work share the next piece of work.

    One of them calls its `work` with the items of all; it returns one result an item, in order.
    A result of None, also for everybody if `work` raises, means: this item is still to be done.
    """

    def __call__(
        self, item: S, work: Callable[[Sequence[S]], Sequence[T | None]], /
    ) -> T | None: ...


def each_alone(item: S, work: Callable[[Sequence[S]], Sequence[T | None]], /) -> T | None:
    """Be the `Together` of a process in which nobody waits for anybody."""
    (result,) = work([item])
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All that an operation may use of the world, built once by the factory.

    Attributes:
        transact: runs a block in one transaction, the whole block again if the database asks.
        read: the same for a block that only reads: one consistent snapshot.
        together: gathers callbacks that arrive at the same time, to share a transaction.
        now: the current instant, UTC.
        new_number: a fresh unguessable number of 32 characters [0-9A-Za-z] with this prefix.
        count_callback: told the channel of each callback and what became of it, for monitoring.
        fence: called in the transaction in which a job takes up its next piece of work; raises to
            end the job there when this process was told to stop or another one has taken over.
        agreement_texts: templates of the agreement, by the day from which each is used.
        documents: makes PDF files.
    """

    transact: Transact
    read: Transact
    now: Callable[[], datetime]
    new_number: Callable[[str], str]
    vault: Vault
    channels: Channels
    logins: Mapping[str, LoginPlatform]
    together: Together = each_alone
    count_callback: Callable[[str, str], None] = lambda _channel, _result: None
    fence: Callable[[Session], None] = lambda _session: None
    agreement_texts: Mapping[date, str] = field(default_factory=dict)
    documents: DocumentWriter = NoDocumentWriter()
