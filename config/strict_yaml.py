"""YAML that cannot mean something else than it says: the one way in which config reads its files.

Plain YAML lets the last of two equal keys win, reads `010` as eight, `off` as false and 0.05 as a
binary fraction. Here each of these is an error that names the file and the line.
"""

from __future__ import annotations

import re
from datetime import date
from typing import NoReturn, cast

import yaml

_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]*")


class StrictYamlError(ValueError):
    """The text is not YAML, or YAML that could be misread."""


class _Refused(yaml.YAMLError):
    def __init__(self, message: str, node: yaml.Node) -> None:
        super().__init__(f"line {node.start_mark.line + 1}: {message}")


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader without repeated keys, floats, booleans, times of day and oddly spelt numbers."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Refused("a key must be a plain word", key)
            if key.value in seen:
                raise _Refused(f"{key.value!r} stands twice", key)
            seen.add(key.value)
        return cast(dict[object, object], super().construct_mapping(node, deep=deep))

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        if not _WHOLE_NUMBER.fullmatch(node.value):
            raise _Refused(f"{node.value!r} is not a whole number in plain digits", node)
        return int(node.value)

    def construct_day(self, node: yaml.ScalarNode) -> date:
        try:
            return date.fromisoformat(node.value)
        except ValueError:
            raise _Refused(f"{node.value!r} is not a day", node) from None

    def refuse_unquoted(self, node: yaml.ScalarNode) -> NoReturn:
        raise _Refused(f"{node.value!r} must be quoted text", node)


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_whole_number)
_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", _StrictLoader.construct_day)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _StrictLoader.refuse_unquoted)
_StrictLoader.add_constructor("tag:yaml.org,2002:bool", _StrictLoader.refuse_unquoted)


def load_strict(text: str, *, where: str) -> object:
    """Return the one document of a YAML text.

    Args:
        where: the name of the file, for the error.
    Raises:
        StrictYamlError: with the file, and the line where there is one.
    """
    try:
        return cast(object, yaml.load(text, Loader=_StrictLoader))  # noqa: S506  # nosec B506  # a SafeLoader
    except yaml.YAMLError as error:
        raise StrictYamlError(f"{where}: {error}") from error
