"""Whatever is wrong outside ends in one sentence with the address in it, and what has come so far is kept."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tests
from lang_configs.sources import CommonCrawlSource, FilesSource, SourceConfig, WarcSource, WebSource, WikipediaSource
from tasks.core.errors import StageError
from tasks.core.stage import Step, Work, execute
from tasks.crawl import CRAWL, crawl, identity
from tasks.net import download, fetch
from tests.crawl.hub_server import NEW, Hub, serve_hub
from tests.crawl.loopback import closed_port
from tests.crawl.scripted_site import Reply, Site
from tests.crawl.test_common_crawl import CRAWL as NAME
from tests.crawl.test_common_crawl import INDEX, PATHS, WARC, archive
from tests.crawl.test_hub_remote import repository
from tests.crawl.test_wikipedia import dump, many
from tests.net.range_server import FileServer

LOGIN = b"<html><body><form>Ingia kwenye mtandao huu kwanza</form></body></html>"
"""What the access point of a hotel answers in place of anything."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (download, fetch):
        monkeypatch.setattr(module, "ATTEMPTS", 2)
        monkeypatch.setattr(module, "BACK_OFF", 0.001)
    public = fetch.is_public
    monkeypatch.setattr(fetch, "is_public", lambda address, allow_loopback=False: public(address, True))


def sentence(source: SourceConfig, out: Path) -> str:
    """How the crawl of a source ends."""
    out.mkdir(parents=True, exist_ok=True)
    with pytest.raises(StageError) as caught:
        crawl({}, source, out, Work())
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


# --- hosts ------------------------------------------------------------------------------------------------------------

HOSTS = {
    "refused": lambda: f"http://127.0.0.1:{closed_port()}",
    "unknown": lambda: "http://hakuna.invalid",
    "no TLS": lambda: "https://127.0.0.1:{port}",
    "silent": lambda: "http://127.0.0.1:{silent}",
}


@pytest.fixture(params=HOSTS)
def gone(request: pytest.FixtureRequest, server: FileServer) -> Iterator[str]:
    """The address of a host that cannot be talked to."""
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def hang_up() -> None:
            with contextlib.suppress(OSError):  # until it is shut down
                while True:
                    silent.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        yield HOSTS[request.param]().format(port=server.base.rpartition(":")[2], silent=silent.getsockname()[1])
        silent.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("kind", ["wikipedia", "common_crawl", "web"])
def test_a_host_that_cannot_be_reached(gone: str, kind: str, tmp_path: Path) -> None:
    sources: dict[str, SourceConfig] = {
        "wikipedia": WikipediaSource(wiki="swwiki", dump=f"{gone}/swwiki.xml.bz2"),
        "common_crawl": CommonCrawlSource(crawl=NAME, language="swa", base=gone),
        "web": WebSource(sites=[f"{gone}/habari/"], delay=0),
    }
    message = sentence(sources[kind], tmp_path)
    assert gone in message
    assert "check the" in message


# --- files ------------------------------------------------------------------------------------------------------------

STATUSES = {401: "refuses access", 403: "refuses access", 404: "no such file", 410: "no such file", 418: "status 418"}
STATUSES |= {500: "HTTP status 500", 503: "HTTP status 503"}


@pytest.mark.parametrize(("status", "expected"), STATUSES.items())
def test_a_dump_that_the_server_does_not_give(server: FileServer, tmp_path: Path, status: int, expected: str) -> None:
    address = f"{server.base}/swwiki.xml.bz2"
    server.errors["swwiki.xml.bz2"] = [status] * 9
    message = sentence(WikipediaSource(wiki="swwiki", dump=address), tmp_path)
    assert message.startswith(address)
    assert expected in message


