"""Files that survive a kill: written beside their place, flushed, and moved over it by one rename; and their checksums."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

MANIFEST = "manifest.json"
"""The record of a published folder."""
UMASK = os.umask(0o077)
"""Of this process, which can be asked for it only by setting another."""
os.umask(UMASK)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds either all of it or what it held before, whatever dies."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary sibling to write to; on leaving, flush it to disk and move it over `path` (file or folder).

    Its files can be read by whom the umask allows: libraries that write to a temporary file keep them to their owner.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        for file in [temporary] if temporary.is_file() else regular_files(temporary):
            with open(file, "rb") as handle:
                os.fchmod(handle.fileno(), 0o666 & ~UMASK)
                os.fsync(handle.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        temporary.unlink(missing_ok=True)
        raise


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a stage's output, by its path below `folder`: from the manifest where there is one."""
    if (folder / MANIFEST).exists():
        return {entry["path"]: entry["sha256"] for entry in json.loads((folder / MANIFEST).read_text())["files"]}
    return {path.relative_to(folder).as_posix(): sha256(path) for path in regular_files(folder)}


def regular_files(folder: Path) -> list[Path]:
    """Regular files below `folder` in a fixed order; dot files are work in progress and no part of the output."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to disk: a rename is durable after it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
