"""A layout is data: bytes by hand, names that an encoding lacks, memory that stays flat."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from multiprocessing import get_context

import pytest

from app.domain.ports.debits import AskedLine, BatchAtOdds, BatchFileRefused, LineUnwritable
from app.payments.bank.files.layouts import Layout
from app.payments.bank.files.reading import AnswerReader, read_acknowledgement, read_results
from app.payments.bank.files.writing import render
from app.payments.reasons import ReasonTable
from config.bank_layout_files import BankLayoutError, load_bank_layout
from config.reason_files import load_reasons
from tests.payments.bank.batch import head, line, many, some_card
from tests.payments.bank.files_hand import CORP, KEYS, fixed_width, of_bank, sm3, standard

REASONS = ReasonTable(load_reasons("bank"))
ORDER = "D2026112400000001"


def rendered(layout: Layout, *names: str, sum_fen: int | None = None) -> bytes:
    lines = [
        line(f"D{place:016d}", 10000, "A1", some_card(name)) for place, name in enumerate(names, 1)
    ]
    into = BytesIO()
    total = 10000 * len(names) if sum_fen is None else sum_fen
    render(layout, KEYS, head(len(names), total), lines, into)
    return into.getvalue()


def test_the_standard_file_byte_by_byte() -> None:
    content = rendered(standard(), "测试弢", "䶮·儀")

    body = (
        "H|DK|20261124|0001|2|20000|CNY|898312345678|1.0\r\n"
        "D|00000001|D0000000000000001|A1|6217980000000000001|测试弢|10000|2026-11 缴存\r\n"
        "D|00000002|D0000000000000002|A1|6217980000000000001|䶮·儀|10000|2026-11 缴存\r\n"
    ).encode("gb18030")
    assert content == body + f"T|2|20000|{sm3(body)}\r\n".encode()


def test_a_fixed_width_file_of_another_bank_byte_by_byte() -> None:
    content = rendered(fixed_width(), "测试用户")

    assert content == (
        "000001000000010000\r\n"
        "D0000000000000001               "
        "6217980000000000001"
        "测试用户    "
        "000000010000"
        "156\r\n"
    ).encode("gbk")


@pytest.mark.parametrize("name", ["测试䶮", "测试㛃", "测试•用户", "测试・用户"])
def test_a_name_that_gbk_lacks_is_refused_before_anything_is_frozen(name: str) -> None:
    with pytest.raises(LineUnwritable) as refused:
        rendered(fixed_width(), name)

    assert "GBK 编码没有的字" in refused.value.message
    assert name not in refused.value.message
    assert refused.value.message.startswith("*")
    assert refused.value.order_no == "D0000000000000001"
    rendered(standard(), name)


@pytest.mark.parametrize(
    "name", ["测|试", "测\r\n试", "测\x00", "", "测" * 61, "\ud800", "测\u2028"]
)
def test_a_name_that_would_tear_the_file_is_refused(name: str) -> None:
    with pytest.raises(LineUnwritable):
        rendered(standard(), name)


def test_a_name_too_long_for_its_width_is_refused() -> None:
    with pytest.raises(LineUnwritable, match="超过 12 字节"):
        rendered(fixed_width(), "测试用户测试用")


def test_lines_that_do_not_add_up_are_no_batch() -> None:
    with pytest.raises(BatchAtOdds):
        rendered(standard(), "测试用户", sum_fen=9999)
    with pytest.raises(BatchAtOdds):
        render(standard(), KEYS, head(2, 12345), many(1), BytesIO())


# Reading


def find(numbers: Sequence[str]) -> dict[str, AskedLine]:
    return {ORDER: AskedLine(place=1, amount_fen=10000)} if ORDER in numbers else {}


def results_of(layout: Layout, name: str, content: bytes) -> list:
    file, stream = of_bank(name, content)
    batch = head(1, 10000)
    reader = AnswerReader(layout, KEYS, "results", file, stream, batch)
    return list(read_results(reader, REASONS, batch, find).lines())


def a_result(
    *,
    first: str = f"H|DKR|20261124|0001|1|10000|CNY|{CORP}|1.0",
    detail: str = f"D|00000001|{ORDER}|00|成功|10000|202611240000000001|20261124",
    last: str = "T|1|10000|",
) -> bytes:
    body = f"{first}\r\n{detail}\r\n".encode("gb18030")
    return body + f"{last}{sm3(body)}\r\n".encode()


NAME = f"DKR_{CORP}_20261124_0001.txt"


def test_a_result_file_written_by_hand() -> None:
    [found] = results_of(standard(), NAME, a_result())

    assert (found.place, found.outcome.number, found.outcome.amount_fen) == (1, ORDER, 10000)


@pytest.mark.parametrize(
    ("content", "line_no", "what"),
    [
        (a_result(first=f"H|DKR|20261125|0001|1|10000|CNY|{CORP}|1.0"), 1, "日期与批次不符"),
        (a_result(first=f"H|DKR|20261124|0002|1|10000|CNY|{CORP}|1.0"), 1, "批次号不符"),
        (a_result(first="H|DKR|20261124|0001|1|10000|CNY|111111111111|1.0"), 1, "不是本中心"),
        (a_result(first=f"H|DKR|20261124|0001|1|10000|USD|{CORP}|1.0"), 1, "currency"),
        (a_result(first=f"H|DKR|20261124|0001|2|10000|CNY|{CORP}|1.0"), 1, "笔数"),
        (a_result(first=f"H|DKR|20261124|0001|1|10001|CNY|{CORP}|1.0"), 1, "金额合计"),
        (a_result(last="T|2|10000|"), 3, "笔数"),
        (a_result(last="T|1|9999|"), 3, "金额合计"),
        (a_result(last="T|1|010000|"), 3, "sum_fen"),
        (a_result(detail=f"D|00000002|{ORDER}|00|成功|10000|1|20261124"), 2, "序号"),
        (a_result(detail=f"D|00000001|{ORDER}|00|成功|10000|1|20261131"), 2, "日期不存在"),
        (a_result(detail=f"D|00000001|{ORDER}|64|余额不足|10000|1|20261124"), 2, "实扣"),
        (a_result(detail=f"D|00000001|{ORDER}|00|成功|10000||20261124"), 2, "流水号"),
        (a_result(detail=f"D|00000001|{ORDER}|00|成|功|10000|1|20261124"), 2, "字段个数"),
        (a_result(detail="D|00000001|D2|00|成功|10000|1|20261124"), 2, "不在这一批次"),
        (a_result().replace(b"\r\n", b"\n"), 1, "行不完整"),
        (a_result()[:-1], 3, "行不完整"),
        (a_result() + b"\r\n", 3, "字段个数"),
        (a_result().replace(b"|10000|2026", b"|1000\xff|2026"), 2, ""),
        (a_result()[:-4] + b"0\r\n", 3, ""),
        (b"", 0, "不完整"),
        (b"T|0|0|\r\n", 0, "不完整"),
        (b"H" * 5000, 1, "过长"),
    ],
)
def test_a_result_file_with_a_flaw_names_the_line(content: bytes, line_no: int, what: str) -> None:
    with pytest.raises(BatchFileRefused) as refused:
        results_of(standard(), NAME, content)

    assert (refused.value.line, refused.value.file) == (line_no, NAME)
    assert what in refused.value.message


def test_a_result_file_of_another_bank() -> None:
    content = f"000001000000010000\r\n{ORDER:<32}00{10000:012d}20261125\r\n".encode("gbk")

    [found] = results_of(fixed_width(), f"JG202611240001-{CORP}.dat", content)

    assert found.outcome.amount_fen == 10000
    assert found.bank_date.isoformat() == "2026-11-25"


def test_an_acknowledgement_of_two_lines_is_refused() -> None:
    name = f"HZ202611240001-{CORP}.dat"
    row = f"{f'PL202611240001-{CORP}.dat':<40}Y00{10000:012d}\r\n"
    content = f"000002000000020000\r\n{row}{row}".encode()
    file, stream = of_bank(name, content)
    reader = AnswerReader(fixed_width(), KEYS, "acknowledgement", file, stream, head(1, 10000))

    with pytest.raises(BatchFileRefused, match="只有一行"):
        read_acknowledgement(reader, fixed_width(), REASONS, head(1, 10000))


# Memory


def peak_of_rendering(count: int) -> int:
    render(standard(), KEYS, head(1, 12345), many(1), BytesIO())  # What is loaded once.
    with tempfile.TemporaryFile() as into:
        tracemalloc.start()
        render(standard(), KEYS, head(count, 12345 * count), many(count), into)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def peak_of_reading(count: int) -> int:
    with tempfile.TemporaryFile() as made:
        rows = (
            f"D|{n + 1:08d}|D{n:031d}|00|成功|12345|{n:018d}|20261124\r\n".encode("gb18030")
            for n in range(count)
        )
        made.write(f"H|DKR|20261124|0001|{count}|{12345 * count}|CNY|{CORP}|1.0\r\n".encode())
        made.writelines(rows)
        made.seek(0)
        body = made.read()
        made.write(f"T|{count}|{12345 * count}|{sm3(body)}\r\n".encode())
        made.seek(0)
        file, _ = of_bank(NAME, made.read())
        del body
        batch = head(count, 12345 * count)
        tracemalloc.start()
        reader = AnswerReader(standard(), KEYS, "results", file, made, batch)
        found = read_results(
            reader,
            REASONS,
            batch,
            lambda numbers: {
                each: AskedLine(place=int(each[1:]) + 1, amount_fen=12345) for each in numbers
            },
        )
        lines = sum(1 for _ in found.lines())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert lines == count
    return peak


def test_ten_times_the_lines_take_no_more_memory() -> None:
    """But for a bit a line that says which debits were seen: 11 KiB more at 100,000.

    In a process of its own: servers of other tests take memory here, too.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        for measure in (peak_of_rendering, peak_of_reading):
            small, large = alone.map(measure, [10_000, 100_000])
            assert large < small + 32 * 1024


