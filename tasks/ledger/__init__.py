"""The ledger: a DuckDB index of all manifests, for questions in SQL. The manifests are the truth, the ledger can be rebuilt.

One writer at a time, in short transactions under a file lock; DuckDB lets nobody else open a file that is being written,
so readers take the same lock for the time of their query. No stage knows of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lang_configs.secrets import within, without_folders
from tasks.core.errors import StageError
from tasks.core.files import MANIFEST
from tasks.pretrain.emissions import GRIDS, WORLD

LEDGER = "ledger.duckdb"
RUNS = "runs"
"""Folder of a language in the workspace that holds one JSON file per run."""
CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
}
"""Settings of DuckDB under which a query sees the ledger alone: no file, address, extension or variable of this process."""
LOCK_SECONDS = 120
"""How long a reader or writer waits for the one before it."""


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
    """Make the ledger anew from every manifest and run record below `workspace`; returns how many were read.

    Raises StageError where there is none, and for a damaged one.
    """
    folders, runs = [path.parent for path in _manifests(workspace)], _run_records(workspace)
    if not folders and not runs:
        raise StageError(f"{workspace}: nothing was built here yet")
    with _lock(workspace):
        for leftover in (workspace / LEDGER, workspace / f"{LEDGER}.wal"):
            leftover.unlink(missing_ok=True)
    record(workspace, folders, runs)
    return len(folders) + len(runs)


def _manifests(workspace: Path) -> list[Path]:
    return sorted(workspace.glob(f"*/*/[!.]*/{MANIFEST}"))


def _run_records(workspace: Path) -> list[Path]:
    return sorted(workspace.glob(f"*/{RUNS}/[!.]*.json"))


def query(workspace: Path, statement: str, parameters: dict[str, Any] | None = None) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows of a read-only query; raises duckdb.Error for a wrong one, StageError if there is no reading it."""

    def answer() -> tuple[list[str], list[tuple[Any, ...]]]:
        result = database.execute(statement, parameters or {})
        return [entry[0] for entry in result.description or []], result.fetchall()

    # in a thread: while DuckDB works, this one answers Ctrl-C and SIGTERM
    with _open(workspace, read_only=True) as database, ThreadPoolExecutor(1) as thread:
        try:
            return thread.submit(answer).result()
        except KeyboardInterrupt:
            database.interrupt()
            raise


@contextmanager
def in_memory(folders: Mapping[str, Path]) -> Iterator[Any]:
    """A ledger of just these stage folders, by the labels that one complete run gave them, for cards.

    Cards are published: of a path in a config it has the name alone. It has the same tables and views, and the macro
    `labelled(label)`: the fingerprint of what stands under a label.
    """
    import duckdb

    with duckdb.connect() as database:
        _create(database)
        database.execute(
            "CREATE MACRO labelled(wanted) AS (SELECT any_value(fingerprint) FROM run_stages WHERE label = wanted)"
        )
        for position, (label, folder) in enumerate(folders.items()):
            manifest = _add_stage(database, folder, without_folders)
            values = [position, label, manifest["stage"], manifest["fingerprint"]]
            database.execute("INSERT INTO run_stages VALUES ('this', ?, ?, ?, ?, false)", values)
            if position == 0:
                run = "'this' AS run, ? AS language, now()::TIMESTAMP AS started, 'completed' AS status"
                database.execute(f"INSERT INTO runs BY NAME SELECT {run}", [manifest["language"]])
        yield database


@contextmanager
def _open(workspace: Path, read_only: bool = False) -> Iterator[Any]:
    import duckdb

    workspace.mkdir(parents=True, exist_ok=True)
    path = workspace / LEDGER
    with _lock(workspace):
        new = not path.exists()
        if new and read_only:
            with duckdb.connect(str(path)) as fresh:
                _create(fresh)
        settings = CLOSED if read_only else {}
        try:
            database = duckdb.connect(str(path), read_only=read_only, config=settings)
        except duckdb.Error as error:
            why = str(error).partition("\n")[0]
            raise StageError(
                f"{path}: cannot be opened ({why}); close what else has it open, or, if it is damaged, make it anew with"
                " `lugha ledger rebuild`"
            ) from error
        with database:
            if new and not read_only:
                _create(database)
            yield database


