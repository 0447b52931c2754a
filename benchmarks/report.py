"""What was measured, as a table for people and as JSON for a comparison over time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

Figures = Mapping[str, Sequence[float]]
Rows = Mapping[str, Mapping[str, Any]]


def write_report(figures: Figures, latencies: Figures, console: Console, folder: Path) -> None:
    """Print the table and write `latest.json`."""
    show(_rows(figures, latencies), console, folder / "latest.json", title="压测结果（各轮中位数）")


def show(rows: Rows, console: Console, path: Path, *, title: str) -> None:
    """Print rows as a table, and write them as JSON."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    table = Table("项目", title=title)
    for heading in ("本系统", "对照", "比值"):
        table.add_column(heading, justify="right")
    table.add_column("单位")
    table.add_column("说明", ratio=1)
    for key, row in rows.items():
        cells = (_short(row[column]) for column in ("ours", "baseline", "ratio"))
        table.add_row(key, *cells, row["unit"], row["note"])
    console.print(table)


def _rows(figures: Figures, latencies: Figures) -> dict[str, dict[str, Any]]:
    rows = {
        f"notices_{clients}_vs_raw": _compare(
            figures, f"wechat_{clients}", f"bare_{clients}", "1/s", "微信通知；对照：裸 PyMySQL"
        )
        for clients in (1, 8)
    }
    rows["notices_1_vs_hordak"] = _compare(
        figures, "wechat_1", "hordak_1", "1/s", "微信通知；对照：django-hordak 记两行分录"
    )
    cpu = {
        "ours": _sums(figures, "wechat_8_web_cpu", "wechat_8_database_cpu"),
        "raw": _sums(figures, "bare_8_client_cpu", "bare_8_database_cpu"),
    }
    rows["cpu_per_notice_vs_raw"] = _compare(
        cpu, "ours", "raw", "ms", "CPU：本系统与数据库进程；8 个并发", scale=1e3
    )
    for clients in (1, 8):
        rows[f"alipay_{clients}_vs_raw"] = _compare(
            figures, f"alipay_{clients}", f"bare_{clients}", "1/s", "支付宝通知；对照：裸 PyMySQL"
        )
    for name, note in (
        ("wechat_32", "微信通知，32 个并发"),
        ("alipay_32", "支付宝通知，32 个并发"),
        ("no_operation", "空请求 /healthz，8 个并发"),
        ("balance", "查询账户概览，8 个并发"),
        ("statement", "查询账户明细，8 个并发"),
    ):
        rows[name] = _alone(figures[name], "1/s", note)
    for name, note in (
        ("visible", "从发出通知到读到新余额，8 个并发"),
        *((f"wechat_{n}", f"从发出通知到收到应答，{n} 个并发") for n in (1, 8, 32)),
        ("bare_8", "裸 PyMySQL 一笔，8 个并发"),
    ):
        cuts = quantiles(latencies[name], n=100, method="inclusive")
        rows[f"latency_{name}_p50"] = _alone([cuts[49] * 1e3], "ms", note)
        rows[f"latency_{name}_p99"] = _alone([cuts[98] * 1e3], "ms", note)
    http, web = figures["no_operation_web_cpu"], figures["wechat_8_web_cpu"]
    verification = figures["wechat_verification_cpu"]
    rest = [w - h - v for w, h, v in zip(web, http, verification, strict=True)]
    for name, values, note in (
        ("cpu_http", http, "HTTP、框架、日志（空请求实测）"),
        ("cpu_verification_wechat", verification, "验签、解析、加密存证（进程内实测）"),
        ("cpu_verification_alipay", figures["alipay_verification_cpu"], "同上"),
        ("cpu_database_ours", rest, "本系统其余：SQL 与驱动"),
        ("cpu_database_server", figures["wechat_8_database_cpu"], "MariaDB 进程"),
        ("cpu_load", figures["wechat_8_client_cpu"], "负载发生器自身"),
    ):
        rows[name] = _alone(values, "ms", note, scale=1e3)
    return rows


def _sums(figures: Figures, *names: str) -> list[float]:
    return [sum(values) for values in zip(*(figures[name] for name in names), strict=True)]


def _compare(
    figures: Figures, ours: str, baseline: str, unit: str, note: str, *, scale: float = 1
) -> dict[str, Any]:
    # The ratio of each round, because both sides of a round saw the same machine.
    ratios = [a / b for a, b in zip(figures[ours], figures[baseline], strict=False)]
    row = _alone(figures[ours], unit, note, scale=scale)
    if ratios:
        row["baseline"] = round(median(figures[baseline]) * scale, 4)
        row["ratio"] = round(median(ratios), 3)
        row["note"] += f"；比值 {min(ratios):.2f}–{max(ratios):.2f}"
    return row


def _alone(values: Sequence[float], unit: str, note: str, *, scale: float = 1) -> dict[str, Any]:
    low, high = min(values) * scale, max(values) * scale
    spread = f"；各轮 {_short(low)}–{_short(high)}" if len(values) > 1 else ""
    return {
        "ours": round(median(values) * scale, 4),
        "baseline": None,
        "ratio": None,
        "unit": unit,
        "note": note + spread,
    }


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
