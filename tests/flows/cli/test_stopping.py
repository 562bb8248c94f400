"""Ctrl-C and SIGTERM end a command with one line that says what is kept, and with their exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.run.record import latest
from tasks import ledger
from tests import REPOSITORY

SECONDS = 120
"""How long a busy machine may take to come to where the test wants it, or to end."""

TEXT = "Mama alikwenda sokoni asubuhi na mapema kununua samaki, mboga na matunda kwa ajili ya familia yake kubwa. "


def started(*arguments: str, code: str = "") -> subprocess.Popen[str]:
    """A command in a process group of its own, as a shell starts it."""
    program = [sys.executable, "-c", f"{code}\nfrom flows.cli import main; main()", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(program, cwd=REPOSITORY, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]


def stopped(process: subprocess.Popen[str], number: int, when: Callable[[], bool]) -> tuple[int, str]:
    """Exit code and words of a command that gets a signal, as all of its group do from a terminal, once `when` holds."""
    try:
        deadline = time.monotonic() + SECONDS
        while not when():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "it never came so far"
            time.sleep(0.05)
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said


@pytest.fixture
def language(tmp_path: Path) -> list[str]:
    """A build of three sources, and so three shards, with two workers."""
    sources = []
    for source in range(3):
        lines = (f"{TEXT * 20} Na {source} {line}." for line in range(3000))
        (tmp_path / f"{source}.txt").write_text("\n".join(lines))
        sources.append(
            {"type": "files", "name": f"texts-{source}", "documents": "line", "paths": [str(tmp_path / f"{source}.txt")]}
        )
    config = {"name": "Sheng", "code": "swh", "script": "Latn", "crawl": {"sources": sources}}
    (tmp_path / "sheng.yaml").write_text(json.dumps(config))
    return ["build", str(tmp_path / "sheng.yaml"), "--set", "runtime.workers=2", "--workspace", str(tmp_path / "w")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_build_that_is_stopped_says_that_its_work_is_kept(number: int, code: int, language: list[str]) -> None:
    workspace = Path(language[-1])

    process = started(*language)

    def works() -> bool:
        workers = [one for one in psutil.Process(process.pid).children() if "spawn_main" in " ".join(one.cmdline())]
        return len(workers) == 2 and any(run["stage"] == "clean" for run in latest(workspace, 1))

    ended, said = stopped(process, number, works)
    assert (ended, said.strip()) == (code, "stopped; what is finished is kept: the same command goes on from there")
    (run,) = latest(workspace, 1)
    assert (run["status"], run["stage"]) == ("interrupted", "clean")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_before_anything_ran(number: int, code: int, tmp_path: Path) -> None:
    """While the command still reads its modules."""
    mark = tmp_path / "reads"
    slow = "import sys, types, time, pathlib\nclass Slow:\n def find_spec(self, name, *_):\n  if name == 'flows.run.build':\n"
    slow += f"   pathlib.Path({str(mark)!r}).touch(); time.sleep({SECONDS})\nsys.meta_path.insert(0, Slow())"
    process = started("build", "swahili", "--workspace", str(tmp_path / "w"), code=slow)
    ended, said = stopped(process, number, mark.exists)
    assert (ended, said.strip()) == (code, "stopped; what is finished is kept: the same command goes on from there")
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_question_that_takes_for_ever(number: int, code: int, tmp_path: Path) -> None:
    ledger.record(tmp_path / "w", [])
    mark = tmp_path / "asks"
    told = "import pathlib, tasks.ledger\nbefore = tasks.ledger._read_only\ndef opened(*a, **k):\n"
    told += f" pathlib.Path({str(mark)!r}).touch()\n return before(*a, **k)\ntasks.ledger._read_only = opened"
    sql = "SELECT count(*) FROM range(100000000000) a, range(100000) b"
    process = started("stats", "--sql", sql, "--workspace", str(tmp_path / "w"), code=told)
    ended, said = stopped(process, number, mark.exists)
    assert (ended, said.strip()) == (code, "stopped; nothing is left half done: give the same command again")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", [["--help"], ["languages"], ["build", "swahili"]])
def test_while_the_first_modules_are_read(command: list[str], number: int, code: int, tmp_path: Path) -> None:
    mark = tmp_path / "reads"
    slow = "import sys, time, pathlib\nclass Slow:\n def find_spec(self, name, *_):\n  if name == 'typer':\n"
    slow += f"   pathlib.Path({str(mark)!r}).touch(); time.sleep({SECONDS})\nsys.meta_path.insert(0, Slow())"
    program = [sys.executable, "-c", f"{slow}\nfrom lugha.__main__ import main; main()", *command]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(program, cwd=REPOSITORY, start_new_session=True, **pipes)  # type: ignore[call-overload]
    ended, said = stopped(process, number, mark.exists)
    assert (ended, said.strip()) == (code, "stopped; nothing was begun: give the same command again")


IN_A_FINALIZER = """
import os, time
from flows.cli import app

class Thrown:
    def __del__(self):
        os.kill(os.getpid(), NUMBER)

@app.command()
def throw() -> None:
    Thrown()
    time.sleep(100)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_comes_in_a_finalizer_is_not_lost(number: int, code: int) -> None:
    process = started("throw", code=IN_A_FINALIZER.replace("NUMBER", str(int(number))))
    _, said = process.communicate(timeout=SECONDS)
    assert (process.returncode, said) == (code, "\nstopped; nothing is left half done: give the same command again\n")
