"""Fuzz one parser for as long as you like, guided by the code that it reaches.

    pip install atheris          # wheels for Linux on x86-64; not among the pinned libraries
    python -m tests.fuzz strict_json -max_total_time=600

What it finds stands in a file `crash-…`; mend the parser, then keep the message as
`corpus/<parser>/found-<what it was>`. New messages that only reach new code are not written down.
"""

from __future__ import annotations

import sys
import tempfile

import atheris

with atheris.instrument_imports(
    include=["app.payments", "app.platforms", "app.routes.json", "tests.fuzz"]
):
    from tests.fuzz.targets import CORPUS, TARGETS, accepts


def main() -> None:
    """Run libFuzzer on the parser that is named first; all else is libFuzzer's."""
    name, *options = sys.argv[1:] or [""]
    if name not in TARGETS:
        raise SystemExit(f"one of {', '.join(TARGETS)}, please")
    target = TARGETS[name]

    def try_one(data: bytes) -> None:
        accepts(target, data)

    with tempfile.TemporaryDirectory() as found:
        arguments = [sys.argv[0], "-max_len=8192", *options, found, str(CORPUS / name)]
        atheris.Setup(arguments, try_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
