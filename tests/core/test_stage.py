"""Stages: done once, published whole or not at all, continued after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tasks.core.artifacts import Documents, Tokenizer
from tasks.core.engines import Dask, Engine, Inline, Processes
from tasks.core.errors import StageError
from tasks.core.files import replacing, write_atomically
from tasks.core.memory import peak_memory
from tasks.core.stage import Output, Stage, Step, Work, describe, execute
from tests import REPOSITORY


class Config(BaseModel):
    parts: int = 3
    text: str = "a"


def write_parts(inputs: Mapping[str, Path], config: Config, out: Path, work: Work) -> dict[str, Any]:
    found = work.units(write_part, {f"part-{n}": (n, config.text) for n in range(config.parts)}, out)
    return {"length": sum(part["length"] for part in found.values())}


def write_part(unit: tuple[int, str], out: Path) -> dict[str, Any]:
    number, text = unit
    write_atomically(out / f"part-{number}.txt", (text * number).encode())
    return {"length": len(text) * number}


PARTS = Stage("parts", write_parts)


def run(
    workspace: Path, config: Config, work: Work | None = None, stage: Stage = PARTS, **inputs: Output
) -> tuple[Output, dict[str, Any], bool]:
    result = execute(Step(stage, config, inputs), workspace, "test", work or Work())
    assert result.record is not None
    return Output(result.stage, result.fingerprint, result.folder), result.record, result.reused


def hashes(manifest: dict[str, Any]) -> dict[str, str]:
    return {entry["path"]: entry["sha256"] for entry in manifest["files"]}


def test_the_same_work_is_done_once(tmp_path: Path) -> None:
    output, manifest, reused = run(tmp_path, Config())
    assert (reused, manifest["metrics"], sorted(hashes(manifest))) == (
        False,
        {"length": 3},
        ["part-0.txt", "part-1.txt", "part-2.txt"],
    )
    assert run(tmp_path, Config()) == (output, manifest, True)


def test_the_fingerprint_follows_config_inputs_version_and_outside_input(tmp_path: Path) -> None:
    base = describe(Step(PARTS, Config()), tmp_path, "test")
    upstream = describe(Step(PARTS, Config(parts=9)), tmp_path, "test")
    others = [
        Step(PARTS, Config(text="b")),
        Step(PARTS, Config(), {"up": upstream}),
        Step(Stage("parts", write_parts, version=2), Config()),
        Step(Stage("parts", write_parts, libraries=["numpy"]), Config()),
        Step(Stage("parts", write_parts, outside=lambda config: "a file"), Config()),
        Step(PARTS, Config(), external="2026-11"),
    ]
    assert len({base.fingerprint, *(describe(other, tmp_path, "test").fingerprint for other in others)}) == 7
    same = Step(PARTS, Config(), label="parts.teacher")  # under which label a run holds it is no part of what it is
    assert describe(same, tmp_path / "elsewhere", "other").fingerprint == base.fingerprint


def test_a_stage_reads_what_it_declares(tmp_path: Path) -> None:
    reader = Stage("reader", write_parts, inputs={"clean": Documents, "tokenizer": Tokenizer})
    clean = execute(Step(Stage("clean", write_parts, artifact=Documents), Config()), tmp_path, "test", Work())
    with pytest.raises(TypeError, match="reader reads clean, tokenizer; there is no tokenizer"):
        Step(reader, Config(), {"clean": clean})
    with pytest.raises(TypeError, match="reader does not read clean as tokenizer"):
        Step(reader, Config(), {"clean": clean, "tokenizer": clean})
    with pytest.raises(TypeError, match="reader does not read clean as more"):
        Step(reader, Config(), {"clean": clean, "tokenizer": Output("tokenizer", "a", tmp_path), "more": clean})


ENGINES = [Inline(), Processes(2), pytest.param(Dask(2), marks=pytest.mark.slow)]


@pytest.mark.parametrize("engine", ENGINES, ids=["inline", "processes", "dask"])
def test_every_engine_writes_the_same_bytes(tmp_path: Path, engine: Engine) -> None:
    reference, environment = run(tmp_path / "reference", Config(parts=6))[1], dict(os.environ)
    manifest = run(tmp_path / "engine", Config(parts=6), Work(engine))[1]
    assert {name for name in os.environ if name.endswith("_THREADS") and os.environ[name] != environment.get(name)} == set()
    assert hashes(manifest) == hashes(reference)
    assert manifest["metrics"] == reference["metrics"]


def test_damaged_output_is_made_again(tmp_path: Path) -> None:
    output, before, _ = run(tmp_path, Config())
    (output.folder / "part-1.txt").write_bytes(b"")
    _, after, reused = run(tmp_path, Config())
    assert not reused
    assert hashes(after) == hashes(before)


def test_a_failed_stage_publishes_nothing_and_keeps_its_units(tmp_path: Path) -> None:
    calls: list[int] = []

    def fail_late(inputs: Mapping[str, Path], config: Config, out: Path, work: Work) -> dict[str, Any]:
        def unit(item: int, folder: Path) -> dict[str, Any]:
            calls.append(item)
            if item == 2 and len(calls) < 4:
                raise StageError("the third part failed")
            return write_part((item, config.text), folder)

        work.units(unit, {str(n): n for n in range(3)}, out)
        return {}

    stage = Stage("late", fail_late)
    output = describe(Step(stage, Config()), tmp_path, "test")
    with pytest.raises(StageError, match="third part"):
        run(tmp_path, Config(), stage=stage)
    assert not output.folder.exists()
    run(tmp_path, Config(), stage=stage)
    assert calls == [0, 1, 2, 2]


def test_replacing_leaves_the_old_file_when_the_writer_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(ValueError), replacing(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise ValueError
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_one_clear_sentence(tmp_path: Path) -> None:
    def fill(inputs: Mapping[str, Path], config: Config, out: Path, work: Work) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    with pytest.raises(StageError, match=r"the disk is full \(\d+ MB free\); free some space"):
        run(tmp_path, Config(), stage=Stage("full", fill))


SLOW = """
import sys, time
from pathlib import Path
from tasks.core.files import write_atomically; from tasks.core.stage import Stage, Step, Work, execute
from pydantic import BaseModel
class Config(BaseModel):
    parts: int = 30
