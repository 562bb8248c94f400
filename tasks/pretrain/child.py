"""A process of its own for what needs torch: how it is started, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from lang_configs.training import FAMILIES, Pretrain
from tasks.core.paths import child_environment
from tasks.pretrain.machine.threads import environment
from tasks.pretrain.state import STOP_SECONDS


def command(module: str, config: Pretrain, processes: int = 1) -> list[str]:
    """What runs one of our modules with a config, in one process or in several that torchrun starts."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    python = [sys.executable, *launcher, "-m", module]
    family = FAMILIES[config.model.family].module
    return [*python, "--config", config.model_dump_json(), *(["--family-module", family] if family else [])]


def variables(config: Pretrain, processes: int = 1) -> dict[str, str]:
    """The environment of such a process: it finds our modules, and at last the one that declares the model's family."""
    found = child_environment() | environment(processes)
    if module := FAMILIES[config.model.family].module:
        file = Path(str(sys.modules[module].__file__)).resolve()
        found["PYTHONPATH"] += os.pathsep + str(file.parents[module.count(".") + (file.name == "__init__.py")])
    return found


@contextlib.contextmanager
def running(command: list[str], variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a session of its own, which ends with the block: by itself, by SIGTERM, at last by SIGKILL."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # its end tells the child that this process is gone
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=variables,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(STOP_SECONDS + 5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()


@contextlib.contextmanager
def passing_signals_on(child: subprocess.Popen[str]) -> Iterator[list[int]]:
    """Pass SIGINT and SIGTERM on to the child, so that it saves; yields the list of those that came."""
    received: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        received.append(number)
        child.terminate()

    if threading.current_thread() is not threading.main_thread():  # only the main thread may; others end by an exception
        yield received
        return
    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
