"""Pages of a language from Common Crawl: its columnar index says where they are, then one range request fetches each."""

from __future__ import annotations

import errno
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, cast
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lang_configs.sources import CommonCrawlSource
from tasks.core.database import connect
from tasks.core.documents import Document, write_table
from tasks.core.errors import StageError
from tasks.core.files import write_atomically
from tasks.crawl.batches import Cursor, resumable
from tasks.crawl.sources import Estimate, StreamSource, register
from tasks.net.addresses import normalise, origin
from tasks.net.download import MissingError, download, http_client, read_range, size

CONNECTIONS = 4
"""Requests under way at once; Common Crawl answers 503 to those who ask for too much (commoncrawl.org/faq)."""

LARGEST_RECORD = 16 << 20
"""Most bytes of one compressed WARC record; Common Crawl itself cuts pages at 5 MiB."""

LARGEST_PAGE = 8 << 20
"""Most bytes of one page after decompression."""

SEEDS = "seeds.txt"
"""Hosts that have pages in the language: start address, tab, number of pages; the most pages first."""

_WINDOW = 8 * CONNECTIONS
_PIECE = 8 << 20
_PLACE = ["warc_filename", "warc_record_offset"]
_COLUMNS = ["url", "fetch_time", *_PLACE, "warc_record_length"]
_QUERIED = [*_COLUMNS, "content_languages", "fetch_status", "content_mime_detected"]


