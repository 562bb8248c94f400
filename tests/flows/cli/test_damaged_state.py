"""Whatever became of ledger, records and manifests: a command answers, or says in one sentence what cures it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from tasks import ledger
from tasks.core.manifest import MANIFEST
from tests.core.test_damage import cut, flip
from tests.flows.cli.running import command

READING = {
    "status": ["status"],
    "stats": ["stats"],
    "stats of a language": ["stats", "swahili", "--json"],
    "sql": ["stats", "--sql", "SELECT count(*) FROM stages"],
    "sample": ["sample", "swahili"],
    "explain": ["explain", "swahili", "000000"],
    "forget": ["forget", "swahili", "--domain", "mfano.example"],
    "plan": ["plan", "swahili", "--preset", "starter", "--no-measure"],
    "rebuild": ["ledger", "rebuild"],
}


def database(workspace: Path, statement: str) -> None:
    with duckdb.connect(str(workspace / ledger.LEDGER)) as opened:
        opened.execute(statement)


def records(workspace: Path, content: bytes) -> None:
    for path in (workspace / "swahili" / ledger.RUNS).glob("*.json"):
        path.write_bytes(content)


def manifest(workspace: Path, stage: str) -> Path:
    (found,) = (workspace / "swahili" / stage).glob(f"[!.]*/{MANIFEST}")
    return found


def odd_run(workspace: Path) -> None:
    for path in (workspace / "swahili" / ledger.RUNS).glob("*.json"):
        facts = json.loads(path.read_text())
        path.write_text(json.dumps(facts | {"stages": "none", "started": 7}))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "ledger gone": lambda w: (w / ledger.LEDGER).unlink(),
    "ledger emptied": lambda w: os.truncate(w / ledger.LEDGER, 0),
    "ledger cut": lambda w: cut(w / ledger.LEDGER),
    "ledger flipped early": lambda w: flip(w / ledger.LEDGER, 0.001),
    "ledger flipped in the middle": lambda w: flip(w / ledger.LEDGER, 0.5),
    "ledger of text": lambda w: (w / ledger.LEDGER).write_text("no database" * 999),
    "ledger is a folder": lambda w: ((w / ledger.LEDGER).unlink(), (w / ledger.LEDGER).mkdir()),
    "ledger without a table": lambda w: database(w, "DROP VIEW funnel; DROP TABLE decisions CASCADE"),
    "ledger of another version": lambda w: database(w, "UPDATE made SET schema = 'older'"),
    "no version in the ledger": lambda w: database(w, "DROP TABLE made"),
    "another database": lambda w: ((w / ledger.LEDGER).unlink(), database(w, "CREATE TABLE runs (a INTEGER)")),
    "a log beside the ledger": lambda w: (w / f"{ledger.LEDGER}.wal").write_bytes(b"\x00" * 4096),
    "records emptied": lambda w: records(w, b""),
    "records cut": lambda w: records(w, b'{"run": "20'),
    "records of other types": odd_run,
    "records of a list": lambda w: records(w, b"[1, 2]"),
    "records of bytes": lambda w: records(w, b"\xff\xfe\x00"),
    "no records": lambda w: shutil.rmtree(w / "swahili" / ledger.RUNS),
    "manifest of select cut": lambda w: cut(manifest(w, "select")),
    "manifest of clean flipped": lambda w: flip(manifest(w, "clean"), 0.4),
    "manifest of crawl a number": lambda w: manifest(w, "crawl").write_text("7"),
    "manifest of evaluate gone": lambda w: manifest(w, "evaluate").unlink(),
    "decisions flipped": lambda w: flip(manifest(w, "select").with_name("decisions.parquet"), 0.5),
    "decisions' footer flipped": lambda w: flip(manifest(w, "select").with_name("decisions.parquet"), 0.99),
    "texts flipped": lambda w: flip(next(manifest(w, "clean").parent.glob("*.parquet")), 0.5),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_command_answers_or_says_what_to_do(
    damage: str, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    workspace = tmp_path / "w"
    shutil.copytree(built, workspace)
    DAMAGES[damage](workspace)
    for name, arguments in READING.items():
        ended = command(*arguments, "--workspace", str(workspace))
        said = capsys.readouterr().err.strip()
        assert ended in (0, 1), (name, said)
        if ended:
            (sentence,) = [line for line in said.splitlines() if line]
            cures = ("lugha ledger rebuild", "lugha build", "no document of the last complete run", "it is a folder")
            assert any(cure in sentence for cure in cures), (name, sentence)
    if not damage.startswith(("decisions", "texts", "manifest", "records", "no records", "ledger is a folder")):
        assert command("stats", "swahili", "--workspace", str(workspace)) == 0, "rebuilding did not cure it"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["[old]", "language=swh", "what?", "it's", 'q"q', "\u200bx", "a*b", "{a,b}"])
def test_a_workspace_may_have_any_name(name: str, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = tmp_path / name
    shutil.copytree(built, workspace)
    for arguments in (*READING.values(), ["build", "swahili", "--preset", "starter", "--until", "corpus"]):
        assert command(*arguments, "--workspace", str(workspace)) in (0, 1)
        assert "damaged" not in capsys.readouterr().err
    assert command("sample", "swahili", "--workspace", str(workspace)) == 0


READER = """
import sys, time, duckdb
opened = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reads")
rows = opened.execute("SELECT count(*) FROM stages").fetchall()
print("open", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", ["reads", "writes"])
def test_another_program_that_has_the_ledger_open_holds_up_nobody(how: str, built: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    shutil.copytree(built, workspace)
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(workspace / ledger.LEDGER), how], stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None
    try:
        assert reader.stdout.readline() == "open\n"
        started = time.monotonic()
        before = ledger.query(workspace, "SELECT count(*) FROM runs")[1]
        ledger.record(workspace, [], (workspace / "swahili" / ledger.RUNS).glob("*.json"))
        assert ledger.query(workspace, "SELECT count(*) FROM runs")[1] == before
        assert time.monotonic() - started < ledger.LOCK_SECONDS, "it waited for a lock"
        assert reader.poll() is None
    finally:
        reader.kill()
        reader.wait()


def test_the_latest_run_is_the_last_one_whatever_the_clock_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    from flows.run import record
    from lang_configs.schema import Runtime

    for year in (2026, 2019, 2020):  # a clock that was set back, then forward by less

        class Clock(datetime):
            @classmethod
            def now(cls, tz: object = None, year: int = year) -> datetime:  # type: ignore[override]
                return datetime(year, 5, 1, tzinfo=UTC)

        monkeypatch.setattr(record, "datetime", Clock)
        run = record.Record(tmp_path / "swahili", "swahili", None, "2026-05", Runtime())
        run.end("completed")
        ledger.record(tmp_path, [], [run.path])
        found = ledger.query(tmp_path, "SELECT max_by(run, (number, started)) FROM runs WHERE status = 'completed'")[1]
        assert found == [(run.path.stem,)]
