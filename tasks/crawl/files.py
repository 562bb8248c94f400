"""Documents from local files: JSON lines (plain, .gz, .zst), Parquet, plain text and HTML."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lang_configs.schema import FilesSource
from tasks.documents import Document
from tasks.stage import StageError

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".parquet", ".txt", ".html", ".htm")


def find(source: FilesSource) -> list[Path]:
    """The files of a source in a fixed order; raises StageError for a path without files that can be read."""
    found: list[Path] = []
    for pattern in source.paths:
        path = Path(pattern).expanduser()
        if path.is_dir():
            matches = [file for file in path.rglob("*") if file.name.lower().endswith(ENDINGS)]
        elif path.is_file():
            matches = [path]
        else:
            matches = [file for file in path.parent.glob(path.name) if file.is_file()] if path.parent.is_dir() else []
        readable = sorted(file for file in matches if file.name.lower().endswith(ENDINGS))
        if not readable:
            raise StageError(f"{pattern}: no such file or nothing to read there; documents are {', '.join(ENDINGS)} files")
        found += readable
    return list(dict.fromkeys(found))


def read(path: Path, source: FilesSource, report: Counter[str]) -> Iterator[Document]:
    """Documents of one file. What cannot be read is counted in `report` and skipped; what came before it is kept."""
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            yield from _parquet(path, source, report)
        elif name.endswith((".html", ".htm")):
            yield from _html(path, source, report)
        elif name.endswith(".txt"):
            yield from _rows([{"text": path.read_text(encoding="utf-8", errors="replace")}], path, source, report)
        else:
            yield from _rows(_json_lines(path, report), path, source, report)
    except (OSError, EOFError, zlib.error) as error:
        report["file_broken_off"] += 1
        report[f"file_broken_off: {path.name}: {type(error).__name__}"] += 1


def _lines(path: Path) -> Iterator[bytes]:
    """Lines of a plain or packed file; raises EOFError after the last whole line of a file that was cut short."""
    name = path.name.lower()
    if name.endswith(".zst"):
        yield from _zstd_lines(path)
    else:
        with gzip.open(path, "rb") if name.endswith(".gz") else path.open("rb") as file:
            yield from file


def _zstd_lines(path: Path) -> Iterator[bytes]:
    """Like zstandard's own reader, which takes the end of a cut file for the end of the data, but not fooled by it."""
    import zstandard

    rest, frame = b"", zstandard.ZstdDecompressor().decompressobj()
    whole = True
    with path.open("rb") as file:
        while block := file.read(1 << 18):
            while block:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                try:
                    *lines, rest = (rest + frame.decompress(block)).split(b"\n")
                except zstandard.ZstdError as error:
                    raise EOFError(f"damaged: {error}") from error
                yield from lines
                block, whole = frame.unused_data if frame.eof else b"", frame.eof
    if not whole:
        raise EOFError("ended inside a frame")
    if rest:
        yield rest


def _json_lines(path: Path, report: Counter[str]) -> Iterator[dict[str, Any]]:
    for line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            report["bad_json"] += 1
            continue
        if isinstance(row, dict):
            yield row
        else:
            report["bad_json"] += 1


def _parquet(path: Path, source: FilesSource, report: Counter[str]) -> Iterator[Document]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if "text" not in file.schema_arrow.names:
                raise StageError(
                    f"{path.name}: the Parquet file has no column `text`; its columns are {file.schema_arrow.names}"
                )
            wanted = ("text", "url", "title", "source", "license", "fetched_at", "published_at")
            columns = [name for name in wanted if name in file.schema_arrow.names]
            rows = (row for batch in file.iter_batches(1024, columns=columns) for row in batch.to_pylist())
            yield from _rows(rows, path, source, report)
    except pa.ArrowException as error:
        raise OSError(str(error)) from error


def _html(path: Path, source: FilesSource, report: Counter[str]) -> Iterator[Document]:
    from tasks.crawl.html import extract

    page = extract(path.read_bytes(), f"file:{path.name}")
    if page is None or not page.text:
        report["no_text"] += 1
        return
    row = {"text": page.text, "title": page.title, "license": page.license, "published_at": page.published_at}
    yield from _rows([row], path, source, report)


def _rows(rows: Any, path: Path, source: FilesSource, report: Counter[str]) -> Iterator[Document]:
    for number, row in enumerate(rows):
        text = row.get("text")
        if not isinstance(text, str) or not text.strip():
            report["no_text"] += 1
            continue
        report["documents"] += 1
        yield Document(
            text=text,
            source=_string(row.get("source")) or source.name,
            url=_string(row.get("url")) or f"file:{path.name}#{number}",
            title=_string(row.get("title")),
            license=_string(row.get("license")) or source.license,
            fetched_at=_time(row.get("fetched_at")),
            published_at=_time(row.get("published_at")),
        )


def _string(value: Any) -> str | None:
    return value.strip().replace("\0", "") or None if isinstance(value, str) else None


def _time(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
