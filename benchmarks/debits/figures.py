"""What was measured, as rows of the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from benchmarks.debits.day import DebitDays
from benchmarks.debits.files import Handled
from benchmarks.debits.workers import Done

Row = dict[str, Any]


def day_rows(days: DebitDays) -> dict[str, Row]:
    """Return the rows of the loads that have run so far."""
    slices, rows = days.slices, {}
    for key, mark in (("debit_day_vs_raw", ""), ("debit_day_2_vs_raw", "_2")):
        if f"plan{mark}" not in slices:
            continue
        cost = _day_ms(slices[f"plan{mark}"], slices[f"submit{mark}"])
        bare_cost = _day_ms(slices[f"bare_plan{mark}"], slices[f"bare_submit{mark}"])
        processes = "两个进程" if mark else "一个进程"
        note = f"排期加扣款，{processes}；对照：裸 PyMySQL；扣款{_spread(slices, mark)}"
        rows[key] = _row(1e3 / cost, 1e3 / bare_cost, "1/s", note)
        for what, word in (("plan", "排期"), ("submit", "扣款")):
            ours = _together(slices[f"{what}{mark}"])
            bare = _together(slices[f"bare_{what}{mark}"])
            rows[f"{what}{mark}_vs_raw"] = _row(_rate(ours), _rate(bare), "1/s", f"其中{word}")
    rows["debit_day_cpu_vs_raw"] = _row(
        _cpu_ms(slices["plan"]) + _cpu_ms(slices["submit"]),
        _cpu_ms(slices["bare_plan"]) + _cpu_ms(slices["bare_submit"]),
        "ms",
        "一笔的 CPU：工作进程与数据库进程",
    )
    sizes = f"{days.debits} 笔的一天；对照：{slices['small_submit'][0].count} 笔的一天"
    rows["debit_day_cost_100k_vs_10k"] = _row(
        _day_ms(slices["plan"], slices["submit"]),
        _day_ms(slices["small_plan"], slices["small_submit"]),
        "ms",
        f"一笔的时间，{sizes}",
    )
    rows["debit_day_cpu_100k_vs_10k"] = _row(
        _cpu_ms(slices["plan"]) + _cpu_ms(slices["submit"]),
        _cpu_ms(slices["small_plan"]) + _cpu_ms(slices["small_submit"]),
        "ms",
        f"一笔的 CPU，{sizes}",
    )
    rows["debit_day_memory_100k_vs_10k"] = _row(
        slices["submit"][-1].peak_mb,
        slices["small_submit"][0].peak_mb,
        "MB",
        f"工作进程内存峰值，{sizes}",
    )
    half = len(slices["submit"]) // 2
    rows["debit_day_late_vs_early"] = _row(
        _cpu_ms(slices["submit"][half:]),
        _cpu_ms(slices["submit"][:half]),
        "ms",
        f"一笔扣款的 CPU，后半对前半；与相邻小日的时间比{_beside_small(slices)}",
    )
    return rows


def file_rows(
    measured: Iterable[tuple[str, int, Handled]], small: int, large: int
) -> dict[str, Row]:
    """Return the rows of the files."""
    found = {(name, size): handled for name, size, handled in measured}
    rows = {}
    for name, word, bare in (
        ("render", "生成批量文件", "只拼接各行并计算摘要"),
        ("read", "核对并读取回盘文件", "只拆分各行并计算摘要"),
    ):
        ours, least = found[name, large], found[name, small]
        rows[f"{name}_file_vs_bare"] = _row(
            large / ours.seconds,
            large / found[f"bare_{name}", large].seconds,
            "1/s",
            f"{word}，每秒行数；对照：{bare}",
        )
        sizes = f"{large} 行；对照：{small} 行"
        rows[f"{name}_file_cost_100k_vs_10k"] = _row(
            ours.seconds / large * 1e6, least.seconds / small * 1e6, "µs", f"一行的时间，{sizes}"
        )
        rows[f"{name}_file_memory_100k_vs_10k"] = _row(
            ours.peak_mb, least.peak_mb, "MB", f"进程内存峰值，{sizes}"
        )
    return rows


def _together(slices: Sequence[Done]) -> Done:
    return Done(
        count=max(sum(done.count for done in slices), 1),
        seconds=sum(done.seconds for done in slices),
        cpu_seconds=sum(done.cpu_seconds for done in slices),
        peak_mb=max(done.peak_mb for done in slices),
        database_cpu_seconds=sum(done.database_cpu_seconds for done in slices),
    )


def _rate(done: Done) -> float:
    return done.count / done.seconds


def _day_ms(planned: Sequence[Done], sent: Sequence[Done]) -> float:
    """Return how long one debit took, planned and sent."""
    return 1e3 / _rate(_together(planned)) + 1e3 / _rate(_together(sent))


def _cpu_ms(slices: Sequence[Done]) -> float:
    """Return what one debit costs, by the worker and by the database together."""
    done = _together(slices)
    return (done.cpu_seconds + done.database_cpu_seconds) / done.count * 1e3


def _beside_small(slices: dict[str, list[Done]]) -> str:
    """Return how slices of the large day compare with the small day next to each, early and late.

    Were the queue slower the longer it has been worked off, the second would be the greater.
    """
    ratios = [
        _rate(small) / _rate(large)
        for large, small in zip(slices["submit"][1::2], slices["small_submit"], strict=False)
    ]
    half = len(ratios) // 2
    return f"前半 {median(ratios[:half]):.2f}，后半 {median(ratios[half:]):.2f}"


def _spread(slices: dict[str, list[Done]], mark: str) -> str:
    """Return how far the ratios of neighbouring slices lay apart."""
    ratios = [
        _rate(ours) / _rate(bare)
        for ours, bare in zip(slices[f"submit{mark}"], slices[f"bare_submit{mark}"], strict=False)
        if ours.count and bare.count
    ]
    return f"各段比值 {min(ratios):.2f}–{max(ratios):.2f}，中位 {median(ratios):.2f}"


def _row(ours: float, baseline: float, unit: str, note: str) -> Row:
    return {
        "ours": round(ours, 4),
        "baseline": round(baseline, 4),
        "ratio": round(ours / baseline, 3),
        "unit": unit,
        "note": note,
    }
