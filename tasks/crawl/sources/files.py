"""Documents from local files: JSON lines, Parquet, plain text and HTML; text formats also packed with gzip or Zstandard."""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lang_configs.sources import FilesSource
from tasks.core.documents import Document
from tasks.core.errors import StageError
from tasks.crawl import workers
from tasks.crawl.formats import parquet
from tasks.crawl.formats.packed import End, Loss, is_text, record, unpack
from tasks.crawl.formats.unpacked import most_bytes
from tasks.crawl.pages import extraction
from tasks.crawl.pages.charset import encoding_of, line_text, wide_encoding, windows_1252
from tasks.crawl.sources import register
from tasks.crawl.sources.local_files import LocalFiles, find, name_of

PACKINGS = ("", ".gz", ".zst")
ENDINGS = (
    *(ending + packing for ending in (".jsonl", ".ndjson", ".txt") for packing in PACKINGS),
    *(".parquet", ".html", ".htm", ".xhtml"),
)

LONGEST = 8 << 20
"""Most bytes of a line of JSON, a line of text, or a document."""

BATCH_SECONDS = 60.0
"""Wall-clock limit of a batch of rows of a Parquet file."""


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

        `report` counts `documents`, `no_text`, `too_large`, `bad_json` (lines), `half_surrogates` (documents
        in which one became a question mark, whatever field it stood in), for HTML the reasons of `extraction.page` and,
        of damaged files, what `packed.record` does, the `broken_lines` at the edges of what is missing, and the `lost_rows` of
        Parquet files (exactly as many as their row groups say); `unreadable_files` are those of which nothing can be read,
        `unpacked_too_far` those that give more than any text does (see `formats.unpacked`): what came before that is kept.
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
            report[f"unreadable_files: {name_of(path)}: {type(error).__name__}"] += 1


_NOT_EMPTY = re.compile(rb"[^\n]+")

Row = parquet.Row
"""Number of a row or line in its file, and what is in it."""


def _lines(path: Path, report: Counter[str]) -> Iterator[tuple[int, bytes, bool]]:
    """The lines of a file that are not empty: number, bytes in UTF-8, and whether it is known to be whole.

    The first line after missing bytes may lack its beginning. It is whole if the part before the gap ended with a line, as in
    files that were packed line by line or joined. A line that the gap cuts off is counted in `broken_lines`, one above
    `LONGEST` in `too_large`; `unpacked_too_far` is a file that gives more than `most_bytes`, and reading ends there. Empty
    lines at the end give one last, empty line.
    """
    rest, whole, aligned, skipping = b"", True, False, False
    number, left, recode = 0, most_bytes(path), None
    for part in unpack(path, lambda head: is_text(head) or wide_encoding(head) is not None):
        if isinstance(part, End):
            aligned = not rest
        elif isinstance(part, Loss):
            record(part, report)
            report["broken_lines"] += bool(rest.strip())
            rest, whole, skipping = b"", aligned, False
        else:
            left -= len(part)
            recode = recode or _recoder(part, path, report)
            data = rest + recode(part)
            end = data.rfind(b"\n") + 1
            begin = data.find(b"\n") + 1 if skipping else 0
            skipping = skipping and not end
            whole = whole or data[begin : begin + 1] == b"\n"
            for line in _NOT_EMPTY.finditer(data, begin, end):
                number += data.count(b"\n", begin, line.start())
                begin = line.start()
                yield number, line[0], whole
                whole = True
            number += data.count(b"\n", begin, end)
            rest = data[end:]
            if len(rest) > LONGEST or skipping:
                report["too_large"] += not skipping
                rest, whole, skipping = b"", True, True
            if left < 0:
                report["unpacked_too_far"] += 1
                report[f"unpacked_too_far: {name_of(path)}"] += 1
                return
    yield number, rest, whole


