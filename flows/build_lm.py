"""`build-lm`: the same DAG as `lugha build`, with each stage as a Prefect task that shows its progress, counts and cards."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

# read when prefect is imported: a pipeline that may hold private text tells nobody that it runs
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency
from prefect.states import Completed, Failed, State
from pydantic import BaseModel

from flows.build import Build
from flows.report import stage_line
from flows.request import Request, default_workspace
from lang_configs import ConfigError
from tasks.stage import Metrics, Output, Progress, Stage, StageError

GPU = "gpu"
"""Name of the global concurrency limit on trainings; without one on the server, only the lock of the workspace holds."""

PROGRESS_EVERY = 5.0
"""Seconds between two updates of a progress artifact: each is a request, an event that is kept, and two lines of `--watch`."""

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
    with _only_a_view():
        _show_release(_key(request.name), release)
    reused = sum(stage["reused"] for stage in build.stages)
    return Completed(message=f"{len(build.stages)} stages, {reused} reused; release in {release.folder}")


class StagesAsTasks(Build):
    """A build whose stages are Prefect tasks named by their labels."""

    def __init__(self, request: Request) -> None:
        super().__init__(request, _progress_artifact)
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
            with _only_a_view():
                _show_counts(f"{_key(self.request.name)}-{_key(label)}", label, manifest, reused)
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
def _progress_artifact(label: str) -> Iterator[Progress]:
    artifact: Any = None
    last, description = -PROGRESS_EVERY, ""

    def progress(done: float, total: float, unit: str) -> None:
        nonlocal artifact, last, description
        now = time.monotonic()
        # a share needs a total; and a stage that is reused never comes here, so it shows no bar stuck at 0 %
        if not total or now - last < PROGRESS_EVERY:
            return
        last = now
        percent, description = min(100.0, 100 * done / total), f"{label}: {done:,.0f} of {total:,.0f} {unit}"
        with _only_a_view():
            if artifact is None:
                artifact = create_progress_artifact(percent, description=description)
            else:
                update_progress_artifact(artifact, percent, description)

    yield progress
    if artifact is not None:
        with _only_a_view():
            update_progress_artifact(artifact, 100.0, f"{label}: done")


def _show_counts(key: str, label: str, manifest: Mapping[str, Any], reused: bool) -> None:
    counts = _scalars(manifest["metrics"])
    counts |= {"seconds": manifest["seconds"], "fingerprint": manifest["fingerprint"], "reused": reused}
    table = [{"count": name, "value": _readable(value)} for name, value in counts.items()]
    create_table_artifact(table, key=key, description=f"{label}: {'reused' if reused else 'ran'}")


def _show_release(key: str, release: Output) -> None:
    for card, path in (("data-card", "corpus/README.md"), ("model-card", "model/README.md")):
        file = release.folder / path
        if file.is_file():
            text = _without_metadata(file.read_text(encoding="utf-8"))
            create_markdown_artifact(text, key=f"{key}-{card}", description=str(file))
    folder = release.folder
    create_link_artifact(folder.as_uri(), str(folder), key=f"{key}-folder", description="Corpus, tokenizer, model, cards")


def _scalars(metrics: Metrics, prefix: str = "") -> dict[str, Any]:
    """The metrics that fit a cell, nested ones by their dotted name; lists are left to the ledger."""
    flat: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            flat |= _scalars(dict(value), f"{prefix}{name}.")
        elif isinstance(value, (str, int, float, bool)):
            flat[f"{prefix}{name}"] = value
    return flat


def _readable(value: Any) -> str:
    if isinstance(value, (bool, str)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _without_metadata(card: str) -> str:
    """A card without the YAML block that the Hub reads; Markdown would show it as one bold line."""
    return re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)


def _key(name: str) -> str:
    """An artifact key: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@contextlib.contextmanager
def _only_a_view() -> Iterator[None]:
    """What is only shown must not fail a build whose truth is on disk."""
    try:
        yield
    except Exception as error:
        log.warning("the Prefect server did not take an artifact: %s", error)


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
