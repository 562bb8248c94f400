"""What makes a stage safe: a fingerprint, a folder published by one rename, and a manifest.

A stage is a plain function `(inputs, config, out, work) -> metrics` that reads the published folders in `inputs`,
writes files into `out` and returns its metrics. This module, and nothing else, decides where `out` is, whether the
work was already done, and when it becomes visible:

    workspace/<language>/<stage>/<fingerprint>/            published: complete, never changed again
    workspace/<language>/<stage>/.<fingerprint>.partial/   in the making: survives a kill, so that finished units are kept
    workspace/<language>/<stage>/.cache/                   what a later run can reuse; may be deleted at any time

(A step is its inputs, its config and a hash of both: Marin's executor; the folder rename is Maildir's trick.)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lang_configs.schema import Runtime
from tasks.core.artifacts import Artifact
from tasks.core.engines import Engine, Inline
from tasks.core.errors import explained
from tasks.core.files import regular_files, sha256, sync_folder
from tasks.core.locks import exclusive
from tasks.core.manifest import MANIFEST, Manifest, damage, read_manifest
from tasks.core.memory import PeakMemory
from tasks.core.records import DamagedError, read_record, write_record

log = logging.getLogger("lugha")

ANY = "*"
"""Role of inputs whose number and names are the run's."""
UNITS = ".units"
CACHE = ".cache"
CHANGED = "changed"
"""Folder beside the outputs of a stage that people edit, for those that were made anew."""
Metrics = dict[str, Any]
Progress = Callable[[float, float, str], None]
StageFunction = Callable[[Mapping[str, Path], Any, Path, "Work"], Metrics]
Running = Callable[[], contextlib.AbstractContextManager[Any]]
"""Opened around a stage that really runs."""


@dataclass(frozen=True)
class Work:
    """What a stage may use while it runs and that never changes its output: the engine, the progress report, a folder for
    what a later run of the stage can reuse (None: there is none), and what the config says of this machine.

    `prepare` is called before each unit, where it runs, with the number of units that run at once: it brings there what
    holds in this process, such as the rules of the line. It must be picklable.
    """

    engine: Engine = field(default_factory=Inline)
    progress: Progress = lambda done, total, unit: None
    cache: Path | None = None
    runtime: Runtime = field(default_factory=Runtime)
    prepare: Callable[[int], None] | None = None

    def units(self, function: Callable[[Any, Path], Metrics], items: Mapping[str, Any], out: Path) -> dict[str, Metrics]:
        """Run `function(item, out)` for each named item through the engine; a unit that ended before a kill is not redone.

        The result of a unit (a JSON object) is written after its files: its record is the proof that they are whole.
        """
        (out / UNITS).mkdir(exist_ok=True)
        records = {name: out / UNITS / f"{name}.json" for name in items}
        todo = [name for name, record in records.items() if _ended(record) is None]
        finished = len(items) - len(todo)

        def done(_: int) -> None:
            nonlocal finished
            finished += 1
            self.progress(finished, len(items), "shards")

        self.progress(finished, len(items), "shards")
        prepare = partial(self.prepare, min(self.engine.workers, len(todo))) if self.prepare and todo else None
        self.engine.map(partial(_unit, function, out, prepare), [(name, items[name]) for name in todo], done)
        return {name: read_record(record) for name, record in records.items()}


def _ended(record: Path) -> Metrics | None:
    """The result of a unit, None where it has none, or one that was damaged: then the unit is done again."""
    try:
        return read_record(record)
    except (DamagedError, FileNotFoundError):
        return None


def _unit(
    function: Callable[[Any, Path], Metrics], out: Path, prepare: Callable[[], None] | None, named: tuple[str, Any]
) -> None:
    name, item = named
    if prepare is not None:
        prepare()
    result = function(item, out)
    write_record(out / UNITS / f"{name}.json", result)


