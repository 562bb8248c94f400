"""WARC files, whole and damaged: what is lost is counted exactly, everything else is read."""

from __future__ import annotations

import gzip
import random
import zlib
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
import zstandard
from fastwarc.stream_io import GzipWriter
from fastwarc.warc import WarcRecord, WarcRecordType

from lang_configs.sources import WarcSource
from tasks.core.documents import Document
from tasks.core.errors import StageError
from tasks.crawl import crawl
from tasks.crawl.pages import extraction
from tasks.crawl.sources.warc import Warc
from tests.crawl.endless_page import ENDLESS
from tests.pipeline import publish

PAGES = 60


def html(number: int) -> bytes:
    rows = "".join(f"<p>Wakulima wa kijiji namba {number} walivuna magunia {i * number} ya mahindi.</p>" for i in range(9))
    return f"<html><head><title>Mavuno {number}</title></head><body><article>{rows}</article></body></html>".encode()


def response(number: int, body: bytes | None = None, headers: str = "", status: str = "200 OK", digest: bool = True) -> bytes:
    """One record as a crawler writes it, by fastwarc's own writer."""
    record = WarcRecord()
    record.init_headers(WarcRecordType.response, record_urn=f"3d6c1b2e-0000-4000-8000-{number:012d}".encode())
    record.headers["WARC-Target-URI"] = f"https://mfano.or.tz/{number}"
    record.headers["WARC-Date"] = "2026-10-01T00:00:00Z"
    content = html(number) if body is None else body
    message = f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n{headers}\r\n".encode() + content
    record.set_bytes_content(message)
    record.headers["Content-Type"] = "application/http; msgtype=response"
    sink = BytesIO()
    record.write(sink, checksum_data=digest)
    return sink.getvalue()


def pack(records: list[bytes], kind: str) -> list[bytes]:
    if kind == "warc.gz":
        return [gzip.compress(record, mtime=0) for record in records]
    if kind == "warc.zst":
        return [zstandard.ZstdCompressor(write_checksum=True).compress(record) for record in records]
    return records


def documents(path: Path, content: bytes) -> tuple[list[Document], Counter[str]]:
    path.write_bytes(content)
    report: Counter[str] = Counter()
    return list(Warc(WarcSource(paths=[str(path)])).read(str(path), report)), report


@pytest.fixture(scope="module")
def records() -> list[bytes]:
    return [response(number) for number in range(PAGES)]


