from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lang_configs.sources import HubSource
from tasks.core.documents import Document
from tasks.core.errors import StageError
from tasks.crawl.sources.hub import Hub
from tests import REPOSITORY

ROWS = 5000


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three Parquet shards with the columns of FineWeb-2, some rows without text."""
    folder = tmp_path_factory.mktemp("fineweb")
    rows = [
        {
            "text": None
            if i % 1000 == 7
            else " \n"
            if i % 1000 == 8
            else f"Habari ya {i}: mvua imenyesha katika wilaya ya {i % 47}.",
            "url": f"https://habari.example/{i}",
            "date": f"2024-05-{i % 28 + 1:02d}T10:00:00Z",
            "language_score": 0.9,
        }
        for i in range(ROWS)
    ]
    for shard in range(3):
        pq.write_table(pa.Table.from_pylist(rows[shard::3]), folder / f"part-{shard}.parquet", row_group_size=300)
    return folder


def read(source: HubSource, state: Path) -> tuple[list[Document], Counter[str]]:
    report: Counter[str] = Counter()
    return list(Hub(source).documents(state, report)), report


def test_columns_are_mapped(dataset: Path, tmp_path: Path) -> None:
    source = HubSource(name="fineweb-2", dataset=str(dataset), fetched_at="date", license="ODC-By-1.0")
    found, report = read(source, tmp_path)
    assert report == {"documents": ROWS - 10, "no_text": 10}
    assert len({document.id for document in found}) == ROWS - 10
    assert found[0] == Document(
        text="Habari ya 0: mvua imenyesha katika wilaya ya 0.",
        source="fineweb-2",
        url="https://habari.example/0",
        license="ODC-By-1.0",
        fetched_at=datetime(2024, 5, 1, 10, tzinfo=UTC),
    )


def test_json_lines(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [{"maandishi": f"Hadithi ya {i}.", "kichwa": f"Hadithi {i}", "siku": "2021-03-04"} for i in range(30)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = HubSource(dataset=str(folder), text="maandishi", title="kichwa", published_at="siku", max_documents=20)
    found, report = read(source, tmp_path / "state")
    assert report == {"documents": 20}
    assert found[19] == Document(
        text="Hadithi ya 19.", source="hub", title="Hadithi 19", published_at=datetime(2021, 3, 4, tzinfo=UTC)
    )


def test_a_killed_crawl_goes_on_where_it_was(dataset: Path, tmp_path: Path) -> None:
    source = HubSource(dataset=str(dataset))
    whole, counts = read(source, tmp_path / "whole")
    code = """
import os, sys
from collections import Counter
from pathlib import Path
from lang_configs.sources import HubSource
from tasks.crawl import batches
from tasks.crawl.sources import hub
batches.BATCH_CHARACTERS = 40_000
for number, _ in enumerate(hub.Hub(HubSource(dataset=sys.argv[1])).documents(Path(sys.argv[2]), Counter())):
    if number == int(sys.argv[3]):
        os.kill(os.getpid(), 9)
"""
    state = tmp_path / "state"
    arguments = [sys.executable, "-c", code, str(dataset), str(state), "2900"]
    assert subprocess.run(arguments, cwd=REPOSITORY, timeout=100).returncode == -9
    assert len(list((state / "rows").glob("*.parquet"))) > 1
    kept = {path.name: path.stat().st_mtime_ns for path in (state / "rows").glob("*.parquet")}
    found, report = read(source, state)
    assert found == whole
    assert report == counts
    assert {name: (state / "rows" / name).stat().st_mtime_ns for name in kept} == kept  # not read again


def test_what_cannot_be_read_is_said_in_one_sentence(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "part.parquet").write_bytes(b"PAR1 siyo parquet PAR1")
    cases = [
        (HubSource(dataset=str(dataset), text="content"), "has no column 'content'; it has 'text', 'url'"),
        (HubSource(dataset=str(dataset), url="link"), "has no column 'link'"),
        (HubSource(dataset=str(dataset), split="test"), r"split 'test' of .* cannot be read"),
        (HubSource(dataset=str(broken)), "cannot be read"),
    ]
    for number, (source, message) in enumerate(cases):
        with pytest.raises(StageError, match=message) as raised:
            read(source, tmp_path / f"state-{number}")
        assert "\n" not in str(raised.value)
    monkeypatch.setenv("LUGHA_OFFLINE", "1")
    with pytest.raises(StageError, match="datasets/HuggingFaceFW/fineweb-2: offline"):
        read(HubSource(dataset="HuggingFaceFW/fineweb-2", config="swh_Latn"), tmp_path / "state")


def test_a_damaged_file_keeps_the_rows_before_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    good = "".join(json.dumps({"text": f"Habari {i} za leo asubuhi."}) + "\n" for i in range(100))
    (folder / "a.jsonl").write_text(good)
    (folder / "b.jsonl").write_text('{"text": "haina mwisho\n')
    report: Counter[str] = Counter()
    found: list[Document] = []
    with pytest.raises(StageError, match=r"row 100 of .* cannot be read"):
        found.extend(Hub(HubSource(dataset=str(folder))).documents(tmp_path / "state", report))
    assert report == {"documents": 100}
    (folder / "b.jsonl").write_text('{"text": "Sasa ni nzima."}\n')
    mended, report = read(HubSource(dataset=str(folder)), tmp_path / "state")
    assert report == {"documents": 101}
    assert mended[-1].text == "Sasa ni nzima."


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(*rows: dict[str, Any], schema: pa.Schema | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink)
    return sink.getvalue().to_pybytes()


KINDS: list[tuple[str, Callable[..., bytes]]] = [("jsonl", lines), ("parquet", table)]
CARD = b"""---
dataset_info:
  features: [{name: text, dtype: string}, {name: number, dtype: int64}]
