"""State machines as tables: which state may follow which. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Generic, TypeVar

from app.domain.errors import Conflict

S = TypeVar("S", bound=StrEnum)


class IllegalMove(Conflict):
    """The table does not allow this move."""

    code = "illegal_move"


class StateMachine(Generic[S]):
    """The moves of one kind of thing. Every state is a key; a final one has no targets."""

    def __init__(self, name: str, moves: Mapping[S, frozenset[S]]) -> None:
        self.name = name
        self.moves = moves

    def sources_of(self, target: S) -> tuple[S, ...]:
        """Return the states from which `target` may be entered: a conditional update's guard."""
        return tuple(state for state, targets in self.moves.items() if target in targets)

    def check(self, current: S, target: S) -> None:
        """Refuse a move that the table does not hold.

        Raises:
            IllegalMove: with both states in its detail.
        """
        if target not in self.moves[current]:
            raise IllegalMove(thing=self.name, current=current.value, target=target.value)
