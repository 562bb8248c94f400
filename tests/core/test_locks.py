"""Processes that want the same place take turns, and the one that waits says for whom."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.locks import exclusive
from tests import REPOSITORY

HOLD = """
import sys
from pathlib import Path
from tasks.core.locks import exclusive
with exclusive(Path(sys.argv[1]), Path(sys.argv[1]).parent):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_who_waits_says_for_whom_and_goes_on_when_that_one_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, place = tmp_path / "locks" / "a.lock", tmp_path / "a"
    path.parent.mkdir()
    other = holder(path)
    said: list[str] = []

    class Release(logging.Handler):
        """Lets the other one go as soon as this one has said that it waits."""

        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            other.communicate("")

    handler = Release()
    logging.getLogger("lugha").addHandler(handler)
    try:
        with exclusive(path, place):
            assert other.poll() == 0
    finally:
        logging.getLogger("lugha").removeHandler(handler)
    assert len(said) == 1
    assert said[0].startswith(f"{place}: waiting for process {other.pid} on ")


def test_a_killed_holder_keeps_nobody_waiting_and_is_not_named_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.lock"
    other = holder(path)
    other.kill()
    other.wait()
    with exclusive(path, tmp_path):
        assert str(os.getpid()) in path.with_suffix(".holder").read_text()
    assert caplog.messages == []
    assert not path.with_suffix(".holder").exists()
