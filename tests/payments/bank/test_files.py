"""Batch files over real SFTP against the bank's emulator: whole, once, and from the bank only."""

from __future__ import annotations

import itertools
import socket
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from app.domain.ports.debits import (
    AnswerKind,
    BatchAtOdds,
    BatchFile,
    BatchFileRefused,
    BatchResults,
    FileServerTrouble,
)
from app.domain.ports.outcomes import OutcomeKind, Reason
from app.payments.bank.files.batches import BankFiles
from app.payments.reasons import ReasonTable
from config.bank_layout_files import load_bank_layout
from config.reason_files import load_reasons
from tests.payments.bank.batch import Batch, line
from tests.payments.bank.centre import Centre

SEQUENCES = itertools.count(1)


def files_of(centre: Centre, patience: float = 5, **changes: object) -> BankFiles:
    return BankFiles(
        centre.settings.bank.model_copy(update=changes),
        layout=load_bank_layout("standard"),
        reasons=ReasonTable(load_reasons("bank")),
        connect_timeout=patience,
        read_timeout=patience,
    )


@pytest.fixture
def files(centre: Centre) -> BankFiles:
    return files_of(centre)


@pytest.fixture
def batch(centre: Centre, files: BankFiles) -> Batch:
    """Three debits of 100, 200 and 300 yuan, not handed in yet."""
    card = centre.card(name="测试·䶮")
    reference = centre.signed(card, period_cap_fen=900000)[1]
    lines = [line(centre.number("D"), fen, reference, card) for fen in (10000, 20000, 30000)]
    return Batch(files, lines, next(SEQUENCES))


def hand_in(centre: Centre, files: BankFiles, batch: Batch) -> None:
    files.upload_batch(batch.file, batch.content)
    centre.gateway.look("health")


def finish(centre: Centre, batch: Batch) -> None:
    centre.gateway.control("files/finish", name=batch.file.name)


def fetched(files: BankFiles, batch: Batch, kind: str, part: str = "") -> tuple[BatchFile, BytesIO]:
    name = f"{kind}_{batch.file.name.removeprefix('DK_').removesuffix('.txt')}{part}.txt"
    content = BytesIO()
    return files.fetch_answer(name, content), content


def results(files: BankFiles, batch: Batch, part: str = "") -> BatchResults:
    file, content = fetched(files, batch, "DKR", part)
    return files.read_results(file, content, head=batch.head, find=batch.find)


def refusal(read: Any) -> BatchFileRefused:
    with pytest.raises(BatchFileRefused) as refused:
        read()
    return refused.value


def test_from_the_file_to_its_results(centre: Centre, files: BankFiles, batch: Batch) -> None:
    hand_in(centre, files, batch)
    file, content = fetched(files, batch, "DKA")
    word = files.read_acknowledgement(file, content, head=batch.head)
    finish(centre, batch)
    found = results(files, batch)

    assert (word.kind, word.raw_code, word.wrong_line) == (OutcomeKind.ACCEPTED, "00", 0)
    assert (found.count, found.paid_fen, found.missing) == (3, 60000, 0)
    told = list(found.lines())
    assert told == list(found.lines())
    assert [each.place for each in told] == [1, 2, 3]
    assert [each.outcome.amount_fen for each in told] == [10000, 20000, 30000]
    assert {each.outcome.kind for each in told} == {OutcomeKind.SUCCEEDED}
    assert {each.bank_date.isoformat() for each in told} == {"2026-11-24"}
    for each, asked in zip(told, batch.lines, strict=True):
        [booked] = centre.booked("debits", "order_no", asked.order_no)
        assert (each.outcome.number, each.outcome.reference) == (asked.order_no, booked["bank_ref"])
    listed = [each for each in files.list_answers().ready if each.sequence == batch.head.sequence]
    assert [(each.kind, each.part) for each in listed] == [
        (AnswerKind.ACKNOWLEDGEMENT, 1),
        (AnswerKind.RESULTS, 1),
    ]


def test_handing_the_same_in_again_debits_once(
    centre: Centre, files: BankFiles, batch: Batch
) -> None:
    for _ in range(3):
        files.upload_batch(batch.file, batch.content)
    hand_in(centre, files, batch)
    finish(centre, batch)

    assert results(files, batch).paid_fen == 60000
    assert len(centre.booked("entries", "reference", batch.file.name)) == 1


