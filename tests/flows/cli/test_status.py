"""`lugha status`: a build is seen while it runs, and one that was killed does not run for ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.run.record import Record, latest, settle
from lang_configs.schema import Runtime
from tasks import ledger
from tasks.core.artifacts import Artifact
from tasks.core.records import read_record, write_record
from tasks.core.stage import Result
from tests import REPOSITORY
from tests.flows.cli.running import command, document

RUNNING = """
import sys
from pathlib import Path
from flows.run.record import Record
from lang_configs.schema import Runtime
record = Record(Path(sys.argv[1]), "swahili", "starter", "2026-11", Runtime())
record.begin()
record.begin("pretrain.teacher")
print("begun", flush=True)
sys.stdin.read()
"""


def running(workspace: Path) -> subprocess.Popen[str]:
    """A process that records a run, in the stage `pretrain.teacher`."""
    program = [sys.executable, "-c", RUNNING, str(workspace / "swahili")]
    process = subprocess.Popen(program, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def ended(label: str, reused: bool) -> Result:
    return Result(label, "0" * 20, Path(label), label, Artifact, None, reused)


def test_a_run_is_running_in_its_stage_until_its_process_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    process = running(tmp_path)
    (run,) = document(capsys, "status", "--workspace", tmp_path)
    assert (run["status"], run["stage"], run["process"]["id"]) == ("running", "pretrain.teacher", process.pid)
    assert run["started"] <= run["stage_started"]
    assert command("status", "--workspace", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "pretrain.teacher since " in printed and f"process {process.pid} on " in printed
    os.kill(process.pid, signal.SIGKILL)
    (run,) = document(capsys, "status", "--workspace", tmp_path)  # not waited for: a zombie runs no more
    assert (run["status"], run["stage"]) == ("killed", "pretrain.teacher")
    process.wait()
    assert [run["status"] for run in latest(tmp_path, 9)] == ["killed"]
    assert command("status", "--workspace", tmp_path) == 0
    assert f"in pretrain.teacher, process {process.pid} on " in (said := capsys.readouterr().out)
    assert "is gone" in said and "the same command goes on from there" in said


def test_a_later_process_of_the_same_number_is_another_one(tmp_path: Path) -> None:
    record = Record(tmp_path / "swahili", "swahili", None, "2026-11", Runtime())
    record.begin("clean")
    content = read_record(record.path)
    boot, _, ticks = content["process"]["born"].partition(" ")
    if not ticks:
        pytest.skip("this system does not say when a process began")
    for born in (f"{boot} {int(ticks) - 1}", f"another-boot {ticks}", None):
        write_record(record.path, content | {"process": content["process"] | {"born": born}})
        assert latest(tmp_path, 1)[0]["status"] == "killed"
    write_record(record.path, content | {"process": content["process"] | {"host": "elsewhere", "born": "x"}})
    assert latest(tmp_path, 1)[0]["status"] == "running"  # there is no asking another machine


def test_the_next_build_writes_down_what_was_killed_and_the_ledger_takes_it(tmp_path: Path) -> None:
    process = running(tmp_path)
    settle(tmp_path / "swahili")
    assert [run["status"] for run in latest(tmp_path, 9)] == ["running"]
    process.kill()
    process.wait()
    settle(tmp_path / "swahili")
    (path,) = (tmp_path / "swahili" / ledger.RUNS).glob("*.json")
    assert json.loads(path.read_text())["status"] == "killed"
    ledger.catch_up(tmp_path)
    assert ledger.query(tmp_path, "SELECT status FROM runs")[1] == [("killed",)]


def test_how_a_run_ended_is_told_and_damaged_records_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (status, message) in enumerate((("completed", ""), ("failed", "select: all 50 dropped."), ("interrupted", ""))):
        record = Record(tmp_path / f"language{number}", f"language{number}", None, "2026-11", Runtime())
        record.begin("select")
        record.add(ended("clean", True))
        record.end(status, message)
    (tmp_path / "language0" / ledger.RUNS / "x.json").write_text("{")
    runs = {run["language"]: run for run in document(capsys, "status", "--workspace", tmp_path)}
    assert [runs[f"language{number}"]["status"] for number in range(3)] == ["completed", "failed", "interrupted"]
    assert [run["stage"] for run in (runs["language0"], runs["language1"])] == [None, "select"]
    assert runs["language1"]["stages"] == [{"stage": "clean", "label": "clean", "fingerprint": "0" * 20, "reused": True}]
    assert "x.json: damaged (it is no JSON: cut off or overwritten); it is left out" in caplog.text


def test_old_records_without_a_process_do_not_run_for_ever(tmp_path: Path) -> None:
    run: dict[str, Any] = {"run": "r1", "language": "test", "preset": None, "snapshot": "2026-11", "message": "", "stages": []}
    run |= {"started": "2026-11-21T00:00:00+00:00", "seconds": 1.0, "status": "running"}
    path = tmp_path / "test" / ledger.RUNS / "r1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(run))
    assert latest(tmp_path, 1)[0]["status"] == "killed"
