from __future__ import annotations

import gzip
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lang_configs.sources import CommonCrawlSource
from tasks.core.documents import Document
from tasks.core.errors import StageError
from tasks.crawl.sources import common_crawl
from tasks.crawl.sources.common_crawl import CommonCrawl
from tasks.net import download as download_module
from tests.net.range_server import FileServer, serve_files

CRAWL = "CC-MAIN-2026-42"
PATHS = f"crawl-data/{CRAWL}/cc-index-table.paths.gz"
INDEX = f"cc-index/table/cc-main/warc/crawl={CRAWL}/subset={{}}/part-{{:05d}}-7e2c.c000.gz.parquet"
WARC = f"crawl-data/{CRAWL}/segments/1790000000000.1/warc/CC-MAIN-20261001000000-20261001030000-{{:05d}}.warc.gz"

SCHEMA = pa.schema(
    [
        ("url_surtkey", pa.string()),
        ("url", pa.string()),
        ("url_host_name", pa.string()),
        ("fetch_time", pa.timestamp("ms")),
        ("fetch_status", pa.int16()),
        ("content_mime_detected", pa.string()),
        ("content_languages", pa.string()),
        ("warc_filename", pa.string()),
        ("warc_record_offset", pa.int32()),
        ("warc_record_length", pa.int32()),
    ]
)
"""Some of the columns of github.com/commoncrawl/cc-index-table, as they are typed there."""

LANGUAGES = ["swa", "eng", "swa,eng", "eng,swa", None, "eng,fra", "swa,eng,fra", "som"]


def page(number: int) -> bytes:
    sentences = " ".join(
        f"Wakulima wa kijiji namba {number} walivuna magunia {i} ya mahindi msimu wa {i * number}." for i in range(8)
    )
    return (
        f"<html lang='sw'><head><title>Mavuno {number}</title></head><body><nav><a href='/'>Mwanzo</a></nav><article>"
        f"<h1>Mavuno {number}</h1><p>{sentences}</p></article><footer>Haki zote zimehifadhiwa</footer></body></html>"
    ).encode()


def record(url: str, body: bytes, kind: str = "response", status: str = "200 OK") -> bytes:
    http = (
        b"HTTP/1.1 %s\r\nContent-Type: text/html; charset=utf-8\r\nX-Crawl-Content-Encoding: br\r\n\r\n" % status.encode()
        + body
    )
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Date: 2026-10-01T00:00:00Z\r\nWARC-Target-URI: {url}\r\n"
        "WARC-Record-ID: <urn:uuid:3d6c1b2e-0000-4000-8000-000000000001>\r\n"
        f"Content-Type: application/http; msgtype={kind}\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + http + b"\r\n\r\n", mtime=0)


def archive(pages: int = 80, parts: int = 2) -> dict[str, bytes]:
    """A crawl of `pages` pages: WARC files, index and list of the index files."""
    files: dict[str, bytes] = {}
    rows: list[dict[str, object]] = []
    for number in range(pages):
        name = WARC.format(number % 3)
        member = record(url := f"https://mfano{number % 5}.or.tz/habari/{number}", page(number))
        offset = len(files.setdefault(name, record("", b"", "request")))
        files[name] += member
        rows.append(
            {
                "url_surtkey": f"tz,or,mfano{number % 5})/habari/{number}",
                "url": url,
                "url_host_name": f"mfano{number % 5}.or.tz",
                "fetch_time": datetime(2026, 10, 1, 0, 0, number % 60),
                "fetch_status": 404 if number == 8 else 200,
                "content_mime_detected": "application/pdf" if number == 16 else "text/html",
                "content_languages": LANGUAGES[number % len(LANGUAGES)],
                "warc_filename": name,
                "warc_record_offset": offset,
                "warc_record_length": len(member),
            }
        )
    names = [INDEX.format("warc", part) for part in range(parts)]
    for part, name in enumerate(names):
        files[name] = parquet(rows[part::parts])
    files[PATHS] = gzip.compress(
        "\n".join([INDEX.format("crawldiagnostics", 0), *names, INDEX.format("robotstxt", 0)]).encode()
    )
    return files


