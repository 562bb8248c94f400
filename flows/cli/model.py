"""Commands around models: letting one write, and making one that tells languages apart."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import MOST, WORKSPACE, AsJson, Evaluation, Workspace, finite, given, text
from flows.cli.terminal import say

COLDEST = 0.01
"""Least temperature but for 0: below it the scores of a model leave the range of its numbers."""


def _temperature(value: float) -> float:
    if 0 < finite(value) < COLDEST:
        raise typer.BadParameter(f"{value:g} is too little; give 0, which takes the likeliest token, or {COLDEST} and more.")
    return value


def _model_file(value: Path) -> Path:
    if value.suffix != ".ftz":
        raise typer.BadParameter(f"{value}: the name of a quantised fastText model ends in .ftz.")
    return value


def generate(
    language: Annotated[
        str, typer.Argument(help="A language that was built here, or a folder with an exported model.", callback=given)
    ],
    prompt: Annotated[str, typer.Option(help="How the text begins.", callback=text)] = "",
    tokens: Annotated[int, typer.Option(min=1, help="Most tokens to write.")] = 100,
    temperature: Annotated[
        float, typer.Option(min=0, max=100, help="0 takes the likeliest token.", callback=_temperature)
    ] = 0.8,
    top_p: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the probability to sample from.", callback=finite)
    ] = 0.95,
    seed: Annotated[int, typer.Option(min=0, max=MOST, help="Another seed, another text.")] = 1,
    workspace: Workspace = WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Write text with the latest model of a language."""
    from flows.cli.tables import print_json
    from flows.run.results import model_folder
    from tasks.evaluate.generation import Sampling, stream

    folder = model_folder(workspace, language)
    sampling = Sampling(tokens, temperature, top_p, seed)
    if as_json:
        pieces: list[str] = []
        stream(folder, folder, prompt, sampling, pieces.append)
        print_json({"model": folder, "prompt": prompt, "text": "".join(pieces[1:])})  # the first one is the prompt
        return
    stream(folder, folder, prompt, sampling, partial(say, end=""))
    say()


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="LANGUAGE|FOLDER|OWNER/NAME",
            help="A language whose model was built here, a release, a folder of transformers' files, or a model of the Hub.",
            callback=given,
        ),
    ],
    language: Annotated[
        str | None, typer.Option(help="Whose held-out text and sets; default: MODEL, if it is a language.", callback=given)
    ] = None,
    compare: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="Other models, measured on the same items.", callback=given)
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Evaluation sets; default: all.", callback=given)
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, max=100, help="Runs of what depends on chance.")] = None,
    evaluation: Evaluation = None,
    workspace: Workspace = WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Measure any model on a language's held-out text and sets.

    The text is what the last build of the language held out. With --compare the difference to each other model stands beside
    it, paired over the same documents and items.
    """
    from flows.cli.scores import print_evaluation
    from flows.cli.tables import print_json
    from flows.run.evaluation import Evaluation as Run
    from flows.run.progress import watch

    names = [part.strip() for part in tasks.split(",")] if tasks else []
    run = Run(workspace, language or model, watch, names, seeds, evaluation)
    measured = run.all([model, *(compare or [])])
    if as_json:
        print_json(
            [
                {"model": one.name, "scores": one.scores, "skipped": one.skipped, "differences": one.differences}
                for one in measured
            ]
        )
    else:
        print_evaluation(measured)


def train_lid(
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE|FOLDER", exists=True, help="Lines like `__label__swh_Latn text`, or train.txt in it."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="MODEL.ftz",
            dir_okay=False,
            callback=_model_file,
            help="Where the model is written; its confusion table beside it.",
        ),
    ],
    dev: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Development lines: measured where there are no test lines."),
    ] = None,
    test: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Test lines; default: every tenth line is held out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a language identifier of your own.

    It goes into the config as `language.model`; what it confuses is measured and said.
    """
    from flows.cli.tables import print_json
    from tasks.annotate.language.train import train_own

    metrics = train_own(source, out, dev, test)
    if as_json:
        print_json(metrics)
        return
    for name, value in metrics.items():
        say(f"{name.replace('_', ' ')}: {', '.join(value) if isinstance(value, list) else format(value, ',')}")
