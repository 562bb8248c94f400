"""`lugha build` and `lugha plan`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    WORKSPACE,
    AsJson,
    Documents,
    Evaluation,
    Language,
    MaxRate,
    Offline,
    Preset,
    Set,
    Snapshot,
    Until,
    Workspace,
)
from flows.cli.terminal import say

if TYPE_CHECKING:
    from flows.run.plan import Prospect
    from flows.run.request import Request


def build(
    language: Language,
    preset: Preset = None,
    documents: Documents = None,
    evaluation: Evaluation = None,
    snapshot: Snapshot = None,
    set_: Set = None,
    workspace: Workspace = WORKSPACE,
    max_rate: MaxRate = None,
    offline: Offline = False,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Run the whole pipeline; what is done is reused."""
    from dataclasses import replace

    from flows.cli.report import print_result, results, stage_line
    from flows.cli.tables import print_json
    from flows.run.build import Build
    from flows.run.progress import watch

    request = _request(language, preset, documents, evaluation, snapshot, set_, workspace)
    run = Build(replace(request, max_rate=max_rate, offline=offline, until=until), watch)
    lines = sys.stderr if as_json else sys.stdout
    run.on_result = lambda result: say(stage_line(result), file=lines)
    made = run.all()
    if as_json:
        print_json(results(request.name, made))
    else:
        print_result(made, run.config.runtime)


def plan(
    language: Language,
    preset: Preset = None,
    documents: Documents = None,
    evaluation: Evaluation = None,
    snapshot: Snapshot = None,
    set_: Set = None,
    workspace: Workspace = WORKSPACE,
    offline: Offline = False,
    until: Until = None,
    measure: Annotated[
        bool, typer.Option(help="Measure how fast this machine trains the model: seconds, and once for each model.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Say which stages will run, why, and what they take.

    Builds nothing. Of sources it says what will be fetched, of the training its time, memory, energy and price.
    """
    from dataclasses import asdict, replace

    from flows.cli.tables import print_json
    from flows.run.plan import Plan

    request = _request(language, preset, documents, evaluation, snapshot, set_, workspace)
    request = replace(request, offline=offline, until=until)
    steps = Plan(request, (lambda words: say(words, file=sys.stderr)) if measure else None).all()
    if as_json:
        print_json([asdict(step) for step in steps])
    else:
        _print_plan(steps)


def _print_plan(steps: list[Prospect]) -> None:
    from flows.cli.report import print_training
    from flows.cli.tables import table

    rows = []
    for step in steps:
        seconds = f"{step.seconds:,.0f} s" if step.seconds is not None else ""
        rows.append((step.label, "done" if step.done else "will run", seconds, step.why))
    table(["stage", "", "about", "why"], rows)
    known = sum(step.seconds or 0 for step in steps)
    open_ends = sum(not step.done and step.seconds is None for step in steps)
    fetched = [(step.label, step.fetch) for step in steps if step.fetch is not None]
    if fetched:
        table(["fetches", "MB", "what"], [(label, _megabytes(fetch.bytes), fetch.what) for label, fetch in fetched])
    for step in steps:
        if step.training or step.note:
            print_training(step.training, step.note)
    unknown = f", and {open_ends} stage{'s' * (open_ends != 1)} that never ran here" if open_ends else ""
    say(f"about {known / 60:.0f} min{unknown}")


def _megabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:,.1f}"


def _request(
    language: str,
    preset: str | None,
    documents: list[str] | None,
    evaluation: str | None,
    snapshot: str | None,
    overrides: list[str] | None,
    workspace: Path,
) -> Request:
    from flows.run.request import Request

    return Request(language, preset, documents or [], evaluation, snapshot, overrides or [], workspace)
