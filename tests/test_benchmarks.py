"""The benchmarks are run by hand: here each must at least find all that it is made of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("benchmark", "option"), [("benchmarks", "--rounds"), ("benchmarks.debits", "--debits")]
)
def test_the_benchmark_starts(repository_root: Path, benchmark: str, option: str) -> None:
    command = [sys.executable, "-m", benchmark, "--help"]
    said = subprocess.run(command, cwd=repository_root, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    assert option in said.stdout
