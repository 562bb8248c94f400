"""How DuckDB is told which Parquet files to read: just these, whatever their names."""

from __future__ import annotations

from pathlib import Path


def scan(*options: str, files: str = "files") -> str:
    """SQL for the rows of the files in a parameter, a list of `exact` paths; a folder named `language=swh` adds no column."""
    return f"read_parquet({', '.join([f'${files}', 'hive_partitioning = false', *options])})"


def exact(path: Path) -> str:
    """A path as read_parquet's patterns have it: `*`, `?` and `[` in a name stand for themselves."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))
