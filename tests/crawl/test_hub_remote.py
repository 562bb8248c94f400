"""A dataset read from a Hub that speaks the real protocol, in a process of its own: the endpoint is fixed at import."""

from __future__ import annotations

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
from hub_server import NEW, OLD, Hub, serve_hub

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
from lang_configs.schema import HubSource
from tasks.crawl import batches, hub
from tasks.crawl.estimate import estimate
from tasks.stage import StageError
batches.BATCH_CHARACTERS = 2_000
settings, state, stop = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
source = HubSource.model_validate(settings)
planned = estimate(source)
report, texts, error = Counter(), [], ""
try:
    for document in hub.documents(source, state, report):
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
    arguments = [sys.executable, "-c", RUN, json.dumps({"dataset": REPOSITORY} | settings), str(state), str(stop)]
    process = subprocess.run(
        arguments, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=120
    )
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
