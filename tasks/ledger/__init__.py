"""The ledger: a DuckDB index of all manifests, for questions in SQL. The manifests are the truth, the ledger can be rebuilt.

One writer at a time, in short transactions under a file lock; DuckDB lets nobody else open a file that is being written,
so readers take the same lock for the time of their query. No stage knows of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from tasks.core.files import MANIFEST

LEDGER = "ledger.duckdb"
RUNS = "runs"
"""Folder of a language in the workspace that holds one JSON file per run."""

HELD_OUT = (
    *("bits_per_byte", "perplexity_per_token", "perplexity_per_word"),
    *("pseudo_perplexity", "pseudo_bits_per_byte", "masked_loss", "masked_accuracy"),
)
"""Measures of held-out text: the first three of causal models, the others of masked ones."""


def record(workspace: Path, folders: Iterable[Path], runs: Iterable[Path] = ()) -> None:
    """Add published stage folders and run records to the ledger; what is in it already is replaced by itself."""
    with _open(workspace) as database:
        database.execute("BEGIN")
        for folder in folders:
            _add_stage(database, folder)
        for run in runs:
            _add_run(database, run)
        database.execute("COMMIT")


def catch_up(workspace: Path) -> None:
    """Add what was published or ended while nobody could record it: a build may be killed between the two."""
    _, stages = query(workspace, "SELECT fingerprint FROM stages")
    _, runs = query(workspace, "SELECT run FROM runs WHERE status <> 'running'")
    known, ended = {row[0] for row in stages}, {row[0] for row in runs}
    folders = [path.parent for path in _manifests(workspace) if path.parent.name not in known]
    record(workspace, folders, [path for path in _run_records(workspace) if path.stem not in ended])


def rebuild(workspace: Path) -> int:
    """Make the ledger anew from every manifest and run record below `workspace`; returns how many were read."""
    with FileLock(workspace / f".{LEDGER}.lock"):
        for leftover in (workspace / LEDGER, workspace / f"{LEDGER}.wal"):
            leftover.unlink(missing_ok=True)
    folders, runs = [path.parent for path in _manifests(workspace)], _run_records(workspace)
    record(workspace, folders, runs)
    return len(folders) + len(runs)


def _manifests(workspace: Path) -> list[Path]:
    return sorted(workspace.glob(f"*/*/[!.]*/{MANIFEST}"))


def _run_records(workspace: Path) -> list[Path]:
    return sorted(workspace.glob(f"*/{RUNS}/[!.]*.json"))


def query(workspace: Path, statement: str, parameters: dict[str, Any] | None = None) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows of a read-only query; raises duckdb.Error for a wrong one."""
    with _open(workspace, read_only=True) as database:
        result = database.execute(statement, parameters or {})
        columns = [entry[0] for entry in result.description or []]
        return columns, result.fetchall()


@contextmanager
def in_memory(folders: Iterable[Path]) -> Iterator[Any]:
    """A ledger of just these stage folders, taken for one complete run: the same tables and views, for cards."""
    import duckdb

    with duckdb.connect() as database:
        _create(database)
        for position, folder in enumerate(folders):
            manifest = _add_stage(database, folder)
            database.execute(
                "INSERT INTO run_stages VALUES ('this', ?, ?, ?, false)", [position, manifest["stage"], manifest["fingerprint"]]
            )
            language = manifest["language"]
            if position == 0:
                database.execute(
                    "INSERT INTO runs VALUES ('this', ?, NULL, NULL, now()::TIMESTAMP, 0, 'completed', NULL, 0, 0)", [language]
                )
        yield database


@contextmanager
def _open(workspace: Path, read_only: bool = False) -> Iterator[Any]:
    import duckdb

    workspace.mkdir(parents=True, exist_ok=True)
    path = workspace / LEDGER
    with FileLock(workspace / f".{LEDGER}.lock", timeout=120):
        new = not path.exists()
        if new and read_only:
            with duckdb.connect(str(path)) as fresh:
                _create(fresh)
        with duckdb.connect(str(path), read_only=read_only) as database:
            if new and not read_only:
                _create(database)
            yield database


def _create(database: Any) -> None:
    database.execute((Path(__file__).parent / "ledger.sql").read_text(encoding="utf-8"))


def _add_stage(database: Any, folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    fingerprint, stage = manifest["fingerprint"], manifest["stage"]
    for table in (
        "stages",
        "files",
        "sources",
        "decisions",
        "dates",
        "tokenizers",
        "training",
        "energy",
        "evaluations",
        "releases",
    ):
        database.execute(f"DELETE FROM {table} WHERE fingerprint = ?", [fingerprint])
    files = manifest["files"]
    database.execute(
        "INSERT INTO stages VALUES (?, ?, ?, ?, ?::TIMESTAMPTZ AT TIME ZONE 'UTC', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            manifest["language"], stage, fingerprint, manifest["version"], manifest["started"], manifest["seconds"],
            manifest["peak_memory_bytes"], len(files), sum(entry["bytes"] for entry in files),
            sum(entry.get("rows", 0) for entry in files),
            *(json.dumps(manifest[key]) for key in ("config", "inputs", "metrics", "libraries")),
            manifest["machine"],
        ],
    )  # fmt: skip
    for entry in files:
        values = [fingerprint, entry["path"], entry["bytes"], entry.get("rows"), entry["sha256"]]
        database.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?)", values)
    if adder := _DETAILS.get(stage):
        adder(database, folder, manifest)
    return manifest


