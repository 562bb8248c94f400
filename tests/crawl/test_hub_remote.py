"""A dataset read from a Hub that speaks the real protocol, in a process of its own: the endpoint is fixed at import."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tests
from lang_configs.sources import HubSource
from tests.crawl.hub_server import NEW, OLD, Hub, serve_hub

REPOSITORY = "lugha/maandishi"
CARD = """---
configs:
- config_name: swh_Latn
  data_files:
  - {split: train, path: "data/swh_Latn/train/*"}
  - {split: test, path: "data/swh_Latn/test/*"}
- config_name: som_Latn
  data_files: [{split: train, path: "data/som_Latn/train/*"}]
---
"""


def shard(texts: list[str]) -> bytes:
    sink = pa.BufferOutputStream()
    rows = [{"text": text, "url": f"https://mfano.or.tz/{n}", "date": "2024-05-01T10:00:00Z"} for n, text in enumerate(texts)]
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=50)
    return sink.getvalue().to_pybytes()


def repository(word: str) -> dict[str, bytes]:
    files = {"README.md": CARD.encode(), "data/som_Latn/train/0.parquet": shard(["Soomaali"] * 500)}
    for part in range(3):
        texts = [f"{word} {part} {n}: mvua imenyesha." for n in range(200)]
        files[f"data/swh_Latn/train/{part:03d}_00000.parquet"] = shard(texts)
    files["data/swh_Latn/test/000_00000.parquet"] = shard(["jaribio"])
    return files


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serve_hub() as served:
        served.repositories[REPOSITORY] = {OLD: repository("Zamani"), NEW: repository("Sasa")}
        yield served


RUN = """
import json, os, sys
from collections import Counter
from pathlib import Path
from lang_configs.sources import HubSource
from tasks.crawl import batches
from tasks.crawl.sources import hub
from tasks.crawl import estimate
from tasks.core.errors import StageError
batches.BATCH_CHARACTERS, hub.BACK_OFF = 2_000, 0.01
settings, state, stop = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
source = HubSource.model_validate(settings)
planned = estimate(source)
report, texts, error = Counter(), [], ""
try:
    for document in hub.Hub(source).documents(state, report):
        texts.append(document.text)
        if len(texts) == stop:
            os.kill(os.getpid(), 9)
except StageError as raised:
    error = str(raised)
