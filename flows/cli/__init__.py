"""The command line. Heavy imports happen inside the commands: `lugha --help` answers in under half a second."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from flows.run.request import Request

app = typer.Typer(
    help="From the name of a language to a documented corpus, a tokenizer, a small language model, its evaluation and cards.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
ledger_app = typer.Typer(help="The DuckDB index of everything that was built.", no_args_is_help=True)
app.add_typer(ledger_app, name="ledger")

Language = Annotated[str, typer.Argument(metavar="LANGUAGE|FILE.yaml", help="A packaged language, or the YAML file of yours.")]
Preset = Annotated[str | None, typer.Option(help="Sizes: starter, small or base.")]
Documents = Annotated[list[str] | None, typer.Option(help="Use these files, folders or globs in place of the sources.")]
Evaluation = Annotated[str | None, typer.Option(help="Folder with evaluation sets; default: `eval` beside the documents.")]
Snapshot = Annotated[str | None, typer.Option(help="Name of the crawl; default: the current month.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. pretrain.steps=500.")]
EvaluationTexts = Annotated[
    Path | None, typer.Option("--evaluation", help="Folder with evaluation sets; default: `evaluation` in the workspace.")
]
Characters = Annotated[int, typer.Option(min=1, help="Characters of a text that are shown.")]
Workspace = Annotated[Path | None, typer.Option(help="Where everything is kept; default: $LUGHA_WORKSPACE or ./workspace.")]
MaxRate = Annotated[str | None, typer.Option(help="Most bytes per second of all downloads, e.g. 500k or 2M.")]
Offline = Annotated[bool, typer.Option("--offline", help="Make no connection: what is not on this machine is an error.")]
Until = Annotated[
    str | None, typer.Option(metavar="STAGE", help="End with this stage, e.g. corpus: the text and its card, no model.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def main() -> None:
    """Entry point: known mistakes end in one clear sentence; exit code 2 for the config, 1 for a stage, 130 for Ctrl-C."""
    try:
        app()
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to go on from here", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        from lang_configs import ConfigError
        from tasks.core.errors import StageError

        if not isinstance(error, (ConfigError, StageError)):
            raise
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 1)


@app.command()
def build(
    language: Language,
    preset: Preset = None,
    documents: Documents = None,
    evaluation: Evaluation = None,
    snapshot: Snapshot = None,
    set_: Set = None,
    workspace: Workspace = None,
    max_rate: MaxRate = None,
    offline: Offline = False,
    until: Until = None,
) -> None:
    """Run the whole pipeline; what is done already is reused."""
    from dataclasses import replace

    from flows.cli.report import print_result, stage_line
    from flows.run.build import Build
    from flows.run.progress import watch

    request = _request(language, preset, documents, evaluation, snapshot, set_, workspace)
    run = Build(replace(request, max_rate=max_rate, offline=offline, until=until), watch)
    run.on_result = lambda result: print(stage_line(result), flush=True)
    print_result(run.all())


@app.command()
def plan(
    language: Language,
    preset: Preset = None,
    documents: Documents = None,
    evaluation: Evaluation = None,
    snapshot: Snapshot = None,
    set_: Set = None,
    workspace: Workspace = None,
    offline: Offline = False,
    until: Until = None,
    measure: Annotated[
        bool, typer.Option(help="Measure how fast this machine trains the model: seconds, and once for each model.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Say which stages are done and which will run, why, what will be fetched and what the training takes; build nothing."""
    from dataclasses import asdict, replace

    from flows.cli.report import print_training, table
    from flows.run.plan import Plan

    request = _request(language, preset, documents, evaluation, snapshot, set_, workspace)
    steps = Plan(
        replace(request, offline=offline, until=until), (lambda words: print(words, file=sys.stderr)) if measure else None
    ).all()
    if as_json:
        print(json.dumps([asdict(step) for step in steps], indent=1))
        return
    rows = [
        (
            step.label,
            "done" if step.done else "will run",
            f"{step.seconds:,.0f} s" if step.seconds is not None else "",
            step.why,
        )
        for step in steps
    ]
    table(["stage", "", "about", "why"], rows)
    known = sum(step.seconds or 0 for step in steps)
    open_ends = sum(not step.done and step.seconds is None for step in steps)
    fetched = [(step.label, step.fetch) for step in steps if step.fetch is not None]
    if fetched:
        table(["fetches", "MB", "what"], [(label, _megabytes(fetch.bytes), fetch.what) for label, fetch in fetched])
    for step in steps:
        if step.training or step.note:
            print_training(step.training, step.note)
    print(f"about {known / 60:.0f} min" + (f", and {open_ends} stages that never ran here" if open_ends else ""))


