"""预扣费通知 Announcing debits, where the plan lets nothing unannounced be taken (API v3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from app.domain.calendar import SHANGHAI
from app.domain.ports.debits import DebitNotice, NoticeWindow
from app.domain.ports.outcomes import Outcome, OutcomeKind, Reason
from app.payments.asking import Asker
from app.payments.reasons import ReasonTable
from app.payments.wechat.v3 import V3Client

if TYPE_CHECKING:
    from config.settings import WeChatSettings

# To debit on the 3rd it is announced on the 1st; the 2nd is for the payer to think it over. The
# debit may then be tried on one, two or three days, as the announcement says.
_WINDOW = NoticeWindow(latest_days=2, valid_days=3, from_hour=7, until_hour=22)


class WeChatAnnouncements:
    """Announcements under the plan of one WeChat Pay merchant.

    Args:
        callback_base_url: not used; nothing is told later of an announcement.
        reasons: the rows of `config/reasons/wechat.yaml`.
        connect_timeout, read_timeout: seconds; the latter bounds the whole answer.
        now: the current instant, UTC.

    Raises:
        ValueError: settings that cannot work.
    """

    def __init__(
        self,
        settings: WeChatSettings,
        *,
        callback_base_url: str,
        reasons: ReasonTable,
        connect_timeout: float,
        read_timeout: float,
        now: Callable[[], datetime],
    ) -> None:
        reasons.require("announce_debit")
        self._ask = Asker("wechat", reasons)
        self._now = now
        self._app_id = settings.app_id
        self._merchant_id = settings.merchant_id
        self._client = V3Client(
            settings, connect_timeout=connect_timeout, read_timeout=read_timeout, now=now
        )

    @property
    def notice_window(self) -> NoticeWindow:
        """When WeChat takes announcements, and debits after them."""
        return _WINDOW

    def announce_debit(self, notice: DebitNotice) -> Outcome:
        """Have the payer told (预扣费通知).

        One that would not cover the day of the debit, or comes at night, is not sent at all: FAILED
        with NOT_SUPPORTED. WeChat's refusals of it would leave open whether it was announced.
        """
        local = self._now().astimezone(SHANGHAI)
        days = (notice.due_on - local.date()).days
        if not (
            _WINDOW.latest_days <= days <= _WINDOW.earliest_days
            and _WINDOW.from_hour <= local.hour < _WINDOW.until_hour
        ):
            return Outcome(
                kind=OutcomeKind.FAILED,
                reason=Reason.NOT_SUPPORTED,
                number=notice.order_no,
                raw_message="不在可通知时间段内，未发送",
            )
        content = {
            "mchid": self._merchant_id,
            "appid": self._app_id,
            "deduct_duration": {"count": _WINDOW.valid_days, "unit": "DAY"},
            "estimated_amount": {"amount": notice.amount_fen, "currency": "CNY"},
        }
        contract = quote(notice.mandate_reference, safe="")
        announce = partial(self._client.post, f"/v3/papay/contracts/{contract}/notify", content)

        def understand(_: None) -> Outcome:
            return Outcome(
                kind=OutcomeKind.ACCEPTED,
                reason=Reason.OK,
                number=notice.order_no,
                raw_code="204",
            )

        return self._ask("announce_debit", notice.order_no, announce, understand)