print(json.dumps({"planned": planned.bytes, "what": planned.what, "report": report, "texts": texts, "error": error}))
"""


def run(hub: Hub, settings: dict[str, Any], state: Path, stop: int = 0) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "LUGHA_"))}
    environment |= {"HF_ENDPOINT": hub.base, "HF_HOME": str(state.parent / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    arguments = [
        sys.executable,
        "-c",
        RUN,
        json.dumps(({} if "preset" in settings else {"dataset": REPOSITORY}) | settings),
        str(state),
        str(stop),
    ]
    process = subprocess.run(arguments, cwd=tests.REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)
    if stop:
        assert process.returncode == -9, process.stderr
        return {}
    assert process.returncode == 0, process.stderr
    result: dict[str, Any] = json.loads(process.stdout)
    return result


def test_a_configuration_is_planned_and_streamed_through_errors(hub: Hub, tmp_path: Path) -> None:
    hub.errors = [503, 500]
    result = run(hub, {"config": "swh_Latn", "fetched_at": "date"}, tmp_path / "state")
    assert result["error"] == ""
    assert result["report"] == {"documents": 600}
    assert result["texts"][0] == "Sasa 0 0: mvua imenyesha."
    sizes = [len(data) for name, data in hub.repositories[REPOSITORY][NEW].items() if "swh_Latn/train" in name]
    assert (result["planned"], result["what"]) == (sum(sizes), f"3 files of {REPOSITORY}")


def test_a_killed_crawl_goes_on_at_its_commit_in_its_shard(hub: Hub, tmp_path: Path) -> None:
    hub.repositories[REPOSITORY].pop(NEW)
    try:
        run(hub, {"config": "swh_Latn"}, tmp_path / "state", stop=450)
    finally:
        hub.repositories[REPOSITORY][NEW] = repository("Sasa")  # the branch moves on while the crawl rests
    hub.requests.clear()
    result = run(hub, {"config": "swh_Latn"}, tmp_path / "state")
    assert result["report"] == {"documents": 600}
    assert result["texts"] == [f"Zamani {part} {n}: mvua imenyesha." for part in range(3) for n in range(200)]
    read = [sum("GET" in line and f"train/{part:03d}_00000" in line for line in hub.requests) for part in range(3)]
    assert (read[:2], read[2] > 0) == ([0, 0], True)  # 450 documents are in the third


@pytest.mark.slow
@pytest.mark.parametrize("revision", [OLD, "main"])
def test_a_glob_of_files_at_a_revision(hub: Hub, tmp_path: Path, revision: str) -> None:
    settings = {"config": "swh_Latn", "files": "data/{config}/train/00[01]*.parquet", "revision": revision, "url": None}
    result = run(hub, settings | {"max_documents": 250}, tmp_path / "state")
    word = "Zamani" if revision == OLD else "Sasa"
    assert result["texts"][-1] == f"{word} 1 49: mvua imenyesha."
    assert result["what"] == f"2 files of {REPOSITORY}, of which 250 documents are read"


def test_what_the_hub_does_not_have_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    for number, settings in enumerate([{"dataset": "lugha/hakuna"}, {"config": "eng_Latn"}, {"revision": "9" * 40}]):
        result = run(hub, settings, tmp_path / f"state-{number}")
        assert "cannot be read" in result["error"]
        assert "\n" not in result["error"]
        assert result["planned"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "config", "path", "row"),
    [
        (
            "fineweb-2",
            "swh_Latn",
            "data/swh_Latn/train/0.parquet",
            {"text": "Habari\nza leo", "url": "https://a.tz/", "date": "2024-05-01T10:00:00Z"},
        ),
        ("madlad-400", "sw", "data/sw/sw_clean_0000.jsonl.gz", {"text": "Habari\\nza leo"}),
        ("glotcc", "swh-Latn", "v1.0/swh-Latn/swh-Latn_0.parquet", {"content": "Habari\nza leo", "language": "swh-Latn"}),
        (
            "culturax",
            "sw",
            "sw/sw_part_00000.parquet",
            {"text": "Habari\nza leo", "url": "https://a.tz/", "timestamp": "2020", "source": "mC4"},
        ),
        (
            "wikipedia",
            "20231101.sw",
            "20231101.sw/train-0.parquet",
            {"text": "Habari\nza leo", "url": "https://a.tz/", "title": "Habari"},
        ),
    ],
)
def test_presets_read_their_datasets(
    hub: Hub, tmp_path: Path, preset: str, config: str, path: str, row: dict[str, str]
) -> None:
    """Each in the layout and with the columns of the real one."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([row]), sink)
    data = gzip.compress(json.dumps(row).encode()) if path.endswith(".gz") else sink.getvalue().to_pybytes()
    card = (
        f"---\nconfigs:\n- config_name: {config}\n  data_files: '{Path(path).parent}/*'\n---\n"
        if preset in ("fineweb-2", "wikipedia")
        else "hakuna"
    )
    noisy = gzip.compress(b'{"text": "kelele"}')
    files = {"README.md": card.encode(), path: data, "data/sw/sw_noisy_0000.jsonl.gz": noisy}
    settings = {"preset": preset, "config": config}
    hub.repositories[HubSource.model_validate(settings).dataset] = {NEW: files}
    result = run(hub, settings, tmp_path / "state")
    assert (result["error"], result["texts"]) == ("", ["Habari\nza leo"])
    assert result["planned"] == len(data)
