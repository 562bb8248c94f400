"""The manifest of an output: what made it from what, and which bytes it holds."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tasks.core.files import regular_files, sha256
from tasks.core.records import read_record

MANIFEST = "manifest.json"
"""The record of a published folder."""
Manifest = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _below(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise ValueError("no path below the folder")
    return path


class _File(_Strict):
    path: Annotated[str, AfterValidator(_below)]
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rows: int | None = None


class _Input(_Strict):
    stage: str
    fingerprint: str


class _Manifest(_Strict):
    stage: str
    fingerprint: str
    version: int
    language: str
    config: dict[str, Any]
    inputs: dict[str, _Input]
    files: list[_File]
    metrics: dict[str, Any]
    tables: dict[str, str] = {}
    libraries: dict[str, str]
    python: str
    machine: str
    started: str
    seconds: float
    peak_memory_bytes: int


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a published folder; raises DamagedError for what is none, OSError where there is none."""
    return read_record(folder / MANIFEST, _Manifest)


def damage(folder: Path, manifest: Manifest, contents: bool = True) -> str:
    """What is wrong with the first file that is not as the manifest says; "" if there is none.

    `contents=False` compares sizes alone. SHA-256 takes a second for 0.5 to 2 GB.
    """
    for entry in manifest["files"]:
        path = folder / entry["path"]
        try:
            size = path.stat().st_size
        except OSError:
            return f"{entry['path']} is gone"
        if size != entry["bytes"]:
            return f"{entry['path']} has {size:,} bytes, not the {entry['bytes']:,} that were written"
        try:
            if contents and sha256(path) != entry["sha256"]:
                return f"{entry['path']} does not hold the bytes that were written"
        except PermissionError:
            raise
        except OSError as error:
            return f"{entry['path']} cannot be read: {(error.strerror or str(error)).lower()}"
    return ""


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a stage's output, by its path below `folder`: from the manifest where there is one."""
    if (folder / MANIFEST).exists():
        return {entry["path"]: entry["sha256"] for entry in read_manifest(folder)["files"]}
    return {path.relative_to(folder).as_posix(): sha256(path) for path in regular_files(folder)}
