"""The ledger: a DuckDB index of all manifests, for questions in SQL. The manifests are the truth, the ledger can be rebuilt.

A writer works on a copy, which it moves over the ledger when all is in it: so readers need no lock, see one state or the next,
and nobody who has the ledger open, be it for hours in another program, holds up a build. No stage knows of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lang_configs.secrets import within, without_folders
from tasks.core.database import connect, interruptible
from tasks.core.errors import StageError
from tasks.core.files import replacing
from tasks.core.manifest import MANIFEST, read_manifest
from tasks.core.parquet import exact, scan
from tasks.core.records import DamagedError
from tasks.ledger.runs import RUNS, readable, records
from tasks.pretrain.emissions import GRIDS, WORLD

__all__ = ["LEDGER", "RUNS", "catch_up", "in_memory", "query", "rebuild", "record"]

log = logging.getLogger("lugha")

LEDGER = "ledger.duckdb"
CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
}
"""Settings of DuckDB under which a query sees the ledger alone: no file, address, extension or variable of this process."""
LOCK_SECONDS = 30
"""How long a writer waits for those before it, each of which takes milliseconds."""
OTHER = "it has not the tables of this version of lugha"
SCHEMA = (Path(__file__).parent / "ledger.sql").read_text(encoding="utf-8")


def record(workspace: Path, folders: Iterable[Path], runs: Iterable[Path] = ()) -> None:
    """Add published stage folders and run records to the ledger; what is in it already is replaced by itself.

    What is damaged is left out, with a warning that names it. Raises StageError for a ledger that cannot be opened.
    """
    with _written(workspace) as database:
        _add_all(database, folders, runs)


def catch_up(workspace: Path) -> None:
    """Add what was published or ended while nobody could record it: a build may be killed between the two.

    A ledger that is damaged, or of another version of this program, is made anew.
    """
    try:
        _, stages = query(workspace, "SELECT fingerprint FROM stages")
        _, runs = query(workspace, "SELECT run FROM runs WHERE status <> 'running'")
    except StageError as error:
        log.warning("%s", error)
        rebuild(workspace)
        return
    known, ended = {row[0] for row in stages}, {row[0] for row in runs}
    folders = [path.parent for path in _manifests(workspace) if path.parent.name not in known]
    unrecorded = [path for path in records(workspace) if path.stem not in ended]
    if folders or unrecorded:
        record(workspace, folders, unrecorded)


def rebuild(workspace: Path) -> int:
    """Make the ledger anew from every manifest and run record below `workspace`; returns how many are in it.

    What is damaged is left out, with a warning that names it. Raises StageError where there is none.
    """
    folders, runs = [path.parent for path in _manifests(workspace)], records(workspace)
    if not folders and not runs:
        raise StageError(f"{workspace}: nothing was built here yet")
    with _written(workspace, anew=True) as database:
        return _add_all(database, folders, runs)


def _manifests(workspace: Path) -> list[Path]:
    return sorted(workspace.glob(f"*/*/[!.]*/{MANIFEST}"))


def query(workspace: Path, statement: str, parameters: dict[str, Any] | None = None) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows of a read-only query; raises duckdb.Error for a wrong one, StageError if there is no reading it."""
    while True:
        before = _which(workspace / LEDGER)
        try:
            return _query(workspace / LEDGER, statement, parameters or {})
        except StageError:
            if _which(workspace / LEDGER) == before:
                raise  # and was not replaced between two of DuckDB's looks at it


def _which(path: Path) -> tuple[int, int]:
    status = path.stat() if path.exists() else None
    return (status.st_ino, status.st_mtime_ns) if status else (0, 0)


