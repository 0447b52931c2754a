"""Reads `messages/<platform>.yaml`: how a platform's message templates are filled, as plain data.

A file has four keys: `source` (where templates are applied for), `page` (what a tap opens in the
mini-program), `blank` (what stands where a message has nothing to say) and `topics`. Below a topic
stands one line for each key of its template, with the field of ours that goes there:

    topics:
      debit_due:
        amount1: amount

What topics and fields there are is checked by `app.connectors.messages.templates`; config knows
nobody. The ids of templates belong to an installation and stand in its settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from config.strict_yaml import StrictYamlError, load_strict

_FOLDER = Path(__file__).resolve().parent / "messages"
_PLATFORM = re.compile(r"[a-z][a-z0-9_]{0,31}")
_WORD = re.compile(r"[a-z][a-z_]{0,31}")
_KEY = re.compile(r"[a-z][a-z_]{0,30}[0-9]{1,3}")


class MessageTemplateError(ValueError):
    """A template file that cannot be used: the process must not start with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFile:
    """The content of a file; `topics` is topic -> key of the template -> field of ours."""

    page: str
    blank: str
    topics: Mapping[str, Mapping[str, str]]


def parse_message_templates(text: str, *, where: str) -> TemplateFile:
    """Read the text of a template file, refusing everything but the documented shape.

    Raises:
        MessageTemplateError: with the place that is wrong.
    """
    try:
        content = load_strict(text, where=where)
    except StrictYamlError as error:
        raise MessageTemplateError(str(error)) from error
    if not isinstance(content, dict) or set(content) != {"source", "page", "blank", "topics"}:
        raise MessageTemplateError(f"{where}: exactly source, page, blank and topics are expected")
    for name in ("source", "page", "blank"):
        if not isinstance(content[name], str) or not content[name].strip():
            raise MessageTemplateError(f"{where}: {name}: text is expected")
    topics = content["topics"]
    if not isinstance(topics, dict) or not topics:
        raise MessageTemplateError(f"{where}: topics: at least one topic is expected")
    return TemplateFile(
        page=content["page"],
        blank=content["blank"],
        topics=MappingProxyType(
            {
                _word(topic, f"{where}: topics"): _keys(keys, f"{where}: {topic}")
                for topic, keys in topics.items()
            }
        ),
    )


def load_message_templates(platform: str) -> TemplateFile:
    """Return the content of `config/messages/<platform>.yaml`.

    Raises:
        MessageTemplateError: no such file, or not the documented shape.
    """
    if not _PLATFORM.fullmatch(platform):
        raise MessageTemplateError(f"{platform!r} is not the name of a platform")
    path = _FOLDER / f"{platform}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MessageTemplateError(f"{path.name}: {error}") from error
    return parse_message_templates(text, where=path.name)


def _keys(value: object, where: str) -> Mapping[str, str]:
    if not isinstance(value, dict) or not value:
        raise MessageTemplateError(f"{where}: at least one key is expected")
    for key in value:
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise MessageTemplateError(f"{where}: {key!r} is no key of a template")
    return MappingProxyType({key: _word(name, f"{where}: {key}") for key, name in value.items()})


def _word(value: object, where: str) -> str:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise MessageTemplateError(f"{where}: {value!r} is not a word")
    return value
