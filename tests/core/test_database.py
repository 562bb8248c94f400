"""Queries end with a signal, whichever thread is at work on them, and leave signals as they found them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from tasks.core.database import connect
from tests import REPOSITORY

QUERIES = (
    "SELECT count(*) FROM range(100000000000) r WHERE hash(r.range) = 7",
    "SELECT count(DISTINCT hash(range)) FROM range(3000000000)",
    "SELECT count(*) FROM range(400000) a, range(400000) b WHERE hash(a.range + b.range) = 7",
)
PROGRAM = """
import os, signal, sys, threading
from tasks.core.database import connect
from tasks.core.errors import was_interrupted
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    with connect(config={"threads": int(sys.argv[2])}) as database:
        database.execute(sys.argv[1]).fetchall()
except KeyboardInterrupt:
    sys.exit(130)
except Exception as error:
    sys.exit(130 if was_interrupted(error) else 1)
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("query", QUERIES)
def test_a_signal_ends_a_query_that_would_take_for_ever(query: str, threads: int) -> None:
    command = [sys.executable, "-c", PROGRAM, query, str(threads)]
    for _ in range(2):  # without help every second one goes on
        done = subprocess.run(command, cwd=REPOSITORY, timeout=60, capture_output=True, text=True)
        assert done.returncode == 130, done.stderr


def test_signals_are_left_as_they_were() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    before, handler, threads = signal.set_wakeup_fd(write), signal.getsignal(signal.SIGINT), threading.active_count()
    try:
        with connect() as database:
            assert database.execute("SELECT 1").fetchall() == [(1,)]
        assert signal.set_wakeup_fd(write) == write
        assert signal.getsignal(signal.SIGINT) is handler
        assert threading.active_count() == threads
    finally:
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)


def test_outside_the_main_thread_it_is_a_plain_connection() -> None:
    found = []

    def ask() -> None:
        with connect() as database:
            found.extend(database.execute("SELECT 2").fetchall())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [(2,)]