def test_lines_that_fail_say_why(centre: Centre, files: BankFiles, batch: Batch) -> None:
    for code in ("64", "42", "ZZ"):
        centre.gateway.control("troubles", at="file/line", kind="refuse", code=code)
    hand_in(centre, files, batch)
    finish(centre, batch)

    told = [each.outcome for each in results(files, batch).lines()]

    assert [(each.kind, each.reason) for each in told] == [
        (OutcomeKind.FAILED, Reason.INSUFFICIENT_FUNDS),
        (OutcomeKind.UNKNOWN, Reason.PROCESSING),
        (OutcomeKind.UNKNOWN, Reason.UNLISTED),
    ]
    assert [each.amount_fen for each in told] == [None, 20000, None]


@pytest.mark.parametrize(
    ("kind", "options", "line_no", "what"),
    [
        ("bad_sign", {}, 0, "签名"),
        ("unsigned", {}, 0, "签名"),
        ("truncate", {}, 0, "签名"),
        ("alter", {}, 0, "签名"),
        ("truncate", {"resigned": True}, None, ""),
        ("alter", {"resigned": True}, None, ""),
        ("other_batch", {}, 1, "批次号"),
        ("foreign", {}, 5, "不在这一批次"),
        ("repeat_line", {}, 5, "重复"),
        ("short_paid", {}, 2, "实扣 9999 分与应扣 10000 分"),
    ],
)
def test_a_result_file_with_a_flaw_is_refused_as_a_whole(
    centre: Centre,
    files: BankFiles,
    batch: Batch,
    kind: str,
    options: dict[str, object],
    line_no: int | None,
    what: str,
) -> None:
    centre.gateway.control("troubles", at="file/result", kind=kind, **options)
    hand_in(centre, files, batch)
    finish(centre, batch)

    refused = refusal(lambda: results(files, batch))

    assert refused.file.startswith("DKR_")
    assert what in refused.message
    assert refused.message.endswith("整份文件未采用")
    if line_no is not None:
        assert refused.line == line_no


def test_results_in_two_parts(centre: Centre, files: BankFiles, batch: Batch) -> None:
    centre.gateway.control("troubles", at="file/result", kind="partial", lines=1)
    hand_in(centre, files, batch)
    finish(centre, batch)

    first = results(files, batch)
    centre.gateway.control("files/release", name=batch.file.name)
    rest = results(files, batch, "_2")

    assert (first.count, first.paid_fen, first.missing) == (2, 30000, 1)
    assert (rest.count, rest.paid_fen, rest.missing) == (1, 30000, 2)
    assert [each.place for each in rest.lines()] == [3]


def test_the_same_results_twice_have_one_digest(
    centre: Centre, files: BankFiles, batch: Batch
) -> None:
    centre.gateway.control("troubles", at="file/result", kind="duplicate")
    hand_in(centre, files, batch)
    finish(centre, batch)

    first, second = (fetched(files, batch, "DKR", part)[0] for part in ("", "_2"))

    assert first.digest == second.digest
    assert first.name != second.name


def test_what_has_no_marker_is_not_there_yet(
    centre: Centre, files: BankFiles, batch: Batch
) -> None:
    centre.gateway.control("troubles", at="file/ack", kind="drop")
    hand_in(centre, files, batch)

    assert not [each for each in files.list_answers().ready if each.sequence == batch.head.sequence]
    assert "不存在" in refusal(lambda: fetched(files, batch, "DKA")).message


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *(("bad_sign", {}), ("unsigned", {}), ("truncate", {}), ("other_batch", {})),
        ("truncate", {"resigned": True}),
    ],
)
def test_an_acknowledgement_with_a_flaw_is_refused(
    centre: Centre, files: BankFiles, batch: Batch, kind: str, options: dict[str, object]
) -> None:
    centre.gateway.control("troubles", at="file/ack", kind=kind, **options)
    hand_in(centre, files, batch)
    file, content = fetched(files, batch, "DKA")

    refusal(lambda: files.read_acknowledgement(file, content, head=batch.head))


def test_a_batch_that_the_bank_rejects(centre: Centre, files: BankFiles, batch: Batch) -> None:
    """Its second order number was debited before."""
    again = Batch(files, [replace(batch.lines[0], order_no="D" * 32), batch.lines[1]], 9000)
    hand_in(centre, files, batch)
    hand_in(centre, files, again)

    file, content = fetched(files, again, "DKA")
    word = files.read_acknowledgement(file, content, head=again.head)

    assert (word.kind, word.reason) == (OutcomeKind.UNKNOWN, Reason.OUR_FAULT)
    assert (word.raw_code, word.wrong_line) == ("12", 3)


