"""The templates of one platform: which topics it can bring, and how a message fills them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.domain.ports.messages import (
    MessageOutcome,
    MessageReason,
    MessageResult,
    MessageTopic,
)
from app.platforms.http import NoVerdict

if TYPE_CHECKING:
    from config.message_template_files import TemplateFile

_logger = logging.getLogger(__name__)

NOT_OFFERED = MessageOutcome(result=MessageResult.REFUSED, reason=MessageReason.NOT_OFFERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One template: its id, and the texts that a message puts under its keys."""

    template_id: str
    keys: Mapping[str, str]
    blank: str

    def fill(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Return a text for every key; a platform takes no empty one."""
        return {key: fields.get(name) or self.blank for key, name in self.keys.items()}


class Templates:
    """What a platform can bring here.

    Args:
        platform: whose they are, for the log.
        file: the rows of `config/messages/<platform>.yaml`.
        ids: topic -> id of the template, of the settings.
        fields_of: the fields that each topic has.

    Raises:
        ValueError: a topic or a field that does not exist, or an id for a topic without a row.
    """

    def __init__(
        self,
        platform: str,
        *,
        file: TemplateFile,
        ids: Mapping[str, str],
        fields_of: Mapping[str, Set[str]],
    ) -> None:
        for topic, keys in file.topics.items():
            if unknown := set(keys.values()) - fields_of.get(topic, set()):
                raise ValueError(
                    f"{platform} messages: {topic} has no {', '.join(sorted(unknown))}"
                )
        if unknown := set(ids) - set(file.topics):
            raise ValueError(f"{platform} messages: no such topic: {', '.join(sorted(unknown))}")
        self.page = file.page
        self._platform = platform
        self._by_topic = {
            MessageTopic(topic): Template(
                template_id=template_id, keys=file.topics[topic], blank=file.blank
            )
            for topic, template_id in ids.items()
        }
        self._missed: set[MessageTopic] = set()

    def find(self, topic: MessageTopic) -> Template | None:
        """Return the template of a topic; None, logged once, where there is none here."""
        template = self._by_topic.get(topic)
        if template is None and topic not in self._missed:
            self._missed.add(topic)
            _logger.warning(
                "message not offered", extra={"platform": self._platform, "topic": topic.value}
            )
        return template

    @property
    def keys(self) -> frozenset[str]:
        """Every key of every template here."""
        return frozenset(key for template in self._by_topic.values() for key in template.keys)

    def judge(
        self, topic: MessageTopic, code: str, reasons: Mapping[str, MessageReason]
    ) -> MessageOutcome:
        """Return what a platform's error code means; an unlisted one may be anything: try again."""
        reason = reasons.get(code, MessageReason.UNLISTED)
        if reason in {MessageReason.PERSON_REFUSED, MessageReason.PERSON_UNKNOWN}:
            return MessageOutcome(result=MessageResult.REFUSED, reason=reason, raw_code=code)
        return self._try_again(topic, reason, code)

    def no_answer(self, topic: MessageTopic, trouble: NoVerdict) -> MessageOutcome:
        """Return what trouble on the way means: the message may have been taken or not."""
        return self._try_again(topic, MessageReason(trouble.reason.value), trouble.code)

    def _try_again(self, topic: MessageTopic, reason: MessageReason, code: str) -> MessageOutcome:
        _logger.warning(
            "unlisted code" if reason is MessageReason.UNLISTED else "message not taken",
            extra={
                "channel": self._platform,
                "call": "message",
                "topic": topic.value,
                "reason": reason.value,
                "raw_code": code[:64],
            },
        )
        return MessageOutcome(result=MessageResult.TRY_AGAIN, reason=reason, raw_code=code)
