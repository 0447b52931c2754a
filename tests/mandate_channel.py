"""A channel in memory at which mandates are signed: a bank that sends codes, or a wallet.

Its own record is what tests compare ours with. Trouble is a queue a call: «lost_before» and
«lost_after» lose the answer before or after its effect, «refused» refuses;
a `MandateAnswer` is given as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from app.domain.ports.callbacks import CallbackReply, ChannelEvent, EventTopic, RawCallback
from app.domain.ports.mandates import (
    Cycle,
    EndedBy,
    MandateAnswer,
    MandateLimits,
    MandateRequest,
    MandateStanding,
)
from app.domain.ports.outcomes import Reason

CODE = "246810"


@dataclass
class Signed:
    """One mandate as the channel keeps it."""

    standing: MandateStanding
    request: MandateRequest | None
    reference: str
    payer_ref: str | None = None
    ended_by: EndedBy | None = None


@dataclass
class MandateChannel:
    """A bank when `needs_card`, a wallet otherwise."""

    needs_card: bool = True
    cap_fen_max: int | None = None
    cycles: frozenset[Cycle] = frozenset(Cycle)
    kept: dict[str, Signed] = field(default_factory=dict)
    trouble: dict[str, list[str | MandateAnswer]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    # -- what the outside does -----------------------------------------------------------------

    def sign(self, mandate_no: str, *, payer_ref: str = "payer") -> None:
        """The person signs on the wallet's page."""
        self.kept[mandate_no] = Signed(
            MandateStanding.ACTIVE, None, f"W-{mandate_no}", payer_ref=payer_ref
        )

    def unsign(self, mandate_no: str, by: EndedBy = EndedBy.CONTRIBUTOR) -> None:
        """The person ends it in the wallet's app, or it runs out."""
        self.kept[mandate_no].standing = MandateStanding.ENDED
        self.kept[mandate_no].ended_by = by

    def notice(self, mandate_no: str, standing: str | None = None, /, **changed: object) -> bytes:
        """The notice about a mandate as it stands, or as it once stood."""
        signed = self.kept[mandate_no]
        content = {
            "mandate_no": mandate_no,
            "standing": standing or signed.standing.value,
            "reference": signed.reference,
            "payer_ref": signed.payer_ref,
        }
        return json.dumps({**content, **changed}).encode()

    # -- the ports -----------------------------------------------------------------------------

    @property
    def limits(self) -> MandateLimits:
        return MandateLimits(
            cap_fen_max=self.cap_fen_max, cycles=self.cycles, needs_card=self.needs_card
        )

    def start_mandate(self, request: MandateRequest) -> MandateAnswer:
        def do() -> MandateAnswer:
            if not self.needs_card:
                return answer_of(request.mandate_no, MandateStanding.AWAITING)
            assert request.card is not None
            assert request.valid_to > date(2026, 11, 24)
            signed = self.kept.setdefault(
                request.mandate_no,
                Signed(MandateStanding.AWAITING, request, f"B-{request.mandate_no}"),
            )
            assert signed.request == request
            return self._tell(request.mandate_no)

        return self._call("start", request.mandate_no, do)

    def signing_action(self, request: MandateRequest) -> Mapping[str, str]:
        if self.needs_card:
            return {}
        assert request.payer_ref is not None
        return {"contract_code": request.mandate_no, "account": request.display_name}

    def confirm_mandate(self, *, mandate_no: str, start_reference: str, code: str) -> MandateAnswer:
        def do() -> MandateAnswer:
            signed = self.kept[mandate_no]
            assert start_reference == f"S-{mandate_no}"
            if signed.standing is MandateStanding.AWAITING:
                if code != CODE:
                    return answer_of(mandate_no, MandateStanding.AWAITING, reason=Reason.WRONG_CODE)
                signed.standing = MandateStanding.ACTIVE
            return self._tell(mandate_no)

        return self._call("confirm", mandate_no, do)

    def query_mandate(self, *, mandate_no: str, reference: str | None) -> MandateAnswer:
        return self._call("query", mandate_no, lambda: self._tell(mandate_no))

    def end_mandate(self, *, mandate_no: str, reference: str | None) -> MandateAnswer:
        def do() -> MandateAnswer:
            if mandate_no in self.kept:
                signed = self.kept[mandate_no]
                signed.ended_by = signed.ended_by or EndedBy.CENTRE
                signed.standing = MandateStanding.ENDED
            return self._tell(mandate_no)

        return self._call("end", mandate_no, do)

    def read_callback(self, raw: RawCallback) -> ChannelEvent:
        content = json.loads(raw.body)
        mandate = answer_of(
            content["mandate_no"],
            MandateStanding(content["standing"]),
            reference=content["reference"],
            payer_ref=content["payer_ref"],
        )
        return ChannelEvent(topic=EventTopic.MANDATE, outcome=None, mandate=mandate)

    def reply(self, *, accepted: bool) -> CallbackReply:
        return CallbackReply(body="ok" if accepted else "again", content_type="text/plain")

    # -- inside --------------------------------------------------------------------------------

    def _tell(self, mandate_no: str) -> MandateAnswer:
        signed = self.kept.get(mandate_no)
        if signed is None:
            return answer_of(mandate_no, MandateStanding.NOT_FOUND, reason=Reason.NOT_FOUND)
        waits = signed.standing is MandateStanding.AWAITING
        return answer_of(
            mandate_no,
            signed.standing,
            reference=None if waits else signed.reference,
            start_reference=f"S-{mandate_no}" if waits else None,
            payer_ref=signed.payer_ref,
            ended_by=signed.ended_by,
        )

    def _call(self, name: str, mandate_no: str, do: Callable[[], MandateAnswer]) -> MandateAnswer:
        self.calls.append(f"{name}:{mandate_no}")
        waiting = self.trouble.get(name)
        trouble = waiting.pop(0) if waiting else None
        if isinstance(trouble, MandateAnswer):
            return trouble
        lost = answer_of(mandate_no, MandateStanding.UNKNOWN, reason=Reason.NO_ANSWER)
        if trouble == "refused":
            return answer_of(mandate_no, MandateStanding.REFUSED, reason=Reason.IDENTITY_MISMATCH)
        if trouble == "lost_before":
            return lost
        answer = do()
        return lost if trouble == "lost_after" else answer


def answer_of(
    mandate_no: str,
    standing: MandateStanding,
    *,
    reason: Reason = Reason.OK,
    reference: str | None = None,
    start_reference: str | None = None,
    payer_ref: str | None = None,
    ended_by: EndedBy | None = None,
) -> MandateAnswer:
    """Return an answer of a channel."""
    return MandateAnswer(
        standing=standing,
        reason=reason,
        mandate_no=mandate_no,
        reference=reference,
        start_reference=start_reference,
        payer_ref=payer_ref,
        ended_by=ended_by,
        raw_code=standing.value.upper(),
    )