def parquet(rows: list[dict[str, object]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), sink, compression="gzip")
    return sink.getvalue().to_pybytes()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(download_module, "BACK_OFF", 0.001)
    monkeypatch.delenv("LUGHA_OFFLINE", raising=False)
    with serve_files() as files:
        files.files = archive()
        yield files


def source(base: str, **settings: object) -> CommonCrawlSource:
    return CommonCrawlSource.model_validate({"crawl": CRAWL, "language": "swa", "base": base} | settings)


def read(config: CommonCrawlSource, state: Path) -> tuple[list[Document], Counter[str]]:
    report: Counter[str] = Counter()
    found = list(CommonCrawl(config).documents(state / "state", report))
    hosts = report.pop("hosts", 0)
    seeds = (state / "seeds.txt").read_text().splitlines()
    assert hosts == len(seeds)
    assert all(line.startswith("https://") for line in seeds)
    return found, report


def test_pages_of_the_language_are_found_and_fetched_by_ranges(server: FileServer, tmp_path: Path) -> None:
    server.errors[PATHS] = [503]
    server.errors[INDEX.format("warc", 1)] = [503, 503]
    server.errors[WARC.format(0)] = [503]
    found, report = read(source(server.base), tmp_path)
    due = {number for number in range(80) if "swa" in (LANGUAGES[number % 8] or "") and number not in (8, 16)}
    assert {document.url for document in found} == {f"https://mfano{n % 5}.or.tz/habari/{n}" for n in due}
    assert report == {"documents": len(due)}
    first = next(document for document in found if document.url == "https://mfano3.or.tz/habari/3")
    assert "Wakulima wa kijiji namba 3 walivuna magunia 7 ya mahindi msimu wa 21." in first.text
    assert "Haki zote" not in first.text
    assert first.fetched_at == datetime(2026, 10, 1, 0, 0, 3, tzinfo=UTC)
    assert first.source == "common-crawl"
    ranges = [headers["range"] for name, headers in server.requests if name.endswith(".warc.gz")]
    assert len(ranges) == len(due) + 1
    seeds = dict(line.split("\t") for line in (tmp_path / "seeds.txt").read_text().splitlines())
    assert seeds == {f"https://mfano{host}.or.tz/": str(sum(n % 5 == host for n in due)) for host in range(5)}


def test_columns_that_are_not_asked_for_are_not_fetched(server: FileServer, tmp_path: Path) -> None:
    name = INDEX.format("warc", 0)
    table = pq.read_table(pa.BufferReader(server.files[name]))
    digests = pa.array([random.Random(number).randbytes(20_000).hex() for number in range(len(table))])
    sink = pa.BufferOutputStream()
    pq.write_table(table.append_column("content_digest", digests), sink, row_group_size=10)
    server.files[name] = sink.getvalue().to_pybytes()
    found, _ = read(source(server.base), tmp_path)
    assert len(found) == len([n for n in range(80) if "swa" in (LANGUAGES[n % 8] or "") and n not in (8, 16)])
    assert server.sent < 0.2 * len(server.files[name])


def test_a_plan_says_what_a_crawl_fetches_at_most(server: FileServer, tmp_path: Path) -> None:
    planned = CommonCrawl(source(server.base, max_pages=1000)).estimate()
    assert server.sent < 20_000
    assert planned.bytes is not None
    assert "at most: 2 parts of the index, 1,000 pages" in planned.what
    server.sent = 0
    read(source(server.base), tmp_path)
    assert server.sent < planned.bytes


def test_only_pages_that_are_mainly_in_the_language(server: FileServer, tmp_path: Path) -> None:
    found, _ = read(source(server.base, first_only=True), tmp_path)
    due = {number for number in range(80) if (LANGUAGES[number % 8] or "").startswith("swa") and number not in (8, 16)}
    assert {document.url for document in found} == {f"https://mfano{n % 5}.or.tz/habari/{n}" for n in due}


