from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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


def test_files_that_differ_in_their_columns_are_named_as_the_cause(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.jsonl").write_text(json.dumps({"text": "habari"}) + "\n")
    (folder / "b.jsonl").write_text(json.dumps({"text": "habari", "number": 3}) + "\n")
    source = HubSource(dataset=str(folder), license="CC0-1.0")
    with pytest.raises(StageError, match="differ in their columns: choose those of one kind") as caught:
        list(Hub(source).documents(tmp_path / "state", Counter()))
    assert "network" not in str(caught.value)
