"""Local files: every format is read, every broken one is counted, nothing that could be read is lost."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pipeline import publish, rows

from lang_configs.schema import FilesSource
from tasks.crawl import crawl, external
from tasks.crawl.files import find, read
from tasks.documents import Document
from tasks.stage import StageError

LINES = [
    {"text": "Mvua imenyesha usiku kucha.", "url": "https://example.org/1", "license": "CC0-1.0", "source": "gazeti"},
    {"text": "Samaki wamepanda bei sokoni.", "fetched_at": "2026-02-03T04:05:06+03:00"},
]


def documents(path: Path, report: Counter[str] | None = None) -> list[Document]:
    source = FilesSource(paths=[str(path)], license="CC-BY-4.0")
    return list(read(path, source, report if report is not None else Counter()))


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
    found = {path.name: documents(path, report) for path in find(FilesSource(paths=[str(tmp_path)]))}
    assert [document.text for document in found["a.parquet"]] == ["Habari za asubuhi"]
    assert found["b.txt"][0].text == "Aya ya kwanza.\n\nAya ya pili."
    assert "gunia la 8" in found["c.html"][0].text
    assert report["no_text"] == 1


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
    assert report["file_broken_off"] == 1


def test_broken_lines_are_counted_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "moja"}\nnot json\n[1]\n{"text": 5}\n\n{"text": "\xff mbili"}\n{"text": "tatu"}\n')
    report: Counter[str] = Counter()
    assert [document.text for document in documents(path, report)] == ["moja", "tatu"]
    assert (report["bad_json"], report["no_text"]) == (3, 1)


def test_the_stage_accounts_for_every_row_and_names_a_source_without_documents(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([*LINES, LINES[0]]))
    (tmp_path / "b.jsonl").write_bytes(jsonl([{"text": "nyingine"}]))
    source = FilesSource(paths=[str(tmp_path / "*.jsonl")])
    folder, manifest = publish(crawl, tmp_path / "workspace", source)
    metrics = manifest["metrics"]
    assert (metrics["documents"], metrics["written"], metrics["repeated"]) == (4, 3, 1)
    assert len(rows(folder)) == 3
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(StageError, match=r"crawl\.files: the source gave no documents"):
        publish(crawl, tmp_path / "other", FilesSource(paths=[str(tmp_path / "empty.jsonl")]))


def test_missing_files_are_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"nothing\.jsonl: no such file"):
        find(FilesSource(paths=[str(tmp_path / "nothing.jsonl")]))


def test_the_outside_input_is_the_content_of_the_files(tmp_path: Path) -> None:
    source = FilesSource(paths=[str(tmp_path)])
    (tmp_path / "a.jsonl").write_bytes(jsonl())
    before = external(source, "2026-01")
    assert external(source, "2026-02") == before
    (tmp_path / "a.jsonl").write_bytes(jsonl()[:-2] + b" }\n")
    assert external(source, "2026-01") != before
