"""Documents from local files: JSON lines, Parquet, plain text and HTML; text formats also packed with gzip or Zstandard."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lang_configs.sources import FilesSource
from tasks.core.documents import Document
from tasks.core.errors import StageError
from tasks.crawl.formats.packed import End, Loss, record, unpack
from tasks.crawl.pages import extraction
from tasks.crawl.sources import register
from tasks.crawl.sources.local_files import LocalFiles, find

PACKINGS = ("", ".gz", ".zst")
ENDINGS = (
    *(ending + packing for ending in (".jsonl", ".ndjson", ".txt") for packing in PACKINGS),
    *(".parquet", ".html", ".htm", ".xhtml"),
)

LONGEST = 8 << 20
"""Most bytes of a line of JSON, a line of text, or a document."""

_COLUMNS = ("text", "url", "title", "source", "license", "fetched_at", "published_at")


@register
class Files(LocalFiles[FilesSource]):
    """JSON lines, plain text, Parquet and HTML."""

    model = FilesSource
    endings = ENDINGS

    @property
    def paths(self) -> list[str]:
        return self.config.paths

    def text_bytes(self) -> int | None:
        """The size of the files as they are, packed or not."""
        return sum(path.stat().st_size for path in find(self.paths, self.endings))

    def read(self, unit: str, report: Counter[str]) -> Iterator[Document]:
        """Documents of one file. What cannot be read is counted and passed over; all before and behind it is read.

        `report` counts `documents`, `no_text`, `too_large`, `bad_json` (lines), for HTML the reasons of `extraction.page` and,
        of damaged files, what `packed.record` does, the `broken_lines` at the edges of what is missing, and the `lost_rows` of
        Parquet files (exactly as many as their row groups say); `unreadable_files` are those of which nothing can be read.
        """
        path, source = Path(unit), self.config
        name = path.name.lower()
        try:
            if name.endswith(".parquet"):
                rows = _parquet(path, report)
            elif name.endswith((".html", ".htm", ".xhtml")):
                rows = _html(path, source, report)
            elif name.removesuffix(".gz").removesuffix(".zst").endswith(".txt"):
                rows = _texts(path, source, report)
            else:
                rows = _json_lines(path, report)
            yield from _documents(rows, path, source, report)
        except OSError as error:
            report["unreadable_files"] += 1
            report[f"unreadable_files: {path.name}: {type(error).__name__}"] += 1


Row = tuple[int, dict[str, Any]]
"""Number of a row or line in its file, and what is in it."""


def _lines(path: Path, report: Counter[str]) -> Iterator[tuple[bytes, bool]]:
    """The lines of a file, and whether each is known to be whole: the first one after missing bytes may lack its beginning.

    It is whole if the part before the gap ended with a line, as in files that were packed line by line or joined. A line
    that the gap cuts off is counted in `broken_lines`, one above `LONGEST` in `too_large`.
    """
    rest, whole, aligned, skipping = b"", True, False, False
    for part in unpack(path):
        if isinstance(part, End):
            aligned = not rest
        elif isinstance(part, Loss):
            record(part, report)
            report["broken_lines"] += bool(rest.strip())
            rest, whole, skipping = b"", aligned, False
        else:
            *lines, rest = (rest + part).split(b"\n")
            if skipping and lines:
                lines, skipping = lines[1:], False
            for line in lines:
                yield line, whole
                whole = True
            if len(rest) > LONGEST or skipping:
                report["too_large"] += not skipping
                rest, whole, skipping = b"", True, True
    if rest.strip():
        yield rest, whole


def _json_lines(path: Path, report: Counter[str]) -> Iterator[Row]:
    for number, (line, whole) in enumerate(_lines(path, report)):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield number, row
        else:
            report["bad_json" if whole else "broken_lines"] += 1


def _texts(path: Path, source: FilesSource, report: Counter[str]) -> Iterator[Row]:
    lines: list[str] = []
    size = number = 0
    for number, (line, whole) in enumerate(_lines(path, report)):
        if not whole:
            report["broken_lines"] += bool(line.strip())
            continue
        text = line.decode("utf-8", "replace").removeprefix("\ufeff").rstrip("\r")
        ends = source.documents == "line" or (source.documents == "paragraph" and not text.strip())
        lines.append(text)
        size += len(text)
        if size > LONGEST:
            report["too_large"] += 1
            lines, size = [], 0
        if ends:
            if any(map(str.strip, lines)):
                yield number, {"text": "\n".join(lines).strip("\n")}
            lines, size = [], 0
    if lines and (source.documents == "file" or any(map(str.strip, lines))):
        yield 0 if source.documents == "file" else number, {"text": "\n".join(lines).strip("\n")}


def _parquet(path: Path, report: Counter[str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except pa.ArrowException as error:  # the index at the end is missing or broken, and without it nothing can be found
        raise OSError(str(error)) from error
    with file:
        if "text" not in file.schema_arrow.names:
            raise StageError(f"{path.name}: the Parquet file has no column `text`; its columns are {file.schema_arrow.names}")
        columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
        first = 0
        for group in range(file.num_row_groups):
            due, number = file.metadata.row_group(group).num_rows, first
            try:
                for batch in file.iter_batches(1024, row_groups=[group], columns=columns):
                    for row in batch.to_pylist():
                        yield number, row
                        number += 1
            except (pa.ArrowException, OSError, UnicodeDecodeError):
                report["damaged_parts"] += 1
            report["lost_rows"] += first + due - number
            first += due


def _html(path: Path, source: FilesSource, report: Counter[str]) -> Iterator[Row]:
    if path.stat().st_size > LONGEST:
        report["too_large"] += 1
        return
    page = extraction.page(path.read_bytes(), f"file:{path.name}", None, source.languages or ())
    if isinstance(page, str):
        report[page] += 1
        return
    yield 0, {"text": page.text, "title": page.title, "license": page.license, "published_at": page.published_at}


def _documents(rows: Iterable[Row], path: Path, source: FilesSource, report: Counter[str]) -> Iterator[Document]:
    for number, row in rows:
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
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        return None
