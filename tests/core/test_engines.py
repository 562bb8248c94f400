"""What workers do with signals, and what is said when one is lost or cannot be started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core import engines
from tasks.core.engines import Processes, make_engine
from tasks.core.errors import StageError
from tests import REPOSITORY


def leaves_interrupts_alone(_: int) -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def is_killed(item: int) -> int:
    if item:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_workers_leave_ctrl_c_to_the_process_that_started_them() -> None:
    engine = Processes(2)
    try:
        assert engine.map(leaves_interrupts_alone, [0, 1, 2], lambda _: None) == [True] * 3
        assert not leaves_interrupts_alone(0)
    finally:
        engine.close()


STOPPED_WHILE_STARTING = """
import multiprocessing.util, os, signal, sys
from flows.cli import _termination_as_interrupt
from tasks.core.engines import Processes

made, init = [], multiprocessing.util.Finalize.__init__
def signalled(self, *arguments, **options):
    made.append(self)
    if len(made) == int(sys.argv[2]):
        os.kill(os.getpid(), int(sys.argv[1]))
    init(self, *arguments, **options)
multiprocessing.util.Finalize.__init__ = signalled
if __name__ == "__main__":
    try:
        with _termination_as_interrupt():
            Processes(2).map(abs, [-1, -2, -3], lambda _: None)
    except KeyboardInterrupt:
        print("stopped")
    print(len(made))
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_workers_start_leaves_nothing_half_made(sent: signal.Signals, tmp_path: Path) -> None:
    """At each object of `multiprocessing` that the pool is made of; the last line says how many there are."""
    script = tmp_path / "start.py"
    script.write_text(STOPPED_WHILE_STARTING)
    objects, number = 1, 1
    while number <= objects:
        command = [sys.executable, str(script), str(int(sent)), str(number)]
        variables = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
        stopped, made = ended.stdout.split()
        assert (ended.returncode, stopped, ended.stderr) == (0, "stopped", "")
        objects, number = int(made), number + 1
    assert objects > 3


def test_a_worker_that_is_killed_is_one_sentence_and_the_next_map_has_others() -> None:
    engine = Processes(2)
    try:
        with pytest.raises(StageError, match=r"^a worker process was ended from outside, .*--set runtime.workers=1.$"):
            engine.map(is_killed, [0, 1], lambda _: None)
        assert engine.map(is_killed, [0, 0], lambda _: None) == [0, 0]
    finally:
        engine.close()


def test_dask_without_its_package_is_said_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(StageError, match=r"runtime\.engine dask needs a package that is not here: pip install distributed"):
        make_engine("dask")


def test_an_address_of_no_scheduler_is_one_sentence() -> None:
    engine = make_engine("dask", address="nonsense")
    with pytest.raises(StageError, match=r"runtime\.address nonsense: no Dask scheduler answers there"):
        engine.map(len, ["a", "b"], lambda _: None)
