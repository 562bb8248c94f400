"""Arguments and options that several commands take, each declared once, and what is wrong with them said at once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from lang_configs import presets

MOST = 2**63 - 1
"""Largest whole number that the ledger and torch can hold."""


def given(value: Any) -> Any:
    """Callback of options: refuses what is empty, as a forgotten variable of a script leaves it."""
    for one in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(one, str) and not one.strip():
            raise typer.BadParameter("it is empty; give it a value, or leave it out.")
    return value


def text(value: str | None) -> str | None:
    """Callback of what is read as text: refuses bytes that are no UTF-8, which Python passes on as halves of letters."""
    if value is not None and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise typer.BadParameter("it holds bytes that are no UTF-8; write it in UTF-8.")
    return value


def finite(value: float) -> float:
    """Callback of numbers: refuses nan and inf, which pass every comparison with a bound or have none."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number to work with.")
    return value


def folder(value: str | Path) -> Path:
    """Parser of a folder that need not exist yet."""
    if not str(value).strip():
        raise typer.BadParameter("it is empty; name a folder, or leave it out.")
    if Path(value).exists() and not Path(value).is_dir():
        raise typer.BadParameter(f"{value} is a file; name a folder.")
    return Path(value)


Language = Annotated[
    str, typer.Argument(metavar="LANGUAGE|FILE.yaml", help="A packaged language, or the YAML file of yours.", callback=given)
]
Languages = Annotated[
    list[str] | None,
    typer.Argument(metavar="LANGUAGE|FILE.yaml", help="Packaged languages, or YAML files of yours.", callback=given),
]
Preset = Annotated[str | None, typer.Option(help=f"Sizes: {', '.join(presets())}.", callback=given)]
Documents = Annotated[
    list[str] | None, typer.Option(help="Use these files, folders or globs in place of the sources.", callback=given)
]
Evaluation = Annotated[
    str | None, typer.Option(help="Folder with evaluation sets; default: `eval` beside the documents.", callback=given)
]
Snapshot = Annotated[str | None, typer.Option(help="Name of the crawl; default: the current month.", callback=given)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. pretrain.steps=500.", callback=given),
]
EvaluationTexts = Annotated[
    Path | None,
    typer.Option(
        "--evaluation", parser=folder, metavar="FOLDER", help="Evaluation sets; default: `evaluation` in the workspace."
    ),
]
Characters = Annotated[int, typer.Option(min=1, help="Characters of a text that are shown.")]
Seed = Annotated[int, typer.Option(min=0, max=MOST, help="Another seed, another choice; the same seed, the same one.")]
Workspace = Annotated[
    Path, typer.Option(parser=folder, metavar="FOLDER", envvar="LUGHA_WORKSPACE", help="Where everything is kept.")
]
MaxRate = Annotated[str | None, typer.Option(help="Most bytes per second of all downloads, e.g. 500k or 2M.", callback=given)]
Offline = Annotated[bool, typer.Option("--offline", help="Make no connection: what is not on this machine is an error.")]
Until = Annotated[
    str | None,
    typer.Option(metavar="STAGE", help="End with this stage, e.g. corpus: the text and its card, no model.", callback=given),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")]

WORKSPACE = Path("workspace")
"""Where a build goes unless it is told otherwise."""
