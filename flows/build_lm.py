"""`build-lm`: the same DAG as `lugha build`, with each stage as a Prefect task that shows its progress, counts and cards."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency
from prefect.states import Completed, Failed, State
from pydantic import BaseModel

from flows.artifacts import artifact_key, only_a_view, progress_artifact, show_counts, show_release
from flows.cli.report import stage_line
from flows.run.build import Build
from flows.run.request import Request, default_workspace
from lang_configs import ConfigError
from tasks.core.errors import StageError
from tasks.core.stage import Output, Stage

GPU = "gpu"
"""Name of the global concurrency limit on trainings; without one on the server, only the lock of the workspace holds."""

log = logging.getLogger("lugha")


@flow(name="build-lm", persist_result=False)
def build_lm(
    language: str,
    preset: str | None = None,
    documents: list[str] = [],  # noqa: B006 (pydantic copies it)
    evaluation: str | None = None,
    snapshot: str | None = None,
    overrides: list[str] = [],  # noqa: B006
    workspace: str | None = None,
) -> State[Any]:
    """From the name of a language to its corpus, tokenizer, model, evaluation and cards; what is done already is reused.

    Runs of a deployment start in a temporary folder, so every path must be absolute.

    Args:
        language: a packaged language, e.g. swahili, or the path of your YAML file
        preset: sizes: starter (minutes), small (hours) or base (a day on a GPU); default: those of the language's file
        documents: paths of files, folders or globs that are used in place of the sources
        evaluation: path of the evaluation sets; default: the folder eval beside the documents
        snapshot: name of the crawl, e.g. 2026-11; the same name is the same data for ever; default: the current month
        overrides: keys of the language's file to override, e.g. pretrain.steps=500
        workspace: path where everything is kept; default: $LUGHA_WORKSPACE
    """
    folder = Path(workspace) if workspace else default_workspace()
    request = Request(language, preset, documents, evaluation, snapshot, overrides, folder.resolve())
    try:
        build = StagesAsTasks(request)
        release = build.all()
    except (ConfigError, StageError) as error:
        return Failed(message=str(error))
    with only_a_view():
        show_release(artifact_key(request.name), release)
    reused = sum(stage["reused"] for stage in build.stages)
    return Completed(message=f"{len(build.stages)} stages, {reused} reused; release in {release.folder}")


class StagesAsTasks(Build):
    """A build whose stages are Prefect tasks named by their labels."""

    def __init__(self, request: Request) -> None:
        super().__init__(request, progress_artifact)
        self.on_stage = self._remember
        self._last: tuple[Mapping[str, Any], bool] = ({}, False)
        self._states: dict[str, State[Any]] = {}

    def __call__(
        self, stage: Stage, config: BaseModel, inputs: Mapping[str, Output], external: str = "", label: str = ""
    ) -> Output:
        label = label or stage.name

        @task(name=label, task_run_name=label, cache_policy=NO_CACHE, persist_result=False)
        def stage_task(inputs: Mapping[str, Output]) -> State[Any]:
            with _logged_in_run():
                try:
                    output = super(StagesAsTasks, self).__call__(stage, config, inputs, external, label)
                except StageError as error:
                    return Failed(message=str(error), data=error)
            manifest, reused = self._last
            with only_a_view():
                show_counts(f"{artifact_key(self.request.name)}-{artifact_key(label)}", label, manifest, reused)
            message = " ".join(stage_line(label, manifest, reused).split())
            return Completed(name="Reused" if reused else "Completed", message=message, data=output)

        # Prefect draws the edges of the run's graph from the states among a task's arguments
        state = stage_task({name: self._states[upstream.fingerprint] for name, upstream in inputs.items()}, return_state=True)
        output = cast(Output, state.result())
        self._states[output.fingerprint] = state
        return output

    @contextlib.contextmanager
    def _gpu(self) -> Iterator[None]:
        with concurrency(GPU, occupy=1, strict=False), super()._gpu():
            yield

    def _remember(self, _label: str, manifest: Mapping[str, Any], reused: bool) -> None:
        self._last = (manifest, reused)


@contextlib.contextmanager
def _logged_in_run() -> Iterator[None]:
    """Send the records of the project's loggers to the run, from whichever thread they come."""
    handler = _Forward(get_run_logger().log)
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # the run's logger also writes to the terminal
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]


class _Forward(logging.Handler):
    def __init__(self, write: Callable[[int, str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(record.levelno, self.format(record))
