"""The ledger: an index that several processes may write, anyone may delete, and the manifests give back."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tasks import ledger
from tasks.core.files import write_atomically
from tasks.core.stage import Output, Stage, Step, Work, execute


class Config(BaseModel):
    number: int


def write(inputs: Mapping[str, Path], config: Config, out: Path, work: Work) -> dict[str, Any]:
    write_atomically(out / "a.txt", b"x" * config.number)
    return {"number": config.number, "nested": {"text": "ማስታወሻ"}}


STAGE = Stage("sizes", write)


def made(workspace: Path, number: int, **inputs: Output) -> Output:
    return execute(Step(STAGE, Config(number=number), inputs), workspace, "test", Work())


def contents(workspace: Path) -> dict[str, Any]:
    return {table: ledger.query(workspace, f"SELECT * FROM {table} ORDER BY ALL") for table in ("stages", "files", "runs")}


def test_recording_twice_is_recording_once_and_a_rebuild_gives_the_same(tmp_path: Path) -> None:
    first = made(tmp_path, 3)
    second = made(tmp_path, 5, first=first)
    ledger.record(tmp_path, [first.folder])
    ledger.record(tmp_path, [second.folder, first.folder])
    before = contents(tmp_path)
    _, rows = ledger.query(tmp_path, "SELECT files, bytes FROM stages ORDER BY bytes")
    assert rows == [(1, 3), (1, 5)]
    (tmp_path / ledger.LEDGER).unlink()
    assert ledger.rebuild(tmp_path) == 2
    assert contents(tmp_path) == before


def test_what_a_killed_build_could_not_record_is_caught_up(tmp_path: Path) -> None:
    ledger.record(tmp_path, [made(tmp_path, 3).folder])
    made(tmp_path, 5)  # published, and killed before it was recorded
    run = {"run": "r1", "language": "test", "preset": None, "snapshot": "2026-11", "started": "2026-11-21T00:00:00+00:00"}
    run |= {"seconds": 1.0, "status": "running", "message": "", "stages": []}
    path = tmp_path / "test" / ledger.RUNS / "r1.json"
    path.parent.mkdir()
    write_atomically(path, json.dumps(run).encode())
    ledger.record(tmp_path, [], [path])
    write_atomically(path, json.dumps(run | {"status": "failed", "message": "why"}).encode())
    ledger.catch_up(tmp_path)
    caught_up = contents(tmp_path)
    assert [row[0:1] for row in ledger.query(tmp_path, "SELECT message FROM runs")[1]] == [("why",)]
    ledger.rebuild(tmp_path)
    assert contents(tmp_path) == caught_up
    assert len(caught_up["stages"][1]) == 2


def test_metrics_can_be_asked_for_in_sql(tmp_path: Path) -> None:
    ledger.record(tmp_path, [made(tmp_path, 4).folder])
    statement = "SELECT metrics->>'$.nested.text' AS text, CAST(metrics->'$.number' AS INTEGER) AS n, bytes FROM stages"
    assert ledger.query(tmp_path, statement) == (["text", "n", "bytes"], [("ማስታወሻ", 4, 4)])


def test_a_query_cannot_write(tmp_path: Path) -> None:
    import duckdb

    ledger.record(tmp_path, [made(tmp_path, 1).folder])
    with pytest.raises(duckdb.Error):
        ledger.query(tmp_path, "DELETE FROM stages")
    assert len(contents(tmp_path)["stages"][1]) == 1


def _writer(workspace: str, start: int) -> None:
    for number in range(start, start + 5):
        ledger.record(Path(workspace), [made(Path(workspace), number).folder])


def test_three_writers_and_a_reader_get_along(tmp_path: Path) -> None:
    ledger.record(tmp_path, [made(tmp_path, 1000).folder])
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_writer, args=(str(tmp_path), 10 * number)) for number in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert len(contents(tmp_path)["stages"][1]) >= 1
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(contents(tmp_path)["stages"][1]) == 16
