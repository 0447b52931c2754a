"""`python -m sandbox` as the demo runs it, and the credentials that it issues."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_private_key,
    load_ssh_public_key,
)

from sandbox.credentials import issue_credentials


def test_credentials_are_issued_once(tmp_path: Path):
    with ThreadPoolExecutor(max_workers=4) as threads:
        issued = [threads.submit(issue_credentials, tmp_path) for _ in range(4)]
    first = issued[0].result()
    assert all(credentials.result() == first for credentials in issued)
    assert first.wechat["LIANJIAO_WECHAT_APP_ID"].startswith("wx")
    assert len(first.wechat["LIANJIAO_WECHAT_API_KEY"]) == 32
    assert {path.stat().st_mode & 0o077 for path in tmp_path.glob("*.[pj]*")} == {0}


def test_the_keys_of_alipay_are_pairs(tmp_path: Path):
    alipay = issue_credentials(tmp_path).alipay
    for side in ("app", "gateway"):
        private = (tmp_path / f"alipay-{side}-private.pem").read_bytes()
        public = load_pem_public_key((tmp_path / f"alipay-{side}-public.pem").read_bytes())
        key = load_pem_private_key(private, None)
        assert key.key_size == 2048
        assert key.public_key() == public
    assert Path(alipay["LIANJIAO_ALIPAY_APP_PRIVATE_KEY_FILE"]).is_absolute()
    assert alipay["LIANJIAO_ALIPAY_ALIPAY_PUBLIC_KEY_FILE"].endswith("gateway-public.pem")


def test_the_keys_of_api_v3_are_pairs_and_the_product_is_not_given_them(tmp_path: Path):
    issued = issue_credentials(tmp_path)
    for side in ("merchant", "platform"):
        key = load_pem_private_key((tmp_path / f"wechat-{side}-private.pem").read_bytes(), None)
        public = (tmp_path / f"wechat-{side}-public.pem").read_bytes()
        assert key.public_key() == load_pem_public_key(public)
    assert issued.wechat.keys().isdisjoint(issued.wechat_v3.keys())
    assert len(issued.wechat_v3["LIANJIAO_WECHAT_MERCHANT_SERIAL_NO"]) == 40


def test_the_keys_of_the_bank_are_pairs(tmp_path: Path):
    bank = issue_credentials(tmp_path).bank
    for side in ("merchant", "gateway"):
        key = load_pem_private_key((tmp_path / f"bank-{side}-private.pem").read_bytes(), None)
        public = (tmp_path / f"bank-{side}-public.pem").read_bytes()
        assert key.public_key() == load_pem_public_key(public)
    for side in ("client", "host"):
        key = load_ssh_private_key((tmp_path / f"bank-sftp-{side}").read_bytes(), None)
        public = (tmp_path / f"bank-sftp-{side}.pub").read_bytes()
        assert key.public_key() == load_ssh_public_key(public)
    files = [path for name, path in bank.items() if name.endswith("_FILE")]
    assert len(files) == 4
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in files)


def test_a_channel_that_the_file_does_not_know_is_added(tmp_path: Path):
    first = issue_credentials(tmp_path)
    path = tmp_path / "credentials.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    del kept["bank"]
    path.write_text(json.dumps(kept), encoding="utf-8")
    second = issue_credentials(tmp_path)
    assert (second.wechat, second.alipay) == (first.wechat, first.alipay)
    assert second.bank["LIANJIAO_BANK_MERCHANT_ID"] != first.bank["LIANJIAO_BANK_MERCHANT_ID"]
    assert issue_credentials(tmp_path) == second


def test_a_bank_process_serves_calls_and_files(tmp_path: Path, repository_root: Path):
    command = [sys.executable, "-m", "sandbox", "bank", "--data", str(tmp_path)]
    with subprocess.Popen(
        [*command, "--port", "0", "--sftp-port", "0"],
        cwd=repository_root,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            name, url = process.stdout.readline().split()
            answer = requests.post(f"{url}_control/files/port", json={}, timeout=10).json()
            with socket.create_connection(("127.0.0.1", answer["port"]), timeout=10) as connection:
                greeting = connection.recv(8)
        finally:
            process.terminate()
    assert name == "bank"
    assert greeting == b"SSH-2.0-"


def test_a_gateway_process_serves_on_the_clock_it_was_given(tmp_path: Path, repository_root: Path):
    pytest.importorskip("sandbox.alipay.server")
    command = [sys.executable, "-m", "sandbox", "wechat", "--data", str(tmp_path), "--port", "0"]
    with subprocess.Popen(
        [*command, "--clock", "2026-11-24T23:59:00+08:00"],
        cwd=repository_root,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            name, url = process.stdout.readline().split()
            clock = requests.get(f"{url}_control/clock", timeout=10).json()
        finally:
            process.terminate()
    assert name == "wechat"
    assert clock["now"].startswith(("2026-11-24T23:59", "2026-11-25T00:00"))
    assert (tmp_path / "credentials.json").exists()
