"""What was damaged after it was written is named and made anew, and not deleted before what replaces it stands."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.database import connect
from tasks.core.errors import StageError
from tasks.core.manifest import MANIFEST
from tasks.core.parquet import exact, scan
from tasks.core.records import DamagedError, read_record, write_record
from tasks.core.stage import UNITS, Stage, Step, Work, describe, execute
from tests.core.test_stage import PARTS, Config, hashes, run, write_part, write_parts


def flip(path: Path, at: float, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 1 << bit
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def swap(path: Path) -> None:
    shutil.copyfile(path.with_name("part-2.txt"), path)


def into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "first bit": lambda path: flip(path, 0),
    "last bit": lambda path: flip(path, 1, 7),
    "cut": cut,
    "emptied": lambda path: os.truncate(path, 0),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"a"),
    "another's content": swap,
    "deleted": lambda path: path.unlink(),
    "a folder": into_folder,
    "a link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("file", ["part-1.txt", MANIFEST])
@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damage_is_named_and_mended(tmp_path: Path, file: str, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    output, before, _ = run(tmp_path, Config(text="habari"))
    DAMAGES[damage](output.folder / file)
    _, after, reused = run(tmp_path, Config(text="habari"))
    assert (reused, hashes(after)) == (False, hashes(before))
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith(f"{output.folder}: {file} ")
    assert [path.name for path in output.folder.parent.iterdir() if path.name != ".locks"] == [output.fingerprint]
    assert run(tmp_path, Config(text="habari"))[2]


@given(st.floats(0, 1), st.integers(0, 7), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_bit_that_flips_anywhere_is_seen(
    tmp_path_factory: pytest.TempPathFactory, at: float, bit: int, manifest: bool
) -> None:
    workspace = tmp_path_factory.mktemp("w")
    output, before, _ = run(workspace, Config(text="habari za leo"))
    flip(output.folder / (MANIFEST if manifest else "part-2.txt"), at, bit)
    _, after, reused = run(workspace, Config(text="habari za leo"))
    assert (reused, hashes(after)) == (False, hashes(before))


@pytest.mark.parametrize("error", [StageError("no network"), KeyboardInterrupt()])
def test_what_cannot_be_made_anew_comes_back(tmp_path: Path, error: BaseException) -> None:
    def offline(inputs: Mapping[str, Path], config: Config, out: Path, work: Work) -> dict[str, Any]:
        assert not output.folder.exists()
        raise error

    output, _, _ = run(tmp_path, Config())
    flip(output.folder / "part-2.txt", 0.5)
    left = {path.name: path.read_bytes() for path in output.folder.iterdir()}
    with pytest.raises(type(error)):
        run(tmp_path, Config(), stage=Stage("parts", offline))
    assert {path.name: path.read_bytes() for path in output.folder.iterdir()} == left


def test_what_people_changed_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage("parts", write_parts, edited=True)
    output, before, _ = run(tmp_path, Config(), stage=stage)
    (output.folder / "part-1.txt").write_text("my own words")
    assert hashes(run(tmp_path, Config(), stage=stage)[1]) == hashes(before)
    (kept,) = (output.folder.parent / "changed").iterdir()
    assert (kept / "part-1.txt").read_text() == "my own words"
    assert str(kept) in caplog.text


def test_a_unit_whose_record_is_damaged_is_done_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def stopping(inputs: Mapping[str, Path], config: Config, out: Path, work: Work) -> dict[str, Any]:
        def unit(item: int, folder: Path) -> dict[str, Any]:
            calls.append(item)
            return write_part((item, "a"), folder)

        found = work.units(unit, {str(n): n for n in range(3)}, out)
        if len(calls) == 3:
            for name, damage in {"0": cut, "1": lambda path: flip(path, 0.3)}.items():
                damage(out / UNITS / f"{name}.json")
            raise StageError("stopped")
        return {"length": sum(part["length"] for part in found.values())}

    stage = Stage("stopping", stopping)
    with pytest.raises(StageError, match="stopped"):
        run(tmp_path, Config(), stage=stage)
    assert run(tmp_path, Config(), stage=stage)[1]["metrics"] == {"length": 3}
    assert calls == [0, 1, 2, 0, 1]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters()).filter(lambda key: key != "sha256"), JSON, max_size=5))
@settings(max_examples=100, deadline=None)
def test_a_record_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, facts: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("r") / "record.json"
    write_record(path, facts)
    assert read_record(path) == facts


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff\xfe", b"null", b"[" * 100_000, b'{"a": 1, "sha256": "0"}'])
def test_what_is_no_record_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"JSON|checksum"):
        read_record(tmp_path / "record.json")


def test_a_manifest_of_wrong_types_is_damaged(tmp_path: Path) -> None:
    output, before, _ = run(tmp_path, Config())
    for key, value in {"files": {}, "metrics": [], "inputs": 3, "started": None, "fingerprint": {}, "seconds": "x"}.items():
        facts = json.loads((output.folder / MANIFEST).read_text())
        del facts["sha256"]
        write_record(output.folder / MANIFEST, facts | {key: value})
        assert output.manifest() is None
        assert hashes(run(tmp_path, Config())[1]) == hashes(before)


STRANGE = [
    "[old]",
    "language=swh",
    "what?",
    "a*b",
    "**",
    "it's",
    'q"q',
    "\u200bx",
    "{a,b}",
    "back\\slash",
    " blank ",
    "new\nline",
    "%20",
]


@pytest.mark.parametrize("name", STRANGE)
def test_duckdb_reads_the_file_that_is_named(tmp_path: Path, name: str) -> None:
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq

    for folder in (name, "o", "ab", "whatx"):
        (tmp_path / folder).mkdir()
        pq.write_table(pa.table({"id": [folder]}), tmp_path / folder / "x.parquet")
    with duckdb.connect() as database:
        found = database.execute(f"SELECT * FROM {scan()}", {"files": [exact(tmp_path / name / "x.parquet")]}).fetchall()
    assert found == [(name,)]


def test_a_stage_that_a_signal_stops_in_duckdb_was_stopped(tmp_path: Path) -> None:
    def ask(inputs: Mapping[str, Path], config: Config, out: Path, work: Work) -> dict[str, Any]:
        import signal
        import threading

        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with connect() as database:
            database.execute("SELECT count(*) FROM range(100000000000) r WHERE hash(r.range) = 7").fetchall()
        return {}

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Config(), stage=Stage("asking", ask))


def test_the_plan_of_a_damaged_output_is_that_it_runs(tmp_path: Path) -> None:
    output, _, _ = run(tmp_path, Config())
    assert describe(Step(PARTS, Config()), tmp_path, "test").manifest() is not None
    cut(output.folder / "part-2.txt")
    assert describe(Step(PARTS, Config()), tmp_path, "test").manifest() is None
    assert not execute(Step(PARTS, Config()), tmp_path, "test", Work()).reused