PACKED = bz2.compress(dump(many(300)).encode())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "this is no dump of a wiki"),
        (LOGIN, "this is no dump of a wiki"),
        (gzip.compress(dump().encode()), "this is no dump of a wiki"),
        (PACKED[:40], "this is no dump of a wiki"),
        (b"BZh9" + b"\0" * 500, "this is no dump of a wiki"),
        (bz2.compress(b"<mediawiki></mediawiki>"), "gave no documents (nothing); open it"),
    ],
    ids=["empty", "login", "gzip", "cut", "damaged", "no pages"],
)
def test_a_dump_that_is_none(server: FileServer, tmp_path: Path, content: bytes, expected: str) -> None:
    server.files["swwiki.xml.bz2"] = content
    source = WikipediaSource(wiki="swwiki", dump=f"{server.base}/swwiki.xml.bz2")
    message = sentence(source, tmp_path)
    assert server.base in message
    assert expected in message
    if "no dump" in expected:  # once the access point lets through, the same command goes on
        server.files["swwiki.xml.bz2"] = PACKED
        assert crawl({}, source, tmp_path, Work())["documents"] == 300


def test_a_dump_with_another_checksum(server: FileServer, tmp_path: Path) -> None:
    server.files["swwiki.xml.bz2"] = PACKED
    address = f"{server.base}/swwiki.xml.bz2"
    assert f"{address}: the file has SHA-256" in sentence(
        WikipediaSource(wiki="swwiki", dump=address, sha256="0" * 64), tmp_path
    )
    good = WikipediaSource(wiki="swwiki", dump=address, sha256=hashlib.sha256(PACKED).hexdigest())
    assert crawl({}, good, tmp_path, Work())["documents"] == 300


@pytest.mark.parametrize("address", ["http://[::1/x", "http://a..b/x", "http:///x", "https://a b/x", "http://a:99999/x"])
def test_an_address_that_is_none(tmp_path: Path, address: str) -> None:
    assert address in sentence(WikipediaSource(wiki="swwiki", dump=address), tmp_path)
    assert address in sentence(CommonCrawlSource(crawl=NAME, language="swa", base=address), tmp_path / "cc")
    assert address in sentence(WebSource(sites=[address], delay=0), tmp_path / "web")