def test_a_local_copy_gives_the_same(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data in server.files.items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(data)
    remote = read(source(server.base), tmp_path / "remote")
    monkeypatch.setenv("LUGHA_OFFLINE", "1")
    assert read(source(str(tmp_path / "copy")), tmp_path / "local") == remote
    with pytest.raises(StageError, match="offline"):
        read(source(server.base), tmp_path / "offline")


def test_max_pages_reads_no_more_than_it_needs(server: FileServer, tmp_path: Path) -> None:
    found, report = read(source(server.base, max_pages=10), tmp_path)
    assert len(found) == 10
    assert report == {"documents": 10}
    assert not any(name == INDEX.format("warc", 1) for name, _ in server.requests)


def test_a_stopped_crawl_goes_on_and_fetches_nothing_twice(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, counts = read(source(server.base), tmp_path / "whole")
    needed = len(server.requests)
    server.requests.clear()
    monkeypatch.setattr(common_crawl, "_WINDOW", 1)
    again = CommonCrawl(source(server.base))
    for stop in (5, 20):
        assert list(islice(again.documents(tmp_path / "state" / "state", Counter()), stop)) == whole[:stop]
    assert read(source(server.base), tmp_path / "state") == (whole, counts)
    assert len(server.requests) <= needed + 4


def test_damaged_and_missing_records_are_counted(server: FileServer, tmp_path: Path) -> None:
    name = WARC.format(0)
    rows = []
    bodies = {
        "nzima": record("https://a.example/", page(1)),
        "kosa": record("https://b.example/", page(2), status="503 Busy"),
        "ombi": record("https://c.example/", page(3), "request"),
        "kubwa": record("https://d.example/", b"<p>" + b" " * (9 << 20)),
        "siyo": b"siyo gzip" * 20,
        "tupu": record("https://e.example/", b""),
    }
    whole = bodies["nzima"]
    bodies["pindu"] = whole[:200] + bytes([whole[200] ^ 255]) + whole[201:]
    bodies["kata"] = whole[: len(whole) // 2]
    data = b""
    for key, body in bodies.items():
        rows.append(row(f"https://{key}.example/", name, len(data), len(body)))
        data += body
    rows += [row("https://mbali.example/", name, len(data) + 100, 50), row("https://hakuna.example/", "../../siri", 0, 50)]
    rows += [row("https://hasi.example/", name, -5, 50), row("https://kuu.example/", name, 0, 2**31 - 1)]
    server.files = {
        name: data,
        PATHS: gzip.compress(INDEX.format("warc", 0).encode()),
        INDEX.format("warc", 0): parquet(rows),
    }
    found, report = read(source(server.base), tmp_path)
    assert [document.url for document in found] == ["https://nzima.example/"]
    assert report == {"documents": 1, "damaged": 6, "missing": 2, "too_large": 2, "no_text": 1}


def row(url: str, name: str, offset: int, length: int) -> dict[str, object]:
    return {
        "url": url,
        "fetch_status": 200,
        "content_mime_detected": "text/html",
        "content_languages": "swa",
        "warc_filename": name,
        "warc_record_offset": offset,
        "warc_record_length": length,
    }


def test_what_is_not_there_is_said_in_one_sentence(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="there is no such file"):
        read(source(server.base, crawl="CC-MAIN-1999-01"), tmp_path / "a")
    with pytest.raises(StageError, match="there is no file"):
        read(source(str(tmp_path)), tmp_path / "b")
    server.files[INDEX.format("warc", 0)] = b"PAR1 siyo parquet PAR1"
    with pytest.raises(StageError, match="index cannot be read"):
        read(source(server.base), tmp_path / "c")
    server.files[PATHS] = b"siyo gzip"
    with pytest.raises(StageError, match="the list of index files is damaged"):
        read(source(server.base), tmp_path / "d")