@contextmanager
def _lock(workspace: Path) -> Iterator[None]:
    lock = FileLock(workspace / f".{LEDGER}.lock")
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise StageError(
            f"{workspace / LEDGER}: another process has had it for {LOCK_SECONDS} s; try again when its query has ended"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _read(path: Path, keys: Iterable[str]) -> dict[str, Any]:
    """A manifest or the record of a run, with at least these keys; raises StageError for what is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or not set(keys) <= content.keys():
        place = path.parent if path.name == MANIFEST else path
        raise StageError(f"{path}: damaged; remove {place}, the next build makes anew what it needs of it")
    return content


def _create(database: Any) -> None:
    database.execute((Path(__file__).parent / "ledger.sql").read_text(encoding="utf-8"))
    for country, grid in [(None, WORLD), *GRIDS.items()]:
        database.execute("INSERT INTO grids VALUES (?, ?, ?, ?)", [country, grid.name, grid.grams, grid.year])


def _add_stage(database: Any, folder: Path, written: Callable[[str], str] = str) -> dict[str, Any]:
    """Add a stage; `written` says how the texts of its config are written down."""
    manifest = _read(folder / MANIFEST, ("fingerprint", "stage", "metrics", "files"))
    manifest["config"] = within(manifest["config"], written)
    fingerprint, files, tables = manifest["fingerprint"], manifest["files"], manifest.get("tables", {})
    known = _columns(database)
    for table in ("stages", "files", *(name for name in tables if name in known)):
        database.execute(f'DELETE FROM "{table}" WHERE fingerprint = ?', [fingerprint])
    database.execute(
        "INSERT INTO stages VALUES (?, ?, ?, ?, ?::TIMESTAMPTZ AT TIME ZONE 'UTC', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *(manifest[key] for key in ("language", "stage", "fingerprint", "version", "started", "seconds")),
            *(manifest["peak_memory_bytes"], len(files), sum(entry["bytes"] for entry in files)),
            sum(entry.get("rows", 0) for entry in files),
            *(json.dumps(manifest[key]) for key in ("config", "inputs", "metrics", "libraries")),
            manifest["machine"],
        ],
    )
    for entry in files:
        values = [fingerprint, entry["path"], entry["bytes"], entry.get("rows"), entry["sha256"]]
        database.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?)", values)
    for table, file in tables.items():
        _add_rows(database, table, known.get(table), fingerprint, folder / file)
    return manifest


def _columns(database: Any) -> dict[str, set[str]]:
    """The columns of every table."""
    found: dict[str, set[str]] = {}
    for table, column in database.execute("SELECT table_name, column_name FROM duckdb_columns()").fetchall():
        found.setdefault(table, set()).add(column)
    return found


def _add_rows(database: Any, table: str, known: set[str] | None, fingerprint: str, file: Path) -> None:
    """Add the rows of a Parquet file to a table: the columns that the table has, or all where it is new."""
    import pyarrow.parquet as pq

    columns = [name for name in pq.read_schema(file).names if known is None or name in known]
    chosen = ", ".join(f'"{name}"' for name in columns)
    statement = f"SELECT $fingerprint AS fingerprint, {chosen} FROM read_parquet($file)"
    target = f'CREATE TABLE "{table}" AS' if known is None else f'INSERT INTO "{table}" BY NAME'
    database.execute(f"{target} {statement}", {"fingerprint": fingerprint, "file": str(file)})


def _add_run(database: Any, path: Path) -> None:
    run = _read(path, ("run", "status", "stages"))
    database.execute("DELETE FROM runs WHERE run = ?", [run["run"]])
    database.execute("DELETE FROM run_stages WHERE run = ?", [run["run"]])
    stages = run["stages"]
    reused = sum(entry["reused"] for entry in stages)
    database.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?::TIMESTAMPTZ AT TIME ZONE 'UTC', ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *(run[key] for key in ("run", "language", "preset", "snapshot", "started", "seconds", "status", "message")),
            len(stages) - reused,
            reused,
            *(run.get("place", {}).get(key) for key in ("country", "price_per_kwh", "currency")),
        ],
    )
    for position, entry in enumerate(stages):
        values = [run["run"], position, *(entry[key] for key in ("label", "stage", "fingerprint", "reused"))]
        database.execute("INSERT INTO run_stages VALUES (?, ?, ?, ?, ?, ?)", values)
