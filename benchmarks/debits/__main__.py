"""`python -m benchmarks.debits`: a day of debits and the bank's files, on one private MariaDB.

Asserts nothing about time. Ends with an error if a debit was lost, doubled or misbooked.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks.debits.day import DebitDays
from benchmarks.debits.figures import day_rows, file_rows
from benchmarks.debits.files import measure_files
from benchmarks.report import show
from benchmarks.servers import ROOT
from sandbox.credentials import issue_credentials

OUT = ROOT / "benchmarks" / "out"
SLICES = 10


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.debits", description="扣款压测")
    parser.add_argument("--debits", type=int, default=100_000, help="一天到期的扣款笔数")
    options = parser.parse_args()
    debits, small = options.debits, options.debits // SLICES
    console = Console()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lianjiao-bench-")))
        keys = folder / "sandbox"
        issued = issue_credentials(keys)
        console.print(f"银行文件：{small} 行与 {debits} 行……")
        files = file_rows(measure_files(issued, keys, folder, (small, debits)), small, debits)
        show(files, console, OUT / "debit-files.json", title="银行批量文件")
        console.print("准备数据库……")
        days = DebitDays(stack, folder, issued, debits=debits)
        console.print(f"一个进程：{debits} 笔，与裸 PyMySQL 及 {small} 笔的一天交替……")
        days.one_process(SLICES)
        _report(days, console)
        console.print(f"两个进程：{debits} 笔，与裸 PyMySQL 交替……")
        days.two_processes(SLICES)
    _report(days, console)
    console.print("账务核验通过：每笔扣款恰好入账一次。")


def _report(days: DebitDays, console: Console) -> None:
    show(day_rows(days), console, OUT / "debit-day.json", title="扣款日")
    slices = {name: [asdict(done) for done in each] for name, each in days.slices.items()}
    (OUT / "debit-slices.json").write_text(json.dumps(slices, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