KINDS = ["warc", "warc.gz", "warc.zst"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_read_whole(tmp_path: Path, records: list[bytes], kind: str) -> None:
    found, report = documents(tmp_path / f"a.{kind}", b"".join(pack(records, kind)))
    assert [document.url for document in found] == [f"https://mfano.or.tz/{n}" for n in range(PAGES)]
    assert report == {"documents": PAGES, "records": PAGES}
    assert found[3].title == "Mavuno 3"
    assert "kijiji namba 3 walivuna magunia 24" in found[3].text
    assert found[3].fetched_at == datetime(2026, 10, 1, tzinfo=UTC)


def test_pages_in_other_languages_and_endless_ones_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "page", partial(extraction.page, limit=3))
    english = b"<p>The farmers of the village had a good harvest of maize this year, and all of them are happy with it."
    path = tmp_path / "a.warc"
    path.write_bytes(response(1) + response(2, english) + response(3, ENDLESS) + response(4))
    report: Counter[str] = Counter()
    found = list(Warc(WarcSource(paths=[str(path)], languages=["swh_Latn"])).read(str(path), report))
    assert [document.url for document in found] == ["https://mfano.or.tz/1", "https://mfano.or.tz/4"]
    assert report == {"documents": 2, "records": 4, "language_eng_Latn": 1, "extraction_timeout": 1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_damaged_records_and_a_cut_end_are_counted_exactly(tmp_path: Path, records: list[bytes], kind: str, seed: int) -> None:
    dice = random.Random(seed)
    members = [bytearray(member) for member in pack(records, kind)]
    hit = sorted(dice.sample(range(PAGES - 1), 5))
    for number in hit:
        # a plain record says nothing of what its own header should be
        first = members[number].index(b"\r\n\r\n") + 4 if kind == "warc" else 0
        place = dice.randrange(first, len(members[number]) - 20)
        members[number][place : place + 12] = dice.randbytes(12)
    cut = dice.randrange(20, len(members[-1]) - 20)
    found, report = documents(tmp_path / f"a.{kind}", b"".join([*members[:-1], members[-1][:cut]]))
    assert [document.url for document in found] == [f"https://mfano.or.tz/{n}" for n in range(PAGES - 1) if n not in hit]
    whole, _ = documents(tmp_path / "whole.warc", b"".join(records))
    assert found == [whole[n] for n in range(PAGES - 1) if n not in hit]
    assert report["lost_records"] == len(hit) + 1
    assert report[f"lost_records: a.{kind}"] == len(hit) + 1


@pytest.mark.parametrize("kind", ["warc.gz", "warc.zst"])
def test_neighbours_that_are_damaged_are_counted_one_by_one(tmp_path: Path, records: list[bytes], kind: str) -> None:
    members = [bytearray(member) for member in pack(records, kind)]
    for number in (0, 20, 21, 22, 23, PAGES - 1):
        members[number][11:23] = b"\xa5" * 12
    found, report = documents(tmp_path / f"a.{kind}", b"".join(members))
    assert (len(found), report["lost_records"]) == (PAGES - 6, 6)


@pytest.mark.parametrize("kind", ["warc.gz", "warc.zst"])
def test_the_bytes_that_are_lost_are_counted(tmp_path: Path, records: list[bytes], kind: str) -> None:
    members = [bytearray(member) for member in pack(records, kind)]
    members[7][0:3] = b"xyz"
    members[30][40:60] = bytes(20)
    _, report = documents(tmp_path / f"a.{kind}", b"".join(members))
    assert report["lost_records"] == 2
    assert report["damaged_parts"] == 2 or kind == "warc.zst"
    assert report["lost_bytes"] in (len(members[7]) + len(members[30]), len(members[7]))
    assert "lost_more" not in report


@pytest.mark.parametrize("share", [0.2, 0.5, 0.999])
@pytest.mark.parametrize("kind", KINDS)
def test_every_cut_loses_one_record_at_most(tmp_path: Path, records: list[bytes], kind: str, share: float) -> None:
    members = pack(records, kind)
    whole = b"".join(members)
    length = int(len(whole) * share)
    before = next(n for n in range(PAGES) if len(b"".join(members[: n + 1])) > length)
    found, report = documents(tmp_path / f"a.{kind}", whole[:length])
    assert len(found) + report["lost_records"] == before + 1
    assert report["lost_records"] <= 1


def test_a_file_packed_as_one_member_gives_what_comes_before_the_cut(tmp_path: Path, records: list[bytes]) -> None:
    packed = gzip.compress(b"".join(records), mtime=0)
    found, report = documents(tmp_path / "a.warc.gz", packed[: len(packed) // 2])
    assert len(found) > PAGES // 3
    assert (report["lost_records"], report["lost_more"], report["files_cut"]) == (1, 1, 1)


def test_encodings_of_http_are_undone_and_bombs_are_not(tmp_path: Path) -> None:
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(html(2)), html(2))
    bomb = gzip.compress(b" " * (64 << 20))
    rows = [
        response(1, gzip.compress(html(1)), "Content-Encoding: gzip\r\n"),
        response(2, chunked, "Transfer-Encoding: chunked\r\n"),
        response(3, bomb, "Content-Encoding: gzip\r\n"),
        response(4, status="404 Not Found"),
        response(5, b"%PDF-1.7", digest=False).replace(b"text/html; charset=utf-8", b"application/pdf; chars=x"),
        response(6, b""),
    ]
    found, report = documents(tmp_path / "a.warc.gz", b"".join(pack(rows, "warc.gz")))
    assert [document.url for document in found] == ["https://mfano.or.tz/1", "https://mfano.or.tz/2"]
    assert "namba 2 walivuna" in found[1].text
    expected = {"documents": 2, "records": 6, "too_large": 1, "not_found": 1, "not_html": 1, "no_text": 1}
    assert report == expected


def test_other_records_and_the_texts_of_wet_files(tmp_path: Path) -> None:
    sink = BytesIO()
    writer = GzipWriter(sink)
    for number, kind in enumerate([WarcRecordType.warcinfo, WarcRecordType.request, WarcRecordType.conversion]):
        record = WarcRecord()
        record.init_headers(kind, record_urn=f"3d6c1b2e-0000-4000-8000-{number:012d}".encode())
        record.headers["WARC-Target-URI"] = "https://mfano.or.tz/wet"
        record.headers["Content-Type"] = "text/plain"
        record.set_bytes_content(b"Mvua imenyesha usiku kucha mjini Mbeya.")
        record.write(writer)
    writer.close()
    found, report = documents(tmp_path / "a.warc.wet.gz", sink.getvalue())
    assert [document.text for document in found] == ["Mvua imenyesha usiku kucha mjini Mbeya."]
    assert report == {"documents": 1, "records": 3, "no_page": 2}


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 5000, b"siyo warc" * 900, b"\x1f\x8b\x08" * 900, b"WARC/1.0\r\n", b"\x28\xb5\x2f\xfd" * 99]
)
def test_junk_is_counted_and_never_raises(tmp_path: Path, content: bytes) -> None:
    for name in ("a.warc", "a.warc.gz", "a.warc.zst"):
        found, report = documents(tmp_path / name, content)
        assert found == []
        assert (report["lost_records"] > 0) == (content.strip(b"\0") != b"")


