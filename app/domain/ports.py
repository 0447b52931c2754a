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


class EventTopic(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelEvent:
    """A verified and normalized callback.

    `outcome.number` is our order_no for PAYMENT and our refund_no for REFUND. IGNORED stands for
    a genuine message that says nothing of money (a closing notice, a platform message);
    its outcome is None and `note` says what it was.
    """

    topic: EventTopic
    outcome: Outcome | None
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
