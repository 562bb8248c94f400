from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.core.errors import StageError
from tasks.net import download as module
from tasks.net.download import MissingError, download, http_client, read_range
from tests import REPOSITORY
from tests.net.range_server import DATA, SHA256, FileServer


@pytest.mark.parametrize("seed", range(5))
def test_a_line_cut_at_random_costs_hardly_more_than_the_file(server: FileServer, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    server.cut = lambda length: cut if (cut := dice.randrange(50_000, 400_000)) < length else None
    path = download(f"{server.base}/dump.bin", tmp_path / "data" / "dump.bin", SHA256)
    assert path.read_bytes() == DATA
    assert len(server.requests) > 5
    assert server.sent <= 1.1 * len(DATA)
    assert [file.name for file in path.parent.iterdir()] == ["dump.bin"]
    assert all(headers["user-agent"].startswith("lugha/") for _, headers in server.requests)


def test_ten_cuts(server: FileServer, tmp_path: Path) -> None:
    cuts = iter([len(DATA) // 12] * 10)
    server.cut = lambda length: next(cuts, None)
    assert download(f"{server.base}/dump.bin", tmp_path / "dump.bin", SHA256).stat().st_size == len(DATA)
    assert len(server.requests) == 11
    assert server.sent <= 1.1 * len(DATA)


def test_a_download_goes_on_in_the_next_process(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    server.cut = lambda length: 700_000
    with pytest.raises(StageError, match="run the same command again"):
        download(f"{server.base}/dump.bin", tmp_path / "dump.bin")
    assert not (tmp_path / "dump.bin").exists()
    server.cut, server.sent = lambda length: None, 0
    assert download(f"{server.base}/dump.bin", tmp_path / "dump.bin", SHA256).read_bytes() == DATA
    assert server.sent == len(DATA) - 700_000


def test_a_file_that_changes_between_two_parts_is_not_mixed(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    server.cut = lambda length: 700_000
    with pytest.raises(StageError):
        download(f"{server.base}/dump.bin", tmp_path / "dump.bin")
    server.cut, server.files["dump.bin"] = lambda length: None, DATA[::-1]
    assert download(f"{server.base}/dump.bin", tmp_path / "dump.bin").read_bytes() == DATA[::-1]


@pytest.mark.parametrize("missing", ["ranges", "validators"])
def test_a_server_that_cannot_resume_starts_over(server: FileServer, tmp_path: Path, missing: str) -> None:
    setattr(server, missing, False)
    cuts = iter([500_000, 900_000, None])
    server.cut = lambda length: next(cuts)
    assert download(f"{server.base}/dump.bin", tmp_path / "dump.bin").read_bytes() == DATA
    assert server.sent == 500_000 + 900_000 + len(DATA)


def test_a_killed_download_goes_on(server: FileServer, tmp_path: Path) -> None:
    slow = iter([1_000_000, None])

    def cut(length: int) -> int | None:
        first = next(slow)
        if first is not None:
            time.sleep(0.1)
        return first

    server.cut = cut
    code = (
        "import os, sys; from pathlib import Path; from tasks.net import download as d; "
        "d.time.sleep = lambda seconds: os.kill(os.getpid(), 9); d.download(sys.argv[1], Path(sys.argv[2]))"
    )
    address, path = f"{server.base}/dump.bin", tmp_path / "dump.bin"
    process = subprocess.run([sys.executable, "-c", code, address, str(path)], cwd=REPOSITORY, timeout=60)
    assert process.returncode == -9
    assert not path.exists()
    assert download(address, path, SHA256).read_bytes() == DATA
    assert server.sent <= 1.1 * len(DATA)


def test_busy_servers_are_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.errors["dump.bin"] = [503, 429, 500, 502]
    assert download(f"{server.base}/dump.bin", tmp_path / "dump.bin", SHA256).exists()
    assert len(server.requests) == 5


def test_retry_after_is_obeyed(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    monkeypatch.setattr(module, "retry_after", lambda headers: 100_000.0)
    server.errors["dump.bin"] = [503]
    download(f"{server.base}/dump.bin", tmp_path / "dump.bin")
    assert waits == [module.LONGEST_WAIT]


def test_a_file_that_is_there_needs_no_network(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = download(f"{server.base}/dump.bin", tmp_path / "dump.bin", SHA256)
    monkeypatch.setenv("LUGHA_OFFLINE", "1")
    assert download(f"{server.base}/dump.bin", path, SHA256) == path
    with pytest.raises(StageError, match="offline"):
        download(f"{server.base}/dump.bin", tmp_path / "other.bin")
    assert len(server.requests) == 1


def test_a_wrong_checksum_leaves_nothing(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=f"has SHA-256 {SHA256}, not {'0' * 64}"):
        download(f"{server.base}/dump.bin", tmp_path / "dump.bin", "0" * 64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [1000, len(DATA) - 1])
def test_a_file_that_is_too_large_is_refused(server: FileServer, tmp_path: Path, limit: int) -> None:
    with pytest.raises(StageError, match="larger than"):
        download(f"{server.base}/dump.bin", tmp_path / "dump.bin", max_bytes=limit)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_said_in_one_sentence(server: FileServer, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    cases = {
        f"{server.base}/hakuna.bin": "there is no such file",
        f"http://127.0.0.1:{port}/x": "the host cannot be reached",
        "http://hakuna.invalid/x": "the host cannot be reached",
        "hakuna.invalid/x": "no address that can be fetched",
        "ftp://hakuna.invalid/x": "no address that can be fetched",
    }
    for url, message in cases.items():
        with pytest.raises(StageError, match=message) as raised:
            download(url, tmp_path / "x")
        assert str(raised.value).startswith(url)
        assert "\n" not in str(raised.value)


def test_a_range_is_read_through_errors_and_cuts(server: FileServer) -> None:
    server.errors["dump.bin"] = [503]
    cuts = iter([10, None])
    server.cut = lambda length: next(cuts)
    with http_client() as client:
        assert read_range(client, f"{server.base}/dump.bin", 1000, 500) == DATA[1000:1500]
        server.cut = lambda length: None
        with pytest.raises(MissingError):
            read_range(client, f"{server.base}/dump.bin", len(DATA) - 10, 500)
        with pytest.raises(MissingError):
            read_range(client, f"{server.base}/dump.bin", len(DATA) + 10, 500)
        server.ranges = False
        with pytest.raises(StageError, match="range of bytes"):
            read_range(client, f"{server.base}/dump.bin", 1000, 500)
