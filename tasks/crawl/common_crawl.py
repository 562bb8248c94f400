"""Pages of a language from Common Crawl: its columnar index says where they are, then one range request fetches each."""

from __future__ import annotations

import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq

from lang_configs.schema import CommonCrawlSource
from tasks.crawl.batches import Cursor, resumable
from tasks.crawl.download import MissingError, download, http_client, read_range
from tasks.documents import Document, write_table
from tasks.stage import StageError

CONNECTIONS = 4
"""Requests under way at once; Common Crawl answers 503 to those who ask for too much (commoncrawl.org/faq)."""

LARGEST_RECORD = 16 << 20
"""Most bytes of one compressed WARC record; Common Crawl itself cuts pages at 5 MiB."""

LARGEST_PAGE = 8 << 20
"""Most bytes of one page after decompression."""

_WINDOW = 8 * CONNECTIONS


def documents(source: CommonCrawlSource, state: Path, report: Counter[str]) -> Iterator[Document]:
    """Yield the pages of a crawl whose detected languages hold the code, in the order of the index; see `resumable`.

    The parts of the index (Parquet, about 1 GB each and 300 to a crawl) are fetched one after the other, only as far as
    `max_pages` needs; of each the rows of the language are kept in `state` and the rest is deleted. They are sorted by
    host, so a crawl that stops at `max_pages` knows nothing of the hosts behind.
    `report` counts `documents`, `missing` (no such file or range), `damaged` (not a WARC response), `too_large` and the
    reasons of `extraction.page`. Raises StageError when Common Crawl cannot be reached or the crawl does not exist.
    """
    yield from resumable(state / "pages", lambda cursor: _pages(source, state, cursor), report, outcomes=_WINDOW * 8)


def _pages(source: CommonCrawlSource, state: Path, cursor: Cursor) -> Iterator[Document | str]:
    store = _Store(source.base)
    parts = _parts(source, store, state)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for number in range(cursor.get("part", 0), len(parts)):
            if cursor.get("pages", 0) >= source.max_pages:
                return
            rows = _rows_of_language(source, store, parts[number], state / f"index-{number:05d}.parquet")
            row = cursor.get("row", 0) if number == cursor.get("part", 0) else 0
            while window := rows[row : row + min(_WINDOW, source.max_pages - cursor.get("pages", 0))]:
                for result in pool.map(partial(_page, source, store), window):
                    row += 1
                    cursor.update(part=number, row=row, pages=cursor.get("pages", 0) + 1)
                    yield result


class _Store:
    """Where Common Crawl's files are: an address or a local folder. Names in an index cannot lead out of it."""

    def __init__(self, base: str) -> None:
        self.remote = base.startswith(("http://", "https://"))
        self.base = base.rstrip("/") if self.remote else str(Path(base).expanduser().resolve())
        self._client = http_client() if self.remote else None

    def file(self, name: str, path: Path) -> Path:
        """A whole file: its local path, or the path that it was downloaded to."""
        return download(self._address(name), path) if self.remote else self._local(name)

    def part(self, name: str, offset: int, length: int) -> bytes:
        """Some bytes of a file; raises MissingError if it does not have them."""
        if self._client is not None:
            return read_range(self._client, self._address(name), offset, length)
        with self._local(name).open("rb") as file:
            file.seek(offset)
            if len(data := file.read(length)) < length:
                raise MissingError(f"{name}: the file ends before byte {offset + length:,}")
            return data

    def _address(self, name: str) -> str:
        return f"{self.base}/{quote(name, safe='/=')}"

    def _local(self, name: str) -> Path:
        path = Path(self.base, name).resolve()
        if not path.is_relative_to(self.base) or not path.is_file():
            raise MissingError(f"{self.base}: there is no file {name}; correct the base or the crawl in the config")
        return path


def _parts(source: CommonCrawlSource, store: _Store, state: Path) -> list[str]:
    """Names of the parts of the index that list the pages fetched with success."""
    name = f"crawl-data/{source.crawl}/cc-index-table.paths.gz"
    path = store.file(name, state / "cc-index-table.paths.gz")
    try:
        names = gzip.decompress(path.read_bytes()).decode().split()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise StageError(f"{path}: the list of index files is damaged ({error}); delete it and run again") from error
    parts = sorted(name for name in names if "/subset=warc/" in name)
    if not parts:
        raise StageError(f"{path}: the list names no index files of the subset warc; crawl {source.crawl} cannot be used")
    return parts


def _rows_of_language(source: CommonCrawlSource, store: _Store, name: str, path: Path) -> list[dict[str, Any]]:
    """The rows of one part of the index that are pages in the language, by file and offset; kept in `path`."""
    if not path.exists():
        import duckdb

        part = store.file(name, path.with_name(f"download-{Path(name).name}"))
        languages = "string_split(content_languages, ',')"
        condition = f"{languages}[1] = $language" if source.first_only else f"list_contains({languages}, $language)"
        query = f"""
            SELECT url, fetch_time, warc_filename, warc_record_offset, warc_record_length
            FROM read_parquet($part)
            WHERE fetch_status = 200 AND content_mime_detected IN ('text/html', 'application/xhtml+xml') AND {condition}
            ORDER BY warc_filename, warc_record_offset"""
        try:
            with duckdb.connect() as connection:
                connection.execute("SET TimeZone = 'UTC'")
                table = connection.sql(query, params={"part": str(part), "language": source.language}).to_arrow_table()
        except duckdb.Error as error:
            if store.remote:
                part.unlink()
            raise StageError(f"{name}: this part of Common Crawl's index cannot be read ({error}); run again") from error
        write_table(table, path)
        if store.remote:
            part.unlink()
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def _page(source: CommonCrawlSource, store: _Store, row: dict[str, Any]) -> Document | str:
    """The document of one row of the index, or why there is none."""
    from tasks.crawl import extraction

    offset, length = row["warc_record_offset"], row["warc_record_length"]
    if not (isinstance(row["url"], str) and isinstance(row["warc_filename"], str) and offset >= 0 and length > 0):
        return "damaged"
    if length > LARGEST_RECORD:
        return "too_large"
    try:
        record = _response(store.part(row["warc_filename"], offset, length))
    except MissingError:
        return "missing"
    if isinstance(record, str):
        return record
    body, content_type = record
    page = extraction.page(body, row["url"], content_type, source.languages or ())
    if isinstance(page, str):
        return page
    return Document(
        text=page.text,
        source=source.name,
        url=row["url"],
        title=page.title,
        license=page.license or source.license,
        fetched_at=_utc(row["fetch_time"]),
        published_at=page.published_at,
    )


def _response(member: bytes) -> tuple[bytes, str | None] | str:
    """Body and content type of the HTTP response in one gzip member of a WARC file (ISO 28500), or what is wrong with it."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    try:
        for record in ArchiveIterator(io.BytesIO(member), record_types=WarcRecordType.response):
            due = record.content_length
            if due > LARGEST_PAGE:
                return "too_large"
            body = record.reader.read(due)
            if record.is_http_parsed and record.http_headers.status_code == 200 and len(body) == due:
                return body, record.http_headers.get("Content-Type")
            break  # a cut member ends early and without an error
    except (OSError, ValueError, RuntimeError):
        pass
    return "damaged"


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
