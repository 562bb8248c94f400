"""Local files: every format is read, every broken one is counted, nothing that could be read is lost."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from lang_configs.sources import FilesSource
from tasks.core.documents import Document
from tasks.core.errors import StageError
from tasks.crawl import crawl, identity
from tasks.crawl.pages import extraction
from tasks.crawl.sources.files import ENDINGS, Files
from tasks.crawl.sources.local_files import find
from tests.crawl.endless_page import ENDLESS
from tests.pipeline import publish, rows

LINES = [
    {"text": "Mvua imenyesha usiku kucha.", "url": "https://example.org/1", "license": "CC0-1.0", "source": "gazeti"},
    {"text": "Samaki wamepanda bei sokoni.", "fetched_at": "2026-02-03T04:05:06+03:00"},
]


def documents(path: Path, report: Counter[str] | None = None, kind: str = "file") -> list[Document]:
    source = FilesSource.model_validate({"paths": [str(path)], "license": "CC-BY-4.0", "documents": kind})
    return list(Files(source).read(str(path), report if report is not None else Counter()))


def jsonl(lines: list[object] = LINES) -> bytes:  # type: ignore[assignment]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", jsonl()),
        ("a.jsonl.gz", gzip.compress(jsonl())),
        ("a.jsonl.zst", zstandard.compress(jsonl())),
        ("two-frames.jsonl.zst", zstandard.compress(jsonl(LINES[:1])) + zstandard.compress(jsonl(LINES[1:]))),
    ],
)
def test_json_lines_in_every_packing(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    first, second = documents(tmp_path / name)
    assert first == Document(str(LINES[0]["text"]), "gazeti", "https://example.org/1", license="CC0-1.0")
    assert (second.source, second.license, second.url) == ("files", "CC-BY-4.0", f"file:{name}#1")
    assert second.fetched_at == datetime(2026, 2, 3, 1, 5, 6, tzinfo=UTC)


def test_parquet_text_and_html(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["Habari za asubuhi", None], "extra": [1, 2]}), tmp_path / "a.parquet")
    (tmp_path / "b.txt").write_text("Aya ya kwanza.\n\nAya ya pili.")
    paragraphs = "".join(
        f"<p>Wakulima wa kijiji cha Mtoni walivuna mahindi mengi mwaka huu, gunia la {n}.</p>" for n in range(9)
    )
    (tmp_path / "c.html").write_text(
        f"<html><head><title>Mavuno</title></head><body><article>{paragraphs}</article></body></html>"
    )
    report: Counter[str] = Counter()
    found = {path.name: documents(path, report) for path in find([str(tmp_path)], ENDINGS)}
    assert [document.text for document in found["a.parquet"]] == ["Habari za asubuhi"]
    assert found["b.txt"][0].text == "Aya ya kwanza.\n\nAya ya pili."
    assert "gunia la 8" in found["c.html"][0].text
    assert report["no_text"] == 1


def test_pages_in_other_languages_and_endless_ones_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "page", partial(extraction.page, limit=3))
    pages = {
        "a.html": "Wakulima wa kijiji cha Mtoni walivuna mahindi mengi mwaka huu, na wote wamefurahi sana kwa mavuno hayo.",
        "b.html": "The farmers of the village had a good harvest of maize this year, and all of them are happy with it.",
        "c.html": ENDLESS.decode(),
    }
    report: Counter[str] = Counter()
    source = FilesSource(paths=[str(tmp_path)], languages=["swh_Latn"])
    for name, text in pages.items():
        (tmp_path / name).write_text(f"<p>{text}</p>")
    found = [document.text for path in find([str(tmp_path)], ENDINGS) for document in Files(source).read(str(path), report)]
    assert found == [pages["a.html"]]
    assert report == {"documents": 1, "language_eng_Latn": 1, "extraction_timeout": 1}


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_file_cut_short_gives_what_is_whole(tmp_path: Path, packing: str) -> None:
    content = jsonl([{"text": f"Sentensi namba {n} ya jaribio, {n * 7919 % 1000}."} for n in range(20_000)])
    packed = gzip.compress(content) if packing == "gz" else zstandard.compress(content)
    path = tmp_path / f"cut.jsonl.{packing}"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    report: Counter[str] = Counter()
    found = documents(path, report)
    assert 5_000 < len(found) < 20_000
    assert [document.text for document in found[:3]] == [f"Sentensi namba {n} ya jaribio, {n * 7919 % 1000}." for n in range(3)]
    assert (report["files_cut"], report["broken_lines"], report["bad_json"]) == (1, 1, 0)


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_bomb_is_one_line_too_large(tmp_path: Path, packing: str) -> None:
    content = jsonl(LINES) + b" " * (100 << 20) + b"\n" + jsonl(LINES)
    (path := tmp_path / f"a.jsonl.{packing}").write_bytes({"gz": gzip.compress, "zst": zstandard.compress}[packing](content))
    report: Counter[str] = Counter()
    assert len(documents(path, report)) == 4
    assert report == {"documents": 4, "too_large": 1}


def test_broken_lines_are_counted_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "moja"}\nnot json\n[1]\n{"text": 5}\n\n{"text": "\xff mbili"}\n{"text": "tatu"}\n')
    report: Counter[str] = Counter()
    assert [document.text for document in documents(path, report)] == ["moja", "tatu"]
    assert (report["bad_json"], report["no_text"]) == (3, 1)


TEXT = "Aya ya kwanza,\nmstari wa pili.\n\n \nAya ya pili.\r\n\r\nAya ya tatu."


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("kind", "due"),
    [
        ("file", [TEXT.replace("\r", "")]),
        ("line", ["Aya ya kwanza,", "mstari wa pili.", "Aya ya pili.", "Aya ya tatu."]),
        ("paragraph", ["Aya ya kwanza,\nmstari wa pili.", "Aya ya pili.", "Aya ya tatu."]),
    ],
)
def test_plain_text_is_one_document_a_file_line_or_paragraph(tmp_path: Path, packing: str, kind: str, due: list[str]) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[packing]
    (path := tmp_path / f"a.txt{packing}").write_bytes(pack(b"\xef\xbb\xbf" + TEXT.encode()))
    report: Counter[str] = Counter()
    found = documents(path, report, kind)
    assert [document.text for document in found] == due
    assert len({document.url for document in found}) == len(due)
    assert report == {"documents": len(due)}


@pytest.mark.parametrize("packing", ["gz", "zst"])
@pytest.mark.parametrize("ending", ["jsonl", "txt"])
@pytest.mark.parametrize("hit", [0, 3, 9])
def test_damage_costs_the_member_that_it_is_in(tmp_path: Path, packing: str, ending: str, hit: int) -> None:
    pack = gzip.compress if packing == "gz" else zstandard.ZstdCompressor(write_checksum=True).compress
    texts = [f"Sentensi namba {n} ya jaribio, {n * 7919 % 1000}." for n in range(1000)]
    lines = jsonl([{"text": text} for text in texts]) if ending == "jsonl" else "".join(f"{t}\n" for t in texts).encode()
    rows = lines.splitlines(keepends=True)
    members = [bytearray(pack(b"".join(rows[start : start + 100]))) for start in range(0, 1000, 100)]
    place = len(members[hit]) // 2
    members[hit][place : place + 8] = bytes(8)
    (path := tmp_path / f"a.{ending}.{packing}").write_bytes(b"".join(members))
    report: Counter[str] = Counter()
    found = [document.text for document in documents(path, report, "line")]
    edge = hit == 0 and ending == "txt"  # nothing before the damage says that members begin with a line
    assert found == texts[: hit * 100] + texts[hit * 100 + 100 + edge :]
    assert (report["damaged_parts"], report["lost_bytes"], report["broken_lines"]) == (1, len(members[hit]), edge)


def test_rows_lost_in_a_damaged_parquet_file_are_counted(tmp_path: Path) -> None:
    texts = [f"Sentensi namba {n} ya jaribio, {n * 7919 % 1000}." for n in range(4000)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": texts}), path, row_group_size=1000, write_page_checksum=True, use_dictionary=False)
    place = pq.read_metadata(path).row_group(2).column(0).data_page_offset + 200
    content = bytearray(path.read_bytes())
    content[place : place + 30] = bytes(30)
    path.write_bytes(content)
    report: Counter[str] = Counter()
    found = [document.text for document in documents(path, report)]
    assert found == texts[:2000] + texts[3000:]
    assert (report["lost_rows"], report["damaged_parts"]) == (1000, 1)
    path.write_bytes(content[:-100])
    report = Counter()
    assert documents(path, report) == []
    assert report["unreadable_files"] == 1


def test_the_stage_accounts_for_every_row_and_names_a_source_without_documents(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([*LINES, LINES[0]]))
    (tmp_path / "b.jsonl").write_bytes(jsonl([{"text": "nyingine"}]))
    source = FilesSource(paths=[str(tmp_path / "*.jsonl")])
    folder, manifest = publish(crawl, tmp_path / "workspace", source)
    metrics = manifest["metrics"]
    assert (metrics["documents"], metrics["written"], metrics["repeated"]) == (4, 3, 1)
    assert len(rows(folder)) == 3
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(StageError, match=r"crawl\.files: .*/empty\.jsonl gave no documents"):
        publish(crawl, tmp_path / "other", FilesSource(paths=[str(tmp_path / "empty.jsonl")]))


def test_missing_files_are_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"nothing\.jsonl: no such file"):
        find([str(tmp_path / "nothing.jsonl")], ENDINGS)


def test_the_outside_input_is_the_content_of_the_files(tmp_path: Path) -> None:
    source = FilesSource(paths=[str(tmp_path)])
    (tmp_path / "a.jsonl").write_bytes(jsonl())
    before = identity(source, "2026-01")
    assert identity(source, "2026-02") == before
    (tmp_path / "a.jsonl").write_bytes(jsonl()[:-2] + b" }\n")
    assert identity(source, "2026-01") != before


def test_a_name_of_any_bytes_is_a_name(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("Habari za leo asubuhi")
    (tmp_path / os.fsdecode(b"mbovu\xff.jsonl")).write_text("hakuna\n")
    source = FilesSource.model_validate({"paths": [str(tmp_path)]})
    assert identity(source, "2026-11")
    _, manifest = publish(crawl, tmp_path / "w", source)
    found = rows(tmp_path / "w" / "test" / "crawl" / manifest["fingerprint"])
    assert [row["url"] for row in found] == ["file:caf\ufffd.txt#0"]


def test_what_systems_leave_beside_documents_is_no_document(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("a.jsonl", "b/a.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jsonl([{"text": f"habari {name}"}]))
    left = (
        "._a.jsonl",
        "__MACOSX/._a.jsonl",
        "__MACOSX/a.txt",
        ".git/a.txt",
        "~$a.txt",
        ".ipynb_checkpoints/a-checkpoint.jsonl",
    )
    for name in (*left, "Thumbs.db", ".DS_Store"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    _, manifest = publish(crawl, tmp_path / "workspace", FilesSource(paths=[str(folder)]))
    assert manifest["metrics"]["written"] == 2
    assert manifest["metrics"]["files_by_the_system"] == len(left)
    assert find([str(folder / "**" / "*.txt")], ENDINGS) == [folder / "b" / "a.txt"]
    assert find([str(folder / ".git")], ENDINGS) == [folder / ".git" / "a.txt"]  # it is named


def test_a_document_of_lost_letters_is_left_out_and_counted(tmp_path: Path) -> None:
    texts = ["Habari \ufffd za leo asubuhi ya kijijini kwetu.", "H\ufffdb\ufffdri z\ufffd l\ufffdo", "habari za leo"]
    (tmp_path / "a.jsonl").write_bytes(jsonl([{"text": text} for text in texts]))
    folder, manifest = publish(crawl, tmp_path / "workspace", FilesSource(paths=[str(tmp_path / "a.jsonl")]))
    assert [row["text"] for row in rows(folder)] == [texts[0], texts[2]]
    assert manifest["metrics"]["undecodable"] == 1


@pytest.mark.parametrize("key", ["text", "url", "title", "source", "license", "published_at", "nyingine"])
def test_half_a_letter_in_any_field_costs_itself(tmp_path: Path, key: str) -> None:
    lines = [json.dumps({"text": "habari ya kwanza", key: "nusu \ud83d herufi"}), json.dumps({"text": "habari ya pili"})]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    folder, manifest = publish(crawl, tmp_path / "workspace", FilesSource(paths=[str(tmp_path / "a.jsonl")]))
    assert manifest["metrics"]["written"] == 2
    assert manifest["metrics"].get("half_surrogates", 0) == (key != "nyingine")
    assert not any("\ud83d" in str(value) for row in rows(folder) for value in row.values())


@pytest.mark.parametrize(
    ("column", "due"),
    [
        (pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", "UTC")), "2023-11-14T22:13:20.123456+00:00"),
        (pa.array([0], pa.timestamp("us", "Africa/Nairobi")), "1970-01-01T00:00:00+00:00"),
        (pa.array([1_700_000_000_123], pa.timestamp("s")), None),
        (pa.array([-(2**52)], pa.timestamp("ms")), None),
        (pa.array([19_844], pa.date32()), "2024-05-01T00:00:00+00:00"),
        (pa.array([19_844 * 86_400_000], pa.date64()), "2024-05-01T00:00:00+00:00"),
        (pa.array(["2024-05-01"]), "2024-05-01T00:00:00+00:00"),
        (pa.array(["0001-01-01T00:00:00+14:00"]), None),
        (pa.array([1_700_000_000]), None),
        (pa.array([1], pa.duration("s")), None),
        (pa.nulls(1), None),
    ],
)
def test_a_time_is_read_or_null(tmp_path: Path, column: pa.Array, due: str | None) -> None:
    pq.write_table(pa.table({"text": ["habari"], "fetched_at": column}), tmp_path / "a.parquet")
    report: Counter[str] = Counter()
    (found,) = documents(tmp_path / "a.parquet", report)
    assert found.fetched_at == (datetime.fromisoformat(due) if due else None)


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.large_string(), pa.string_view(), pa.binary(6)], ids=str
)
def test_text_is_read_from_every_column_that_holds_bytes(tmp_path: Path, kind: pa.DataType) -> None:
    value = "habari" if "string" in str(kind) else b"habari"
    pq.write_table(pa.table({"text": pa.array([value], kind)}), tmp_path / "a.parquet")
    assert [document.text for document in documents(tmp_path / "a.parquet", Counter())] == ["habari"]