@app.command()
def status(workspace: Workspace = None, as_json: AsJson = False) -> None:
    """The latest runs: what ran, what was reused, how they ended."""
    query = (
        "SELECT language, run, preset, snapshot, status, round(seconds)::INTEGER AS seconds, stages_run, stages_reused, message"
        " FROM runs ORDER BY started DESC LIMIT 20"
    )
    _print_query(workspace, query, as_json)


@app.command()
def stats(
    language: Annotated[str | None, typer.Argument(help="Only this language.")] = None,
    sql: Annotated[
        str | None, typer.Option(help="A query on the ledger; tables and views are named in tasks/ledger/ledger.sql.")
    ] = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Tables of the last complete run: where the documents went, what the corpus holds, scores, times."""
    if sql:
        _print_query(workspace, sql, as_json)
        return
    where = f"WHERE language = '{language.replace(chr(39), chr(39) * 2)}'" if language else ""
    for title, statement in (
        (
            "Documents by decision",
            f"SELECT language, decision, documents, bytes, percent FROM funnel {where} ORDER BY language, position",
        ),
        ("Corpus by source", f"SELECT * FROM corpus {where} ORDER BY language, split, bytes DESC LIMIT 40"),
        ("Scores", f"SELECT * FROM scores {where} ORDER BY ALL"),
        ("Time and memory", f"SELECT * FROM timing {where} ORDER BY language, position"),
    ):
        if not as_json:
            print(f"\n{title}")
        _print_query(workspace, statement, as_json)


@app.command()
def sample(
    language: Language,
    kept: Annotated[bool, typer.Option("--kept", help="Only documents of the corpus.")] = False,
    dropped: Annotated[str | None, typer.Option(metavar="REASON", help="Only documents with this decision.")] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 20,
    source: Annotated[str | None, typer.Option(help="Only documents of this source; a part of its name will do.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another choice; the same seed, the same one.")] = 1,
    characters: Characters = 800,
    evaluation: EvaluationTexts = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Show documents of the last complete run for reading, each with its decision and the numbers behind it."""
    from flows.cli.report import print_sample
    from flows.run.reading import LastRun
    from flows.run.request import default_workspace
    from lang_configs import ConfigError

    if kept and dropped:
        raise ConfigError("sample: --kept and --dropped exclude each other; give one of them")
    run = LastRun(workspace or default_workspace(), language, evaluation)
    documents = run.sample(dropped, kept, source, count, seed, characters)
    if as_json:
        _print_json(documents)
    else:
        print_sample(documents)


@app.command()
def explain(
    language: Language,
    document: Annotated[
        str, typer.Argument(metavar="ID|URL", help="As `lugha sample` shows them; the first six digits of an id may do.")
    ],
    characters: Characters = 800,
    evaluation: EvaluationTexts = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of one document: where it came from, what was measured, what was decided, and by which stage."""
    from flows.cli.report import print_story
    from flows.run.reading import LastRun
    from flows.run.request import default_workspace

    stories = LastRun(workspace or default_workspace(), language, evaluation).stories(document, characters)
    if as_json:
        _print_json(stories)
        return
    for story in stories:
        print_story(story)


@app.command()
def forget(
    language: Language,
    url: Annotated[str | None, typer.Option(help="A page; later versions of it stay out, too.")] = None,
    domain: Annotated[str | None, typer.Option(help="A domain and its subdomains.")] = None,
    id_: Annotated[str | None, typer.Option("--id", metavar="HEX", help="One document.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for those who read the block list.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take it off the block list.")] = False,
    workspace: Workspace = None,
) -> None:
    """Keep a page, a domain or a document out of every later build (a takedown)."""
    from flows.run.reading import forget as block
    from flows.run.request import default_workspace
    from tasks.select.forgotten import entry

    for line in block(workspace or default_workspace(), language, entry(url, domain, id_, reason), undo):
        print(line)


@app.command()
def languages(as_json: AsJson = False) -> None:
    """The languages that come with the package."""
    import lang_configs
    from flows.cli.report import table

    found = [(name, lang_configs.load(name)) for name in lang_configs.languages()]
    if as_json:
        print(json.dumps([{"file": name, "name": c.name, "label": c.label} for name, c in found]))
        return
    rows = [(name, c.name, c.autonym or "", c.label, ", ".join(s.name for s in c.crawl.sources)) for name, c in found]
    table(["language", "name", "autonym", "code", "sources"], rows)


@app.command()
def generate(
    language: Annotated[str, typer.Argument(help="A language that was built here, or a folder with an exported model.")],
    prompt: Annotated[str, typer.Option(help="How the text begins.")] = "",
    tokens: Annotated[int, typer.Option(help="Most tokens to write.")] = 100,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.8,
    top_p: Annotated[float, typer.Option(help="Share of the probability to sample from.")] = 0.95,
    seed: Annotated[int, typer.Option()] = 1,
    workspace: Workspace = None,
) -> None:
    """Write text with the latest model of a language."""
    from flows.run.request import default_workspace
    from flows.run.results import model_folder
    from tasks.evaluate.samples import stream

    folder = model_folder(workspace or default_workspace(), language)
    pieces = stream(folder, folder, prompt, tokens, temperature, top_p, seed)
    print(prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


@app.command("train-lid")
def train_lid(
    source: Annotated[
        Path, typer.Argument(metavar="FILE|FOLDER", help="Lines like `__label__swh_Latn text`, or train.txt in it.")
    ],
    out: Annotated[Path, typer.Option(metavar="MODEL.ftz", help="Where the model is written; its confusion table beside it.")],
    dev: Annotated[Path | None, typer.Option(help="Development lines: measured where there are no test lines.")] = None,
    test: Annotated[Path | None, typer.Option(help="Test lines; default: every tenth line is held out.")] = None,
) -> None:
    """Train a language identification model of your own, for `language.model`, and say what it confuses."""
    from tasks.annotate.language.train import train_own

    for name, value in train_own(source, out, dev, test).items():
        print(f"{name.replace('_', ' ')}: {', '.join(value) if isinstance(value, list) else format(value, ',')}")


@app.command()
def serve(
    preset: Preset = None,
    set_: Set = None,
    workspace: Workspace = None,
    limit: Annotated[int, typer.Option(help="Builds at the same time.")] = 1,
) -> None:
    """Serve one Prefect deployment per language, with its refresh schedule, until stopped."""
    from flows.deployments import serve as run
    from flows.run.request import default_workspace

    run((workspace or default_workspace()).resolve(), preset=preset, overrides=set_ or [], limit=limit)


@app.command()
def deploy(
    work_pool: Annotated[str, typer.Option(help="Prefect work pool that runs the builds.")],
    preset: Preset = None,
    set_: Set = None,
    workspace: Workspace = None,
) -> None:
    """Register one Prefect deployment per language with a work pool."""
    from flows.deployments import deploy as run
    from flows.run.request import default_workspace

    run((workspace or default_workspace()).resolve(), work_pool, preset=preset, overrides=set_ or [])


@ledger_app.command()
def rebuild(workspace: Workspace = None) -> None:
    """Make the ledger anew from the manifests."""
    from flows.run.request import default_workspace
    from tasks import ledger

    root = workspace or default_workspace()
    print(f"{root / ledger.LEDGER}: made from {ledger.rebuild(root)} manifests and runs")


def _megabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:,.1f}"


def _request(
    language: str,
    preset: str | None,
    documents: list[str] | None,
    evaluation: str | None,
    snapshot: str | None,
    overrides: list[str] | None,
    workspace: Path | None,
) -> Request:
    from flows.run.request import Request, default_workspace

    return Request(language, preset, documents or [], evaluation, snapshot, overrides or [], workspace or default_workspace())


def _print_query(workspace: Path | None, statement: str, as_json: bool) -> None:
    import duckdb

    from flows.cli.report import table
    from flows.run.request import default_workspace
    from tasks import ledger

    root = workspace or default_workspace()
    if not (root / ledger.LEDGER).exists():
        print(f"{root}: nothing was built here yet; start with `lugha build swahili --preset starter`", file=sys.stderr)
        raise typer.Exit(1)
    try:
        columns, rows = ledger.query(root, statement)
    except duckdb.Error as error:
        print(f"--sql: {str(error).splitlines()[0]}", file=sys.stderr)
        raise typer.Exit(2) from None
    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], default=_plain, ensure_ascii=False))
    else:
        table(columns, rows)


def _print_json(value: Any) -> None:
    print(json.dumps(_rounded(value), default=_plain, ensure_ascii=False, indent=1))


def _rounded(value: Any) -> Any:
    """The value with its floats, which were measured in single precision, rounded to four digits after the point."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, 4) if isinstance(value, float) else value


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