def _add_run(database: Any, path: Path) -> None:
    run = json.loads(path.read_text())
    database.execute("DELETE FROM runs WHERE run = ?", [run["run"]])
    database.execute("DELETE FROM run_stages WHERE run = ?", [run["run"]])
    stages = run["stages"]
    reused = sum(entry["reused"] for entry in stages)
    database.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?::TIMESTAMPTZ AT TIME ZONE 'UTC', ?, ?, ?, ?, ?)",
        [
            *(run[key] for key in ("run", "language", "preset", "snapshot", "started", "seconds", "status", "message")),
            len(stages) - reused,
            reused,
        ],
    )
    for position, entry in enumerate(stages):
        values = [run["run"], position, entry["stage"], entry["fingerprint"], entry["reused"]]
        database.execute("INSERT INTO run_stages VALUES (?, ?, ?, ?, ?)", values)


def _add_source(database: Any, folder: Path, manifest: dict[str, Any]) -> None:
    name = manifest["config"]["name"]
    for outcome, count in manifest["metrics"].items():
        if not isinstance(count, int):  # e.g. which crawl a refresh began with
            continue
        values = [manifest["fingerprint"], manifest["language"], name, outcome, count]
        database.execute("INSERT INTO sources VALUES (?, ?, ?, ?, ?)", values)


def _add_decisions(database: Any, folder: Path, manifest: dict[str, Any]) -> None:
    columns = (
        "id, source, license, url, bytes, words, language, language_score, duplicate_of, jaccard, copies, item, coverage,"
        " decision, split, weight"
    )
    database.execute(
        f"INSERT INTO decisions SELECT ?, {columns} FROM read_parquet(?)",
        [manifest["fingerprint"], str(folder / "decisions.parquet")],
    )


def _add_dates(database: Any, folder: Path, manifest: dict[str, Any]) -> None:
    database.execute(
        "INSERT INTO dates SELECT ?, ?, source, count(*), min(fetched_at) AT TIME ZONE 'UTC',"
        " max(fetched_at) AT TIME ZONE 'UTC', count(published_at), quantile_disc(published_at, 0.01) AT TIME ZONE 'UTC',"
        " quantile_disc(published_at, 0.99) AT TIME ZONE 'UTC' FROM read_parquet(?) GROUP BY source ORDER BY source",
        [manifest["fingerprint"], manifest["language"], str(folder / "*.parquet")],
    )


def _add_tokenizer(database: Any, folder: Path, manifest: dict[str, Any]) -> None:
    metrics = manifest["metrics"]
    values = [metrics.get(key) for key in ("type", "vocab_size", "fertility", "bytes_per_token")]
    database.execute(
        "INSERT INTO tokenizers VALUES (?, ?, ?, ?, ?, ?)", [manifest["fingerprint"], manifest["language"], *values]
    )


def _add_training(database: Any, folder: Path, manifest: dict[str, Any]) -> None:
    database.execute(
        "INSERT INTO training BY NAME SELECT ? AS fingerprint, ? AS language, * FROM read_parquet(?)",
        [manifest["fingerprint"], manifest["language"], str(folder / "metrics.parquet")],
    )
    names = ("kwh", "energy", "mfu", "country", "grid", "grid_grams_per_kwh", "co2_grams", "cost", "currency")
    values = [manifest["metrics"].get(name) for name in names]
    database.execute(
        "INSERT INTO energy VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [manifest["fingerprint"], manifest["language"], *values]
    )


def _add_evaluations(database: Any, folder: Path, manifest: dict[str, Any]) -> None:
    metrics, key = manifest["metrics"], [manifest["fingerprint"], manifest["language"]]
    rows = []
    for name in HELD_OUT:
        if metrics.get(name) is not None:
            low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
            documents = metrics["pseudo_documents" if name.startswith("pseudo") else "validation_documents"]
            rows.append(["held-out text", name, "model", metrics[name], low, high, documents, None])
    names = ("task", "metric", "system", "value", "low", "high", "n", "seeds")
    rows += [[score.get(name) for name in names] for score in metrics["scores"]]
    for row in rows:
        database.execute("INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", key + row)


def _add_release(database: Any, folder: Path, manifest: dict[str, Any]) -> None:
    files = manifest["files"]
    database.execute(
        "INSERT INTO releases VALUES (?, ?, ?, ?::TIMESTAMPTZ AT TIME ZONE 'UTC', ?, ?)",
        [
            manifest["fingerprint"], manifest["language"], manifest["config"]["version"], manifest["started"], len(files),
            sum(entry["bytes"] for entry in files),
        ],
    )  # fmt: skip


_DETAILS = {
    "crawl": _add_source,
    "select": _add_decisions,
    "corpus": _add_dates,
    "tokenizer": _add_tokenizer,
    "pretrain": _add_training,
    "evaluate": _add_evaluations,
    "release": _add_release,
}