# The layout itself


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("encoding",), "latin-1"),
        (("separator",), "||"),
        (("title",), None),
        (("files", "debits"), None),
        (("files", "results", "detail"), [{"name": "order_no", "form": "word", "size": 40}]),
        (("files", "results", "detail", 0), {"name": "mark"}),
        (("files", "results", "detail", 0), {"name": "mark", "form": "anything"}),
        (("files", "results", "detail", 0), {"name": "mark", "form": "word"}),
        (("files", "results", "detail", 0), {"name": "line", "value": "D"}),
        (("files", "results", "trailer"), [{"name": "digest", "form": "digest"}]),
    ],
)
def test_a_layout_that_cannot_work_stops_the_start(path: tuple, value: object) -> None:
    content = _copy(load_bank_layout("standard"))
    place = content
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    if path[-1] == "trailer":
        place["header"] = place["header"][:4]

    with pytest.raises(ValueError):
        Layout(content, corp=CORP)


def _copy(content: object) -> object:
    if isinstance(content, dict):
        return {name: _copy(each) for name, each in content.items()}
    return [_copy(each) for each in content] if isinstance(content, list) else content


@pytest.mark.parametrize("name", ["", "nobody", "../reasons/bank", "Standard"])
def test_only_a_known_layout_has_a_file(name: str) -> None:
    with pytest.raises(BankLayoutError):
        load_bank_layout(name)