@register
class CommonCrawl(StreamSource[CommonCrawlSource]):
    """The pages of a crawl in one language."""

    model = CommonCrawlSource

    @property
    def where(self) -> str:
        return f"{self.config.base.rstrip('/')}/crawl-data/{self.config.crawl}"

    def estimate(self) -> Estimate:
        """Most bytes that a crawl fetches: asks for the list of the index and one of its parts."""
        store = _Store(self.config.base)
        with TemporaryDirectory() as folder:
            parts = _parts(self.config, store, Path(folder))
        with _readable(store, part := parts[len(parts) // 2]), store.open(part) as file, pq.ParquetFile(file) as index:
            groups = [index.metadata.row_group(group) for group in range(index.num_row_groups)]
            columns = [group.column(number) for group in groups for number in range(group.num_columns)]
            queried = sum(column.total_compressed_size for column in columns if column.path_in_schema in _QUERIED)
            lengths = index.read_row_group(0, columns=["warc_record_length"], use_threads=False).column(0)
            page = float(pc.mean(lengths).as_py() or 0)
        whole = queried * len(parts) + round(page * self.config.max_pages)
        return Estimate(
            whole, f"at most: {len(parts)} parts of the index, {self.config.max_pages:,} pages of {page / 1000:,.0f} kB"
        )

    def documents(self, state: Path, report: Counter[str]) -> Iterator[Document]:
        """Yield the pages of a crawl whose detected languages hold the code, in the order of the index; see `resumable`.

        The parts of the index (Parquet, about 1 GB each and 300 to a crawl) are read one after the other by ranges, only as
        far as `max_pages` needs; of each the rows of the language are kept in `state`. They are sorted by host, so a crawl
        that stops at `max_pages` knows nothing of the hosts behind.
        The hosts of all these rows are written beside `state` as `SEEDS`, for the config of a `web` source.
        `report` counts `documents`, `missing` (no such file or range), `damaged` (not a WARC response), `too_large`, `hosts`
        and the reasons of `extraction.page`. Raises StageError when Common Crawl cannot be reached or lacks the crawl.
        """
        source = self.config
        yield from resumable(state / "pages", lambda cursor: _pages(source, state, cursor), report, outcomes=_WINDOW * 8)
        hosts = _hosts(sorted(state.glob("index-*.parquet")))
        lines = (f"{host}\t{pages}\n" for host, pages in sorted(hosts.items(), key=lambda item: (-item[1], item[0])))
        write_atomically(state.parent / SEEDS, "".join(lines).encode())
        report["hosts"] = len(hosts)


def _hosts(index: list[Path]) -> Counter[str]:
    """Start addresses of the hosts in kept rows of the index, with the number of their pages."""
    hosts: Counter[str] = Counter()
    for path in index:
        for url in pq.read_table(path, columns=["url"]).column("url").to_pylist():
            if site := normalise(url or ""):
                hosts[f"{origin(site)}/"] += 1
    return hosts


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
        return download(self.address(name), path) if self.remote else self._local(name)

    def open(self, name: str) -> BinaryIO:
        """A file of which only the parts that are read are fetched."""
        if self._client is None:
            return self._local(name).open("rb")
        length = size(self.address(name))
        if length is None:
            raise StageError(f"{self.address(name)}: the server does not say how large this file is; use another base address")
        return cast(BinaryIO, _RemoteFile(self, name, length))

    def part(self, name: str, offset: int, length: int) -> bytes:
        """Some bytes of a file; raises MissingError if it does not have them."""
        if self._client is not None:
            return read_range(self._client, self.address(name), offset, length)
        try:
            with self._local(name).open("rb") as file:
                file.seek(offset)
                data = file.read(length)
        except OSError as error:
            raise StageError(f"{self.address(name)}: this file cannot be read ({error.strerror}); run again") from error
        if len(data) < length:
            raise MissingError(f"{self.address(name)}: the file ends before byte {offset + length:,}")
        return data

    def address(self, name: str) -> str:
        """Where a file of this name is."""
        return f"{self.base}/{quote(name, safe='/=') if self.remote else name}"

    def _local(self, name: str) -> Path:
        path = Path(self.base, name).resolve()
        if not path.is_relative_to(self.base) or not path.is_file():
            raise MissingError(f"{self.address(name)}: there is no file here; correct the base or the crawl in the config")
        return path


class _RemoteFile(io.RawIOBase):
    """A file read by range requests, as pyarrow wants it."""

    def __init__(self, store: _Store, name: str, length: int) -> None:
        self._store, self._name, self._length, self._at = store, name, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        return self._at

    def read(self, count: int = -1) -> bytes:
        """Bytes from here on, in pieces: what a broken line costs is one of them."""
        end = self._length if count < 0 else min(self._at + count, self._length)
        pieces = []
        while self._at < end:
            pieces.append(self._store.part(self._name, self._at, min(_PIECE, end - self._at)))
            self._at += len(pieces[-1])
        return b"".join(pieces)


def _parts(source: CommonCrawlSource, store: _Store, state: Path) -> list[str]:
    """Names of the parts of the index that list the pages fetched with success."""
    name = f"crawl-data/{source.crawl}/cc-index-table.paths.gz"
    path = store.file(name, state / "cc-index-table.paths.gz")
    try:
        names = gzip.decompress(path.read_bytes()).decode().split()
        parts = sorted(part for part in names if "/subset=warc/" in part)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        parts, why = [], f"is damaged ({error})"
    else:
        why = "names no files of the subset warc"
    if not parts:
        if store.remote:  # the next run asks for it again
            path.unlink(missing_ok=True)
        raise StageError(f"{store.address(name)}: the list of index files {why}; run again, or choose another crawl")
    return parts


def _rows_of_language(source: CommonCrawlSource, store: _Store, name: str, path: Path) -> list[dict[str, Any]]:
    """The rows of one part of the index that are pages in the language, by file and offset; kept in `path`.

    Each row group is kept as soon as it is read. Only the columns asked for are fetched, about a third of the part.
    """
    if not path.exists():
        groups: list[Path] = []
        with _readable(store, name), store.open(name) as file, pq.ParquetFile(file) as index:
            for group in range(index.num_row_groups):
                groups.append(path.with_name(f"{path.stem}.{group:04d}"))
                if not groups[-1].exists():
                    write_table(_of_language(source, index, group), groups[-1])
            tables = [pq.read_table(group) for group in groups] or [index.schema_arrow.empty_table().select(_COLUMNS)]
        write_table(pa.concat_tables(tables).sort_by([(key, "ascending") for key in _PLACE]), path)
        for kept in groups:
            kept.unlink()
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


@contextmanager
def _readable(store: _Store, name: str) -> Iterator[None]:
    """Turn what the libraries raise for a part of the index that cannot be read into one sentence."""
    import duckdb

    try:
        yield
    except (pa.ArrowException, duckdb.Error, OSError, ValueError, KeyError, IndexError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise StageError(
            f"{store.address(name)}: this part of Common Crawl's index cannot be read ({reason}); run again"
        ) from error


def _of_language(source: CommonCrawlSource, index: pq.ParquetFile, group: int) -> pa.Table:
    """The pages of a row group in the language. The languages are read first: where there is none, that is all."""
    languages = "string_split(content_languages, ',')"
    condition = f"{languages}[1] = $language" if source.first_only else f"list_contains({languages}, $language)"
    count = f"SELECT count(*) FROM rows WHERE {condition}"
    select = f"""
        SELECT {", ".join(_COLUMNS)} FROM rows
        WHERE fetch_status = 200 AND content_mime_detected IN ('text/html', 'application/xhtml+xml') AND {condition}"""
    given = {"language": source.language}
    with connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = index.read_row_group(group, columns=["content_languages"], use_threads=False)
        if connection.sql(count, params=given).fetchall() == [(0,)]:
            return index.schema_arrow.empty_table().select(_COLUMNS)
        rows = index.read_row_group(group, columns=_QUERIED, use_threads=False)  # noqa: F841 (the query reads it)
        return connection.sql(select, params=given).to_arrow_table()


def _page(source: CommonCrawlSource, store: _Store, row: dict[str, Any]) -> Document | str:
    """The document of one row of the index, or why there is none."""
    from tasks.crawl.pages import extraction

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
