"""Helpers for tests of the data stages: publish a stage's output from rows, run one stage on another's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import BaseModel

from tasks.core.documents import Document, ShardWriter
from tasks.core.stage import Stage, StageFunction, Step, Work, execute


def write_documents(folder: Path, documents: Sequence[Document], shard_bytes: int = 1 << 20) -> Path:
    """A folder of document shards."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(folder, "part", shard_bytes)
    for document in documents:
        writer.add(document)
    writer.close()
    return folder


def texts(folder: Path, *items: str, source: str = "test", shard_bytes: int = 1 << 20) -> Path:
    """Document shards that hold these texts."""
    documents = [Document(text, source, url=f"https://example.org/{number}") for number, text in enumerate(items)]
    return write_documents(folder, documents, shard_bytes)


def run(
    function: StageFunction, folder: Path, config: BaseModel, inputs: Mapping[str, Path], work: Work | None = None
) -> dict[str, Any]:
    """Call a stage function on plain folders; returns its metrics."""
    folder.mkdir(parents=True, exist_ok=True)
    return function(inputs, config, folder, work or Work())


def publish(
    function: StageFunction, workspace: Path, config: BaseModel, inputs: Mapping[str, Path] | None = None
) -> tuple[Path, dict[str, Any]]:
    """Run a stage for real and return its published folder and manifest."""
    stage = Stage(function.__name__, lambda _, settings, out, work: function(inputs or {}, settings, out, work))
    result = execute(Step(stage, config), workspace, "test", Work())
    assert result.record is not None
    return result.folder, result.record


def rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of a folder's shards, in order."""
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