def test_the_stage_reads_globs_and_reports_the_loss(tmp_path: Path, records: list[bytes]) -> None:
    members = [bytearray(member) for member in pack(records, "warc.gz")]
    members[5][100:110] = bytes(10)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.warc.gz").write_bytes(b"".join(members[:30]))
    (tmp_path / "in" / "deep" / "b.warc.gz").write_bytes(b"".join(members[30:])[:-50])
    source = WarcSource(paths=[str(tmp_path / "in" / "**" / "*.warc.gz")], license="CC-BY-4.0")
    _, manifest = publish(crawl, tmp_path / "workspace", source)
    assert manifest["metrics"]["written"] == PAGES - 2
    assert manifest["metrics"]["lost_records"] == 2
    with pytest.raises(StageError, match=r"nothing\.warc: no such file"):
        publish(crawl, tmp_path / "workspace", WarcSource(paths=[str(tmp_path / "nothing.warc")]))


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def gzipped(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


PAGE = html(7)
SAID = {
    "gzip": "Content-Encoding: gzip\r\n",
    "br": "Content-Encoding: br\r\n",
    "deflate": "Content-Encoding: deflate\r\n",
    "zstd": "Content-Encoding: zstd\r\n",
    "twice": "Content-Encoding: gzip, gzip\r\n",
    "x-gzip": "Content-Encoding: x-gzip\r\n",
    "charset": "Content-Encoding: UTF-8\r\n",
    "chunked": "Transfer-Encoding: chunked\r\n",
    "both": "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n",
    "nothing": "",
}


@pytest.mark.parametrize(
    ("said", "body"),
    [
        *((name, PAGE) for name in SAID),
        *((name, gzipped(PAGE)) for name in ("gzip", "twice", "x-gzip", "both", "nothing")),
        *((name, chunked(PAGE)) for name in ("chunked", "both")),
        ("both", chunked(gzipped(PAGE))),
        ("twice", gzipped(gzipped(PAGE))),
        ("deflate", zlib.compress(PAGE)),
        ("deflate", zlib.compress(PAGE)[2:-4]),
        ("zstd", zstandard.compress(PAGE)),
    ],
)
def test_a_whole_body_is_read_whatever_its_headers_say(tmp_path: Path, said: str, body: bytes) -> None:
    found, report = documents(tmp_path / "a.warc", response(7, body, SAID[said]))
    assert [document.title for document in found] == ["Mavuno 7"]
    assert report == {"documents": 1, "records": 1}


@pytest.mark.parametrize("body", [b"\x1f\x8b\x08" + bytes(range(256)) * 4, bytes(range(128, 256)) * 9])
@pytest.mark.parametrize("said", ["gzip", "br", "both"])
def test_a_damaged_body_is_lost(tmp_path: Path, said: str, body: bytes) -> None:
    found, report = documents(tmp_path / "a.warc", response(7, body, SAID[said]))
    assert not found
    assert report["lost_records"] == 1