@dataclass(frozen=True)
class Stage:
    """One box of the DAG, declared beside its function: all that differs from stage to stage.

    Raise `version` by hand whenever the output changes for the same inputs and config.
    """

    name: str
    function: StageFunction
    version: int = 1
    _: KW_ONLY
    libraries: Sequence[str] = ()
    """Distributions whose version changes the bytes written; they are part of the fingerprint."""
    inputs: Mapping[str, type[Artifact]] = field(default_factory=lambda: {ANY: Artifact})
    """Role -> type of what is read; under `ANY` the type of all that stands under another name."""
    optional: Mapping[str, type[Artifact]] = field(default_factory=dict)
    """The same of what is read where the run holds it."""
    artifact: type[Artifact] = Artifact
    """What is published."""
    outside: Callable[[Any], str] = lambda config: ""
    """What identifies the input from outside the workspace that the config points at: a digest of files."""
    headline: Callable[[Metrics], str] = lambda metrics: ""
    """The most telling number in words, for the line on the terminal."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """What is added to the ledger beside the manifest: table -> Parquet file of the output."""
    alone: bool = False
    """One at a time on this machine: two trainings would share the memory of one GPU and the cores of one CPU."""
    edited: bool = False
    """People work in its folder: one that was changed is not deleted when it is made anew."""


@dataclass(frozen=True)
class Output:
    """A stage's (future) result: `folder` exists once the stage has run."""

    stage: str
    fingerprint: str
    folder: Path

    def manifest(self) -> Manifest | None:
        """The manifest if the stage is done and each of its files still has its size, else None.

        Cheap, for whatever looks at many outputs; what a run builds on is compared byte by byte (`execute`).
        """
        try:
            manifest = read_manifest(self.folder)
        except (OSError, DamagedError):
            return None
        return None if damage(self.folder, manifest, contents=False) else manifest


@dataclass(frozen=True)
class Result(Output):
    """An output under its label in a run, and what came of it."""

    label: str
    artifact: type[Artifact]
    record: Manifest | None = field(repr=False)
    """The manifest; None: not made yet (a plan)."""
    reused: bool
    headline: str = ""

    @property
    def metrics(self) -> Metrics:
        """What the stage counted and measured; empty where it has not run."""
        return self.record["metrics"] if self.record else {}


@dataclass(frozen=True)
class Step:
    """A stage that a run is asked for: its config, its inputs by role, and the label under which the run holds the result.

    Several steps of a run may be of one stage (`pretrain`, `pretrain.teacher`). `external` identifies input from outside
    the workspace that only the run knows, such as the name of a snapshot. Raises TypeError when the inputs are not those
    that the stage declares.
    """

    stage: Stage
    config: BaseModel
    inputs: Mapping[str, Output] = field(default_factory=dict)
    external: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.stage.name)
        declared = {**self.stage.inputs, **self.stage.optional}
        if missing := [role for role in self.stage.inputs if role != ANY and role not in self.inputs]:
            raise TypeError(f"{self.label}: {self.stage.name} reads {', '.join(self.stage.inputs)}; there is no {missing[0]}")
        for role, given in self.inputs.items():
            wanted = declared.get(role, declared.get(ANY))
            if wanted is None or (isinstance(given, Result) and not issubclass(given.artifact, wanted)):
                raise TypeError(f"{self.label}: {self.stage.name} does not read {given.stage} as {role}")


def describe(step: Step, workspace: Path, language: str) -> Output:
    """Where the output of a step is or will be: its folder is named by all that decides its bytes."""
    stage = step.stage
    key = {
        "stage": stage.name,
        "version": stage.version,
        "config": step.config.model_dump(mode="json"),
        "inputs": {name: output.fingerprint for name, output in sorted(step.inputs.items())},
        "libraries": {name: version(name) for name in stage.libraries},
        "external": step.external or stage.outside(step.config),
    }
    digest = hashlib.blake2b(json.dumps(key, sort_keys=True, ensure_ascii=False).encode(), digest_size=10).hexdigest()
    return Output(stage.name, digest, workspace / language / stage.name / digest)


def result(step: Step, output: Output, manifest: Manifest | None, reused: bool) -> Result:
    """The result of a step whose output is described."""
    headline = step.stage.headline(manifest["metrics"]) if manifest else ""
    return Result(output.stage, output.fingerprint, output.folder, step.label, step.stage.artifact, manifest, reused, headline)