@pytest.mark.parametrize("pattern", ["hakuna/*.jsonl", "a**b/*.txt", "~mtu-asiyekuwepo/x", "nul\0nul"])
def test_local_paths_that_name_nothing(tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tupu").mkdir()
    monkeypatch.chdir(tmp_path / "tupu")
    for number, source in enumerate((FilesSource(paths=[pattern]), WarcSource(paths=[pattern]))):
        assert sentence(source, tmp_path / str(number)).startswith(f"{pattern}:")
        with pytest.raises(StageError):
            identity(source, "2026-11")


# --- Common Crawl -----------------------------------------------------------------------------------------------------

BREAK: dict[str, Callable[[FileServer], object]] = {
    "no such crawl": lambda server: server.files.pop(PATHS),
    "list refused": lambda server: server.errors.update({PATHS: [403]}),
    "list cut": lambda server: server.files.update({PATHS: server.files[PATHS][:30]}),
    "list empty": lambda server: server.files.update({PATHS: b""}),
    "login for list": lambda server: server.files.update({PATHS: LOGIN}),
    "list of nothing": lambda server: server.files.update({PATHS: gzip.compress(b"a/subset=robotstxt/b")}),
    "no index": lambda server: server.files.pop(INDEX.format("warc", 0)),
    "index gone": lambda server: server.errors.update({INDEX.format("warc", 0): [200, 410]}),
    "index broken": lambda server: server.files.update({INDEX.format("warc", 0): b"PAR1 siyo parquet PAR1"}),
    "index empty": lambda server: server.files.update({INDEX.format("warc", 0): b""}),
    "login for index": lambda server: server.files.update({INDEX.format("warc", 0): LOGIN * 9}),
    "index fails": lambda server: server.errors.update({INDEX.format("warc", 0): [500] * 9}),
    "pages refused": lambda server: server.errors.update({WARC.format(0): [403]}),
    "pages fail": lambda server: server.errors.update({WARC.format(1): [500] * 99}),
    "no ranges": lambda server: setattr(server, "ranges", False),
}


@pytest.mark.parametrize("what", BREAK)
def test_common_crawl_that_cannot_be_read(server: FileServer, tmp_path: Path, what: str) -> None:
    server.files = archive()
    BREAK[what](server)
    source = CommonCrawlSource(crawl=NAME, language="swa", base=server.base, languages=[])
    assert server.base in sentence(source, tmp_path)
    server.files, server.ranges = archive(), True
    server.errors.clear()
    assert crawl({}, source, tmp_path, Work())["documents"] == 38


def test_pages_that_have_come_are_kept_when_the_next_are_refused(server: FileServer, tmp_path: Path) -> None:
    server.files = archive()
    server.errors[INDEX.format("warc", 1)] = [403]
    source = CommonCrawlSource(crawl=NAME, language="swa", base=server.base, languages=[])
    step = Step(CRAWL, source, external="2026-10")
    with pytest.raises(StageError, match="refuses access"):
        execute(step, tmp_path, "swahili", Work())
    first = [name for name, _ in server.requests if name.endswith(".warc.gz")]
    server.requests.clear()
    assert execute(step, tmp_path, "swahili", Work()).metrics["documents"] == 38
    assert len([name for name, _ in server.requests if name.endswith(".warc.gz")]) == 38 - len(first)
    assert not any(name == INDEX.format("warc", 0) for name, _ in server.requests)


# --- sites ------------------------------------------------------------------------------------------------------------

SITES: dict[str, Callable[[Site], object]] = {
    "http_404": lambda site: None,
    "http_403": lambda site: site.routes.update({"/": Reply(403)}),
    "http_410": lambda site: site.routes.update({"/": Reply(410)}),
    "http_500": lambda site: site.routes.update({"/": Reply(500)}),
    "http_401": lambda site: site.routes.update({"/": Reply(401)}),
    "no_text": lambda site: site.routes.update({"/": Reply()}),
    "wrong_type": lambda site: site.routes.update({"/": Reply(body=b"{}", headers={"Content-Type": "application/json"})}),
    "redirect_out_of_scope": lambda site: site.routes.update({"/": Reply(302, headers={"Location": "https://ingia.example/"})}),
    "robots_unreachable": lambda site: site.routes.update({"/robots.txt": Reply(503)}),
    "disallowed_by_robots": lambda site: site.routes.update({"/robots.txt": Reply(body=b"User-agent: *\nDisallow: /")}),
    "failed": lambda site: site.routes.update({"/": Reply(body=b"kata", cut=True)}),
}


@pytest.mark.parametrize("outcome", SITES)
def test_a_site_that_gives_nothing(site: Site, tmp_path: Path, outcome: str) -> None:
    SITES[outcome](site)
    message = sentence(site.source(), tmp_path)
    assert site.base in message
    assert outcome in message


# --- the Hub ----------------------------------------------------------------------------------------------------------

RUN = """
import json, sys
from pathlib import Path
from lang_configs.sources import HubSource
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.crawl import crawl, estimate
from tasks.crawl.sources import hub
import datasets
hub.BACK_OFF, hub.ATTEMPTS = 0.001, 2
datasets.config.STREAMING_READ_MAX_RETRIES, datasets.config.STREAMING_READ_RETRY_INTERVAL = 1, 0.001
ends = {}
for name, settings in json.loads(sys.argv[1]).items():
    out = Path(sys.argv[2]) / name.replace(" ", "-")
    out.mkdir(parents=True, exist_ok=True)
    source = HubSource.model_validate(settings)
    planned = estimate(source)
    try:
        ends[name] = ["documents", str(crawl({}, source, out, Work())["documents"]), planned.what]
    except Exception as error:
        ends[name] = ["StageError" if isinstance(error, StageError) else type(error).__name__, str(error), planned.what]
print(json.dumps(ends))
"""


def ends(endpoint: str, settings: dict[str, dict[str, str]], folder: Path) -> dict[str, list[str]]:
    """How the crawl of each dataset ends: the class of the error, its sentence, and the words of the estimate."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "LUGHA_"))}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", RUN, json.dumps(settings), str(folder / "crawls")]
    process = subprocess.run(command, cwd=tests.REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    found: dict[str, list[str]] = json.loads(process.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serve_hub() as served:
        good = repository("Habari")
        served.repositories = {"lugha/maandishi": {NEW: good}, "lugha/nusu": {NEW: dict(good)}, "lugha/tupu": {NEW: {}}}
        served.repositories["lugha/nusu"][NEW]["data/swh_Latn/train/001_00000.parquet"] = LOGIN * 30
        gated = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this dataset is restricted."}
        served.faults = {
            "lugha/siri": (401, gated, b'{"error": "gated"}'),
            "lugha/kataa": (403, {}, b"{}"),
            "lugha/ingia": (200, {"Content-Type": "text/html"}, LOGIN),
            "lugha/busy": (503, {}, b""),
            "lugha/kosa": (500, {}, b"Internal Server Error"),
            "lugha/mbovu": (200, {"Content-Type": "application/json"}, b'{"sha": ['),
            "lugha/ajabu": (200, {"Content-Type": "application/json"}, b"[1, 2]"),
        }
        yield served


HUB = {
    "no dataset": {"dataset": "lugha/hakuna"},
    "no config": {"dataset": "lugha/maandishi", "config": "eng_Latn"},
    "no split": {"dataset": "lugha/maandishi", "config": "swh_Latn", "split": "zamani"},
    "no revision": {"dataset": "lugha/maandishi", "config": "swh_Latn", "revision": "9" * 40},
    "no files": {"dataset": "lugha/maandishi", "files": "hakuna/*.parquet"},
    "no name": {"dataset": "sio jina/la/kweli!"},
    "empty": {"dataset": "lugha/tupu"},
    "gated": {"dataset": "lugha/siri"},
    "refused": {"dataset": "lugha/kataa"},
    "login page": {"dataset": "lugha/ingia"},
    "busy": {"dataset": "lugha/busy"},
    "fails": {"dataset": "lugha/kosa"},
    "half an answer": {"dataset": "lugha/mbovu"},
    "odd answer": {"dataset": "lugha/ajabu"},
    "one file broken": {"dataset": "lugha/nusu", "config": "swh_Latn"},
}


@pytest.mark.slow
def test_a_dataset_that_the_hub_does_not_give(hub: Hub, tmp_path: Path) -> None:
    found = ends(hub.base, HUB, tmp_path)
    for name, settings in HUB.items():
        kind, message, planned = found[name]
        assert (name, kind) == (name, "StageError"), message
        assert f"{hub.base}/datasets/{settings['dataset']}" in message
        assert "\n" not in message
        assert planned.startswith("unknown: ") or name in ("no split", "one file broken"), name
    assert "hf auth login" in found["gated"][1]
    hub.repositories["lugha/nusu"] = hub.repositories["lugha/maandishi"]
    hub.requests.clear()
    assert ends(hub.base, {"one file broken": HUB["one file broken"]}, tmp_path)["one file broken"][:2] == ["documents", "600"]


@pytest.mark.parametrize("host", ["refused", "unknown", "no TLS"])
def test_a_hub_that_is_down(hub: Hub, tmp_path: Path, host: str) -> None:
    endpoint = HOSTS[host]().format(port=hub.base.rpartition(":")[2])
    kind, message, planned = ends(endpoint, {"down": {"dataset": "lugha/maandishi"}}, tmp_path)["down"]
    assert (kind, planned.startswith("unknown: ")) == ("StageError", True), message
    assert f"{endpoint}/datasets/lugha/maandishi" in message
    assert "\n" not in message
