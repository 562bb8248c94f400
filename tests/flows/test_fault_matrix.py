"""Every stage under every fault: the build says what is wrong, loses nothing, and ends with the bytes of an undisturbed one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.run.build import Build
from flows.run.progress import watch
from flows.run.request import Request
from tasks.core.errors import StageError
from tasks.core.files import sha256
from tasks.core.manifest import MANIFEST
from tests import REPOSITORY
from tests.core.test_damage import cut, flip
from tests.flows.starter import TINY, fingerprints, lugha

STAGES = ("crawl", "clean", "contamination", "language", "quality", "duplicates", "select", "corpus", "tokenizer", "tokens")
STAGES += ("pretrain", "evaluate", "task", "cards", "release")
DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped at 20 %": lambda path: flip(path, 0.2),
    "flipped at 50 %": lambda path: flip(path, 0.5, 3),
    "flipped at 80 %": lambda path: flip(path, 0.8, 7),
    "truncated": cut,
    "deleted": lambda path: path.unlink(),
    "cut manifest": lambda path: cut(output(path) / MANIFEST),
}


def output(path: Path) -> Path:
    """The published folder that a file lies in."""
    return next(parent for parent in path.parents if (parent / MANIFEST).is_file())


def largest(workspace: Path, stage: str) -> Path:
    """The largest file that the stage wrote; of the release the card, which people edit."""
    if stage == "release":
        return next(workspace.glob("swahili/release/[!.]*/model/README.md"))
    files = [path for path in workspace.glob(f"swahili/{stage}/[!.]*/**/*") if path.is_file() and path.name != MANIFEST]
    return max(files, key=lambda path: path.stat().st_size)


def bytes_of(workspace: Path) -> dict[str, dict[str, str]]:
    """What a run must give again: the data stages, the tokenizer and the weights, as far as it went."""
    weights = {path.name: sha256(path) for path in workspace.glob("swahili/pretrain/[!.]*/model/model.safetensors")}
    return {**fingerprints(workspace), **({"pretrain": weights} if weights else {})}


def build(workspace: Path, **more: str) -> None:
    overrides = [value for value in TINY[2:] if value != "--set"]
    Build(Request("swahili", "starter", overrides=overrides, workspace=workspace, **more), watch).all()  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(len(DAMAGES)))
def test_each_stage_damaged_in_each_way(turn: int, built: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    workspace = tmp_path / "w"
    shutil.copytree(built, workspace)
    kinds, folders = list(DAMAGES), {}
    for number, stage in enumerate(STAGES):
        path = largest(workspace, stage)
        folders[stage] = output(path)
        DAMAGES[kinds[(number + turn) % len(kinds)]](path)
    left = next(workspace.glob("swahili/release/[!.]*/model/config.json")).read_bytes()
    build(workspace)
    said = [record.getMessage() for record in caplog.records if "made anew" in record.getMessage()]
    assert {stage: any(str(folders[stage]) in line for line in said) for stage in STAGES} == dict.fromkeys(STAGES, True)
    assert bytes_of(workspace) == bytes_of(built)
    (changed,) = workspace.glob("swahili/release/changed/*/model/config.json")
    assert changed.read_bytes() == left
    caplog.clear()
    build(workspace)
    assert not [record for record in caplog.records if "made anew" in record.getMessage()]


def running(workspace: Path, process: int) -> str | None:
    """The stage that the run of a process says it is in."""
    for path in (workspace / "swahili" / "runs").glob("[!.]*.json"):
        record = json.loads(path.read_text())
        if record["process"]["id"] == process:
            stage: str | None = record["stage"]
            return stage
    return None


@pytest.mark.slow
def test_stopped_in_each_stage_by_each_signal(built: Path, tmp_path: Path) -> None:
    """One signal after the other in the same stage, so that each but the first meets what the one before it left."""
    workspace = tmp_path / "w"
    ends = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
    for number, stage in enumerate(STAGES):
        for turn in range(3):
            sent = list(ends)[(number + turn) % 3]
            stopped = stop_in(workspace, stage, sent)
            assert stopped.returncode in (0, ends[sent]), (stage, sent, stopped.stderr)  # 0: a stage of milliseconds had ended
            assert "Traceback" not in stopped.stderr, (stage, sent, stopped.stderr)
    lugha(workspace, "build", "swahili", *TINY)
    assert bytes_of(workspace) == bytes_of(built)


def stop_in(workspace: Path, stage: str, sent: signal.Signals) -> subprocess.CompletedProcess[str]:
    """A build up to a stage, with a signal as soon as it says that it is in it."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", "build", "swahili", *TINY, "--until", stage]
    command += ["--workspace", str(workspace)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while process.poll() is None and stage not in (running(workspace, process.pid) or ""):
        time.sleep(0.01)
    process.send_signal(sent)
    said = process.communicate(timeout=20 if sent != signal.SIGKILL else None)[1]
    return subprocess.CompletedProcess(command, process.returncode, stderr=said)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A small disk; a second call of the function makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def sized(size: int) -> Path:
        nonlocal mounted
        options = f"{'remount,' if mounted else ''}size={size}"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted = True
        return folder

    yield sized
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def used(folder: Path) -> int:
    return sum(-(-path.stat().st_size // 4096) * 4096 + 4096 for path in folder.rglob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_in_each_stage(stage: str, built: Path, tmp_path: Path, disk: Callable[[int], Path]) -> None:
    trimmed = tmp_path / "trimmed"
    shutil.copytree(built, trimmed)
    for later in STAGES[STAGES.index(stage) :]:
        for folder in (trimmed / "swahili" / later.partition(".")[0]).glob("*"):
            shutil.rmtree(folder)
    workspace = disk(used(trimmed) + (1 << 30)) / "w"
    shutil.copytree(trimmed, workspace)
    with open(workspace / "filler", "wb") as filler:
        size = os.statvfs(workspace)
        os.posix_fallocate(filler.fileno(), 0, size.f_bavail * size.f_frsize - 8192)
    with pytest.raises((StageError, OSError), match=r"the disk is full|No space left"):
        build(workspace, until=stage)
    (workspace / "filler").unlink()
    build(workspace, until=stage)
    assert bytes_of(workspace).items() <= bytes_of(built).items()


@pytest.mark.slow
def test_a_workspace_that_cannot_be_written_to(built: Path, tmp_path: Path) -> None:
    """Who may only read still reads; a build says what it needs. (Root may write anywhere: its rights are taken away.)"""
    workspace = tmp_path / "w"
    shutil.copytree(built, workspace)
    lugha_command = [sys.executable, "-c", "from flows.cli import main; main()"]
    rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"] if os.getuid() == 0 else []
    if rights and shutil.which("setpriv") is None:
        pytest.skip("root without setpriv can write anywhere")
    for path in (workspace, *workspace.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*rights, *lugha_command, *arguments, "--workspace", str(workspace)]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)

    try:
        for arguments in (
            ["status"],
            ["stats", "swahili"],
            ["stats", "--sql", "SELECT count(*) FROM stages"],
            ["sample", "swahili"],
            ["plan", "swahili", "--preset", "starter", "--no-measure"],
            ["generate", "swahili", "--tokens", "3"],
        ):
            done = run(*arguments)
            assert done.returncode == 0, (arguments, done.stderr)
        for arguments in (
            ["build", "swahili", "--preset", "starter"],
            ["forget", "swahili", "--domain", "mfano.example"],
            ["ledger", "rebuild"],
        ):
            done = run(*arguments)
            assert done.returncode == 1, (arguments, done.stdout, done.stderr)
            assert "this needs the right to read and write there" in done.stderr
            assert "Traceback" not in done.stderr
    finally:
        for path in (workspace, *workspace.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
