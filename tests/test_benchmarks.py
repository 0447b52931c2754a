"""The benchmark is run by hand: here it must at least find all that it is made of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_benchmark_starts(repository_root: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--help"]
    said = subprocess.run(command, cwd=repository_root, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    assert "--rounds" in said.stdout
