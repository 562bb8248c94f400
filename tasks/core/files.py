"""Files that survive a kill: written beside their place, flushed, and moved over it by one rename; and their checksums."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a file system that takes no more."""
PROBE_BYTES = 1 << 20
"""What must still fit on a disk that is not full."""
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

    Raises OSError (ENOSPC) when the disk is full, whatever the writer raised: that is asked before its file is deleted.
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
    except BaseException as error:
        full = isinstance(error, Exception) and is_full(path.parent)
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        temporary.unlink(missing_ok=True)
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def copy(source: Path, target: Path) -> None:
    """Copy the bytes of a file; where the file system can, both share them until one is changed (copy_file_range(2))."""
    try:
        with open(source, "rb") as reader, open(target, "wb") as writer:
            left = os.fstat(reader.fileno()).st_size
            while left and (count := os.copy_file_range(reader.fileno(), writer.fileno(), left)):
                left -= count
    except (AttributeError, OSError) as error:  # not on macOS; and not between every two file systems
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        shutil.copyfile(source, target)


def is_full(folder: Path) -> bool:
    """Whether the file system takes no more: a short write and many libraries say of a full disk only that something failed.

    Tried by writing, as free blocks say nothing of a quota.
    """
    probe = folder / f".{os.getpid()}.probe"
    try:
        with open(probe, "wb") as handle:
            handle.write(bytes(PROBE_BYTES))
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        return error.errno in FULL
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return False


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


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