def unit(number, out):
    time.sleep(0.02)
    write_atomically(out / f"part-{number:02d}.bin", bytes([number]) * 200_000)
    return {"number": number}
def slow(inputs, config, out, work):
    work.units(unit, {f"{n:02d}": n for n in range(config.parts)}, out)
    return {}
stage = Stage("slow", slow)
print(execute(Step(stage, Config()), Path(sys.argv[1]), "test", Work()).folder)
"""


def test_killed_at_any_moment_it_completes_with_the_same_bytes(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW)

    def start(workspace: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / workspace)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )

    reference = start("reference")
    folder = Path(reference.communicate(timeout=60)[0].strip())
    for finished in (1, 9, 17, 29):
        process = start("killed")
        while len(list((tmp_path / "killed").rglob("*.json"))) < finished:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        published = list((tmp_path / "killed" / "test" / "slow").glob("[!.]*/manifest.json"))
        assert all(len(json.loads(path.read_text())["files"]) == 30 for path in published)
    final = Path(start("killed").communicate(timeout=60)[0].strip())
    before, after = (json.loads((path / "manifest.json").read_text()) for path in (folder, final))
    assert hashes(before) == hashes(after)


def test_peak_memory_is_that_of_the_program_and_not_of_the_one_that_started_it() -> None:
    large = 300_000_000
    held = b"x" * large
    code = "from tasks.core.memory import peak_memory; print(peak_memory())"
    root = REPOSITORY
    small = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert 1_000_000 < int(small) < len(held) < peak_memory()