configs: [{config_name: default, data_files: "part-*"}]
---
"""
DIFFERING: list[dict[str, Any]] = [
    {"text": "moja"},
    {"number": 3, "text": "mbili"},
    {"text": "tatu", "number": "iii"},
    {"meta": {"a": [1]}, "text": "nne", "number": 4.5},
    {"content": "tano"},
    {"text": "sita", "title": "Kichwa"},
]


@pytest.mark.parametrize("card", [True, False])
@pytest.mark.parametrize(("kind", "write"), KINDS)
@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(len(DIFFERING))))
def test_files_that_differ_are_read_by_the_names_of_their_columns(
    kind: str, write: Callable[..., bytes], card: bool, order: list[int]
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name) / "data"
        folder.mkdir()
        if card:
            (folder / "README.md").write_bytes(CARD)
        for place, number in enumerate(order):
            (folder / f"part-{place}.{kind}").write_bytes(write(DIFFERING[number]))
        found, report = read(HubSource(dataset=str(folder), title="title"), Path(name) / "state")
    due = [DIFFERING[number] for number in order]
    assert [(document.text, document.title) for document in found] == [
        (row["text"], row.get("title")) for row in due if "text" in row
    ]
    assert report["documents"] == 5
    assert (report["files_without_text"], report[f"files_without_text: part-{order.index(4)}.{kind}"]) == (1, 1)
    assert report["files_without_title"] == 5


def test_a_column_that_no_file_has_is_told_before_any_row_is_read(tmp_path: Path) -> None:
    for number, row in enumerate(DIFFERING):
        (tmp_path / f"{number}.parquet").write_bytes(table(row))
    state = tmp_path / "state"
    with pytest.raises(StageError, match=r"crawl\.hub\.title: .* has no column 'kichwa'; it has 'text', 'number', 'meta', "):
        read(HubSource(dataset=str(tmp_path), title="kichwa"), state)


def test_parts_of_one_file_may_differ(tmp_path: Path) -> None:
    many = [{"text": f"{number} " + "mvua " * 200, "number": number} for number in range(11_000)]  # more than is looked at
    (tmp_path / "a.jsonl").write_bytes(lines(*many, {"text": "mwisho", "number": "iii", "title": "Kichwa"}))
    found, report = read(HubSource(dataset=str(tmp_path)), tmp_path / "state")
    assert (report, found[-1].text) == ({"documents": 11_001}, "mwisho")


@pytest.mark.parametrize(
    ("kind", "write", "empty"),
    [("jsonl", lines, b""), ("jsonl", lines, b"\n"), ("parquet", table, table(schema=pa.schema({"text": pa.string()})))],
)
@pytest.mark.parametrize("place", ["a", "c", "e"])
def test_an_empty_file_among_others(kind: str, write: Callable[..., bytes], empty: bytes, place: str, tmp_path: Path) -> None:
    for name in ("b", "d"):
        (tmp_path / f"{name}.{kind}").write_bytes(write({"text": name}))
    (tmp_path / f"{place}.{kind}").write_bytes(empty)
    found, _ = read(HubSource(dataset=str(tmp_path)), tmp_path / "state")
    assert [document.text for document in found] == ["b", "d"]


def test_text_in_other_types_of_columns(tmp_path: Path) -> None:
    kinds = [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
    ]
    for number, kind in enumerate(kinds):
        text: str | bytes = "habari \ufffd" if "string" in str(kind) else b"habari \xff"
        (tmp_path / f"{number}.parquet").write_bytes(table({"text": text}, schema=pa.schema({"text": kind})))
    found, report = read(HubSource(dataset=str(tmp_path)), tmp_path / "state")
    assert (report, {document.text for document in found}) == ({"documents": len(kinds)}, {"habari \ufffd"})
