"""A second crawl of the same sites: conditional requests, versions of changed pages, and what is left beside the text."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from lang_configs.sources import WebSource
from tasks.core.documents import Document, document_id
from tasks.core.errors import StageError
from tasks.core.manifest import MANIFEST
from tasks.core.stage import Manifest, Output, Step, Work, execute
from tasks.crawl import CRAWL
from tasks.crawl.sources import starter, web
from tasks.net import fetch
from tests.crawl.scripted_site import Reply, Request, Site


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    public = fetch.is_public
    monkeypatch.setattr(fetch, "is_public", lambda address, allow_loopback=False: public(address, True))


class Magazine:
    """A site of some pages with a sitemap, which answers conditional requests and counts what it sends."""

    def __init__(self, site: Site, pages: int = 12) -> None:
        self.site, self.pages, self.sent, self.statuses = site, pages, 0, list[int]()
        for number in range(pages):
            self.write(number, "kwanza")
        urls = "".join(f"<url><loc>/{number}.html</loc></url>" for number in range(pages))
        self.put("/sitemap.xml", f"<urlset>{urls}</urlset>".encode(), "application/xml")

    def write(self, number: int, edition: str) -> None:
        self.site.page(
            f"/{number}.html",
            f"/{number + 1}.html" if number < self.pages - 1 else "/0.html",
            text=f"Habari {number}, toleo la {edition}. " * 60,
        )
        page = self.site.routes[f"/{number}.html"]
        assert isinstance(page, Reply)
        self.put(f"/{number}.html", page.body, "text/html; charset=utf-8")

    def put(self, path: str, body: bytes, kind: str) -> None:
        tag = f'"{hashlib.sha256(body).hexdigest()[:12]}"'

        def answer(request: Request) -> Reply:
            same = request.headers.get("if-none-match") == tag
            reply = Reply(304, b"", {"ETag": tag}) if same else Reply(200, body, {"ETag": tag, "Content-Type": kind})
            self.statuses.append(reply.status)
            self.sent += len(reply.body)
            return reply

        self.site[path] = answer

    def count(self) -> tuple[int, list[int]]:
        sent, statuses = self.sent, self.statuses
        self.sent, self.statuses = 0, []
        return sent, statuses


def run(workspace: Path, source: WebSource, snapshot: str) -> tuple[Output, Manifest, bool]:
    result = execute(Step(CRAWL, source, external=snapshot), workspace, "swahili", Work())
    assert result.record is not None
    return result, result.record, result.reused


def texts(output: Output) -> dict[str, dict[str, Any]]:
    import pyarrow.parquet as pq

    rows = [row for path in sorted(output.folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return {row["url"]: row for row in rows}


def addresses(output: Output) -> dict[str, dict[str, Any]]:
    with gzip.open(output.folder / "addresses.jsonl.gz", "rt", encoding="utf-8") as lines:
        return {row["url"]: row for row in map(json.loads, lines)}


def records(output: Output) -> Iterator[Any]:
    for path in sorted((output.folder / "warc").iterdir()):
        for record in ArchiveIterator(BytesIO(path.read_bytes()), parse_http=False):
            yield record.record_type, dict(record.headers), record.reader.read()


def test_a_refresh_fetches_only_what_changed_and_is_whole_again(site: Site, tmp_path: Path) -> None:
    magazine = Magazine(site, 60)
    source = site.source("/0.html")
    first, manifest, _ = run(tmp_path, source, "2026-10")
    assert manifest["metrics"]["base"] is None
    assert manifest["metrics"]["written"] == 60
    whole, _ = magazine.count()

    second, manifest, _ = run(tmp_path, source, "2026-11")
    sent, statuses = magazine.count()
    assert len(statuses) == 61
    assert statuses.count(304) >= 0.95 * len(statuses)
    assert sent <= 0.02 * whole
    assert texts(second) == texts(first)
    assert manifest["metrics"]["not_modified"] == 60
    entries = json.loads((first.folder / MANIFEST).read_text())["files"]
    record = next(entry for entry in entries if entry["path"] == "addresses.jsonl.gz")
    assert manifest["metrics"]["base"]["addresses"] == record["sha256"]

    magazine.write(7, "pili")
    del site.routes["/9.html"]
    third, manifest, _ = run(tmp_path, source, "2026-12")
    assert magazine.count()[1].count(200) == 1
    old, new, url = texts(first), texts(third), f"{site.base}/7.html"
    assert new.keys() == old.keys() - {f"{site.base}/9.html"}
    assert "pili" in new[url]["text"]
    versions = addresses(third)[url]["versions"]
    assert [version["id"] for version in versions] == [old[url]["id"].hex(), new[url]["id"].hex()]
    assert [len(row.get("versions", [])) for row in addresses(third).values()].count(2) == 1
    assert addresses(third)[f"{site.base}/9.html"]["outcome"] == "http_404"

    assert run(tmp_path, source, "2026-11")[2]
    assert magazine.count() == (0, [])


def test_a_refresh_that_is_interrupted_goes_on(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Magazine(site)
    first, _, _ = run(tmp_path, site.source("/0.html"), "2026-10")
    site.log.clear()
    unchanged, left = web.Frontier.unchanged, iter(range(6))

    def interrupted(self: web.Frontier, entry: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        unchanged(self, entry)

    monkeypatch.setattr(web.Frontier, "unchanged", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, site.source("/0.html"), "2026-11")
    monkeypatch.setattr(web.Frontier, "unchanged", unchanged)
    in_flight = site.paths()[-1]
    second, manifest, _ = run(tmp_path, site.source("/0.html"), "2026-11")
    assert texts(second) == texts(first)
    assert manifest["metrics"]["base"] and manifest["metrics"]["not_modified"] == 12
    assert {path for path, times in Counter(site.pages()).items() if times > 1} == {in_flight}


def test_without_the_cache_everything_is_fetched_again(site: Site, tmp_path: Path) -> None:
    magazine = Magazine(site)
    first, _, _ = run(tmp_path, site.source("/0.html"), "2026-10")
    magazine.count()
    state = first.folder.parent / ".cache" / "web" / "web.sqlite"
    state.write_bytes(b"imeharibika" * 500)
    second, manifest, _ = run(tmp_path, site.source("/0.html"), "2026-11")
    assert magazine.count()[1] == [200] * 13
    assert manifest["metrics"]["base"] is None
    assert texts(second).keys() == texts(first).keys()


def test_a_page_that_cannot_be_had_keeps_its_earlier_version(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)
    Magazine(site)
    first, _, _ = run(tmp_path, site.source("/0.html"), "2026-10")
    site["/5.html"] = Reply(500)
    site["/6.html"] = Reply(404)
    second, manifest, _ = run(tmp_path, site.source("/0.html"), "2026-11")
    assert manifest["metrics"]["stale"] == 1
    assert texts(second)[f"{site.base}/5.html"] == texts(first)[f"{site.base}/5.html"]
    assert f"{site.base}/6.html" not in texts(second)
    site["/robots.txt"] = Reply(500)
    third, manifest, _ = run(tmp_path, site.source("/0.html"), "2026-12")
    assert manifest["metrics"]["stale"] == 11
    assert texts(third) == texts(second)


def test_a_refresh_of_other_sites_asks_for_nothing_outside_of_them(site: Site, tmp_path: Path) -> None:
    site.page("/", "/sw/", "/en/")
    site.page("/en/", "/en/a")
    site.page("/en/a")
    site.page("/sw/", "/sw/a")
    site.page("/sw/a")
    run(tmp_path, site.source("/"), "2026-10")
    site.log.clear()
    output, manifest, _ = run(tmp_path, site.source("/sw/"), "2026-10")
    assert manifest["metrics"]["base"]
    assert sorted(site.pages()) == ["/sw/", "/sw/a"]
    assert texts(output).keys() == {f"{site.base}/sw/", f"{site.base}/sw/a"}


def test_addresses_that_led_nowhere_are_asked_again_only_if_a_new_page_points_to_them(site: Site, tmp_path: Path) -> None:
    site.page("/", "/haipo", "/picha", "/nje")
    site["/picha"] = Reply(body=b"x", headers={"Content-Type": "image/png"})
    site["/nje"] = Reply(301, headers={"Location": "https://nyingine.tz/"})
    run(tmp_path, site.source("/"), "2026-10")
    site.log.clear()
    site.page("/", "/picha")
    run(tmp_path, site.source("/"), "2026-11")
    assert site.pages() == ["/", "/picha"]


@pytest.mark.slow
def test_real_sites_are_not_sent_again(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(bundle / "html" / "sites.tar.gz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # not before Python 3.11.4, as Debian 12 has it
        archive.extractall(tmp_path / "tovuti")
    pages = sorted(path.relative_to(tmp_path / "tovuti").as_posix() for path in (tmp_path / "tovuti").rglob("*.html"))
    urls = "".join(f"<url><loc>/{page}</loc></url>" for page in pages)
    (tmp_path / "tovuti" / "sitemap.xml").write_text(f"<urlset>{urls}</urlset>")
    statuses: Counter[int] = Counter()
    send = starter._Pages.send_response

    def counted(self: starter._Pages, code: int, message: str | None = None) -> None:
        statuses[code] += 1
        send(self, code, message)

    monkeypatch.setattr(starter._Pages, "send_response", counted)
    with starter.serve(tmp_path / "tovuti") as base:
        source = WebSource(sites=[f"{base}/"], delay=0)
        first, manifest, _ = run(tmp_path, source, "2026-10")
        assert statuses[200] == manifest["metrics"]["warc_responses"] + 1 > len(pages)  # and the sitemap
        before, _ = statuses[200], statuses.clear()
        second, manifest, _ = run(tmp_path, source, "2026-11")
    assert statuses[200] == 0
    assert statuses[304] == before >= 0.95 * statuses.total()
    assert manifest["metrics"]["warc_revisits"] == before - 1
    assert texts(second) == texts(first)


def test_a_new_wish_counts_even_for_a_page_that_did_not_change(site: Site, tmp_path: Path) -> None:
    Magazine(site)
    run(tmp_path, site.source("/0.html"), "2026-10")
    page = site.routes["/5.html"]
    assert not isinstance(page, Reply)

    def answer(request: Request) -> Reply:
        reply = page(request)
        return Reply(reply.status, reply.body, reply.headers | {"X-Robots-Tag": "noai"})

    site["/5.html"] = answer
    output, manifest, _ = run(tmp_path, site.source("/0.html"), "2026-11")
    assert manifest["metrics"]["noai"] == 1
    assert f"{site.base}/5.html" not in texts(output)


def test_the_warc_holds_every_answer_once(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    magazine = Magazine(site)
    first, manifest, _ = run(tmp_path, site.source("/0.html"), "2026-10")
    assert (manifest["metrics"]["warc_responses"], manifest["metrics"]["warc_revisits"]) == (12, 0)
    found = list(records(first))
    assert [kind for kind, _, _ in found] == [WarcRecordType.warcinfo] + [WarcRecordType.response] * 12
    pages = {headers["WARC-Target-URI"]: content for _, headers, content in found[1:]}
    assert pages.keys() == texts(first).keys()
    head, _, body = pages[f"{site.base}/3.html"].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: %d" % len(body) in head.lower()
    assert b"Habari 3, toleo la kwanza" in body
    data = (first.folder / "warc" / "pages-00000.warc.gz").read_bytes()
    entry = next(entry for entry in manifest["files"] if entry["path"] == "warc/pages-00000.warc.gz")
    assert entry["sha256"] == hashlib.sha256(data).hexdigest()

    monkeypatch.setattr(web.archive, "SEGMENT_BYTES", 2_000)
    magazine.write(7, "pili")
    second, manifest, _ = run(tmp_path, site.source("/0.html"), "2026-11")
    assert (manifest["metrics"]["warc_responses"], manifest["metrics"]["warc_revisits"]) == (1, 11)
    assert manifest["metrics"]["warc_files"] == len(list((second.folder / "warc").iterdir())) > 1
    kinds = {headers.get("WARC-Target-URI"): (kind, headers) for kind, headers, _ in records(second)}
    assert kinds[f"{site.base}/7.html"][0] == WarcRecordType.response
    kind, headers = kinds[f"{site.base}/8.html"]
    assert kind == WarcRecordType.revisit
    before = next(fields for _, fields, _ in found if fields.get("WARC-Target-URI") == f"{site.base}/8.html")
    assert headers["WARC-Refers-To-Date"] == before["WARC-Date"]


def test_no_warc_where_none_is_wanted(site: Site, tmp_path: Path) -> None:
    site.page("/")
    output, manifest, _ = run(tmp_path, site.source("/", keep_warc=False), "2026-10")
    assert not (output.folder / "warc").exists()
    assert not any(name.startswith("warc") for name in manifest["metrics"])


def test_a_crawl_that_brings_nothing_leaves_the_earlier_one_to_renew(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.page("/")
    run(tmp_path, site.source("/"), "2026-10")
    site["/"] = Reply(410)
    with pytest.raises(StageError, match="no documents"):
        run(tmp_path, site.source("/"), "2026-11")
    site.page("/")
    assert run(tmp_path, site.source("/"), "2026-12")[1]["metrics"]["base"]


def test_a_version_is_a_text_and_not_an_answer(site: Site, tmp_path: Path) -> None:
    site.page("/", head="<!-- kwanza -->")
    run(tmp_path, site.source("/"), "2026-10")
    site.page("/", head="<!-- pili -->")
    second, _, _ = run(tmp_path, site.source("/"), "2026-11")
    (row,) = [row for row in addresses(second).values() if "versions" in row]
    (document,) = texts(second).values()
    assert [version["id"] for version in row["versions"]] == [document["id"].hex()]
    assert document["id"] == document_id("web", document["url"], document["text"])
    assert Document(document["text"], "web", document["url"]).id == document["id"]
