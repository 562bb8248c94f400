"""`lugha build`: the DAG run stage by stage in this process, and its record for the ledger. No orchestrator needed."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock

from flows.dag import Dag, Made, build_lm, complete
from flows.run.request import Request
from tasks import ledger
from tasks.core.engines import make_engine
from tasks.core.files import write_atomically
from tasks.core.stage import Progress, Result, Step, Work, describe, execute
from tasks.net import rules

log = logging.getLogger("lugha")

Watch = Callable[[str], contextlib.AbstractContextManager[Progress]]
"""Opens the progress report of a stage."""


class Build:
    """Runs stages and keeps the record of the run; it is the `run` of the DAG."""

    def __init__(self, request: Request, watch: Watch, dag: Dag = build_lm) -> None:
        # read when torch loads: threads that spin while they wait keep each other from the cores as soon as anything else
        # runs on the machine, and training and evaluation then take many times as long
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self.request, self.watch, self.dag = request, watch, dag
        self.config, self.given = request.resolve()
        rules.use(self.config.runtime)
        self.folder = request.workspace / request.name
        self.results: dict[str, Result] = {}
        self.on_result: Callable[[Result], None] = lambda result: None
        runtime = self.config.runtime
        self._engine = make_engine(runtime.engine, runtime.workers, runtime.address)
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()
        self._run = f"{self._started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"

    def __call__(self, step: Step) -> Result:
        waiting = step.stage.alone and describe(step, self.request.workspace, self.request.name).manifest() is None
        if waiting:
            self._engine.close()  # its idle workers would hold memory that the training can use
        with self.watch(step.label) as progress, self._alone() if waiting else contextlib.nullcontext():
            work = Work(self._engine, progress, runtime=self.config.runtime, prepare=rules.for_workers())
            result = execute(step, self.request.workspace, self.request.name, work)
        self.results[result.label] = result
        if not result.reused:
            self._index(ledger.record, [result.folder])
        self.on_result(result)
        return result

    def all(self) -> Made:
        """Run the whole DAG and return what it made, by label; the run is recorded however it ends."""
        self._index(ledger.catch_up)
        self._save("running", "")
        try:
            with _termination_as_interrupt():
                made = complete(self.dag, self.config, self.given, self)
        except Exception as error:
            self._save("failed", str(error))
            raise
        except BaseException:  # Ctrl-C, SIGTERM, or the orchestrator's own signal
            self._save("interrupted", "")
            raise
        finally:
            self._engine.close()
        self._save("completed", "")
        return made

    def _save(self, status: str, message: str) -> None:
        path = self.folder / ledger.RUNS / f"{self._run}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "run": self._run,
            "language": self.request.name,
            "preset": self.request.preset,
            "snapshot": self.given.snapshot,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._clock, 1),
            "status": status,
            "message": message,
            "stages": [
                {"stage": one.stage, "label": one.label, "fingerprint": one.fingerprint, "reused": one.reused}
                for one in self.results.values()
            ],
        }
        write_atomically(path, json.dumps(record, indent=1).encode())
        self._index(ledger.record, [], [path])

    def _index(self, update: Callable[..., object], *arguments: list[Path]) -> None:
        # an index that can be rebuilt must not fail a build
        try:
            update(self.request.workspace, *arguments)
        except Exception as error:
            log.warning("the ledger was not updated (%s); `lugha ledger rebuild` makes it anew", error)

    def _alone(self) -> contextlib.AbstractContextManager[Any]:
        """One training per machine: two would share the memory of one GPU and the cores of one CPU."""
        self.request.workspace.mkdir(parents=True, exist_ok=True)
        return FileLock(self.request.workspace / ".gpu.lock")


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGTERM)
    # whoever owns the process handles its signals: an orchestrator has a handler already, a thread may have none
    if before is not signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