def test_an_answer_to_another_batch_is_not_read(
    centre: Centre, files: BankFiles, batch: Batch
) -> None:
    hand_in(centre, files, batch)
    file, content = fetched(files, batch, "DKA")

    for other in ({"sequence": 9999}, {"day": batch.head.day.replace(day=25)}):
        head = replace(batch.head, **other)
        read = lambda head=head: files.read_acknowledgement(file, content, head=head)  # noqa: E731
        assert "文件名" in refusal(read).message
    with_other_sum = replace(batch.head, sum_fen=1)
    assert (
        "受理金额"
        in refusal(lambda: files.read_acknowledgement(file, content, head=with_other_sum)).message
    )


@pytest.mark.parametrize(
    "name",
    [
        "../inbox/DKR_1_20261124_0001.txt",
        "DKR_1_20261124_0001.txt",
        "DKR_{corp}_20261131_0001.txt",
        "DKR_{corp}_20261124_0001.txt\n",
        "DKR_{corp}_20261124_0001_1.txt",
        "DKR_{corp}_20261124_0001.txt.sig",
        "DK_{corp}_20261124_0001.txt",
        "",
        "/etc/passwd",
        "dkr_{corp}_20261124_0001.txt",
        "DKR_{corp}_20261124_000１.txt",
    ],
)
def test_no_other_name_is_fetched(centre: Centre, files: BankFiles, name: str) -> None:
    name = name.format(corp=centre.settings.bank.merchant_id)

    assert "文件名" in refusal(lambda: files.fetch_answer(name, BytesIO())).message


def test_other_bytes_than_were_rendered_are_not_sent(
    centre: Centre, files: BankFiles, batch: Batch
) -> None:
    content = batch.content.getvalue()
    for wrong in (content[:-1], content.replace(b"|10000|", b"|10001|")):
        with pytest.raises(BatchAtOdds):
            files.upload_batch(batch.file, BytesIO(wrong))
    with pytest.raises(BatchAtOdds):
        files.upload_batch(replace(batch.file, signature=""), batch.content)
    with pytest.raises(BatchAtOdds):
        files.upload_batch(replace(batch.file, name="../x"), batch.content)

    assert not centre.booked("batches", "name", batch.file.name)


# The server


@pytest.fixture
def other_key(tmp_path: Path) -> str:
    from sandbox.credentials import issue_credentials

    return issue_credentials(tmp_path).bank["LIANJIAO_BANK_SFTP_HOST_KEY_FILE"]


def test_a_host_key_that_is_not_pinned_is_refused(centre: Centre, other_key: str) -> None:
    files = files_of(centre, sftp_host_key_file=Path(other_key))

    with pytest.raises(FileServerTrouble, match="主机密钥不符"):
        files.list_answers()


def test_two_host_keys_are_good_while_the_bank_changes_its_own(
    centre: Centre, other_key: str, tmp_path: Path
) -> None:
    both = tmp_path / "both"
    ours = Path(centre.settings.bank.sftp_host_key_file).read_text()
    both.write_text(f"# next year's\n{Path(other_key).read_text().strip()}\n{ours}")

    files_of(centre, sftp_host_key_file=both).list_answers()


def test_a_log_in_that_is_refused(centre: Centre) -> None:
    with pytest.raises(FileServerTrouble, match="拒绝登录"):
        files_of(centre, sftp_user="nobody").list_answers()


def test_nobody_at_home(centre: Centre) -> None:
    with pytest.raises(FileServerTrouble):
        files_of(centre, sftp_port=1).list_answers()


def test_somebody_at_home_who_says_nothing(centre: Centre) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        files = files_of(centre, patience=0.3, sftp_port=silent.getsockname()[1])
        with pytest.raises(FileServerTrouble):
            files.list_answers()


@pytest.mark.parametrize("content", ["", "ssh-ed25519 nonsense", "# nothing\n", "\xff"])
def test_a_file_without_a_host_key_is_refused(centre: Centre, tmp_path: Path, content: str) -> None:
    file = tmp_path / "hosts"
    file.write_text(content, encoding="latin-1")

    with pytest.raises(ValueError):
        files_of(centre, sftp_host_key_file=file)


def test_what_nobody_asked_for_is_told_and_not_read(
    centre: Centre, files: BankFiles, batch: Batch
) -> None:
    """The bank's own note about a name that was used for other bytes."""
    hand_in(centre, files, batch)
    other = Batch(files, batch.lines[:1], batch.head.sequence)
    hand_in(centre, files, other)

    assert f"{batch.file.name}.err" in files.list_answers().odd
