"""A new kind of source is one class and its config: it is crawled, planned and checked like those of the tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

import lang_configs
from flows.run.build import Build
from flows.run.plan import Plan
from flows.run.progress import watch
from flows.run.request import Request
from lang_configs.sources import Name, SourceConfig, WebSource, kinds
from tasks.core.errors import StageError
from tasks.crawl.sources import make_source, register
from tasks.crawl.sources.web import Web
from tests import REPOSITORY
from tests.crawl.letters import Letters, LettersSource
from tests.net.range_server import FileServer
from tests.pipeline import rows

HEAD = "name: Sheng\ncode: shg\nscript: Latn\nruntime: {engine: inline}\ncrawl:\n  sources:\n"


@pytest.fixture
def language(server: FileServer, tmp_path: Path) -> Path:
    server.files = {"a.txt": b"Barua ya kwanza.", "b.txt": b"Barua ya pili, ndefu zaidi."}
    path = tmp_path / "sheng.yaml"
    path.write_text(HEAD + f"  - type: letters\n    name: barua\n    addresses: [{server.base}/a.txt, {server.base}/b.txt]\n")
    return path


def test_it_is_loaded_planned_and_crawled(language: Path, server: FileServer, tmp_path: Path) -> None:
    (source,) = lang_configs.load(str(language)).crawl.sources
    assert source == LettersSource(name="barua", addresses=[f"{server.base}/a.txt", f"{server.base}/b.txt"])
    request = Request(str(language), workspace=tmp_path / "workspace", snapshot="2026-11", until="crawl")
    prospect = next(step for step in Plan(request).all() if step.label == "crawl.barua")
    assert prospect.fetch is not None
    assert (prospect.fetch.bytes, prospect.fetch.what) == (43, "2 letters")
    assert server.sent == 0
    (result,) = Build(request, watch).all().values()
    assert (result.label, result.metrics["documents"], result.metrics["written"]) == ("crawl.barua", 2, 2)
    assert [row["text"] for row in rows(result.folder)] == ["Barua ya kwanza.", "Barua ya pili, ndefu zaidi."]
    assert Build(request, watch).all()["crawl.barua"].reused
    assert "--snapshot 2026-11" in request.resolve()[1].command


MISTAKES = {
    "  - {type: letters, adresses: [a]}\n": ':7: crawl.sources[0].adresses: unknown key, did you mean "addresses"?',
    "  - {type: letters, addresses: []}\n": ":7: crawl.sources[0].addresses: list should have at least 1 item",
    "  - type: letters\n    addresses: [a]\n    name: Barua\n": ":9: crawl.sources[0].name: 'Barua' does not look right",
    "  - {type: leters, addresses: [a]}\n": ":7: crawl.sources[0].type: 'leters' is not possible, did you mean \"letters\"?",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items(), ids=["key", "empty", "name", "type"])
def test_mistakes_in_its_keys_are_one_line_each(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "sheng.yaml").write_text(HEAD + text)
    with pytest.raises(lang_configs.ConfigError) as caught:
        lang_configs.load(str(tmp_path / "sheng.yaml"))
    (line,) = str(caught.value).splitlines()
    assert f"sheng.yaml{message}" in line


def test_its_pages_may_stand_in_the_starter_too(language: Path, tmp_path: Path) -> None:
    language.write_text(HEAD.partition("crawl:")[0] + "starter:\n  - {type: letters, addresses: [a]}\n")
    config = lang_configs.load(str(language), "starter")
    assert config.crawl.sources == config.starter == [LettersSource(addresses=["a"])]
    assert config.model_dump()["starter"] == [LettersSource(addresses=["a"]).model_dump()]


def test_a_kind_has_one_class() -> None:
    before = kinds()
    register(Letters)
    assert kinds() == before

    class Sites(SourceConfig):
        type: Literal["web"] = "web"
        name: Name = "sites"

    class Nameless(SourceConfig):
        name: Name = "nameless"

    class Orphan(SourceConfig):
        type: Literal["orphan"] = "orphan"
        name: Name = "orphan"

    with pytest.raises(ValueError, match=r"'web' is the type of lang_configs.sources.WebSource already"):
        register(type("OtherWeb", (Web,), {"model": Sites}))
    with pytest.raises(TypeError, match="Nameless: fix the kind"):
        register(type("None", (Web,), {"model": Nameless}))
    assert kinds() == before
    assert type(make_source(WebSource(sites=["https://mfano.or.tz/"]))) is Web
    with pytest.raises(StageError, match=r"crawl.orphan: no class reads sources of the type 'orphan'"):
        make_source(Orphan())


def test_a_source_of_the_tree_is_imported_when_it_is_needed() -> None:
    code = (
        "import sys, tasks.crawl; from lang_configs.sources import StarterSource; before = set(sys.modules); "
        "tasks.crawl.identity(StarterSource(), ''); new = {m for m in set(sys.modules) - before if 'crawl.sources' in m}; "
        "print(*sorted(new))"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    names = ("local_files", "starter", "web")
    assert process.stdout.split() == [f"tasks.crawl.sources.{name}" for name in names]