def execute(step: Step, workspace: Path, language: str, work: Work, running: Running = contextlib.nullcontext) -> Result:
    """Run a step unless it is done: unless its output is there and has the bytes that were written, all of them.

    What was damaged since is named, put aside and made anew; it is deleted when what replaces it stands, and comes back if
    that fails. Two processes that want the same output wait for each other; the lock dies with its holder.
    """
    output = describe(step, workspace, language)
    manifest, _ = _inspect(output.folder)
    if manifest is not None:
        return result(step, output, manifest, reused=True)
    with exclusive(output.folder.parent / ".locks" / f"{output.fingerprint}.lock", output.folder):
        manifest, wrong = _inspect(output.folder)
        if manifest is not None:
            return result(step, output, manifest, reused=True)
        with _replaced(output.folder, wrong, step.stage.edited), running():
            manifest = _publish(step, output, language, work)
        return result(step, output, manifest, reused=False)


def _inspect(folder: Path) -> tuple[Manifest | None, str]:
    """The manifest of an output that is as it was written, or None and what is wrong ("": there is none)."""
    if not folder.exists():
        return None, ""
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError:
        return None, f"{MANIFEST} is gone"
    except DamagedError as error:
        return None, f"{MANIFEST} is damaged ({error})"
    wrong = damage(folder, manifest)
    return (None, wrong) if wrong else (manifest, "")


@contextlib.contextmanager
def _replaced(folder: Path, wrong: str, edited: bool) -> Iterator[None]:
    """Put a damaged output aside while another one is made in its place."""
    aside = folder.with_name(f".{folder.name}.damaged")
    if wrong:
        kept = "it is made anew, and what was changed is kept" if edited else "it is made anew, and kept until then"
        log.warning("%s: %s; %s", folder, wrong, kept)
        shutil.rmtree(aside, ignore_errors=True)  # damaged before, and replaced since by what is damaged now
        os.replace(folder, aside)
    try:
        yield
    except BaseException:
        if aside.exists() and not folder.exists():
            os.replace(aside, folder)
        raise
    if aside.exists() and edited:
        changed = folder.parent / CHANGED / f"{folder.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        changed.parent.mkdir(exist_ok=True)
        os.replace(aside, changed)
        log.warning("%s: what was changed in the folder made anew is here", changed)
    shutil.rmtree(aside, ignore_errors=True)


def _publish(step: Step, output: Output, language: str, work: Work) -> Manifest:
    """Run the stage's function in a folder beside the output, and move that there when all is written."""
    partial_folder = output.folder.with_name(f".{output.fingerprint}.partial")
    partial_folder.mkdir(exist_ok=True)
    stage, started, clock = step.stage, datetime.now(UTC), time.monotonic()
    with explained(partial_folder), PeakMemory() as memory:
        folders = {name: upstream.folder for name, upstream in step.inputs.items()}
        metrics = stage.function(folders, step.config, partial_folder, replace(work, cache=output.folder.parent / CACHE))
        manifest = {
            "stage": stage.name,
            "fingerprint": output.fingerprint,
            "version": stage.version,
            "language": language,
            "config": step.config.model_dump(mode="json"),
            "inputs": {name: {"stage": up.stage, "fingerprint": up.fingerprint} for name, up in step.inputs.items()},
            "files": [_file_entry(path, partial_folder) for path in regular_files(partial_folder)],
            "metrics": metrics,
            "tables": dict(stage.tables),
            "libraries": {name: version(name) for name in stage.libraries},
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 3),
            "peak_memory_bytes": memory.bytes(),
        }
        write_record(partial_folder / MANIFEST, manifest)
        os.replace(partial_folder, output.folder)
        sync_folder(output.folder.parent)
        _remove_hidden(output.folder)
    return manifest


def _remove_hidden(folder: Path) -> None:
    """Unit records, state and what a killed writer left: a published folder holds the output and nothing else."""
    for path in sorted(folder.rglob(".*"), reverse=True):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _file_entry(path: Path, folder: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": sha256(path)}
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        entry["rows"] = pq.read_metadata(path).num_rows
    return entry