def _query(path: Path, statement: str, parameters: dict[str, Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
    import duckdb

    with _read_only(path) as database, interruptible(database):
        try:
            result = database.execute(statement, parameters)
            return [entry[0] for entry in result.description or []], result.fetchall()
        except duckdb.Error as error:
            damage = (duckdb.IOException, duckdb.InternalException, duckdb.FatalException, duckdb.SerializationException)
            if type(error) is duckdb.Error or isinstance(error, damage):  # all else is what the asker did
                raise _unreadable(path, error) from error
            raise


@contextmanager
def _read_only(path: Path) -> Iterator[Any]:
    """The ledger as it is now, or an empty one; raises StageError for what cannot be read, or has other tables than ours."""
    import duckdb

    _check_file(path)
    if not path.exists():
        with duckdb.connect(config=CLOSED) as database:
            _create(database)
            yield database
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            try:
                if "?" in str(path):
                    raise duckdb.IOException("DuckDB looks for the log of such a path elsewhere, which is forbidden to it")
                database = duckdb.connect(str(path), read_only=True, config=CLOSED)
            except duckdb.IOException:  # or open for writing in another program: what is on disk is whole all the same
                copy = shutil.copyfile(path, Path(folder) / LEDGER)
                database = duckdb.connect(str(copy), read_only=True, config=CLOSED)
            made = _schema_of(database)
        except (duckdb.Error, OSError, UnicodeDecodeError) as error:
            raise _unreadable(path, error) from error
        with database:
            if made != _schema_hash():
                raise _unreadable(path, OTHER)
            yield database


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise StageError(f"{path}: it is a folder, where the ledger must be; move it away, and run `lugha ledger rebuild`")


def _unreadable(path: Path, why: object) -> StageError:
    reason = str(why).partition("\n")[0][:200]
    return StageError(f"{path}: cannot be read ({reason}); `lugha ledger rebuild` makes it anew, from the manifests")


def _schema_hash() -> str:
    return hashlib.sha256(SCHEMA.encode()).hexdigest()


def _schema_of(database: Any) -> str:
    """The schema that a ledger was made with; "" for a database that is none, or not whole."""
    import duckdb

    try:
        (row,) = database.execute("SELECT schema FROM made").fetchall()
    except (duckdb.CatalogException, duckdb.BinderException, ValueError):
        return ""
    whole = set(re.findall(r"CREATE (?:TABLE|VIEW) (\w+)", SCHEMA)) <= _columns(database).keys()
    return str(row[0]) if whole else ""


@contextmanager
def in_memory(folders: Mapping[str, Path]) -> Iterator[Any]:
    """A ledger of just these stage folders, by the labels that one complete run gave them, for cards.

    Cards are published: of a path in a config it has the name alone. It has the same tables and views, and the macro
    `labelled(label)`: the fingerprint of what stands under a label.
    """
    with connect() as database:
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
def _written(workspace: Path, anew: bool = False) -> Iterator[Any]:
    """A copy of the ledger to write to, which takes its place at the end; the writers take turns."""
    import duckdb

    workspace.mkdir(parents=True, exist_ok=True)
    path = workspace / LEDGER
    _check_file(path)
    with _lock(workspace), replacing(path) as copy:
        if path.exists() and not anew:
            shutil.copyfile(path, copy)
        new = not copy.exists()
        try:
            with connect(copy) as database:
                if new:
                    _create(database)
                elif _schema_of(database) != _schema_hash():
                    raise _unreadable(path, OTHER)
                yield database
        except duckdb.Error as error:
            raise _unreadable(path, error) from error
        finally:
            copy.with_name(f"{copy.name}.wal").unlink(missing_ok=True)


@contextmanager
def _lock(workspace: Path) -> Iterator[None]:
    lock = FileLock(workspace / f".{LEDGER}.lock")
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise StageError(f"{workspace / LEDGER}: another process has been writing it for {LOCK_SECONDS} s") from None
    try:
        yield
    finally:
        lock.release()


def _create(database: Any) -> None:
    database.execute(SCHEMA)
    database.execute("INSERT INTO made VALUES (?)", [_schema_hash()])
    for country, grid in [(None, WORLD), *GRIDS.items()]:
        database.execute("INSERT INTO grids VALUES (?, ?, ?, ?)", [country, grid.name, grid.grams, grid.year])


def _add_all(database: Any, folders: Iterable[Path], runs: Iterable[Path]) -> int:
    """Add what is whole, each in a transaction of its own; returns how many there were."""
    added = 0
    for folder in folders:
        added += _added(database, folder / MANIFEST, lambda folder=folder: _add_stage(database, folder))  # type: ignore[misc]
    for _, run in readable(runs):
        database.execute("BEGIN")
        _add_run(database, run)
        database.execute("COMMIT")
        added += 1
    return added


def _added(database: Any, path: Path, add: Callable[[], object]) -> bool:
    """Whether an output could be added; a warning says why it could not."""
    import duckdb
    import pyarrow as pa

    database.execute("BEGIN")
    try:
        add()
    except (DamagedError, OSError, pa.ArrowException, duckdb.Error) as error:
        with suppress(duckdb.Error):
            database.execute("ROLLBACK")
        reason = str(error).partition("\n")[0][:200]
        log.warning("%s: damaged (%s); it is left out of the ledger; a build that needs it makes it anew", path, reason)
        return False
    database.execute("COMMIT")
    return True


def _add_stage(database: Any, folder: Path, written: Callable[[str], str] = str) -> dict[str, Any]:
    """Add a stage; `written` says how the texts of its config are written down."""
    manifest = read_manifest(folder)
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
    statement = f"SELECT $fingerprint AS fingerprint, {chosen} FROM {scan()}"
    target = f'CREATE TABLE "{table}" AS' if known is None else f'INSERT INTO "{table}" BY NAME'
    database.execute(f"{target} {statement}", {"fingerprint": fingerprint, "files": [exact(file)]})


def _add_run(database: Any, run: Mapping[str, Any]) -> None:
    database.execute("DELETE FROM runs WHERE run = ?", [run["run"]])
    database.execute("DELETE FROM run_stages WHERE run = ?", [run["run"]])
    stages = run["stages"]
    reused = sum(entry["reused"] for entry in stages)
    database.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?::TIMESTAMPTZ AT TIME ZONE 'UTC', ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            run["run"],
            run.get("number", 0),
            *(run[key] for key in ("language", "preset", "snapshot", "started", "seconds", "status", "message")),
            len(stages) - reused,
            reused,
            *(run.get("place", {}).get(key) for key in ("country", "price_per_kwh", "currency")),
        ],
    )
    for position, entry in enumerate(stages):
        values = [run["run"], position, *(entry[key] for key in ("label", "stage", "fingerprint", "reused"))]
        database.execute("INSERT INTO run_stages VALUES (?, ?, ?, ?, ?, ?)", values)
