"""屏幕 What the person in front of the demo reads; as plain in a file as on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper

from rich.console import Console
from rich.table import Table


class DemoFailed(Exception):
    """Something is not as it should be; the message says what, in Chinese."""


class Screen:
    """Prints the progress, and counts the checks that held."""

    def __init__(self) -> None:
        if isinstance(sys.stdout, TextIOWrapper):
            # A terminal that has no ✓ shall not end the demo.
            sys.stdout.reconfigure(errors="replace")
        self._console = Console(highlight=False, markup=False, emoji=False)
        self.checks = 0

    def say(self, text: str = "", style: str | None = None) -> None:
        """Print a line, however long: it may be meant for copying."""
        self._console.print(text, style=style, soft_wrap=True)

    def step(self, title: str) -> None:
        self.say(f"\n{title}", "bold")

    def fact(self, text: str) -> None:
        self.say(f"  · {text}")

    def fail(self, failure: DemoFailed) -> None:
        self.say(f"\n✗ 演示失败：{failure}", "bold red")

    def check(self, what: str, found: object, expected: object) -> None:
        """Count and print a check that holds; the text of `what` says it all.

        Raises:
            DemoFailed: found is not what was expected.
        """
        if found != expected:
            raise DemoFailed(f"{what}：应为 {expected}，实为 {found}")
        self._hold(what)

    def check_fen(self, what: str, found_fen: int, expected_fen: int) -> None:
        """Count and print an amount that is right.

        Raises:
            DemoFailed: it is another one.
        """
        if found_fen != expected_fen:
            raise DemoFailed(f"{what}：应为 {yuan(expected_fen)} 元，实为 {yuan(found_fen)} 元")
        self._hold(f"{what} {yuan(found_fen)} 元")

    def table(
        self,
        title: str,
        headings: Sequence[str],
        amounts: Sequence[str],
        rows: Sequence[Sequence[str]],
    ) -> None:
        """Print a table: columns of text, then columns of `amounts`."""
        table = Table(*headings, title=title, title_justify="left")
        for heading in amounts:
            table.add_column(heading, justify="right")
        for row in rows:
            table.add_row(*row)
        self.say()
        self._console.print(table)

    @contextmanager
    def waiting(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show what is being waited for; what is given to the yielded call shows beside it."""
        if not self._console.is_terminal:
            self.fact(f"{text}……")
            yield lambda _: None
            return
        with self._console.status(f"{text}……") as status:
            yield lambda more: status.update(f"{text}……{more}")

    def _hold(self, what: str) -> None:
        self.checks += 1
        self.say(f"  ✓ {what}", "green")


def yuan(fen: int) -> str:
    """Return fen as yuan for people, e.g. 123456 as ``1,234.56``."""
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100:,}.{abs(fen) % 100:02d}"
