"""Commands that show what was built, and change nothing."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.options import (
    MOST,
    WORKSPACE,
    AsJson,
    Characters,
    EvaluationTexts,
    Language,
    Seed,
    Workspace,
    given,
    text,
)
from flows.cli.terminal import say

ALIKE = 0.02
"""Share of the lines of one label that get another, from which on the two are called look-alikes."""
RUNS = 20
"""Runs that `lugha status` shows."""

TABLES = (
    (
        "decisions",
        "Documents by decision",
        "SELECT language, decision, documents, bytes, percent FROM funnel {} ORDER BY language, position",
    ),
    ("corpus", "Corpus by source", "SELECT * FROM corpus {} ORDER BY language, split, bytes DESC LIMIT 40"),
    ("scores", "Scores", "SELECT * FROM scores {} ORDER BY ALL"),
    ("energy", "Energy of training", "SELECT * FROM footprint {} ORDER BY ALL"),
    ("timing", "Time and memory", "SELECT * FROM timing {} ORDER BY language, position"),
)
"""Of `lugha stats`: key of the JSON, title, query."""


def status(workspace: Workspace = WORKSPACE, as_json: AsJson = False) -> None:
    """Show the latest runs: what they are doing, or how they ended."""
    from flows.cli.report import run_row
    from flows.cli.tables import print_json, table
    from flows.run.record import latest

    runs = latest(workspace, RUNS)
    if as_json:
        print_json(runs)
        return
    if not runs:
        _nothing_built(workspace)
    table(["language", "started", "status", "what"], [run_row(run) for run in runs])


def stats(
    language: Annotated[str | None, typer.Argument(help="Only this language.", callback=given)] = None,
    sql: Annotated[
        str | None,
        typer.Option(
            help="A query on the whole ledger; tables and views are named in tasks/ledger/ledger.sql.",
            callback=lambda value: given(text(value)),
        ),
    ] = None,
    workspace: Workspace = WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Show where the documents went, the corpus, scores and times.

    Of the last complete run of a language, or of each one.
    """
    from flows.cli.tables import print_json, table
    from flows.run.results import last_run
    from lang_configs import ConfigError, stem
    from tasks import ledger

    if sql and language:
        raise ConfigError("stats: --sql asks the whole ledger; leave the language out, or put it into the query")
    if language:
        last_run(workspace, language)
    elif not (workspace / ledger.LEDGER).exists():
        _nothing_built(workspace)
    if sql:
        columns, rows = _answer(workspace, sql)
        if as_json:
            print_json([dict(zip(columns, row, strict=True)) for row in rows])
        else:
            table(columns, rows)
        return
    where, parameters = ("WHERE language = $name", {"name": stem(language)}) if language else ("", {})
    found = {key: ledger.query(workspace, statement.format(where), parameters) for key, _, statement in TABLES}
    if as_json:
        print_json({key: [dict(zip(columns, row, strict=True)) for row in rows] for key, (columns, rows) in found.items()})
        return
    for key, title, _ in TABLES:
        say(f"\n{title}")
        table(*_for_people(*found[key]))


def sample(
    language: Language,
    kept: Annotated[bool, typer.Option("--kept", help="Only documents of the corpus.")] = False,
    dropped: Annotated[
        str | None, typer.Option(metavar="REASON", help="Only documents with this decision.", callback=given)
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, max=MOST, help="How many.")] = 20,
    source: Annotated[
        str | None, typer.Option(help="Only documents of this source; a part of its name will do.", callback=given)
    ] = None,
    seed: Seed = 1,
    characters: Characters = 800,
    evaluation: EvaluationTexts = None,
    workspace: Workspace = WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Show documents to read, with their decisions and why."""
    from flows.cli.report import print_sample
    from flows.cli.tables import print_json
    from flows.run.reading import LastRun
    from lang_configs import ConfigError

    if kept and dropped:
        raise ConfigError("sample: --kept and --dropped exclude each other; give one of them")
    documents = LastRun(workspace, language, evaluation).sample(dropped, kept, source, count, seed, characters)
    if as_json:
        print_json(_rounded(documents))
    else:
        print_sample(documents)


def explain(
    language: Language,
    document: Annotated[
        str,
        typer.Argument(
            metavar="ID|URL", help="As `lugha sample` shows them; the first six digits of an id may do.", callback=given
        ),
    ],
    characters: Characters = 800,
    evaluation: EvaluationTexts = None,
    workspace: Workspace = WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of one document.

    Where it came from, what was measured, what was decided, and by which stage.
    """
    from flows.cli.report import print_story
    from flows.cli.tables import print_json
    from flows.run.reading import LastRun

    stories = LastRun(workspace, language, evaluation).stories(document, characters)
    if as_json:
        print_json(_rounded(stories))
        return
    for story in stories:
        print_story(story)


