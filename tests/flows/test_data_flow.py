"""The data stages on real text: the same bytes from any engine, and after kills at any moment; every document accounted for."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from flows.dag import build_corpus
from flows.run.build import Build
from flows.run.request import Request
from tests import REPOSITORY
from tests.flows.starter import fingerprints

FILES = (
    "african_storybook",
    "masakhanews_fewshot_train",
    "recrawl_older_versions",
    "zindi_news",
    "udhr",
    "CONTAMINATED_masakhanews",
)


def data_flow(config: Path, workspace: Path, bundle: Path, engine: str, workers: int) -> None:
    """From the files to the corpus."""
    settings = [f"runtime.engine={engine}", f"runtime.workers={workers}"]
    request = Request(str(config), evaluation=str(bundle / "eval"), snapshot="test", overrides=settings, workspace=workspace)
    build = Build(request, lambda label: contextlib.nullcontext(lambda done, total, unit: None))
    build_corpus(build.config, build.given, build)
    build._engine.close()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    """Swahili with one source, and so one shard, for each file."""
    path = tmp_path_factory.mktemp("config") / "swahili.yaml"
    files = [next((bundle / "raw" / "swahili").glob(f"{name}*")) for name in FILES]
    sources = [{"type": "files", "name": f"files-{number}", "paths": [str(file)]} for number, file in enumerate(files)]
    lines = (REPOSITORY / "lang_configs" / "swahili.yaml").read_text().splitlines()
    start, end = lines.index("crawl:"), lines.index("clean:")
    path.write_text("\n".join([*lines[:start], f"crawl: {json.dumps({'sources': sources})}", *lines[end:]]))
    return path


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory, config: Path, bundle: Path) -> Path:
    workspace = tmp_path_factory.mktemp("inline")
    data_flow(config, workspace, bundle, "inline", 1)
    return workspace


def test_every_document_is_kept_or_dropped_for_one_reason(inline: Path) -> None:
    decided = f"'{inline}/swahili/select/*/decisions.parquet'"
    crawled = f"'{inline}/swahili/crawl/*/*.parquet'"
    (rows,) = duckdb.sql(f"SELECT count(*), count(DISTINCT id), count(decision) FROM {decided}").fetchall()
    (raw,) = duckdb.sql(f"SELECT count(DISTINCT id) FROM {crawled}").fetchall()
    assert rows == (raw[0],) * 3
    reasons = dict(duckdb.sql(f"SELECT decision, count(*) FROM {decided} GROUP BY ALL").fetchall())
    assert sum(reasons.values()) == raw[0] > 2000
    assert reasons["contamination"] >= 713
    assert {"keep", "near_duplicate", "language"} <= set(reasons)
    corpus = duckdb.sql(f"SELECT count(*) FROM '{inline}/swahili/corpus/*/*.parquet'").fetchall()
    assert corpus == [(reasons["keep"],)]


@pytest.mark.parametrize(("engine", "workers"), [("processes", 2), pytest.param("dask", 2, marks=pytest.mark.slow)])
def test_every_engine_gives_the_same_bytes(
    inline: Path, tmp_path: Path, config: Path, bundle: Path, engine: str, workers: int
) -> None:
    data_flow(config, tmp_path, bundle, engine, workers)
    assert fingerprints(tmp_path) == fingerprints(inline)


@pytest.mark.slow
def test_killed_at_random_moments_it_gives_the_same_bytes(inline: Path, tmp_path: Path, config: Path, bundle: Path) -> None:
    given = ", ".join(f"Path({str(path)!r})" for path in (config, tmp_path, bundle))
    code = f"from pathlib import Path; from test_data_flow import data_flow; data_flow({given}, 'inline', 1)"
    command = [sys.executable, "-c", code]
    generator = random.Random(3)
    kills = 0
    for _ in range(10):
        process = subprocess.Popen(
            command, cwd=Path(__file__).parent, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, start_new_session=True
        )
        try:
            assert process.wait(timeout=generator.uniform(1.2, 3.2)) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills >= 5
    subprocess.run(command, cwd=Path(__file__).parent, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, check=True)
    assert fingerprints(tmp_path) == fingerprints(inline)
