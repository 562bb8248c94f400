"""What a plan says of each source, without a download."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lang_configs.schema import Runtime
from lang_configs.sources import CommonCrawlSource, FilesSource, HubSource, Source, WebSource, WikipediaSource
from tasks.crawl import estimate
from tasks.net import download, rules
from tests import REPOSITORY
from tests.net.range_server import serve_files

REMOTE: list[Source] = [
    WikipediaSource(wiki="swwiki"),
    HubSource(preset="fineweb-2", config="swh_Latn"),
    CommonCrawlSource(crawl="CC-MAIN-2026-42", language="swa"),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(download, "BACK_OFF", 0.001)
    monkeypatch.delenv("LUGHA_OFFLINE", raising=False)
    yield
    rules.use(Runtime())


def test_a_dump_is_asked_for_its_size_only(tmp_path: Path) -> None:
    with serve_files() as server:
        server.files["swwiki-20261101-pages-articles.xml.bz2"] = bytes(5_000_000)
        source = WikipediaSource(wiki="swwiki", dump=f"{server.base}/swwiki-20261101-pages-articles.xml.bz2")
        server.errors["swwiki-20261101-pages-articles.xml.bz2"] = [503]
        assert estimate(source).bytes == 5_000_000
        assert server.sent == 0
        gone = estimate(WikipediaSource(wiki="swwiki", dump=f"{server.base}/hakuna.xml.bz2"))
        assert gone.bytes is None
        assert "there is no such file" in gone.what


def test_files_cost_nothing_and_sites_have_a_bound() -> None:
    assert estimate(FilesSource(paths=["a.jsonl"])).bytes == 0
    sites = estimate(WebSource(sites=["https://a.example/", "https://b.example/"], max_pages=50))
    assert (sites.bytes, sites.what) == (None, "at most 100 pages, of unknown size, of 2 sites")


@pytest.mark.parametrize("source", REMOTE, ids=lambda source: source.type)
def test_offline_it_is_unknown(source: Source) -> None:
    rules.use(Runtime(offline=True))
    assert estimate(source).bytes is None
    assert estimate(source).what == "unknown: offline"


@pytest.mark.slow
def test_the_command_line_shows_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from flows.cli import main; main()", "plan", "swahili", "--offline", "--json"]
    command += ["--workspace", str(tmp_path)]
    process = subprocess.run(command, cwd=REPOSITORY, env=dict(os.environ), capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    steps = {step["label"]: step["fetch"] for step in json.loads(process.stdout)}
    assert steps["crawl.wikipedia"] == {"bytes": None, "what": "unknown: offline"}
    assert steps["crawl.sites"]["what"].startswith("at most")
    assert steps["clean"] is None
