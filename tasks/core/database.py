"""DuckDB that answers signals."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STOPPING = {signal.SIGINT, signal.SIGTERM}


@contextlib.contextmanager
def connect(path: Path | str = ":memory:", **options: Any) -> Iterator[Any]:
    """A connection to the database at `path`, whose queries a signal ends; `options` are those of `duckdb.connect`."""
    import duckdb

    with duckdb.connect(str(path), **options) as database, interruptible(database):
        yield database


@contextlib.contextmanager
def interruptible(database: Any) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the queries of an open connection.

    A signal's handler in Python runs in the main thread, between two instructions of its own: not while that thread computes
    in DuckDB, which itself looks for signals only where another thread does the work (2.0.1: a query of an hour went on to
    its end every second time). So a thread waits for the byte that Python's handler in C writes at once
    (`signal.set_wakeup_fd`), and interrupts the query; back in Python the signal is a KeyboardInterrupt. Elsewhere than in
    the main thread nothing is done: signals do not come there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read, write = os.pipe()
    os.set_blocking(write, False)

    def wait() -> None:
        while received := os.read(read, 64):
            if STOPPING & set(received):
                database.interrupt()

    waiting = threading.Thread(target=wait, daemon=True)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    waiting.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(write)
        waiting.join()
        os.close(read)
