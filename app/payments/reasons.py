"""A channel's codes in our words: call and code -> kind and reason.

The rows come as data (`config/reasons/<channel>.yaml`); a code that has no row is UNKNOWN, so a
new code of a channel can never be taken for a refusal or for money.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

from app.domain.ports.outcomes import OutcomeKind, Reason

_logger = logging.getLogger(__name__)

_CODE_LENGTH = 64


class ReasonTable:
    """What each code of one channel means for each call.

    Args:
        rows: call -> code -> (kind, reason), as `config.reason_files.load_reasons` returns them.
        channel: whose codes they are, for the log.

    Raises:
        ValueError: a kind or a reason that ports.py does not know.
    """

    def __init__(
        self, rows: Mapping[str, Mapping[str, tuple[str, str]]], *, channel: str = ""
    ) -> None:
        self._channel = channel
        table: dict[tuple[str, str], tuple[OutcomeKind, Reason]] = {}
        for call, codes in rows.items():
            for code, (kind, reason) in codes.items():
                try:
                    table[call, code] = (OutcomeKind(kind), Reason(reason))
                except ValueError as error:
                    raise ValueError(f"{call}: {code}: {error}") from error
        self._table: Mapping[tuple[str, str], tuple[OutcomeKind, Reason]] = MappingProxyType(table)
        self._calls = frozenset(rows)

    def lookup(self, call: str, code: str) -> tuple[OutcomeKind, Reason]:
        """Return what `code` means as an answer to `call`; unlisted is UNKNOWN.

        An unlisted one is logged with the event «unlisted code», for monitoring to count.
        """
        found = self._table.get((call, code))
        if found is not None:
            return found
        _logger.warning(
            "unlisted code",
            extra={"channel": self._channel, "call": call, "raw_code": code[:_CODE_LENGTH]},
        )
        return OutcomeKind.UNKNOWN, Reason.UNLISTED

    def require(self, *calls: str) -> None:
        """Refuse a table that says nothing at all of a call that the adapter makes.

        Raises:
            ValueError: with the calls that are missing.
        """
        missing = sorted(set(calls) - self._calls)
        if missing:
            raise ValueError(f"the reason table has no rows for {', '.join(missing)}")
