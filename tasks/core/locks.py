"""One process at a time in a folder; whoever waits for it says so, and for whom."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger("lugha")


@contextlib.contextmanager
def exclusive(path: Path, place: Path) -> Iterator[None]:
    """Hold the lock at `path` while working in `place`; it dies with its holder.

    Where another process has it, one warning names the place and that process, and this one waits.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = path.with_suffix(".holder")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("%s: waiting for %s, which works there", place, _name(holder))
        lock.acquire()
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()} (since {datetime.now():%Y-%m-%d %H:%M})")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _name(holder: Path) -> str:
    try:
        return holder.read_text() or "another process"
    except OSError:
        return "another process"
