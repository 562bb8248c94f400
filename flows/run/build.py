"""`lugha build`: the DAG run stage by stage in this process, and its record for the ledger. No orchestrator needed."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from flows.dag import Dag, Made, build_lm, complete
from flows.run.record import Record, settle
from flows.run.request import Request
from tasks import ledger
from tasks.core.engines import make_engine
from tasks.core.errors import was_interrupted
from tasks.core.locks import exclusive
from tasks.core.stage import Progress, Result, Step, Work, execute
from tasks.net import rules
from tasks.select.forgotten import FORGOTTEN, remember

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
        self._indexed = True
        runtime = self.config.runtime
        self._engine = make_engine(runtime.engine, runtime.workers, runtime.address)
        self._record = Record(self.folder, request.name, request.preset, self.given.snapshot, runtime)

    def __call__(self, step: Step) -> Result:
        with self.watch(step.label) as progress:
            work = Work(self._engine, progress, runtime=self.config.runtime, prepare=rules.for_workers())
            result = execute(step, self.request.workspace, self.request.name, work, partial(self._running, step))
        self.results[result.label] = result
        self._record.add(result)
        if not result.reused:
            self._index(ledger.record, [result.folder])
        self.on_result(result)
        return result

    @contextlib.contextmanager
    def _running(self, step: Step) -> Iterator[None]:
        """Record where the run stands; a stage that runs alone waits here for those of other runs."""
        self._record.begin(step.label)
        if not step.stage.alone:
            yield
            return
        self._engine.close()  # its idle workers would hold memory that the training can use
        with self._alone():
            yield

    def all(self) -> Made:
        """Run the whole DAG and return what it made, by label; the run is recorded however it ends."""
        settle(self.folder)
        remember(self.folder / FORGOTTEN, self.given.forgotten)
        self._record.begin()
        try:
            self._index(ledger.catch_up)
            made = complete(self.dag, self.config, self.given, self)
        except Exception as error:
            if was_interrupted(error):
                self._end("interrupted")
            else:
                self._end("failed", str(error))
            raise
        except BaseException:  # Ctrl-C, SIGTERM, or the orchestrator's own signal
            self._end("interrupted")
            raise
        finally:
            self._engine.close()
        self._end("completed")
        return made

    def _end(self, status: str, message: str = "") -> None:
        try:
            self._record.end(status, message)
        except OSError as error:  # what ended the run is worth more than that its end could not be written down
            log.warning("%s: the end of the run was not recorded (%s)", self._record.path, error)
        else:
            self._index(ledger.record, [], [self._record.path])

    def _index(self, update: Callable[..., object], *arguments: list[Path]) -> None:
        # an index that can be rebuilt must not fail a build, nor hold it up at every stage
        if not self._indexed:
            return
        try:
            update(self.request.workspace, *arguments)
        except Exception as error:
            if was_interrupted(error):
                raise KeyboardInterrupt from error
            self._indexed = False
            log.warning("the ledger was not updated (%s); the next build, or `lugha ledger rebuild`, does", error)

    def _alone(self) -> contextlib.AbstractContextManager[Any]:
        """One training per machine: two would share the memory of one GPU and the cores of one CPU."""
        return exclusive(self.request.workspace / ".gpu.lock", self.request.workspace)
