"""What the crash tests start does not outlive them, however they end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.crashes.house import until
from tests.crashes.processes import ROOT

RUN = """
import os, sys, time
from pathlib import Path
from tests.crashes.processes import Group
group = Group()
parent = "import subprocess; subprocess.run(['sleep', '600'])"
process = group.start([sys.executable, "-c", parent], os.environ, Path(sys.argv[1]))
while not process.children():
    time.sleep(0.01)
print(process.running.pid, *process.children(), flush=True)
time.sleep(600)
"""


def test_a_killed_test_run_leaves_nothing_behind(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "log")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with run:
        assert run.stdout is not None
        left = [int(pid) for pid in run.stdout.readline().split()]
        assert len(left) == 2
        run.kill()
    until(lambda: not any(is_alive(pid) for pid in left), "the processes end")


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
