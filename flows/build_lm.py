"""`build-lm`: the same DAG as `lugha build`, with each stage as a Prefect task that shows its progress, counts and cards."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency
from prefect.states import Completed, Failed, State

from flows import dag
from flows.artifacts import artifact_key, only_a_view, progress_artifact, show_counts, show_made
from flows.cli.report import stage_line
from flows.dag import Dag
from flows.run.build import Build
from flows.run.request import Request, default_workspace
from lang_configs.secrets import without_secrets
from tasks.core.errors import StageError, known
from tasks.core.shown import shown, shown_line
from tasks.core.stage import Output, Result, Step

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
    until: str | None = None,
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
        until: the stage after which the run ends, e.g. corpus: then with the card of the data alone
    """
    folder = Path(workspace) if workspace else default_workspace()
    return run(Request(language, preset, documents, evaluation, snapshot, overrides, folder.resolve(), until=until))


def run(request: Request, dag: Dag = dag.build_lm) -> State[Any]:
    """Run a DAG in the flow run that is going on, each step as a task; returns its final state."""
    try:
        made = StagesAsTasks(request, dag).all()
    except Exception as error:
        if (explained := known(error)) is None:
            raise
        return Failed(message=shown(explained[0]))
    with only_a_view():
        show_made(artifact_key(request.name), made)
    last = list(made.values())[-1]
    reused = sum(result.reused for result in made.values())
    return Completed(message=f"{len(made)} stages, {reused} reused; {last.label} in {last.folder}")


class StagesAsTasks(Build):
    """A build whose steps are Prefect tasks named by their labels."""

    def __init__(self, request: Request, dag: Dag) -> None:
        super().__init__(request, progress_artifact, dag)
        self._states: dict[str, State[Any]] = {}

    def __call__(self, step: Step) -> Result:
        made: list[Result] = []

        @task(name=step.label, task_run_name=step.label, cache_policy=NO_CACHE, persist_result=False)
        def stage_task(inputs: Mapping[str, Output]) -> State[Any]:
            with _logged_in_run():
                try:
                    result = super(StagesAsTasks, self).__call__(step)
                except StageError as error:
                    return Failed(message=shown_line(str(error)), data=error)
            with only_a_view():
                show_counts(f"{artifact_key(self.request.name)}-{artifact_key(step.label)}", result)
            made.append(result)
            message = shown_line(stage_line(result))
            # a text of its own: Prefect draws an edge to whatever returned an object last, and results share objects
            return Completed(name="Reused" if result.reused else "Completed", message=message, data=str(result.folder))

        # Prefect draws the edges of the run's graph from the states among a task's arguments
        inputs = {name: self._states[upstream.fingerprint] for name, upstream in step.inputs.items()}
        state = stage_task(inputs, return_state=True)
        state.result()  # raises what the step raised
        self._states[made[0].fingerprint] = state
        return made[0]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with concurrency(GPU, occupy=1, strict=False), super()._alone():
            yield


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
        self._write(record.levelno, shown(without_secrets(self.format(record))))