def _recoder(head: bytes, path: Path, report: Counter[str]) -> Callable[[bytes], bytes]:
    """What makes UTF-8 of the parts of a file that begins with `head`; one in another encoding counts as `recoded_files`."""
    if (encoding := encoding_of(head)) == "utf-8":
        return bytes
    report.update({"recoded_files": 1, f"recoded_files: {name_of(path)}: {encoding}": 1})
    if encoding == "cp1252":
        return lambda part: windows_1252(part).encode()
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    return lambda part: decoder.decode(part).removeprefix("\ufeff").encode("utf-8", "replace")


def _json_lines(path: Path, report: Counter[str]) -> Iterator[Row]:
    for number, line, whole in _lines(path, report):
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
    size = 0
    last = -1  # number of the line before
    for number, line, whole in _lines(path, report):
        if empty := number - last - 1:
            if source.documents == "paragraph" and any(map(str.strip, lines)):
                yield last + 1, {"text": "\n".join(lines).strip("\n")}
            size = size + empty if source.documents == "file" else 0
            lines = [*lines, *[""] * min(empty, LONGEST)] if source.documents == "file" and lines else []
        last = number
        if not whole:
            report["broken_lines"] += bool(line.strip())
            continue
        text = line_text(line).removeprefix("\ufeff").rstrip("\r")
        lines.append(text)
        size += len(text) + 1
        if size > LONGEST:
            report["too_large"] += 1
            lines, size = [], 0
        if source.documents == "line" or (source.documents == "paragraph" and not text.strip()):
            if any(map(str.strip, lines)):
                yield number, {"text": "\n".join(lines).strip("\n")}
            lines, size = [], 0
    if any(map(str.strip, lines)):
        yield 0 if source.documents == "file" else last, {"text": "\n".join(lines).strip("\n")}


def _parquet(path: Path, report: Counter[str]) -> Iterator[Row]:
    try:
        sizes = workers.ask(_groups, path, limit=BATCH_SECONDS)
    except workers.OverrunError as overrun:
        raise OSError(overrun.reason) from overrun
    if isinstance(sizes, str):
        raise StageError(f"{name_of(path)}: {sizes}") if "column" in sizes else OSError(sizes)
    first = taken = 0
    for group, size in enumerate(sizes):
        here = 0
        try:
            for rows, counts in workers.stream(parquet.rows, path, group, first, LONGEST, taken, limit=BATCH_SECONDS):
                report.update(+counts)
                here += len(rows) + counts["no_text"] + counts["too_large"] + counts["lost_rows"]
                taken += sum(len(row["text"]) for _, row in rows) + here
                yield from rows
                if counts["unpacked_too_far"]:
                    report[f"unpacked_too_far: {name_of(path)}"] += 1
                    return
        except workers.OverrunError:  # it wants more memory or time than any text does
            report.update(damaged_parts=1, lost_rows=size - here)
        first += size


def _groups(path: Path) -> list[int] | str:
    try:
        return parquet.groups(path)
    except parquet.NotParquetError as error:
        return str(error)


def _html(path: Path, source: FilesSource, report: Counter[str]) -> Iterator[Row]:
    if path.stat().st_size > LONGEST:
        report["too_large"] += 1
        return
    page = extraction.page(path.read_bytes(), f"file:{name_of(path)}", None, source.languages or ())
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
        if not _is_unicode(row):
            report["half_surrogates"] += 1
        yield Document(
            text=text,
            source=_string(row.get("source")) or source.name,
            url=_string(row.get("url")) or f"file:{name_of(path)}#{number}",
            title=_string(row.get("title")),
            license=_string(row.get("license")) or source.license,
            fetched_at=_time(row.get("fetched_at")),
            published_at=_time(row.get("published_at")),
        )


def _is_unicode(row: dict[str, Any]) -> bool:
    """Whether no string of a document holds the half of a surrogate pair: JSON can, Unicode and UTF-8 cannot."""
    try:
        "".join(value for name in parquet.COLUMNS if isinstance(value := row.get(name), str)).encode()
    except UnicodeEncodeError:
        return False
    return True


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