def languages(
    as_json: AsJson = False,
    identifier: Annotated[bool, typer.Option("--identifier", help="What the packaged identifier knows, and how well.")] = False,
) -> None:
    """List the languages that come with the package."""
    import lang_configs
    from flows.cli.tables import print_json, table

    if identifier:
        _identifier(as_json)
        return
    found = [(name, lang_configs.load(name)) for name in lang_configs.languages()]
    if as_json:
        keys = ("file", "name", "autonym", "label", "sources")
        rows = [(name, c.name, c.autonym, c.label, [s.name for s in c.crawl.sources]) for name, c in found]
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    lines = [(name, c.name, c.autonym, c.label, ", ".join(s.name for s in c.crawl.sources)) for name, c in found]
    table(["language", "name", "autonym", "code", "sources"], lines)


def _identifier(as_json: bool) -> None:
    """What was measured of each label of the packaged identifier, on lines that it was not trained on."""
    from flows.cli.tables import print_json, table
    from tasks.annotate.language.confusion import labels_known

    found = labels_known()
    if as_json:
        print_json(found)
        return
    rows = []
    for one in found:
        pairs = [*one.get("taken_for", []), *one.get("mistaken", [])]
        measured = [f"{one[name]:.3f}" if name in one else "" for name in ("recall", "precision")]
        alike = sorted({other for other, _, share in pairs if share >= ALIKE})
        rows.append((one["label"], one.get("lines", 0), *measured, one["threshold"], " ".join(alike)))
    table(["label", "lines", "recall", "precision", "least score", "look-alikes"], rows)
    say(
        "Recall at the least score, on held-out lines; precision as if each language had as many. Labels with fewer than 20"
        " such lines were not measured. Look-alikes: 2 % of the lines or more, one way or the other."
    )


def _answer(workspace: Path, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The answer to one question of a person; raises ConfigError for what is none."""
    import duckdb

    from lang_configs import ConfigError
    from tasks import ledger

    try:
        with duckdb.connect() as parser:
            kinds = [statement.type.name for statement in parser.extract_statements(sql)]
        if len(kinds) != 1 or kinds[0] not in ("SELECT", "EXPLAIN"):
            raise ConfigError("--sql: give one SELECT; the ledger is only read, and one answer is shown")
        columns, rows = ledger.query(workspace, sql)
        return _told_apart(columns), rows
    except duckdb.PermissionException:
        raise ConfigError("--sql: a query sees the ledger alone, no files, addresses or extensions; ask its tables") from None
    except duckdb.Error as error:
        raise ConfigError(f"--sql: {str(error).splitlines()[0]}") from None


def _told_apart(columns: list[str]) -> list[str]:
    """Names of which none is there twice, as a JSON object needs them: a, a_2, a_3."""
    names: list[str] = []
    for column in columns:
        tries = itertools.chain([column], (f"{column}_{number}" for number in itertools.count(2)))
        names.append(next(name for name in tries if name not in names and (name == column or name not in columns)))
    return names


def _for_people(columns: list[str], rows: list[tuple[Any, ...]]) -> tuple[list[str], list[list[Any]]]:
    """Names of several words with blanks, and no column of a language or a label where it is the same in every row."""
    same = [column in ("language", "label") and len({row[n] for row in rows}) == 1 for n, column in enumerate(columns)]
    shown = [n for n, constant in enumerate(same) if not constant]
    names = [columns[n].replace("_", " ") for n in shown]
    return names, [[str(row[n]).replace("_", " ") if columns[n] == "metric" else row[n] for n in shown] for row in rows]


def _nothing_built(workspace: Path) -> None:
    from tasks.core.errors import StageError

    raise StageError(f"{workspace}: nothing was built here yet; start with `lugha build swahili --preset starter`")


def _rounded(value: Any) -> Any:
    """The value with its floats, which were measured in single precision, rounded to four digits after the point."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, 4) if isinstance(value, float) else value
